//! Bytes in memory as a reader that stops when time is up.

use std::cell::Cell;
use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom};
use std::time::Instant;

/// Most bytes handed out at once, so that a decoder has to come back and the clock is seen.
const MAX_CHUNK_BYTES: usize = 64 << 10;

/// Calls between two looks at the clock: some decoders ask for single bytes.
const CALLS_PER_LOOK: u32 = 64;

/// What became of a [`DeadlineReader`], for whom the decoder does not give it back.
///
/// Decoders wrap errors of their readers, or replace them by their own words; this does not depend
/// on either.
#[derive(Debug, Default)]
pub(super) struct ReaderFate {
    /// Whether bytes were asked for beyond the end.
    pub(super) passed_end: Cell<bool>,
    /// Whether the deadline passed.
    pub(super) timed_out: Cell<bool>,
}

/// A reader of a slice which fails with [`io::ErrorKind::TimedOut`] after its deadline.
#[derive(Debug)]
pub(super) struct DeadlineReader<'a> {
    bytes: Cursor<&'a [u8]>,
    deadline: Instant,
    num_calls: u32,
    fate: &'a ReaderFate,
}

impl<'a> DeadlineReader<'a> {
    pub(super) fn new(bytes: &'a [u8], deadline: Instant, fate: &'a ReaderFate) -> Self {
        Self {
            bytes: Cursor::new(bytes),
            deadline,
            num_calls: 0,
            fate,
        }
    }

    fn look_at_the_clock(&mut self) -> io::Result<()> {
        let is_due = self.num_calls.is_multiple_of(CALLS_PER_LOOK);
        self.num_calls = self.num_calls.wrapping_add(1);
        if is_due && Instant::now() >= self.deadline {
            self.fate.timed_out.set(true);
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl Read for DeadlineReader<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.look_at_the_clock()?;
        let len = target.len().min(MAX_CHUNK_BYTES);
        let num_read = self.bytes.read(&mut target[..len])?;
        if num_read == 0 && len > 0 {
            self.fate.passed_end.set(true);
        }
        Ok(num_read)
    }
}

impl BufRead for DeadlineReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.look_at_the_clock()?;
        let rest = self.bytes.fill_buf()?;
        if rest.is_empty() {
            self.fate.passed_end.set(true);
        }
        Ok(&rest[..rest.len().min(MAX_CHUNK_BYTES)])
    }

    fn consume(&mut self, amount: usize) {
        self.bytes.consume(amount);
    }
}

impl Seek for DeadlineReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn gives_everything_before_the_deadline() {
        let bytes = vec![7; 3 * MAX_CHUNK_BYTES + 1];
        let fate = ReaderFate::default();
        let deadline = Instant::now() + Duration::from_secs(3_600);
        let mut reader = DeadlineReader::new(&bytes, deadline, &fate);

        let mut read = vec![0; bytes.len()];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(read, bytes);
        assert!(!fate.passed_end.get());

        assert_eq!(reader.read(&mut read).unwrap(), 0);
        assert!(fate.passed_end.get());
        assert!(!fate.timed_out.get());
    }

    #[test]
    fn gives_nothing_after_the_deadline() {
        let fate = ReaderFate::default();
        let mut reader = DeadlineReader::new(&[1, 2, 3], Instant::now(), &fate);

        let error = reader.fill_buf().unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(fate.timed_out.get());
    }
}
