//! `likeness dedup`: duplicates in a folder, without a server and without keeping anything.
//!
//! Images go through the same engine as everywhere else, over stores in memory. Bytes are dropped
//! as soon as they are decided, so that memory does not grow with the folder.

mod moving;
mod plan;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use likeness_core::ImageId;
use likeness_core::objects::ObjectStore;
use likeness_engine::dedup::NewImage;

use super::Context;
use crate::config::Overrides;
use crate::error::Refusal;
use crate::files::{self, FoundFile, Unusable};
use crate::intake::{Skipped, Source, Tally, take_in};
use crate::progress::Progress;
use crate::session::Session;
use crate::wire;

use plan::{Plan, Seen};

/// Files brought in before their bytes are dropped.
const BATCH_FILES: usize = 256;
/// Bytes brought in before they are dropped.
const BATCH_BYTES: u64 = 512 << 20;

/// Arguments of `likeness dedup`.
#[derive(Debug, Args)]
#[command(after_help = "\
Writes report.html (with thumbnails), duplicates.csv and report.json. In each group of copies the
largest picture is kept, then the largest file. Nothing is changed unless `--move-to` is given; what
was moved is brought back with `--restore`.

Examples:
  likeness dedup ~/Pictures
  likeness dedup ~/Pictures --out ./report --threshold 0.9
  likeness dedup ~/Pictures --move-to ~/duplicates --yes
  likeness dedup --restore ~/duplicates/moved.json")]
pub(crate) struct DedupArgs {
    /// The folder
    #[arg(required_unless_present = "restore")]
    folder: Option<PathBuf>,
    /// Folder for the report; made if missing
    #[arg(long, value_name = "DIR", default_value = "likeness-report")]
    out: PathBuf,
    /// Score that a pair needs [default: the scorer's own]
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f32>,
    /// Move duplicates to this folder, keeping their paths below it; needs `--yes`
    #[arg(long, value_name = "DIR", requires = "yes")]
    move_to: Option<PathBuf>,
    /// Really move files
    #[arg(long, requires = "move_to")]
    yes: bool,
    /// Bring back what was moved, by the list that was written then
    #[arg(long, value_name = "FILE", conflicts_with_all = ["folder", "move_to", "threshold"])]
    restore: Option<PathBuf>,
}

impl DedupArgs {
    /// Puts the flags on top of the configuration.
    pub(super) fn configure(&self, overrides: &mut Overrides) {
        overrides.set("dedup.threshold", self.threshold);
    }
}

pub(crate) async fn run(args: DedupArgs, context: Context) -> anyhow::Result<()> {
    if let Some(list) = &args.restore {
        let restored = moving::restore(list)?;
        return context.output.show(&restored, ToString::to_string);
    }
    let folder = args.folder.context("a folder is needed")?;
    if !folder.is_dir() {
        return Err(Refusal::Missing.because(format!("`{}` is no folder", folder.display())));
    }
    let started = Instant::now();
    let out = std::path::absolute(&args.out)?;
    let found = find(&folder, &[Some(out.as_path()), args.move_to.as_deref()])?;
    if found.is_empty() {
        return Err(Refusal::Missing.because(format!("no files in `{}`", folder.display())));
    }
    let num_files = found.len();
    let (seen, skipped) = decide(&context, found).await?;
    let mut plan = Plan::new(&folder, seen, skipped, num_files);
    if let Some(target) = &args.move_to {
        plan.moved = Some(moving::move_duplicates(&plan, target)?);
    }
    plan.seconds = started.elapsed().as_secs_f64();
    let limits = context.config.decode_limits();
    let written = tokio::task::spawn_blocking(move || -> anyhow::Result<Plan> {
        report::write(&plan, &out, &limits)?;
        Ok(plan)
    })
    .await??;
    context
        .output
        .show(&written, |plan| report::summary(plan, &args.out))
}

/// Finds the files in `folder`, less those below `outside`: what an earlier run wrote.
fn find(folder: &Path, outside: &[Option<&Path>]) -> anyhow::Result<Vec<FoundFile>> {
    let outside: Vec<PathBuf> = outside
        .iter()
        .flatten()
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    let mut found = files::find(&[folder.to_owned()])?;
    let folder = folder.canonicalize()?;
    found.retain(|file| {
        let path = folder.join(&file.relative);
        !outside.iter().any(|outside| path.starts_with(outside))
    });
    Ok(found)
}

/// Runs all files through the engine, batch by batch.
async fn decide(
    context: &Context,
    found: Vec<FoundFile>,
) -> anyhow::Result<(Vec<Seen>, Vec<Skipped>)> {
    let (dedup, objects) = wire::open_in_memory(context).await?;
    let session = Session::Local(dedup);
    let progress = Progress::start("files", found.len() as u64);
    let outcome = decide_batches(context, &session, objects.as_ref(), found, &progress).await;
    progress.finish();
    session.close().await;
    outcome
}

async fn decide_batches(
    context: &Context,
    session: &Session,
    objects: &dyn ObjectStore,
    found: Vec<FoundFile>,
    progress: &Progress,
) -> anyhow::Result<(Vec<Seen>, Vec<Skipped>)> {
    let source = Arc::new(Files {
        max_bytes: context.config.limits.max_bytes.0,
    });
    let mut seen = Vec::new();
    let mut skipped = Vec::new();
    let mut numbered: Vec<(usize, FoundFile)> = found.into_iter().enumerate().collect();
    let all: Vec<FoundFile> = numbered.iter().map(|(_, file)| file.clone()).collect();
    while !numbered.is_empty() {
        let rest = numbered.split_off(batch_len(&numbered));
        let batch = std::mem::replace(&mut numbered, rest);
        let mut decisions = Vec::with_capacity(batch.len());
        let tally: Tally = take_in(
            session,
            Arc::clone(&source),
            batch,
            progress,
            &context.stop,
            |decision| decisions.push(decision.clone()),
        )
        .await?;
        anyhow::ensure!(
            !tally.interrupted,
            "stopped before the end; nothing was changed"
        );
        skipped.extend(tally.skipped);
        for decision in decisions {
            let Some(head) = &decision.canonical_id else {
                continue; // rejected: among those skipped
            };
            let view = session.image(&ImageId::new(decision.id.clone())?).await?;
            let file = all[number_of(&decision.id)?].clone();
            seen.extend(Seen::new(file, number_of(head)?, &decision, &view));
        }
        drop_bytes(objects).await?;
    }
    Ok((seen, skipped))
}

/// Returns how many of the next files make a batch; at least one.
fn batch_len(files: &[(usize, FoundFile)]) -> usize {
    let mut num_bytes = 0;
    for (place, (_, file)) in files.iter().enumerate().take(BATCH_FILES) {
        num_bytes += std::fs::metadata(&file.path).map_or(0, |metadata| metadata.len());
        if num_bytes > BATCH_BYTES {
            return place.max(1);
        }
    }
    files.len().min(BATCH_FILES)
}

/// Removes all objects: their images are decided, and the files are where they were.
async fn drop_bytes(objects: &dyn ObjectStore) -> anyhow::Result<()> {
    loop {
        let listed = objects.list("", None, BATCH_FILES).await?;
        if listed.is_empty() {
            return Ok(());
        }
        for object in listed {
            objects.delete(&object.path).await?;
        }
    }
}

/// Files under their numbers: paths can be too long for an id.
struct Files {
    max_bytes: u64,
}

impl Source for Files {
    type Item = (usize, FoundFile);

    fn name(&self, (_, file): &Self::Item) -> String {
        file.relative.clone()
    }

    fn load(&self, (number, file): &Self::Item) -> Result<NewImage, Unusable> {
        let id = ImageId::new(number.to_string())
            .map_err(|error| Unusable::Unreadable(error.to_string()))?;
        Ok(NewImage {
            id: Some(id),
            name: None,
            bytes: files::read_image(&file.path, self.max_bytes)?,
        })
    }
}

fn number_of(id: &str) -> anyhow::Result<usize> {
    id.parse()
        .with_context(|| format!("`{id}` is no number of a file"))
}
