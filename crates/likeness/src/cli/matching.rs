use std::path::PathBuf;

use clap::Args;
use likeness_engine::dedup::view::MatchView;
use serde::Serialize;

use super::Context;
use super::explain::candidate_table;
use crate::error::Refusal;
use crate::files;
use crate::output::harmless;
use crate::session::with_session;

/// Arguments of `likeness match`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is stored. With `--json`, one object per file and line.

Examples:
  likeness match suspicious.jpg
  likeness match *.png --limit 3 --json | jq -r 'select(.match.canonical_id) | .file'")]
pub(crate) struct MatchArgs {
    /// Picture files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Most matches to show for a file
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    limit: u64,
}

#[derive(Debug, Serialize)]
struct Answer {
    file: String,
    r#match: MatchView,
}

pub(crate) async fn run(args: MatchArgs, context: Context) -> anyhow::Result<()> {
    let limit = usize::try_from(args.limit)?;
    let max_bytes = context.config.limits.max_bytes.0;
    with_session(&context, async |session| {
        for path in &args.files {
            let file = path.display().to_string();
            if !path.exists() {
                return Err(Refusal::Missing.because(format!("`{file}` does not exist")));
            }
            let reading = path.clone();
            let bytes = tokio::task::spawn_blocking(move || files::read_image(&reading, max_bytes))
                .await?
                .map_err(|reason| Refusal::Input.because(format!("`{file}`: {reason}")))?;
            let answer = Answer {
                r#match: session.match_image(bytes, limit).await?,
                file,
            };
            context.output.show(&answer, describe)?;
        }
        Ok(())
    })
    .await
}

fn describe(answer: &Answer) -> String {
    let found = &answer.r#match;
    let verdict = match &found.canonical_id {
        Some(head) => format!("a copy of {}", harmless(head)),
        None => format!("nothing like it (no score reaches {:.4})", found.threshold),
    };
    let table = candidate_table(&found.matches, found.threshold);
    let candidates = if table.is_empty() {
        String::new()
    } else {
        format!("\n{table}")
    };
    format!(
        "{}: {verdict} ({:.0} ms){candidates}",
        harmless(&answer.file),
        found.took_ms
    )
}
