//! Which files are copies of which, and which of them to keep.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use likeness_engine::dedup::view::{Decision, ImageView};
use serde::Serialize;

use super::moving::Moved;
use crate::files::FoundFile;
use crate::intake::Skipped;

/// A file that was decided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// Number of the head's file.
    head: usize,
    entry: Entry,
}

/// A file of a group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Entry {
    /// Path below the folder.
    pub(super) file: String,
    #[serde(skip)]
    pub(super) path: PathBuf,
    pub(super) num_bytes: u64,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) format: String,
    pub(super) sha256: String,
    /// Score against the first file seen of the group; 1 for that file itself.
    pub(super) score: f32,
}

/// Files that show the same picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Group {
    /// The file to keep.
    pub(super) keep: Entry,
    /// The others, best first.
    pub(super) duplicates: Vec<Entry>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Plan {
    pub(super) folder: String,
    /// Files looked at.
    pub(super) files: usize,
    /// Pictures among them.
    pub(super) images: usize,
    /// Groups of two files and more, those that free most bytes first.
    pub(super) groups: Vec<Group>,
    /// Files that need not be kept.
    pub(super) duplicates: usize,
    /// Their bytes.
    pub(super) duplicate_bytes: u64,
    pub(super) skipped: Vec<Skipped>,
    pub(super) seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) moved: Option<Moved>,
}

impl Seen {
    /// Returns the file with what was found; `None` if the picture was not decoded.
    pub(super) fn new(
        file: FoundFile,
        head: usize,
        decision: &Decision,
        view: &ImageView,
    ) -> Option<Self> {
        let signature = view.signature.as_ref()?;
        Some(Self {
            head,
            entry: Entry {
                file: file.relative,
                path: file.path,
                num_bytes: view.num_bytes,
                width: signature.width,
                height: signature.height,
                format: signature.format.clone(),
                sha256: view.sha256.clone(),
                score: decision.score.unwrap_or(1.0),
            },
        })
    }
}

impl Group {
    /// Returns the bytes that the duplicates take.
    pub(super) fn duplicate_bytes(&self) -> u64 {
        self.duplicates.iter().map(|entry| entry.num_bytes).sum()
    }
}

impl Plan {
    /// Groups the files and chooses which to keep: the largest picture, then the largest file, then
    /// the shortest path.
    pub(super) fn new(folder: &Path, seen: Vec<Seen>, skipped: Vec<Skipped>, files: usize) -> Self {
        let images = seen.len();
        let mut by_head: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
        for seen in seen {
            by_head.entry(seen.head).or_default().push(seen.entry);
        }
        let mut groups: Vec<Group> = by_head
            .into_values()
            .filter(|entries| entries.len() > 1)
            .map(|mut entries| {
                entries.sort_by_cached_key(|entry| {
                    let num_pixels = u64::from(entry.width) * u64::from(entry.height);
                    let path = (entry.file.len(), entry.file.clone());
                    (Reverse(num_pixels), Reverse(entry.num_bytes), path)
                });
                let duplicates = entries.split_off(1);
                let keep = entries.remove(0);
                Group { keep, duplicates }
            })
            .collect();
        groups.sort_by_cached_key(|group| {
            (Reverse(group.duplicate_bytes()), group.keep.file.clone())
        });
        Self {
            folder: folder.display().to_string(),
            files,
            images,
            duplicates: groups.iter().map(|group| group.duplicates.len()).sum(),
            duplicate_bytes: groups.iter().map(Group::duplicate_bytes).sum(),
            groups,
            skipped,
            seconds: 0.0,
            moved: None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file that was seen, with as many bytes as pixels on a side.
    pub(in super::super) fn seen(file: &str, head: usize, side: u32) -> Seen {
        Seen {
            head,
            entry: Entry {
                file: file.to_owned(),
                path: PathBuf::from(file),
                num_bytes: u64::from(side),
                width: side,
                height: side,
                format: "jpeg".to_owned(),
                sha256: String::new(),
                score: 1.0,
            },
        }
    }

    #[test]
    fn the_largest_picture_is_kept() {
        let seen = vec![
            seen("copies/a.jpg", 0, 10),
            seen("b.jpg", 0, 30),
            seen("c.jpg", 0, 20),
            seen("alone.jpg", 3, 5),
            seen("d/twin.jpg", 4, 8),
            seen("twin.jpg", 4, 8),
        ];
        let plan = Plan::new(Path::new("."), seen, Vec::new(), 7);
        let kept: Vec<&str> = plan
            .groups
            .iter()
            .map(|group| group.keep.file.as_str())
            .collect();
        assert_eq!(kept, ["b.jpg", "twin.jpg"]);
        assert_eq!(
            (plan.images, plan.duplicates, plan.duplicate_bytes),
            (6, 3, 38)
        );
    }
}
