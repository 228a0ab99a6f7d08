//! Qt resource archives (`.rcc`), version 3: a tree of names over a heap of contents.
//!
//! ```text
//! header:  "qres" | version u32 | tree u32 | data u32 | names u32 | flags u32
//! tree:    nodes of 22 bytes; node 0 is the root, which has no name
//!          name u32 | flags u16 | children u32 | first child u32 | modified u64               a folder
//!          name u32 | flags u16 | country u16 | language u16 | content u32 | modified u64     a file
//! names:   length u16 | hash u32 | UTF-16 [u16; length]
//! data:    length u32 | bytes
//! ```
//! All numbers are big-endian; `tree`, `data` and `names` are offsets in the file, `content` is one in
//! `data`, `name` one in `names`. `flags`: 1 and 4 compressed, 2 a folder. Compressed files are skipped:
//! pictures are stored as they are.
//!
//! Invariants: nothing is read outside the file; every node is visited at most once, so a tree that
//! leads back into itself is an error and not a loop.

use std::fs::File;
use std::io::{self, Read};

use super::{ArchiveError, ExtractLimits, Visit, too_large_in_all};

const MAGIC: &[u8] = b"qres";
const VERSION: u32 = 3;
const NODE_BYTES: usize = 22;
const IS_COMPRESSED: u16 = 1 | 4;
const IS_FOLDER: u16 = 2;
/// Longest path, in bytes: folders within folders cannot make paths grow without end.
const MAX_PATH_BYTES: usize = 4_096;
/// Largest archive: it is read whole.
const MAX_ARCHIVE_BYTES: u64 = 256 << 20;

/// Calls `visit` with path and content of each file that is not compressed, in the order of the tree.
pub(super) fn visit_rcc(
    file: File,
    limits: &ExtractLimits,
    visit: &mut Visit<'_>,
) -> Result<(), ArchiveError> {
    let bytes = read_whole(file, limits.max_total_bytes.min(MAX_ARCHIVE_BYTES))?;
    let archive = Rcc::open(&bytes)?;
    let mut left = limits.max_total_bytes;
    let mut is_visited = vec![false; archive.max_nodes()];
    // What is left of each folder on the way; not on the stack, for the depth is the archive's.
    let mut open_folders = vec![(0..1_usize, String::new())];
    while let Some((children, folder)) = open_folders.last_mut() {
        let Some(node_idx) = children.next() else {
            open_folders.pop();
            continue;
        };
        let visited = is_visited
            .get_mut(node_idx)
            .ok_or_else(|| damaged("node"))?;
        if std::mem::replace(visited, true) {
            return Err(damaged("tree"));
        }
        let node = archive.node(node_idx)?;
        let path = archive.path_of(&node, node_idx, folder)?;
        if node.flags & IS_FOLDER != 0 {
            open_folders.push((archive.children(&node)?, path));
            continue;
        }
        if node.flags & IS_COMPRESSED != 0 {
            continue;
        }
        // Files that `visit` does not read cost nothing; several may share one content.
        let mut counted = archive.content(&node)?.take(left);
        let outcome = visit(&path, &mut counted);
        left = counted.limit();
        if left == 0 {
            return Err(too_large_in_all(limits));
        }
        if outcome?.is_break() {
            break;
        }
    }
    Ok(())
}

fn read_whole(file: File, max_bytes: u64) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(ArchiveError::TooLarge {
            what: "size of a resource archive in bytes",
            limit: max_bytes,
        });
    }
    Ok(bytes)
}

/// An archive in memory; each offset is checked when it is followed.
struct Rcc<'a> {
    bytes: &'a [u8],
    tree: usize,
    data: usize,
    names: usize,
}

struct Node {
    name: usize,
    flags: u16,
    /// What follows, which folders and files read in their own ways.
    rest: [u8; 8],
}

impl<'a> Rcc<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        if !bytes.starts_with(MAGIC) {
            return Err(damaged("header"));
        }
        let field = |place: usize| read_u32(bytes, Some(4 + 4 * place), "header");
        if field(0)? != VERSION {
            return Err(damaged("version, which is not 3"));
        }
        Ok(Self {
            bytes,
            tree: field(1)? as usize,
            data: field(2)? as usize,
            names: field(3)? as usize,
        })
    }

    /// Returns how many nodes the file has room for behind the start of its tree.
    fn max_nodes(&self) -> usize {
        self.bytes.len().saturating_sub(self.tree) / NODE_BYTES
    }

    fn node(&self, node_idx: usize) -> Result<Node, ArchiveError> {
        let start = node_idx.checked_mul(NODE_BYTES);
        let start = start.and_then(|start| start.checked_add(self.tree));
        // Whole or not at all, though the time of the last change is of no use here.
        let node: [u8; NODE_BYTES] = read(self.bytes, start, "node")?;
        Ok(Node {
            name: read_u32(&node, Some(0), "node")? as usize,
            flags: u16::from_be_bytes(read(&node, Some(4), "node")?),
            rest: read(&node, Some(6), "node")?,
        })
    }

    fn children(&self, folder: &Node) -> Result<std::ops::Range<usize>, ArchiveError> {
        let count = read_u32(&folder.rest, Some(0), "node")? as usize;
        let first = read_u32(&folder.rest, Some(4), "node")? as usize;
        let end = first
            .checked_add(count)
            .filter(|end| *end <= self.max_nodes());
        Ok(first..end.ok_or_else(|| damaged("tree"))?)
    }

    fn path_of(&self, node: &Node, node_idx: usize, folder: &str) -> Result<String, ArchiveError> {
        if node_idx == 0 {
            return Ok(String::new());
        }
        let start = self.names.checked_add(node.name);
        let length = usize::from(u16::from_be_bytes(read(self.bytes, start, "name")?));
        let characters = slice(
            self.bytes,
            start.and_then(|start| start.checked_add(6)),
            2 * length,
        );
        let (pairs, _) = characters.ok_or_else(|| damaged("name"))?.as_chunks::<2>();
        let units = pairs.iter().map(|&pair| u16::from_be_bytes(pair));
        let name: String = char::decode_utf16(units)
            .collect::<Result<_, _>>()
            .map_err(|_| damaged("name"))?;
        let path = if folder.is_empty() {
            name
        } else {
            format!("{folder}/{name}")
        };
        if path.len() > MAX_PATH_BYTES {
            return Err(damaged("name"));
        }
        Ok(path)
    }

    fn content(&self, file: &Node) -> Result<&'a [u8], ArchiveError> {
        let start = self
            .data
            .checked_add(read_u32(&file.rest, Some(4), "node")? as usize);
        let length = read_u32(self.bytes, start, "content")? as usize;
        slice(
            self.bytes,
            start.and_then(|start| start.checked_add(4)),
            length,
        )
        .ok_or_else(|| damaged("content"))
    }
}

fn slice(bytes: &[u8], start: Option<usize>, length: usize) -> Option<&[u8]> {
    let start = start?;
    bytes.get(start..start.checked_add(length)?)
}

fn read<const N: usize>(
    bytes: &[u8],
    start: Option<usize>,
    what: &str,
) -> Result<[u8; N], ArchiveError> {
    slice(bytes, start, N)
        .and_then(|part| part.try_into().ok())
        .ok_or_else(|| damaged(what))
}

fn read_u32(bytes: &[u8], start: Option<usize>, what: &str) -> Result<u32, ArchiveError> {
    read(bytes, start, what).map(u32::from_be_bytes)
}

fn damaged(what: &str) -> ArchiveError {
    let message = format!("the resource archive is damaged or of another kind, see its {what}");
    ArchiveError::Io(io::Error::new(io::ErrorKind::InvalidData, message))
}

#[cfg(test)]
mod tests;
