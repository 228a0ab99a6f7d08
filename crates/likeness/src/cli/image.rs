use clap::Args;
use likeness_core::ImageId;
use likeness_engine::dedup::view::{Decision, DecisionKind, ImageStatus, ImageView};

use super::Context;
use crate::output::{count, harmless, moment};
use crate::session::with_session;

/// Arguments of `likeness image`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  likeness image 0190f3a2-…
  likeness image holiday.jpg --json")]
pub(crate) struct ImageArgs {
    /// Id of the image
    id: String,
}

pub(crate) async fn run(args: ImageArgs, context: Context) -> anyhow::Result<()> {
    let id = parse_id(args.id)?;
    let image = with_session(&context, async |session| session.image(&id).await).await?;
    context.output.show(&image, describe)
}

/// Makes an id of an argument.
pub(crate) fn parse_id(text: String) -> anyhow::Result<ImageId> {
    Ok(ImageId::new(text).map_err(likeness_engine::EngineError::from)?)
}

fn describe(image: &ImageView) -> String {
    let mut text = format!("id        {}\n", harmless(&image.id));
    let mut line = |title: &str, value: String| {
        text.push_str(&format!("{title:<9} {value}\n"));
    };
    if let Some(name) = &image.name {
        line("name", harmless(name));
    }
    line(
        "status",
        match image.status {
            ImageStatus::Pending if !image.waiting_for.is_empty() => {
                format!("waits for an embedding: {}", image.waiting_for.join(", "))
            }
            ImageStatus::Pending => "stored, not decided yet".to_owned(),
            ImageStatus::Decided => "decided".to_owned(),
            ImageStatus::Rejected => "rejected".to_owned(),
        },
    );
    line("uploaded", moment(image.uploaded_ms));
    line("bytes", count(image.num_bytes));
    line("sha256", image.sha256.clone());
    if let Some(signature) = &image.signature {
        line(
            "picture",
            format!(
                "{}×{} {}",
                signature.width, signature.height, signature.format
            ),
        );
        line(
            "pdq",
            format!("{} (quality {})", signature.pdq, signature.pdq_quality),
        );
        line("model", signature.model.clone());
    }
    if let Some(decision) = &image.decision {
        line("decision", sentence(decision));
    }
    if let Some(size) = image.cluster_size {
        line("cluster", format!("{} images now", count(size)));
    }
    if let Some(rejection) = &image.rejection {
        line(
            "rejected",
            format!("{}: {}", rejection.code, rejection.message),
        );
    }
    text.trim_end().to_owned()
}

/// Tells a decision in one sentence.
pub(crate) fn sentence(decision: &Decision) -> String {
    let head = harmless(decision.canonical_id.as_deref().unwrap_or("–"));
    match decision.kind {
        DecisionKind::NewCluster => "head of a cluster of its own".to_owned(),
        DecisionKind::Joined if decision.exact_copy => {
            format!("joined {head}: the same bytes")
        }
        DecisionKind::Joined => match decision.score {
            Some(score) => format!("joined {head}, score {score:.4}"),
            None => format!("joined {head}"),
        },
        DecisionKind::Rejected => match &decision.rejection {
            Some(rejection) => format!("rejected: {}", rejection.message),
            None => "rejected".to_owned(),
        },
    }
}
