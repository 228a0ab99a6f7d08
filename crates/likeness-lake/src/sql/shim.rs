//! The objects port as DataFusion reads it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use likeness_core::objects::{ObjectPath, ObjectStore as Objects};
use likeness_core::query::QueryProgress;

/// Reads objects, and counts their bytes. Nothing else is supported: what is read is named by a list, and nothing is written.
#[derive(Debug)]
pub(super) struct ReadOnly {
    pub(super) objects: Arc<dyn Objects>,
    pub(super) progress: Arc<QueryProgress>,
}

impl fmt::Display for ReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lake")
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic {
        store: "lake",
        source: Box::new(error),
    }
}

fn not_supported(what: &'static str) -> Error {
    Error::NotSupported {
        source: what.into(),
    }
}

/// Returns the bytes that are wanted of an object of `size`.
fn wanted(range: Option<&GetRange>, size: u64) -> Range<u64> {
    match range {
        None => 0..size,
        Some(GetRange::Bounded(range)) => range.start.min(size)..range.end.min(size),
        Some(GetRange::Offset(from)) => (*from).min(size)..size,
        Some(GetRange::Suffix(len)) => size.saturating_sub(*len)..size,
    }
}

#[async_trait]
impl ObjectStore for ReadOnly {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let not_found = || Error::NotFound {
            path: location.to_string(),
            source: "no such object".into(),
        };
        let path = ObjectPath::new(location.as_ref()).map_err(failed)?;
        let (size, range) = match &options.range {
            // Who asks like this knows how large it is, from the list: one trip to the store instead of two.
            Some(GetRange::Bounded(range)) if !options.head => (range.end, range.clone()),
            range => {
                let head = self.objects.head(&path).await.map_err(failed)?;
                let size = head.ok_or_else(not_found)?.num_bytes;
                (size, wanted(range.as_ref(), size))
            }
        };
        let bytes = match options.head {
            true => bytes::Bytes::new(),
            false => {
                let part = self.objects.get_range(&path, range.clone()).await;
                part.map_err(failed)?.ok_or_else(not_found)?
            }
        };
        self.progress
            .bytes_read
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed()),
            meta: ObjectMeta {
                location: location.clone(),
                last_modified: Default::default(),
                size,
                e_tag: None,
                version: None,
            },
            range,
            attributes: Attributes::default(),
        })
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(not_supported("the lake is only read"))
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(not_supported("the lake is only read"))
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(async { Err(not_supported("the lake is only read")) }).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::once(async { Err(not_supported("files are named by a list")) }).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(not_supported("files are named by a list"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_supported("the lake is only read"))
    }
}
