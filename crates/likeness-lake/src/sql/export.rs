//! Answers written whole, batch by batch.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use futures::stream;
use likeness_core::query::{ExportFormat, QueryBytes, QueryError};
use serde_json::Value;

use super::json;
use super::run::Running;

/// Rows of a group of Parquet: what is held in memory.
const GROUP_ROWS: usize = 64 << 10;

/// Begins to write an answer.
///
/// # Errors
/// If its columns cannot be written in this format.
pub(super) fn begin(running: Running, format: ExportFormat) -> Result<QueryBytes, QueryError> {
    let writer = Writer::new(format, running.schema())?;
    let parts = stream::try_unfold(Some((running, writer)), |at| async move {
        let Some((mut running, mut writer)) = at else {
            return Ok(None);
        };
        loop {
            match running.next().await {
                Some(batch) => {
                    let part = writer.write(&batch?)?;
                    if !part.is_empty() {
                        return Ok(Some((part, Some((running, writer)))));
                    }
                }
                None => return Ok(Some((writer.finish()?, None))),
            }
        }
    });
    Ok(Box::pin(parts))
}

enum Writer {
    Csv {
        head: Option<Bytes>,
    },
    Ndjson,
    Parquet {
        writer: Box<ArrowWriter<Shared>>,
        written: Shared,
    },
}

/// What was written and not taken yet.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Bytes {
        let taken = self.0.lock().map(|mut bytes| std::mem::take(&mut *bytes));
        taken.unwrap_or_default().into()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self
            .0
            .lock()
            .map_err(|_| io::Error::other("a writer panicked"))?;
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(error: impl std::fmt::Display) -> QueryError {
    QueryError::Failed(error.to_string())
}

impl Writer {
    fn new(format: ExportFormat, schema: &SchemaRef) -> Result<Self, QueryError> {
        Ok(match format {
            ExportFormat::Csv => {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let mut line = Vec::new();
                csv_line(&mut line, names);
                Self::Csv {
                    head: Some(line.into()),
                }
            }
            ExportFormat::Ndjson => Self::Ndjson,
            ExportFormat::Parquet => {
                let written = Shared::default();
                let properties = WriterProperties::builder()
                    .set_compression(crate::files::compression())
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .build();
                let schema = Arc::clone(schema);
                let writer = ArrowWriter::try_new(written.clone(), schema, Some(properties));
                Self::Parquet {
                    writer: Box::new(writer.map_err(failed)?),
                    written,
                }
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Bytes, QueryError> {
        match self {
            Self::Csv { head } => {
                let mut lines = head.take().map(Vec::from).unwrap_or_default();
                for at in 0..batch.num_rows() {
                    let cells = batch
                        .columns()
                        .iter()
                        .map(|array| json::value(array, at).map(cell));
                    let cells: Vec<String> = cells.collect::<Result<_, _>>()?;
                    csv_line(&mut lines, cells.iter().map(String::as_str));
                }
                Ok(lines.into())
            }
            Self::Ndjson => {
                let mut lines = Vec::new();
                let schema = batch.schema();
                for at in 0..batch.num_rows() {
                    // By hand: in the order of the columns, and of two with one name both.
                    let mut before = b'{';
                    for (field, array) in schema.fields().iter().zip(batch.columns()) {
                        lines.push(before);
                        before = b',';
                        serde_json::to_writer(&mut lines, field.name()).map_err(failed)?;
                        lines.push(b':');
                        let value = json::value(array, at)?;
                        serde_json::to_writer(&mut lines, &value).map_err(failed)?;
                    }
                    if before == b'{' {
                        lines.push(b'{');
                    }
                    lines.push(b'}');
                    lines.push(b'\n');
                }
                Ok(lines.into())
            }
            Self::Parquet { writer, written } => {
                writer.write(batch).map_err(failed)?;
                Ok(written.take())
            }
        }
    }

    fn finish(self) -> Result<Bytes, QueryError> {
        match self {
            Self::Csv { head } => Ok(head.unwrap_or_default()),
            Self::Ndjson => Ok(Bytes::new()),
            Self::Parquet { writer, written } => {
                writer.close().map_err(failed)?;
                Ok(written.take())
            }
        }
    }
}

/// Returns a value as a cell; nothing is an empty one, lists and objects are JSON.
fn cell(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Adds a line as RFC 4180 has it.
fn csv_line<'a>(line: &mut Vec<u8>, cells: impl Iterator<Item = &'a str>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            line.push(b',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            line.push(b'"');
            line.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            line.push(b'"');
        } else {
            line.extend_from_slice(cell.as_bytes());
        }
    }
    line.extend_from_slice(b"\r\n");
}
