//! Exact vectors in a file that is mapped into memory, so that the system pages them in and out.
//!
//! ```text
//! header   4,096 bytes: magic, dimension, row length, boot id, whether it was closed properly
//! rows     slot · dim · 2 bytes, bf16, in chunks of CHUNK_ROWS; a chunk is allocated whole
//! ```
//!
//! The file is a cache of what the state store holds and is not synced with it: killing the process
//! cannot undo a write to a mapping, but a loss of power can. So the header says in which run of the
//! system rows were last written ([`OpenedVectors::is_intact`]): the rows are good if it is this one, or
//! if the file was synced and closed. Otherwise the caller writes them again from the state store.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use likeness_core::{StoreError, StoreResult};
use likeness_index::{IndexError, OpenedVectors, Vectors};
use memmap2::{MmapMut, MmapOptions};
use tracing::warn;

use crate::durable::{create_folder, sync_folder};

const STORE: &str = "vectors (file)";
const MAGIC: &[u8; 8] = b"LKVEC01\n";
const HEADER: u64 = 4_096;
/// Rows of a chunk: whole pages for any dimension.
const CHUNK_ROWS: usize = 16_384;
/// Length of a boot id as Linux gives it.
const BOOT_ID: usize = 36;

/// Where the vectors lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorFileConfig {
    /// The file; created with its folder if missing.
    pub path: PathBuf,
    /// Components of a vector.
    pub dim: usize,
}

/// Opens the file. A file of another dimension, or none of this kind, is refused.
///
/// # Errors
/// [`StoreError::Corrupt`] if it is no such file, `Unavailable` if it cannot be read or written.
pub fn open_vector_file(config: &VectorFileConfig) -> StoreResult<OpenedVectors> {
    let file = VectorFile::open(config)?;
    Ok(OpenedVectors {
        is_intact: file.is_intact,
        vectors: Box::new(file),
    })
}

/// Vectors in a mapped file.
#[derive(Debug)]
struct VectorFile {
    file: File,
    dim: usize,
    chunks: Vec<MmapMut>,
    is_intact: bool,
}

impl VectorFile {
    fn open(config: &VectorFileConfig) -> StoreResult<Self> {
        let folder = config.path.parent().unwrap_or_else(|| Path::new("."));
        create_folder(folder).map_err(unavailable)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&config.path)
            .map_err(unavailable)?;
        let len = file.metadata().map_err(unavailable)?.len();
        let mut vectors = Self {
            file,
            dim: config.dim,
            chunks: Vec::new(),
            is_intact: true,
        };
        if len == 0 {
            // New: there is nothing that could be lost.
            vectors.write_header(false).map_err(unavailable)?;
            sync_folder(folder).map_err(unavailable)?;
            return Ok(vectors);
        }
        vectors.is_intact = vectors.read_header(&config.path)?;
        let chunks = len.saturating_sub(HEADER) / vectors.chunk_bytes();
        for chunk in 0..chunks {
            let mapped = vectors.map(chunk).map_err(unavailable)?;
            vectors.chunks.push(mapped);
        }
        if vectors.is_intact {
            vectors.write_header(false).map_err(unavailable)?;
        }
        Ok(vectors)
    }

    fn chunk_bytes(&self) -> u64 {
        (CHUNK_ROWS * self.dim * size_of::<u16>()) as u64
    }

    /// Returns whether the rows are as they were last written.
    fn read_header(&self, path: &Path) -> StoreResult<bool> {
        let corrupt =
            |reason: String| StoreError::corrupt(STORE, path.display().to_string(), reason);
        let mut header = [0; 8 + 4 + BOOT_ID + 1];
        self.file
            .read_exact_at(&mut header, 0)
            .map_err(|_| corrupt("too short for its header".to_owned()))?;
        let (magic, rest) = header.split_at(8);
        let (dim, rest) = rest.split_at(4);
        let (boot, clean) = rest.split_at(BOOT_ID);
        if magic != MAGIC {
            return Err(corrupt("not a file of vectors".to_owned()));
        }
        let dim = u32::from_le_bytes(dim.try_into().expect("four bytes")) as usize;
        if dim != self.dim {
            return Err(corrupt(format!(
                "holds vectors of {dim} dimensions, wanted {}",
                self.dim
            )));
        }
        Ok(clean == [1] || boot == boot_id())
    }

    fn write_header(&self, is_clean: bool) -> io::Result<()> {
        let mut header = MAGIC.to_vec();
        header.extend((self.dim as u32).to_le_bytes());
        header.extend(boot_id());
        header.push(u8::from(is_clean));
        header.resize(HEADER as usize, 0);
        self.file.write_all_at(&header, 0)?;
        self.file.sync_all()
    }

    #[expect(unsafe_code, reason = "maps a file")]
    fn map(&self, chunk: u64) -> io::Result<MmapMut> {
        let bytes = self.chunk_bytes();
        let mut options = MmapOptions::new();
        options
            .offset(HEADER + chunk * bytes)
            .len(usize::try_from(bytes).map_err(io::Error::other)?);
        // SAFETY: the file lies in the data directory, which only one process at a time has open (log and
        // state hold a lock on it), and this is the only code that opens it; it is never cut shorter.
        unsafe { options.map_mut(&self.file) }
    }

    /// Makes room for a chunk more. Its blocks are allocated now, because a write to a mapping that finds
    /// the disk full ends the process.
    fn grow(&mut self) -> io::Result<()> {
        let chunk = self.chunks.len() as u64;
        let bytes = self.chunk_bytes();
        let allocated = rustix::fs::fallocate(
            &self.file,
            rustix::fs::FallocateFlags::empty(),
            HEADER + chunk * bytes,
            bytes,
        );
        match allocated {
            // Some file systems cannot allocate ahead: there, a full disk is met when it is written.
            Err(rustix::io::Errno::OPNOTSUPP) => self.file.set_len(HEADER + (chunk + 1) * bytes)?,
            outcome => outcome?,
        }
        let mapped = self.map(chunk)?;
        self.chunks.push(mapped);
        Ok(())
    }

    fn row(&self, slot: u32) -> (usize, std::ops::Range<usize>) {
        let (chunk, row) = (slot as usize / CHUNK_ROWS, slot as usize % CHUNK_ROWS);
        let bytes = self.dim * size_of::<u16>();
        (chunk, row * bytes..(row + 1) * bytes)
    }
}

impl Vectors for VectorFile {
    fn set(&mut self, slot: u32, vector: &[u16]) -> Result<(), IndexError> {
        let (chunk, bytes) = self.row(slot);
        while self.chunks.len() <= chunk {
            self.grow().map_err(|error| IndexError::Storage {
                reason: error.to_string(),
            })?;
        }
        self.chunks[chunk][bytes].copy_from_slice(bytemuck::cast_slice(vector));
        Ok(())
    }

    fn get(&self, slot: u32) -> &[u16] {
        let (chunk, bytes) = self.row(slot);
        bytemuck::cast_slice(&self.chunks[chunk][bytes])
    }

    fn has(&self, slot: u32) -> bool {
        (slot as usize) < self.chunks.len() * CHUNK_ROWS
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn confirm(&mut self) {
        if let Err(error) = self.write_header(false) {
            warn!(%error, "cannot mark the file of vectors as good: it will be written again");
            return;
        }
        self.is_intact = true;
    }
}

impl Drop for VectorFile {
    fn drop(&mut self) {
        if !self.is_intact {
            return;
        }
        let synced = self.file.sync_all().and_then(|()| self.write_header(true));
        if let Err(error) = synced {
            warn!(%error, "cannot sync the file of vectors: it may be written again");
        }
    }
}

/// Names this run of the system; empty bytes where that is unknown, which never equal themselves in a
/// header of another run that is known.
fn boot_id() -> Vec<u8> {
    let mut id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.resize(BOOT_ID, 0);
    id
}

fn unavailable(error: io::Error) -> StoreError {
    StoreError::unavailable(STORE, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &tempfile::TempDir) -> VectorFileConfig {
        VectorFileConfig {
            path: folder.path().join("index/vectors.bin"),
            dim: 24,
        }
    }

    fn row(slot: u32) -> Vec<u16> {
        (0..24).map(|idx| (slot * 31 + idx) as u16).collect()
    }

    #[test]
    fn vectors_are_there_after_reopening() {
        let folder = tempfile::tempdir().expect("a folder");
        let slots = [0, 5, 16_383, 16_384, 50_000];
        {
            let mut opened = open_vector_file(&config(&folder)).expect("opens");
            assert!(opened.is_intact);
            for slot in slots {
                opened.vectors.set(slot, &row(slot)).expect("room");
            }
        }
        let opened = open_vector_file(&config(&folder)).expect("opens again");
        assert!(opened.is_intact);
        for slot in slots {
            assert_eq!(opened.vectors.get(slot), row(slot));
        }
        assert!(!opened.vectors.has(70_000));
    }

    #[test]
    fn a_file_of_another_boot_that_was_not_closed_is_not_intact() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(&folder);
        drop(open_vector_file(&config).expect("opens"));
        let set = |at: u64, byte: u8| {
            let file = OpenOptions::new()
                .write(true)
                .open(&config.path)
                .expect("there");
            file.write_all_at(&[byte], at).expect("written");
        };
        // Closed properly: whatever the boot id.
        set(12, b'~');
        let opened = open_vector_file(&config).expect("opens");
        assert!(opened.is_intact);
        std::mem::forget(opened);
        set(12, b'~');
        let mut opened = open_vector_file(&config).expect("opens");
        assert!(!opened.is_intact);
        opened.vectors.confirm();
        std::mem::forget(opened);
        assert!(open_vector_file(&config).expect("opens").is_intact);
    }

    #[test]
    fn foreign_files_are_refused_with_a_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(&folder);
        drop(open_vector_file(&config).expect("opens"));
        let other = VectorFileConfig {
            dim: 25,
            ..config.clone()
        };
        let error = open_vector_file(&other)
            .expect_err("another dimension")
            .to_string();
        assert!(error.contains("24 dimensions"), "{error}");
        std::fs::write(&config.path, b"short").expect("written");
        assert!(open_vector_file(&config).is_err());
        std::fs::write(&config.path, vec![b'x'; 5_000]).expect("written");
        let error = open_vector_file(&config)
            .expect_err("not such a file")
            .to_string();
        assert!(error.contains("not a file of vectors"), "{error}");
    }
}
