//! `likeness demo`: from nothing to real pictures sorted into clusters, with one command.
//!
//! What it did is kept in `demo.json` in the data directory: a second start opens what is there. A
//! demo that was stopped goes on, since ids and bytes are the same in every run.

mod collection;
mod summary;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use likeness_engine::dedup::Dedup;
use likeness_engine::dedup::view::DecisionKind;
use likeness_vision::models::catalogue;
use serde::{Deserialize, Serialize};

use super::Context;
use super::models::pull_all;
use super::serve::{Door, start_metrics};
use crate::error::Refusal;
use crate::intake::take_in;
use crate::output::note;
use crate::progress::Progress;
use crate::session::Session;
use crate::{samples, wire};

use collection::Collection;
use summary::{Known, Summary};

/// Seed of the choice of pictures and of their copies.
const SEED: u64 = 2_026;

/// Arguments of `likeness demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
The first start obtains models, photos and stickers (about 130 MB) through pip, npm and apt, makes
edited copies of some, and sorts all of them while you watch in the browser. Later starts open what
is there.

Examples:
  likeness demo
  likeness demo --data-dir /tmp/demo --images 3000
  likeness demo --exit --json | jq .quality.pair_precision")]
pub(crate) struct DemoArgs {
    /// Port of the web page; 0 takes any that is free [default: that of server.bind]
    #[arg(long)]
    port: Option<u16>,
    /// Stop after the summary instead of serving
    #[arg(long)]
    exit: bool,
    /// How many images, copies included
    #[arg(long, value_name = "N", default_value_t = 1_200, value_parser = clap::value_parser!(u64).range(100..=20_000))]
    images: u64,
    /// Whether to open the page in a browser
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = OpenPage::Auto)]
    open: OpenPage,
}

/// When a browser is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OpenPage {
    /// On a desktop, when run from a terminal
    Auto,
    /// Always
    Yes,
    /// Never
    No,
}

/// What is kept of a demo.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    version: u32,
    images: u64,
    /// Absent until all are decided.
    summary: Option<Summary>,
}

pub(crate) async fn run(args: DemoArgs, context: Context) -> anyhow::Result<()> {
    let marker = read_marker(&context.data_dir)?;
    let door = if args.exit {
        None
    } else {
        Some(Door::open(&context, None, args.port).await?)
    };
    let is_done = marker
        .as_ref()
        .is_some_and(|marker| marker.summary.is_some());
    let collection = if is_done {
        None
    } else {
        let images = marker.as_ref().map_or(args.images, |marker| marker.images);
        Some(prepare(&context, images).await?)
    };
    let render_metrics = start_metrics(&context.stop)?;
    let lines = wire::open_lines(&context).await?;
    let dedup = Arc::clone(&lines.dedup);
    let url = door.as_ref().map(|door| door.url.clone());
    let work = show(&args, &context, &dedup, marker, collection, url.as_deref());
    let outcome = match door {
        None => work.await,
        Some(door) => {
            let server = door.serve(&context, lines.clone(), render_metrics);
            let (server, work) = tokio::join!(server, async {
                let outcome = work.await;
                if outcome.is_err() {
                    context.stop.cancel(); // nothing to show
                }
                outcome
            });
            work.and(server)
        }
    };
    wire::close_lines(lines).await;
    outcome
}

/// Obtains models and pictures.
async fn prepare(context: &Context, images: u64) -> anyhow::Result<Collection> {
    let models_dir = context.models_dir.clone();
    let samples_dir = context.data_dir.join("samples");
    let limits = context.config.decode_limits();
    tokio::task::spawn_blocking(move || {
        pull_all(&models_dir, &catalogue::defaults())?;
        let pulled = samples::pull(&samples_dir, samples::demo_sets())?;
        Collection::choose(&pulled, usize::try_from(images)?, SEED, &limits)
    })
    .await?
}

/// Fills the data directory unless that was done before, and tells the result.
async fn show(
    args: &DemoArgs,
    context: &Context,
    dedup: &Arc<Dedup>,
    marker: Option<Marker>,
    collection: Option<Collection>,
    url: Option<&str>,
) -> anyhow::Result<()> {
    if let Some(url) = url {
        note(format_args!("watch at {url}"));
        open_page(args.open, url);
    }
    let summary = match collection {
        None => marker
            .and_then(|marker| marker.summary)
            .context("the demo's summary is missing")?,
        Some(collection) => {
            if marker.is_none() && dedup.decisions_end().await? > 0 {
                return Err(Refusal::Input.because(format!(
                    "`{}` holds images of yours; give the demo a folder with `--data-dir`",
                    context.data_dir.display()
                )));
            }
            let images = collection.len() as u64;
            write_marker(
                &context.data_dir,
                &Marker {
                    version: 1,
                    images: args.images,
                    summary: None,
                },
            )?;
            let summary = fill(context, dedup, collection).await?;
            let marker = Marker {
                version: 1,
                images,
                summary: Some(summary),
            };
            write_marker(&context.data_dir, &marker)?;
            marker.summary.context("was just set")?
        }
    };
    let shown = Shown {
        url,
        data_dir: context.data_dir.display().to_string(),
        summary,
    };
    context
        .output
        .show(&shown, |shown| summary::describe(&shown.summary, shown.url))
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    data_dir: String,
    #[serde(flatten)]
    summary: Summary,
}

/// Brings the collection in and compares the clusters with what is known.
async fn fill(
    context: &Context,
    dedup: &Arc<Dedup>,
    collection: Collection,
) -> anyhow::Result<Summary> {
    let session = Session::Local(Arc::clone(dedup));
    let collection = Arc::new(collection);
    let mut heads = HashMap::new();
    let started = Instant::now();
    let progress = Progress::start("images", collection.len() as u64);
    let tally = take_in(
        &session,
        Arc::clone(&collection),
        collection.items(),
        &progress,
        &context.stop,
        |decision| {
            if decision.kind != DecisionKind::Rejected {
                let head = decision.canonical_id.clone();
                heads.extend(head.map(|head| (decision.id.clone(), head)));
            }
        },
    )
    .await?;
    progress.finish();
    let seconds = started.elapsed().as_secs_f64();
    anyhow::ensure!(
        !tally.interrupted,
        "stopped before the end; start the demo again to go on"
    );
    let known: Vec<Known> = collection.known(&heads);
    let overview = dedup.overview().await?;
    Ok(Summary::new(&collection, &known, overview, tally, seconds))
}

fn marker_path(data_dir: &Path) -> PathBuf {
    data_dir.join("demo.json")
}

fn read_marker(data_dir: &Path) -> anyhow::Result<Option<Marker>> {
    let path = marker_path(data_dir);
    match std::fs::read(&path) {
        Ok(text) => {
            let marker: Marker = serde_json::from_slice(&text)
                .with_context(|| format!("`{}` is damaged; remove it", path.display()))?;
            Ok(Some(marker))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

fn write_marker(data_dir: &Path, marker: &Marker) -> anyhow::Result<()> {
    let path = marker_path(data_dir);
    let unfinished = path.with_extension("json.new");
    std::fs::write(&unfinished, serde_json::to_vec_pretty(marker)?)
        .and_then(|()| std::fs::rename(&unfinished, &path))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// Opens `url` in a browser if that is wanted. Failing is no reason to stop.
fn open_page(when: OpenPage, url: &str) {
    use std::io::IsTerminal;
    let has_desktop = cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some());
    let is_wanted = match when {
        OpenPage::Yes => true,
        OpenPage::No => false,
        OpenPage::Auto => has_desktop && std::io::stderr().is_terminal(),
    };
    if !is_wanted {
        return;
    }
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let started = std::process::Command::new(program)
        .arg(url)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    if let Err(error) = started {
        note(format_args!(
            "cannot open a browser with `{program}`: {error}"
        ));
    }
}
