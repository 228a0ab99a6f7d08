//! Matrices of NumPy's `.npy` format, versions 1 to 3: the first rows of a file, never more than is asked for.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, ensure};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// A header of a matrix has a few hundred bytes.
const MAX_HEADER: usize = 64 << 10;

/// More components than any embedding has.
const MAX_COLUMNS: usize = 65_536;

/// Rows of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) struct Matrix {
    /// Numbers in a row, at least 1.
    pub(in crate::cli) columns: usize,
    /// Row after row.
    pub(in crate::cli) values: Vec<f32>,
}

/// Form of the numbers in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    F4,
    F8,
}

/// Reads at most `max_rows` rows of little-endian `float32` or `float64`.
pub(in crate::cli) fn read(path: &Path, max_rows: usize) -> anyhow::Result<Matrix> {
    let file = File::open(path)?;
    read_from(&mut BufReader::new(file), max_rows)
}

fn read_from(source: &mut impl Read, max_rows: usize) -> anyhow::Result<Matrix> {
    let header = read_header(source)?;
    let numbers = match quoted(&header, "descr")? {
        "<f4" => Numbers::F4,
        "<f8" => Numbers::F8,
        other => anyhow::bail!("numbers are `{other}`, not `<f4` or `<f8`"),
    };
    ensure!(
        value(&header, "fortran_order")?.starts_with("False"),
        "columns come first; save the array in C order"
    );
    let (rows, columns) = shape(value(&header, "shape")?)?;
    let count = rows.min(max_rows) * columns;
    let values = match numbers {
        Numbers::F4 => read_numbers(source, count, f32::from_le_bytes),
        Numbers::F8 => read_numbers(source, count, |bytes| f64::from_le_bytes(bytes) as f32),
    };
    Ok(Matrix {
        columns,
        values: values.context("the file ends too early")?,
    })
}

/// Returns the dictionary that describes the array, as Python writes it.
fn read_header(source: &mut impl Read) -> anyhow::Result<String> {
    let mut start = [0; 8];
    source
        .read_exact(&mut start)
        .ok()
        .filter(|()| start.starts_with(MAGIC))
        .context("not a `.npy` file")?;
    let len = match start[6] {
        1 => {
            let mut len = [0; 2];
            source.read_exact(&mut len)?;
            usize::from(u16::from_le_bytes(len))
        }
        2 | 3 => {
            let mut len = [0; 4];
            source.read_exact(&mut len)?;
            usize::try_from(u32::from_le_bytes(len))?
        }
        version => anyhow::bail!("version {version} of the format is not known"),
    };
    ensure!(len <= MAX_HEADER, "a header of {len} bytes");
    let mut header = vec![0; len];
    source
        .read_exact(&mut header)
        .context("the header is cut off")?;
    String::from_utf8(header).context("the header is not text")
}

/// Returns what follows a key.
fn value<'a>(header: &'a str, key: &str) -> anyhow::Result<&'a str> {
    header
        .split_once(&format!("'{key}'"))
        .and_then(|(_, rest)| rest.trim_start().strip_prefix(':'))
        .map(str::trim_start)
        .with_context(|| format!("the header does not say `{key}`"))
}

fn quoted<'a>(header: &'a str, key: &str) -> anyhow::Result<&'a str> {
    value(header, key)?
        .strip_prefix('\'')
        .and_then(|rest| rest.split_once('\''))
        .map(|(quoted, _)| quoted)
        .context("the array is not of plain numbers")
}

fn shape(text: &str) -> anyhow::Result<(usize, usize)> {
    let inner = text
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(')'))
        .map(|(inner, _)| inner)
        .context("the header does not say the shape")?;
    let lengths = inner
        .split(',')
        .map(str::trim)
        .filter(|length| !length.is_empty())
        .map(str::parse)
        .collect::<Result<Vec<usize>, _>>()
        .context("the shape is not of numbers")?;
    let [rows, columns] = lengths[..] else {
        anyhow::bail!("an array of {} dimensions, not a matrix", lengths.len());
    };
    ensure!(
        (1..=MAX_COLUMNS).contains(&columns),
        "rows of {columns} numbers"
    );
    Ok((rows, columns))
}

/// Memory grows with what is really there, not with what the header promises.
fn read_numbers<const N: usize>(
    source: &mut impl Read,
    count: usize,
    decode: impl Fn([u8; N]) -> f32,
) -> std::io::Result<Vec<f32>> {
    let mut values = Vec::new();
    let mut bytes = [0; N];
    for _ in 0..count {
        source.read_exact(&mut bytes)?;
        values.push(decode(bytes));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = [MAGIC, &[version, 0][..]].concat();
        if version == 1 {
            bytes.extend((header.len() as u16).to_le_bytes());
        } else {
            bytes.extend((header.len() as u32).to_le_bytes());
        }
        [bytes, header.as_bytes().to_vec(), data.to_vec()].concat()
    }

    fn read_bytes(bytes: &[u8], max_rows: usize) -> Result<Matrix, String> {
        read_from(&mut &*bytes, max_rows).map_err(|error| error.to_string())
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    #[test]
    fn matrices_of_both_kinds_are_read() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }      \n";
        let values = vec![1.0, 2.0, 3.0, -4.0, 5.5, 6.0];
        for version in [1, 2, 3] {
            let bytes = file(version, header, &floats(&values));
            let expected = Matrix {
                columns: 3,
                values: values.clone(),
            };
            assert_eq!(read_bytes(&bytes, 10), Ok(expected));
            let first = read_bytes(&bytes, 1).unwrap();
            assert_eq!(first.values, values[..3]);
        }
        let doubles: Vec<u8> = [0.5f64, -2.0]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }\n";
        assert_eq!(
            read_bytes(&file(1, header, &doubles), 10).unwrap().values,
            [0.5, -2.0]
        );
    }

    #[test]
    fn other_files_are_refused_with_a_reason() {
        let with = |header: &str| read_bytes(&file(1, header, &floats(&[1.0; 4])), 10).unwrap_err();
        assert_eq!(read_bytes(b"PNG", 10).unwrap_err(), "not a `.npy` file");
        assert_eq!(
            with("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 2), }"),
            "numbers are `<i4`, not `<f4` or `<f8`"
        );
        assert_eq!(
            with("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }"),
            "columns come first; save the array in C order"
        );
        assert_eq!(
            with("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"),
            "an array of 1 dimensions, not a matrix"
        );
        assert_eq!(
            with("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 0), }"),
            "rows of 0 numbers"
        );
        assert_eq!(
            with("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 2), }"),
            "the file ends too early"
        );
        assert_eq!(
            with("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 2), }"),
            "the array is not of plain numbers"
        );
        assert_eq!(with("{}"), "the header does not say `descr`");
    }
}
