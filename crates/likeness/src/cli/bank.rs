use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use likeness_core::ImageId;
use likeness_engine::dedup::{
    BankChange, BankMatchView, BankView, Command, CorrectionOutcome, CorrectionView,
    MAX_REFERENCES_AT_ONCE, NewCorrection, NewFile, NewReference, ReferenceView, ScanView,
};
use serde::Serialize;

use super::Context;
use super::correct::Why;
use super::image::parse_id;
use crate::error::Refusal;
use crate::output::{Table, moment};
use crate::progress::Progress;
use crate::session::{Session, with_session};

/// Subcommands of `likeness bank`.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  likeness bank create spam --threshold 0.9 --share 0.1 --negative --reason \"a flood of adverts\"
  likeness bank add spam advert-1.jpg advert-2.jpg --reason \"reported\"
  likeness bank set spam --share 1 --reason \"no false matches in a day\"
  likeness bank matches spam
  likeness bank scan spam")]
pub(crate) enum BankCommand {
    /// Make a bank
    Create(CreateArgs),
    /// Add reference pictures: files, or stored images
    Add(AddArgs),
    /// Remove references
    Remove(RemoveArgs),
    /// Change how alike images must be, what share takes part, or switch the bank on or off
    Set(SetArgs),
    /// List banks
    List,
    /// Show a bank and its references
    Show(ShowArgs),
    /// List the images that matched a bank
    Matches(ShowArgs),
    /// Look at the stored images for a bank; goes on where it was stopped
    Scan(ScanArgs),
    /// Delete a bank with its references
    Delete(DeleteArgs),
}

/// Arguments of `likeness bank create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Name: 1 to 64 lower-case letters, digits, `-` and `_`
    name: String,
    /// Score from 0 to 1 that an image needs with a reference
    #[arg(long, value_name = "T")]
    threshold: f32,
    /// Share of images that take part, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    share: f32,
    /// Images that match stay alone: they join nothing, and nothing joins them
    #[arg(long)]
    negative: bool,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness bank add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Name of the bank
    name: String,
    /// Picture files
    #[arg(required_unless_present = "images", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Ids of stored images, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    images: Vec<String>,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness bank remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Name of the bank
    name: String,
    /// SHA-256 of references; `likeness bank show` lists them
    #[arg(required = true, value_name = "SHA256")]
    references: Vec<String>,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness bank set`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("settings").required(true).multiple(true)))]
pub(crate) struct SetArgs {
    /// Name of the bank
    name: String,
    /// Score from 0 to 1 that an image needs with a reference
    #[arg(long, value_name = "T", group = "settings")]
    threshold: Option<f32>,
    /// Share of images that take part, 0 to 1; those that took part still do when it grows
    #[arg(long, value_name = "SHARE", group = "settings")]
    share: Option<f32>,
    /// Whether it is in force
    #[arg(long, value_name = "BOOL", group = "settings")]
    enabled: Option<bool>,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness bank show` and `matches`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Name of the bank
    name: String,
    /// Most entries to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=500))]
    limit: u64,
    /// Continue where an earlier list ended: the `next` that it gave
    #[arg(long, value_name = "TEXT")]
    cursor: Option<String>,
}

/// Arguments of `likeness bank scan`.
#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// Name of the bank
    name: String,
    /// Begin anew, for example after the threshold was changed
    #[arg(long)]
    anew: bool,
}

/// Arguments of `likeness bank delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Name of the bank
    name: String,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Serialize)]
struct BankList {
    items: Vec<BankView>,
}

#[derive(Debug, Serialize)]
struct Shown {
    bank: BankView,
    references: Vec<ReferenceView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct MatchList {
    items: Vec<BankMatchView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Added {
    /// The corrections that added them.
    corrections: Vec<CorrectionView>,
    references: u64,
}

pub(crate) async fn run(command: BankCommand, context: Context) -> anyhow::Result<()> {
    match command {
        BankCommand::Create(args) => {
            let change = BankChange::Create {
                bank: args.name,
                threshold: args.threshold,
                share: args.share,
                negative: args.negative,
            };
            one(change, args.why, context).await
        }
        BankCommand::Set(args) => {
            let change = BankChange::Set {
                bank: args.name,
                threshold: args.threshold,
                share: args.share,
                enabled: args.enabled,
            };
            one(change, args.why, context).await
        }
        BankCommand::Remove(args) => {
            let change = BankChange::Remove {
                bank: args.name,
                references: args.references,
            };
            one(change, args.why, context).await
        }
        BankCommand::Delete(args) => {
            let change = BankChange::Delete { bank: args.name };
            one(change, args.why, context).await
        }
        BankCommand::Add(args) => add(args, context).await,
        BankCommand::List => list(context).await,
        BankCommand::Show(args) => show(args, context).await,
        BankCommand::Matches(args) => matches(args, context).await,
        BankCommand::Scan(args) => scan(args, context).await,
    }
}

async fn one(change: BankChange, why: Why, context: Context) -> anyhow::Result<()> {
    let view = with_session(&context, async |session| make(session, change, &why).await).await?;
    context.output.show(&view, |view| {
        format!("bank changed by correction {}", view.sequence)
    })
}

async fn make(session: &Session, change: BankChange, why: &Why) -> anyhow::Result<CorrectionView> {
    let correction = NewCorrection {
        // Made here, so that a call whose answer is lost can be repeated.
        id: Some(ImageId::generate()),
        author: why.author.clone(),
        reason: why.reason.clone(),
        command: Command::Bank(change),
    };
    applied(session.correct(&correction).await?)
}

/// Returns a correction that was made; one that was refused is an error.
pub(super) fn applied(view: CorrectionView) -> anyhow::Result<CorrectionView> {
    if let CorrectionOutcome::Refused { code, message } = &view.outcome {
        return Err(Refusal::Input.because(format!("refused ({code}): {message}")));
    }
    Ok(view)
}

async fn add(args: AddArgs, context: Context) -> anyhow::Result<()> {
    let images: Result<Vec<ImageId>, _> = args.images.into_iter().map(parse_id).collect();
    let images = images?;
    let added = with_session(&context, async |session| {
        let mut corrections = Vec::new();
        for chunk in images.chunks(MAX_REFERENCES_AT_ONCE) {
            let references = chunk
                .iter()
                .map(|image| NewReference::Image {
                    image: image.clone(),
                })
                .collect();
            let change = BankChange::Add {
                bank: args.name.clone(),
                references,
            };
            corrections.push(make(session, change, &args.why).await?);
        }
        for path in &args.files {
            let file = NewFile {
                name: path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
                bytes: read(path, context.config.limits.max_bytes.0)?,
            };
            let (author, reason) = (&args.why.author, &args.why.reason);
            let view = session.add_file(&args.name, file, author, reason).await;
            let view = view.map_err(|error| error.context(format!("`{}`", path.display())))?;
            corrections.push(
                applied(view).map_err(|error| error.context(format!("`{}`", path.display())))?,
            );
        }
        let references = session.bank(&args.name).await?.references;
        Ok(Added {
            corrections,
            references,
        })
    })
    .await?;
    context.output.show(&added, |added| {
        format!("the bank has {} references", added.references)
    })
}

fn read(path: &Path, max_bytes: u64) -> anyhow::Result<Bytes> {
    let unreadable = |error: std::io::Error| {
        Refusal::Missing.because(format!("cannot read `{}`: {error}", path.display()))
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > max_bytes {
        return Err(Refusal::Input.because(format!(
            "`{}` has {size} bytes, more than the {max_bytes} of `limits.max_bytes`",
            path.display()
        )));
    }
    Ok(std::fs::read(path).map_err(unreadable)?.into())
}

async fn list(context: Context) -> anyhow::Result<()> {
    let items = with_session(&context, async |session| session.banks().await).await?;
    context.output.show(&BankList { items }, |list| {
        if list.items.is_empty() {
            return "no banks".to_owned();
        }
        let mut table = Table::new([
            "name",
            "kind",
            "state",
            "threshold",
            "share",
            "references",
            "matches",
        ]);
        for bank in &list.items {
            table.row([
                bank.name.clone(),
                kind(bank).to_owned(),
                state(bank).to_owned(),
                bank.threshold.to_string(),
                bank.share.to_string(),
                bank.references.to_string(),
                bank.matches.to_string(),
            ]);
        }
        table.to_string()
    })
}

fn kind(bank: &BankView) -> &'static str {
    if bank.negative { "negative" } else { "reports" }
}

fn state(bank: &BankView) -> &'static str {
    if bank.enabled { "on" } else { "off" }
}

async fn show(args: ShowArgs, context: Context) -> anyhow::Result<()> {
    let limit = usize::try_from(args.limit)?;
    let shown = with_session(&context, async |session| {
        let bank = session.bank(&args.name).await?;
        let page = session
            .bank_references(&args.name, args.cursor.as_deref(), limit)
            .await?;
        Ok(Shown {
            bank,
            references: page.items,
            next: page.next,
        })
    })
    .await?;
    context.output.show(&shown, |shown| {
        let bank = &shown.bank;
        let mut text = format!(
            "{}: {}, {}, threshold {}, share {}, {} references, {} matches",
            bank.name,
            kind(bank),
            state(bank),
            bank.threshold,
            bank.share,
            bank.references,
            bank.matches
        );
        if let Some(scan) = &bank.scan {
            text.push_str(&format!("\n{}", progress_line(scan)));
        }
        if !shown.references.is_empty() {
            let mut table = Table::new(["sha256", "name", "author", "reason", "when"]);
            for reference in &shown.references {
                let name = reference.name.as_ref().or(reference.image.as_ref());
                table.row([
                    reference.sha256.clone(),
                    name.cloned().unwrap_or_default(),
                    reference.author.clone(),
                    reference.reason.clone(),
                    moment(reference.added_ms),
                ]);
            }
            text.push_str(&format!("\n{table}"));
        }
        with_next(text, shown.next.as_deref())
    })
}

fn progress_line(scan: &ScanView) -> String {
    format!(
        "scan: {} of {} stored images, {} matches",
        scan.scanned, scan.images, scan.matches
    )
}

/// Adds how to go on.
pub(super) fn with_next(text: String, next: Option<&str>) -> String {
    match next {
        Some(next) => format!("{text}\nmore: --cursor {next}"),
        None => text,
    }
}

async fn matches(args: ShowArgs, context: Context) -> anyhow::Result<()> {
    let limit = usize::try_from(args.limit)?;
    let page = with_session(&context, async |session| {
        session
            .bank_matches(&args.name, args.cursor.as_deref(), limit)
            .await
    })
    .await?;
    let list = MatchList {
        items: page.items,
        next: page.next,
    };
    context.output.show(&list, |list| {
        if list.items.is_empty() {
            return "no matches".to_owned();
        }
        let mut table = Table::new(["image", "score", "reference", "found", "when"]);
        for found in &list.items {
            let when_found = if found.retroactive {
                "by a scan"
            } else {
                "when decided"
            };
            table.row([
                found.image.clone(),
                format!("{:.4}", found.score),
                found.reference[..12].to_owned(),
                when_found.to_owned(),
                moment(found.time_ms),
            ]);
        }
        with_next(table.to_string(), list.next.as_deref())
    })
}

async fn scan(args: ScanArgs, context: Context) -> anyhow::Result<()> {
    let stop = context.stop.clone();
    let scan = with_session(&context, async |session| {
        let mut scan = session.scan_bank(&args.name, args.anew).await?;
        let progress = Progress::start("images", scan.images);
        progress.advance(scan.scanned);
        while !scan.is_done && !stop.is_cancelled() {
            let before = scan.scanned;
            scan = session.scan_bank(&args.name, false).await?;
            progress.advance(scan.scanned.saturating_sub(before));
        }
        Ok(scan)
    })
    .await?;
    context.output.show(&scan, |scan| {
        let line = progress_line(scan);
        if scan.is_done {
            line
        } else {
            format!("{line}; stopped, the same command goes on")
        }
    })
}
