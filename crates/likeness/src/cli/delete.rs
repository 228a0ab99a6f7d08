use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use likeness_core::{ImageId, Sha256};
use likeness_engine::dedup::{ErasurePlan, ErasureProof, ErasureView, NewErasure};
use serde::Serialize;
use sha2::Digest;

use super::Context;
use super::image::parse_id;
use crate::error::Refusal;
use crate::output::{Table, count, harmless, moment, note};
use crate::session::{Session, with_session};

/// Most images of one call; a longer list is refused.
const MAX_IMAGES: usize = 100_000;

/// Arguments of `likeness delete`.
#[derive(Debug, Args)]
#[command(after_help = "\
An erased image leaves its cluster, the index, every row, the log and the objects; nothing brings
it back. Kept are a tombstone with who, when and why, and the id as a name, where others hold it as
their canonical id or a correction names it. The id cannot be used again. The bytes stay if another
image has the same.

Examples:
  likeness delete holiday.jpg --reason \"the owner asked\"
  likeness delete --from ids.txt --reason \"closed account\" --yes
  likeness delete holiday.jpg --dry-run
  likeness delete holiday.jpg --prove --file holiday.jpg")]
pub(crate) struct DeleteArgs {
    /// Ids of the images
    #[arg(required_unless_present = "from")]
    ids: Vec<String>,
    /// Read ids from a file, one a line; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "ids")]
    from: Option<PathBuf>,
    /// Why they are erased; kept
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["dry_run", "prove"])]
    reason: Option<String>,
    /// Who erases them; kept [default: $USER]
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true)]
    author: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Show what would go, and erase nothing
    #[arg(long, conflicts_with_all = ["prove", "yes"])]
    dry_run: bool,
    /// Look at everything for what is left of erased images, and fail if there is anything
    #[arg(long)]
    prove: bool,
    /// The erased picture: look for its bytes, not for objects that belong to no image
    #[arg(long, value_name = "FILE", requires = "prove")]
    file: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Listed<T> {
    items: Vec<T>,
}

pub(crate) async fn run(args: DeleteArgs, context: Context) -> anyhow::Result<()> {
    let ids = match &args.from {
        Some(path) => read_ids(path)?,
        None => args.ids.clone(),
    };
    let ids: Vec<ImageId> = ids.into_iter().map(parse_id).collect::<Result<_, _>>()?;
    if args.prove {
        return prove(&ids, args.file.as_deref(), &context).await;
    }
    if args.dry_run {
        return plan(&ids, &context).await;
    }
    let reason = args.reason.context("clap asks for a reason")?;
    let author = args.author.unwrap_or_else(|| "unknown".to_owned());
    if !args.yes {
        ask(&ids)?;
    }
    let erased = with_session(&context, async |session| {
        erase(session, &ids, &author, &reason).await
    })
    .await?;
    context.output.show(&erased, |erased| {
        let lines = erased.items.iter().map(|view| {
            let (id, when) = (harmless(&view.id), moment(view.erased_ms));
            format!("{id} erased {when}")
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

async fn erase(
    session: &Session,
    ids: &[ImageId],
    author: &str,
    reason: &str,
) -> anyhow::Result<Listed<ErasureView>> {
    let mut items = Vec::with_capacity(ids.len());
    for id in ids {
        let erasure = NewErasure {
            image: id.clone(),
            author: author.to_owned(),
            reason: reason.to_owned(),
        };
        let erased = session.erase(&erasure).await;
        items.push(erased.with_context(|| {
            let (done, all) = (count(items.len() as u64), count(ids.len() as u64));
            format!("cannot erase {id}; {done} of {all} are erased")
        })?);
    }
    Ok(Listed { items })
}

async fn plan(ids: &[ImageId], context: &Context) -> anyhow::Result<()> {
    let planned = with_session(context, async |session| {
        let mut items: Vec<ErasurePlan> = Vec::with_capacity(ids.len());
        for id in ids {
            items.push(session.plan_erasure(id).await?);
        }
        Ok(Listed { items })
    })
    .await?;
    context.output.show(&planned, |planned| {
        let mut table = Table::new(["image", "cluster", "bytes", "rows", "events"]);
        for plan in &planned.items {
            table.row([
                harmless(&plan.id),
                cluster(plan),
                match plan.deletes_bytes {
                    true => count(plan.num_bytes),
                    false => format!("stay for {}", plan.shares_bytes_with.join(", ")),
                },
                count(plan.rows),
                count(plan.events),
            ]);
        }
        format!("{table}\nnothing was erased")
    })
}

fn cluster(plan: &ErasurePlan) -> String {
    match (&plan.canonical_id, &plan.new_head) {
        (None, _) => "in none".to_owned(),
        (Some(_), _) if plan.is_cluster_gone => "goes with it".to_owned(),
        (Some(cluster), Some(head)) => {
            format!("{} gets the head {}", harmless(cluster), harmless(head))
        }
        (Some(cluster), None) => format!("leaves {}", harmless(cluster)),
    }
}

async fn prove(ids: &[ImageId], file: Option<&Path>, context: &Context) -> anyhow::Result<()> {
    let sha256 = match file {
        Some(path) => {
            let bytes =
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            Some(Sha256(sha2::Sha256::digest(&bytes).into()))
        }
        None => None,
    };
    if sha256.is_some() && ids.len() > 1 {
        return Err(Refusal::Input.because("`--file` is the picture of one image: name one id"));
    }
    let proofs = with_session(context, async |session| {
        let mut items: Vec<ErasureProof> = Vec::with_capacity(ids.len());
        for id in ids {
            items.push(session.prove_erasure(id, sha256).await?);
        }
        Ok(Listed { items })
    })
    .await?;
    context.output.show(&proofs, |proofs| {
        let told: Vec<String> = proofs.items.iter().map(describe).collect();
        told.join("\n\n")
    })?;
    let failed = proofs.items.iter().filter(|proof| !proof.is_proved).count();
    if failed > 0 {
        anyhow::bail!(
            "not proved for {failed} of {}: something is left, or it was never erased",
            proofs.items.len()
        );
    }
    Ok(())
}

fn describe(proof: &ErasureProof) -> String {
    let id = harmless(&proof.id);
    let head = match &proof.erasure {
        Some(view) => format!(
            "{id}: erased {} by {}: {}",
            moment(view.erased_ms),
            harmless(&view.author),
            harmless(&view.reason)
        ),
        None => format!("{id}: never erased"),
    };
    let sum =
        |counts: &std::collections::BTreeMap<String, u64>| count(counts.values().sum::<u64>());
    let mut text = format!(
        "{head}\nlooked at {} rows of {} tables, {} events of {} topics, {} objects, an index of {} numbers\n\
         kept on purpose: {} tombstones, {} mentions of its name\nleft: {}",
        sum(&proof.rows),
        proof.rows.len(),
        sum(&proof.events),
        proof.events.len(),
        count(proof.objects),
        count(proof.indexed),
        count(proof.tombstones),
        count(proof.names),
        if proof.num_left == 0 {
            "nothing".to_owned()
        } else {
            count(proof.num_left)
        },
    );
    if !proof.shares_bytes_with.is_empty() {
        let others = proof.shares_bytes_with.join(", ");
        text.push_str(&format!("\nits bytes stay for {}", harmless(&others)));
    }
    for remains in &proof.left {
        text.push_str(&format!(
            "\n  {}: {}",
            harmless(&remains.place),
            remains.what
        ));
    }
    text
}

/// Asks whether images are to be erased.
fn ask(ids: &[ImageId]) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Refusal::Input.because("nobody is there to be asked: say `--yes` to erase"));
    }
    let what = match ids {
        [id] => harmless(id.as_str()),
        ids => format!("{} images", count(ids.len() as u64)),
    };
    note(format!(
        "Erase {what} for good? Nothing brings it back. Type `yes`:"
    ));
    std::io::stderr().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(Refusal::Input.because("nothing was erased")),
    }
}

fn read_ids(path: &Path) -> anyhow::Result<Vec<String>> {
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let file = std::fs::File::open(path);
        Box::new(file.with_context(|| format!("cannot read {}", path.display()))?)
    };
    let mut ids = Vec::new();
    for line in BufReader::new(input).lines() {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        // Spaces may be part of an id, if hardly at its ends.
        if !line.trim().is_empty() {
            ids.push(line.trim_end_matches('\r').to_owned());
        }
        if ids.len() > MAX_IMAGES {
            let limit = count(MAX_IMAGES as u64);
            return Err(Refusal::Input.because(format!("more than {limit} ids; split the file")));
        }
    }
    Ok(ids)
}
