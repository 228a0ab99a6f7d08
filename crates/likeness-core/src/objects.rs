//! The objects port: large immutable values under a path, as S3 or a folder keeps them.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::StoreResult;

/// Path of an object: segments of `A-Z a-z 0-9 . _ - = @ + %`, joined by `/`, none of them `.` or
/// `..` or longer than 255 bytes, at most 512 bytes in all. User-given text is encoded before it becomes a part of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectPath(Box<str>);

impl ObjectPath {
    /// Longest path, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Longest segment, in bytes: what file systems take.
    pub const MAX_SEGMENT_BYTES: usize = 255;

    /// Checks `path`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`](crate::StoreError::Invalid) names the rule that is broken.
    pub fn new(path: impl Into<String>) -> StoreResult<Self> {
        let path: String = path.into();
        let invalid = |reason: &str| {
            Err(crate::StoreError::invalid(
                "objects",
                format!("path {path:?}: {reason}"),
            ))
        };
        if path.len() > Self::MAX_BYTES {
            return invalid("longer than 512 bytes");
        }
        for segment in path.split('/') {
            if segment.is_empty() || segment == "." || segment == ".." {
                return invalid("empty, `.` or `..` segment");
            }
            if segment.len() > Self::MAX_SEGMENT_BYTES {
                return invalid("a segment longer than 255 bytes");
            }
            if !segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-=@+%".contains(&b))
            {
                return invalid("a character outside `A-Z a-z 0-9 . _ - = @ + %`");
            }
        }
        Ok(Self(path.into_boxed_str()))
    }

    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a listing tells of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its path.
    pub path: ObjectPath,
    /// Its size in bytes.
    pub num_bytes: u64,
}

/// Whether a put found something in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object was written.
    Created,
    /// An object stood there and is untouched.
    Exists,
}

/// Immutable objects under paths.
///
/// Contract, checked by [`crate::testsuite::check_objects`]:
/// - A put is seen whole or not at all, also after a crash; puts and deletes are durable when
///   acknowledged.
/// - Read-after-write, list-after-write and list-after-delete are consistent.
/// - There is no rename and no append; there are no empty folders.
/// - Callers do not use one path both as an object and as the folder of others (`a` and `a/b`).
///   A product that cannot hold both answers [`StoreError::Invalid`](crate::StoreError::Invalid)
///   and leaves what is there.
/// - Listings are in byte order of the paths.
#[async_trait]
pub trait ObjectStore: fmt::Debug + Send + Sync {
    /// Writes an object, over one that stands there.
    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> StoreResult<()>;

    /// Writes an object unless one stands there. Of several contenders one gets `Created`.
    async fn put_new(&self, path: &ObjectPath, bytes: Bytes) -> StoreResult<PutOutcome>;

    /// Returns an object's bytes, or nothing.
    async fn get(&self, path: &ObjectPath) -> StoreResult<Option<Bytes>>;

    /// Returns a part of an object's bytes, or nothing if there is no object.
    ///
    /// # Errors
    /// [`StoreError::Invalid`](crate::StoreError::Invalid) for a part that ends before it begins, or beyond the
    /// object's end.
    async fn get_range(&self, path: &ObjectPath, range: Range<u64>) -> StoreResult<Option<Bytes>>;

    /// Returns an object's size, or nothing.
    async fn head(&self, path: &ObjectPath) -> StoreResult<Option<ObjectMeta>>;

    /// Removes an object; it is not an error if none stands there.
    async fn delete(&self, path: &ObjectPath) -> StoreResult<()>;

    /// Returns at most `limit` objects whose path starts with `prefix` (text, not whole segments;
    /// empty: all), after `after` if given.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectPath>,
        limit: usize,
    ) -> StoreResult<Vec<ObjectMeta>>;
}
