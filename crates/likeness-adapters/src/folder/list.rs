//! Listing in byte order of the paths, a folder at a time.
//!
//! Within a folder, names are sorted with `/` after those of folders, which is the byte order of
//! the paths below: `a-b` < `a/…` < `a0`. Folders that lie before the start or outside the prefix
//! are not entered. Memory: the names of the folders from the root to the present place, so what
//! is bounded by the largest folder, not by the store. Every page reads those folders again.

use std::fs;
use std::io;
use std::path::Path;

use likeness_core::objects::{ObjectMeta, ObjectPath};

use super::present;

/// Returns at most `limit` objects whose path starts with `prefix` and comes after `after`.
pub(super) fn list(
    root: &Path,
    prefix: &str,
    after: &str,
    limit: usize,
) -> io::Result<Vec<ObjectMeta>> {
    let mut listing = Listing {
        prefix,
        after,
        limit,
        found: Vec::new(),
    };
    if limit > 0 {
        listing.enter(root, "")?;
    }
    Ok(listing.found)
}

struct Listing<'a> {
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    found: Vec<ObjectMeta>,
}

impl Listing<'_> {
    /// Lists `folder`, whose objects' paths begin with `path` (empty, or with `/` at its end).
    fn enter(&mut self, folder: &Path, path: &str) -> io::Result<()> {
        // Gone since it was seen: it has no objects.
        let Some(entries) = present(fs::read_dir(folder))? else {
            return Ok(());
        };
        let mut children = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // Symbolic links count as what they lead to.
            let is_folder = match entry.file_type()? {
                kind if kind.is_symlink() => {
                    present(fs::metadata(entry.path()))?.is_some_and(|found| found.is_dir())
                }
                kind => kind.is_dir(),
            };
            let child = format!("{path}{name}{}", if is_folder { "/" } else { "" });
            if self.may_hold(&child, is_folder) {
                children.push(child);
            }
        }
        children.sort_unstable();
        for child in children {
            let own_name = child[path.len()..].trim_end_matches('/');
            let place = folder.join(own_name);
            if child.ends_with('/') {
                self.enter(&place, &child)?;
            } else if let Some(metadata) = present(fs::metadata(place))?
                && let Ok(path) = ObjectPath::new(child)
            {
                self.found.push(ObjectMeta {
                    path,
                    num_bytes: metadata.len(),
                });
            }
            if self.found.len() == self.limit {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether `child` is wanted, or being a folder may hold what is.
    fn may_hold(&self, child: &str, is_folder: bool) -> bool {
        let path = child.strip_suffix('/').unwrap_or(child);
        if ObjectPath::new(path).is_err() {
            return false;
        }
        if !is_folder {
            return child.starts_with(self.prefix) && child > self.after;
        }
        let on_the_way = self.prefix.starts_with(child) || child.starts_with(self.prefix);
        on_the_way && (child > self.after || self.after.starts_with(child))
    }
}
