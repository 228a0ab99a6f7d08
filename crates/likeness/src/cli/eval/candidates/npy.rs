//! Matrices as NumPy files, format 1.0 (numpy.lib.format):
//!
//! ```text
//! 93 "NUMPY" | 1 0 | length of the header, u16 | header, a Python literal, spaces, line feed | f32, row by row
//! ```
//! Little-endian throughout; the data begins at a multiple of 64 bytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
const ALIGNMENT: usize = 64;

/// Writes rows of one length to a file, replacing it.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write(file: &Path, rows: &[&[f32]]) -> io::Result<()> {
    let mut writer = BufWriter::new(File::create(file)?);
    write_to(&mut writer, rows)?;
    writer.flush()
}

fn write_to(writer: &mut impl Write, rows: &[&[f32]]) -> io::Result<()> {
    let dim = rows.first().map_or(0, |row| row.len());
    let shape = format!("({}, {dim})", rows.len());
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    // Magic, length, header, line feed.
    let unpadded = MAGIC.len() + 2 + header.len() + 1;
    let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let header_len = u16::try_from(header.len()).expect("two numbers are short");
    writer.write_all(MAGIC)?;
    writer.write_all(&header_len.to_le_bytes())?;
    writer.write_all(header.as_bytes())?;
    for component in rows.iter().copied().flatten() {
        writer.write_all(&component.to_le_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_as_the_format_says() {
        let mut bytes = Vec::new();
        write_to(&mut bytes, &[&[1.0, -2.0, 0.5], &[0.0, 3.0, 4.0]]).unwrap();
        let (header, data) = bytes.split_at(128);
        assert_eq!(&header[..10], b"\x93NUMPY\x01\x00\x76\x00");
        let text = std::str::from_utf8(&header[10..]).unwrap();
        let literal = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        assert_eq!(text.trim_end(), literal);
        assert!(text.ends_with('\n'));
        let values: Vec<f32> = data
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect();
        assert_eq!(values, [1.0, -2.0, 0.5, 0.0, 3.0, 4.0]);
    }
}
