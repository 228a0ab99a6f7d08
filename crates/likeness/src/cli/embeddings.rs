use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use likeness_engine::dedup::EmbeddingOutcome;
use likeness_server::{EmbeddingBody, VectorBody};
use serde::Serialize;

use super::Context;
use super::index::npy;
use crate::error::Refusal;
use crate::output::{Table, count};
use crate::progress::Progress;
use crate::session::{Session, with_session};

/// Embeddings of one call.
const BATCH: usize = 250;
/// Longest line of a file; a longer one is an error.
const MAX_LINE_BYTES: u64 = 256 << 10;
/// Most rows of a `.npy` file; beyond it the file has to be cut up.
const MAX_ROWS: usize = 1_000_000;
/// Conflicts that are listed; `--json` lists all.
const MAX_LISTED: usize = 20;

/// Subcommands of `likeness embeddings`.
#[derive(Debug, Subcommand)]
pub(crate) enum EmbeddingsCommand {
    /// Send embeddings that another service has made
    Push(PushArgs),
}

/// Arguments of `likeness embeddings push`.
#[derive(Debug, Args)]
#[command(after_help = "\
A line of JSON has the fields image, kind, model, vector and, if need be, event_time_ms. The
vector is numbers, or base64 of little-endian f32; with \"encoding\": \"bf16\", of bf16. Running it
again sends everything again, and changes nothing. `dedup.join.kinds` of the configuration says
what is taken.

Examples:
  likeness embeddings push embeddings.ndjson
  likeness embeddings push vectors.npy --ids ids.txt --kind copy --model \"sscd-large 2\"")]
pub(crate) struct PushArgs {
    /// Lines of JSON, `-` for standard input, or a matrix as `.npy`, a row for each image
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// For a matrix: the ids of its rows, one a line
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// For a matrix: the kind
    #[arg(long, value_name = "NAME")]
    kind: Option<String>,
    /// For a matrix: the model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    stored: u64,
    existed: u64,
    conflicts: Vec<Conflict>,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Conflict {
    image: String,
    kind: String,
}

/// Where embeddings come from.
type Source = Box<dyn Iterator<Item = anyhow::Result<EmbeddingBody>> + Send>;

pub(crate) async fn run(command: EmbeddingsCommand, context: Context) -> anyhow::Result<()> {
    let EmbeddingsCommand::Push(args) = command;
    let source = open(args)?;
    let summary = with_session(&context, async |session| push(session, source).await).await?;
    context.output.show(&summary, describe)?;
    if summary.conflicts.is_empty() {
        return Ok(());
    }
    Err(Refusal::Input.because(format!(
        "{} embeddings were refused: another one is stored under their image and kind",
        summary.conflicts.len()
    )))
}

async fn push(session: &Session, source: Source) -> anyhow::Result<Summary> {
    // A stream has no length that is known; the bar counts what was sent.
    let progress = Progress::start("embeddings", 0);
    let mut summary = Summary::default();
    let mut source = source.peekable();
    let mut sent: u64 = 0;
    while source.peek().is_some() {
        let batch: Vec<EmbeddingBody> = source.by_ref().take(BATCH).collect::<Result<_, _>>()?;
        let len = batch.len() as u64;
        let receipts = session
            .push_embeddings(batch)
            .await
            .with_context(|| format!("after {} embeddings", count(sent)))?;
        for receipt in receipts {
            match receipt.outcome {
                EmbeddingOutcome::Stored => summary.stored += 1,
                EmbeddingOutcome::Existed => summary.existed += 1,
                EmbeddingOutcome::Conflict => summary.conflicts.push(Conflict {
                    image: receipt.image,
                    kind: receipt.kind,
                }),
            }
        }
        sent += len;
        progress.advance(len);
    }
    summary.seconds = progress.finish().as_secs_f64();
    Ok(summary)
}

fn open(args: PushArgs) -> anyhow::Result<Source> {
    let is_matrix = args
        .file
        .extension()
        .is_some_and(|extension| extension == "npy");
    if is_matrix {
        let (Some(ids), Some(kind), Some(model)) = (args.ids, args.kind, args.model) else {
            return Err(Refusal::Input.because("a matrix needs `--ids`, `--kind` and `--model`"));
        };
        return rows(&args.file, &ids, kind, model);
    }
    if args.ids.is_some() || args.kind.is_some() || args.model.is_some() {
        return Err(Refusal::Input.because(
            "`--ids`, `--kind` and `--model` are for a `.npy` file; lines of JSON say it themselves",
        ));
    }
    if args.file == Path::new("-") {
        return Ok(lines(
            "standard input".to_owned(),
            BufReader::new(std::io::stdin()),
        ));
    }
    let file = open_file(&args.file)?;
    Ok(lines(args.file.display().to_string(), BufReader::new(file)))
}

fn open_file(path: &Path) -> anyhow::Result<std::fs::File> {
    std::fs::File::open(path).map_err(|error| {
        Refusal::Missing.because(format!("cannot read `{}`: {error}", path.display()))
    })
}

/// Reads lines of JSON as they are asked for.
fn lines(name: String, mut reader: impl BufRead + Send + 'static) -> Source {
    let mut number = 0;
    Box::new(std::iter::from_fn(move || {
        loop {
            number += 1;
            let mut line = Vec::new();
            let fail = |reason: String| {
                Some(Err(
                    Refusal::Input.because(format!("{name}, line {number}: {reason}"))
                ))
            };
            match reader
                .by_ref()
                .take(MAX_LINE_BYTES)
                .read_until(b'\n', &mut line)
            {
                Ok(0) => return None,
                Ok(read) if read as u64 == MAX_LINE_BYTES && !line.ends_with(b"\n") => {
                    return fail(format!("longer than {MAX_LINE_BYTES} bytes"));
                }
                Ok(_) if line.iter().all(u8::is_ascii_whitespace) => {}
                Ok(_) => {
                    return match serde_json::from_slice(&line) {
                        Ok(body) => Some(Ok(body)),
                        Err(error) => fail(error.to_string()),
                    };
                }
                Err(error) => return fail(error.to_string()),
            }
        }
    }))
}

/// Reads a matrix, and the ids of its rows.
fn rows(file: &Path, ids: &Path, kind: String, model: String) -> anyhow::Result<Source> {
    let mut text = String::new();
    open_file(ids)?
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read `{}`", ids.display()))?;
    let ids: Vec<String> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(ToOwned::to_owned)
        .collect();
    let matrix = npy::read(file, MAX_ROWS + 1)
        .map_err(|error| Refusal::Input.because(format!("`{}`: {error:#}", file.display())))?;
    let n_rows = matrix.values.len() / matrix.columns;
    if n_rows > MAX_ROWS {
        return Err(Refusal::Input.because(format!(
            "`{}` has more than {MAX_ROWS} rows; cut it up",
            file.display()
        )));
    }
    if n_rows != ids.len() {
        return Err(Refusal::Input.because(format!(
            "`{}` has {n_rows} rows, and there are {} ids",
            file.display(),
            ids.len()
        )));
    }
    let npy::Matrix { columns, values } = matrix;
    let bodies = ids.into_iter().enumerate().map(move |(row, image)| {
        Ok(EmbeddingBody {
            image,
            kind: kind.clone(),
            model: model.clone(),
            vector: VectorBody::Numbers(values[row * columns..][..columns].to_vec()),
            encoding: None,
            event_time_ms: None,
        })
    });
    Ok(Box::new(bodies))
}

fn describe(summary: &Summary) -> String {
    let mut text = format!(
        "{} stored, {} there already, {} refused; {:.1} s",
        count(summary.stored),
        count(summary.existed),
        count(summary.conflicts.len() as u64),
        summary.seconds
    );
    if !summary.conflicts.is_empty() {
        let mut table = Table::new(["refused", "kind"]);
        for conflict in summary.conflicts.iter().take(MAX_LISTED) {
            table.row([conflict.image.clone(), conflict.kind.clone()]);
        }
        text.push_str(&format!("\n\n{table}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_one_by_one_and_a_bad_one_is_named() {
        let good = r#"{"image": "a", "kind": "k", "model": "m", "vector": [1, 2]}"#;
        let text = format!("{good}\n\n{good}\n{{\"image\": 1}}\n");
        let mut source = lines("f".to_owned(), std::io::Cursor::new(text.into_bytes()));
        assert_eq!(source.next().unwrap().unwrap().image, "a");
        assert_eq!(source.next().unwrap().unwrap().image, "a");
        let error = source.next().unwrap().unwrap_err().to_string();
        assert!(error.starts_with("f, line 4: "), "{error}");
        assert!(source.next().is_none());
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let text = vec![b'['; 2 * MAX_LINE_BYTES as usize];
        let mut source = lines("f".to_owned(), std::io::Cursor::new(text));
        let error = source.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("longer than"), "{error}");
    }
}
