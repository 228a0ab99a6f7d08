use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use likeness_core::ImageId;
use likeness_engine::dedup::NewImage;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Context;
use crate::error::Refusal;
use crate::files::{self, FoundFile, Unusable};
use crate::intake::{Source, Tally, take_in};
use crate::output::{Table, count};
use crate::progress::Progress;
use crate::session::with_session;
use crate::units::ByteSize;

/// Passed-over files that are listed; `--json` lists all.
const MAX_LISTED: usize = 20;

/// Arguments of `likeness ingest`.
#[derive(Debug, Args)]
#[command(after_help = "\
Running it again goes on where it was stopped: files that are stored already are recognised by their
id and bytes, and cost one read. Files that are no pictures are passed over and listed at the end.

Examples:
  likeness ingest ~/Pictures
  likeness ingest 'export/*.webp' --id-from name
  likeness ingest /mnt/photos --json | jq .skipped")]
pub(crate) struct IngestArgs {
    /// Files, folders (with all below them), or patterns such as 'a/**/*.jpg'
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What the id of an image is made from
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = IdFrom::Content)]
    id_from: IdFrom,
}

/// What an id is made from. Each is the same in every run, so a repeated run changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdFrom {
    /// Path below PATH and bytes, as a UUID: the same file is the same image, a changed file a new one
    Content,
    /// The file name
    Name,
    /// The path below PATH, with `:` between its parts
    Path,
    /// SHA-256 of the bytes: equal files are one image
    Digest,
}

#[derive(Debug, Serialize)]
struct Summary {
    files: usize,
    #[serde(flatten)]
    tally: Tally,
    seconds: f64,
    images_per_second: f64,
}

struct Files {
    id_from: IdFrom,
    max_bytes: u64,
}

impl Source for Files {
    type Item = FoundFile;

    fn name(&self, item: &FoundFile) -> String {
        item.path.display().to_string()
    }

    fn load(&self, item: &FoundFile) -> Result<NewImage, Unusable> {
        let bytes = files::read_image(&item.path, self.max_bytes)?;
        let id = self
            .id_from
            .id(&item.relative, &bytes)
            .map_err(|error| Unusable::Unreadable(error.to_string()))?;
        Ok(NewImage {
            id: Some(id),
            name: Some(item.relative.clone()),
            bytes,
        })
    }
}

pub(crate) async fn run(args: IngestArgs, context: Context) -> anyhow::Result<()> {
    let found = files::find(&expand(&args.paths)?)?;
    if found.is_empty() {
        return Err(Refusal::Missing.because("no files found"));
    }
    let files = found.len();
    let source = Arc::new(Files {
        id_from: args.id_from,
        max_bytes: context.config.limits.max_bytes.0,
    });
    let (tally, took) = with_session(&context, async |session| {
        let progress = Progress::start("files", found.len() as u64);
        let tally = take_in(session, source, found, &progress, &context.stop, |_| {}).await?;
        Ok((tally, progress.finish()))
    })
    .await?;
    let summary = Summary::new(files, tally, took);
    context.output.show(&summary, describe)?;
    if summary.tally.interrupted {
        anyhow::bail!("stopped before the end; run the same command again to go on");
    }
    Ok(())
}

impl Summary {
    fn new(files: usize, tally: Tally, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        Self {
            files,
            images_per_second: (tally.stored + tally.existed) as f64 / seconds.max(1e-9),
            tally,
            seconds,
        }
    }
}

impl IdFrom {
    /// Returns the id of a file.
    pub(crate) fn id(
        self,
        relative: &str,
        bytes: &[u8],
    ) -> Result<ImageId, likeness_core::InvalidImageId> {
        match self {
            Self::Content => ImageId::new(content_id(relative, bytes)),
            Self::Name => ImageId::new(relative.rsplit('/').next().unwrap_or(relative)),
            Self::Path => ImageId::new(relative.replace('/', ":")),
            Self::Digest => {
                ImageId::new(likeness_core::Sha256(Sha256::digest(bytes).into()).to_string())
            }
        }
    }
}

/// Returns a UUID of version 8 (RFC 9562, section 5.8) made from SHA-256 of path and bytes.
fn content_id(relative: &str, bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update((relative.len() as u64).to_be_bytes());
    hasher.update(relative.as_bytes());
    hasher.update(bytes);
    let digest = hasher.finalize();
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest[..16]);
    uuid[6] = (uuid[6] & 0x0f) | 0x80;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// Replaces patterns by the files they stand for; a path that exists is never a pattern.
fn expand(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut expanded = Vec::new();
    for path in paths {
        let text = path.to_string_lossy();
        if path.exists() || !text.contains(['*', '?', '[']) {
            expanded.push(path.clone());
            continue;
        }
        let matches = glob::glob(&text).map_err(|error| {
            Refusal::Input.because(format!("`{text}` is not a pattern: {error}"))
        })?;
        let before = expanded.len();
        for found in matches {
            expanded.push(found?);
        }
        if expanded.len() == before {
            return Err(Refusal::Missing.because(format!("no file matches `{text}`")));
        }
    }
    Ok(expanded)
}

fn describe(summary: &Summary) -> String {
    let tally = &summary.tally;
    let mut text = format!(
        "{} files: {} stored ({}), {} there already, {} passed over\n\
         {} new clusters, {} joined one; {:.1} s, {:.0} images/s",
        count(summary.files as u64),
        count(tally.stored),
        ByteSize(tally.num_bytes).rounded(),
        count(tally.existed),
        count(tally.skipped.len() as u64),
        count(tally.new_clusters),
        count(tally.joined),
        summary.seconds,
        summary.images_per_second,
    );
    if tally.waiting > 0 {
        text.push_str(&format!(
            "\n{} wait for an embedding; `likeness orphans list` shows those that wait too long",
            count(tally.waiting)
        ));
    }
    if !tally.skipped.is_empty() {
        let mut table = Table::new(["passed over", "reason"]);
        for skipped in tally.skipped.iter().take(MAX_LISTED) {
            table.row([skipped.name.clone(), skipped.reason.clone()]);
        }
        text.push_str(&format!("\n\n{table}"));
        if tally.skipped.len() > MAX_LISTED {
            text.push_str(&format!(
                "\n… and {} more; `--json` lists all",
                count((tally.skipped.len() - MAX_LISTED) as u64)
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_what_they_are_made_from_and_on_nothing_else() {
        let id = |from: IdFrom, path, bytes: &[u8]| from.id(path, bytes).unwrap().to_string();
        assert_eq!(id(IdFrom::Name, "a/b.jpg", b"x"), "b.jpg");
        assert_eq!(id(IdFrom::Path, "a/b.jpg", b"x"), "a:b.jpg");
        assert_eq!(id(IdFrom::Digest, "a", b"x"), id(IdFrom::Digest, "b", b"x"));
        let content = id(IdFrom::Content, "a/b.jpg", b"x");
        assert_eq!(content, id(IdFrom::Content, "a/b.jpg", b"x"));
        assert_ne!(content, id(IdFrom::Content, "a/c.jpg", b"x"));
        assert_ne!(content, id(IdFrom::Content, "a/b.jpg", b"y"));
        assert_eq!((content.len(), &content[14..15]), (36, "8"));
    }

    #[test]
    fn patterns_stand_for_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.jpg", "b.jpg", "c.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = expand(&[folder.path().join("*.jpg")]).unwrap();
        assert_eq!(found.len(), 2);
        let error = expand(&[folder.path().join("*.webp")]).unwrap_err();
        assert!(error.to_string().contains("no file matches"), "{error}");
    }
}
