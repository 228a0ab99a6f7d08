//! Files of rows and of raw events: their paths and their contents.
//!
//! ```text
//! lake/rows/<table>/date=2026-01-31/<milliseconds since 1970>-<uuid>.parquet
//! lake/raw/<topic>/date=2026-01-31/<milliseconds since 1970>-<uuid>.ndjson.gz
//! ```
//! The time in a name is when the file was written, so files sort by it, and a sweep knows their age without asking the store.

use std::io::{Read, Write};

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::schema::types::ColumnPath;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use likeness_core::lake::{Day, FileKind, LakeFile};
use likeness_core::objects::ObjectPath;
use likeness_core::table::{Column, ColumnType, Row, TableSpec};
use likeness_core::{StoreError, StoreResult, Timestamp};

use crate::STORE;
use crate::rows::{from_batch, schema, to_batch};

/// Folder of files of rows, and of raw events.
pub(crate) const FOLDERS: [&str; 2] = ["lake/rows/", "lake/raw/"];
/// Rows of a group: what a reader decodes at once, and skips by its statistics.
const GROUP_ROWS: usize = 128 << 10;
/// Share of groups that a search for a text as key reads in vain.
const KEY_FILTER_ERRORS: f64 = 0.01;
/// Rows that are turned into Arrow at once.
const BATCH_ROWS: usize = 8 << 10;

/// Returns the path of a file that is written now.
pub(crate) fn new_path(kind: FileKind, name: &str, day: Day) -> String {
    let (folder, ending) = match kind {
        FileKind::Rows => (FOLDERS[0], "parquet"),
        FileKind::Raw => (FOLDERS[1], "ndjson.gz"),
    };
    let now = Timestamp::now().0;
    let id = uuid::Uuid::now_v7().simple();
    format!("{folder}{name}/date={day}/{now:013}-{id}.{ending}")
}

/// Returns when the file at a path was written, as the path says.
pub(crate) fn written(path: &str) -> Option<Timestamp> {
    let name = path.rsplit('/').next()?;
    let digits = name.split_once('-')?.0;
    digits.parse().ok().map(Timestamp)
}

/// Returns the path of a file as the objects port takes it.
///
/// # Errors
/// `Corrupt` if a list names what is no path.
pub(crate) fn object_path(path: &str) -> StoreResult<ObjectPath> {
    ObjectPath::new(path).map_err(|error| StoreError::corrupt(STORE, path, error.to_string()))
}

/// Returns how Parquet is compressed.
pub(crate) fn compression() -> datafusion::parquet::basic::Compression {
    let level = datafusion::parquet::basic::ZstdLevel::default();
    datafusion::parquet::basic::Compression::ZSTD(level)
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::invalid(STORE, format!("cannot write Parquet: {error}"))
}

/// Writes batches one after the other, into memory.
pub(crate) struct RowsWriter {
    writer: ArrowWriter<Vec<u8>>,
    num_rows: u64,
}

impl RowsWriter {
    pub(crate) fn new(spec: &TableSpec) -> StoreResult<Self> {
        let mut properties = WriterProperties::builder()
            .set_compression(compression())
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by("likeness".to_owned());
        // Keys that are text come in no order: without a filter a search for one reads them all.
        let is_text = |column: &&Column| column.kind == ColumnType::Text;
        for column in spec.key().iter().filter(is_text) {
            let path = ColumnPath::from(column.name);
            // It shrinks to what fewer keys need.
            properties = properties
                .set_column_bloom_filter_fpp(path.clone(), KEY_FILTER_ERRORS)
                .set_column_bloom_filter_max_ndv(path, GROUP_ROWS as u64);
        }
        let properties = Some(properties.build());
        let writer = ArrowWriter::try_new(Vec::new(), schema(spec), properties).map_err(failed)?;
        Ok(Self {
            writer,
            num_rows: 0,
        })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> StoreResult<()> {
        self.num_rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(failed)
    }

    /// Returns the file, and its rows.
    pub(crate) fn finish(self) -> StoreResult<(Bytes, u64)> {
        let bytes = self.writer.into_inner().map_err(failed)?;
        Ok((bytes.into(), self.num_rows))
    }
}

/// Returns rows as a file.
///
/// # Errors
/// `Invalid` for a row that is none of the table.
pub(crate) fn encode_rows(spec: &TableSpec, rows: &[Row]) -> StoreResult<Bytes> {
    let mut writer = RowsWriter::new(spec)?;
    for rows in rows.chunks(BATCH_ROWS) {
        writer.write(&to_batch(spec, rows)?)?;
    }
    Ok(writer.finish()?.0)
}

/// Opens a file of rows.
///
/// # Errors
/// `Corrupt` if it is none.
pub(crate) fn open_rows(file: &LakeFile, bytes: Bytes) -> StoreResult<ParquetRecordBatchReader> {
    let corrupt = |error: datafusion::parquet::errors::ParquetError| {
        StoreError::corrupt(STORE, file.path.clone(), error.to_string())
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(corrupt)?;
    builder.with_batch_size(BATCH_ROWS).build().map_err(corrupt)
}

/// Returns the rows of a file.
///
/// # Errors
/// `Corrupt` if it is damaged.
pub(crate) fn decode_rows(
    spec: &TableSpec,
    file: &LakeFile,
    bytes: Bytes,
) -> StoreResult<Vec<Row>> {
    let corrupt = |reason: String| StoreError::corrupt(STORE, file.path.clone(), reason);
    let mut rows = Vec::new();
    for batch in open_rows(file, bytes)? {
        let batch = batch.map_err(|error| corrupt(error.to_string()))?;
        rows.extend(from_batch(spec, &batch).map_err(corrupt)?);
    }
    match rows.len() as u64 == file.num_rows {
        true => Ok(rows),
        false => Err(corrupt(format!(
            "{} rows instead of {}",
            rows.len(),
            file.num_rows
        ))),
    }
}

/// Returns lines as a file. Files of lines can be put one after the other.
///
/// # Errors
/// `Invalid` for a line with an end within.
pub(crate) fn encode_lines(lines: &[Bytes]) -> StoreResult<Bytes> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    for line in lines {
        if line.contains(&b'\n') {
            return Err(StoreError::invalid(STORE, "a line with an end within"));
        }
        let written = packed
            .write_all(line)
            .and_then(|()| packed.write_all(b"\n"));
        written.map_err(|error| StoreError::unavailable(STORE, error))?;
    }
    let bytes = packed.finish();
    Ok(bytes
        .map_err(|error| StoreError::unavailable(STORE, error))?
        .into())
}

/// Returns the lines of a file.
///
/// # Errors
/// `Corrupt` if it is damaged.
pub(crate) fn decode_lines(file: &LakeFile, bytes: &[u8]) -> StoreResult<Vec<Bytes>> {
    let corrupt = |reason: String| StoreError::corrupt(STORE, file.path.clone(), reason);
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes)
        .read_to_end(&mut text)
        .map_err(|error| corrupt(error.to_string()))?;
    let text = Bytes::from(text);
    let mut lines = Vec::new();
    let mut start = 0;
    for end in memchr_ends(&text) {
        lines.push(text.slice(start..end));
        start = end + 1;
    }
    if start != text.len() || lines.len() as u64 != file.num_rows {
        return Err(corrupt(format!(
            "{} lines instead of {}",
            lines.len(),
            file.num_rows
        )));
    }
    Ok(lines)
}

fn memchr_ends(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let ends = text.iter().enumerate();
    ends.filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_when_they_were_made_and_sort_by_it() {
        let day = Day::from_civil(2026, 1, 31).unwrap();
        let path = new_path(FileKind::Raw, "pins", day);
        assert!(path.starts_with("lake/raw/pins/date=2026-01-31/"), "{path}");
        let written = written(&path).unwrap();
        assert!(written <= Timestamp::now() && written.0 > 1_700_000_000_000);
        assert!(object_path(&path).is_ok());
        assert!(super::written("lake/raw/pins/other").is_none());
        let later = new_path(FileKind::Raw, "pins", day);
        assert!(later > path);
    }

    #[test]
    fn damaged_lines_are_told() {
        let lines = [Bytes::from_static(b"{}"), Bytes::from_static(b"[1]")];
        let bytes = encode_lines(&lines).unwrap();
        let mut file = LakeFile {
            path: "lake/raw/a".to_owned(),
            kind: FileKind::Raw,
            name: "pins".to_owned(),
            day: Day::default(),
            num_rows: 2,
            num_bytes: bytes.len() as u64,
            columns: Vec::new(),
        };
        assert_eq!(decode_lines(&file, &bytes).unwrap(), lines);
        assert!(decode_lines(&file, &bytes[..bytes.len() - 1]).is_err());
        let twice = [&bytes[..], &bytes[..]].concat();
        assert!(decode_lines(&file, &twice).is_err(), "too many");
        file.num_rows = 4;
        assert_eq!(decode_lines(&file, &twice).unwrap().len(), 4);
    }
}
