use clap::Args;
use likeness_engine::dedup::view::{CandidateSource, CandidateView, ExplainView};

use super::Context;
use super::image::{parse_id, sentence};
use crate::output::{Table, count, harmless, moment};
use crate::session::with_session;

/// Arguments of `likeness explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Shows what the decision was made from: the candidates, their features and scores, the threshold, the
models, and the generation, as they were when it was made.

Examples:
  likeness explain holiday-copy.jpg
  likeness explain holiday-copy.jpg --json | jq '.candidates[0]'")]
pub(crate) struct ExplainArgs {
    /// Id of the image
    id: String,
}

pub(crate) async fn run(args: ExplainArgs, context: Context) -> anyhow::Result<()> {
    let id = parse_id(args.id)?;
    let explain = with_session(&context, async |session| session.explain(&id).await).await?;
    context.output.show(&explain, describe)
}

fn describe(explain: &ExplainView) -> String {
    let decision = &explain.decision;
    let table = candidate_table(&explain.candidates, explain.threshold);
    let candidates = if table.is_empty() {
        "no candidates".to_owned()
    } else {
        table.to_string()
    };
    format!(
        "{id}: {verdict}\n\
         {rule}\n\n\
         decided   {decided}, generation {generation}\n\
         model     {model}\n\
         index     {index}: {indexed} images, {found} candidates, {recent} of them too new for its cells\n\
         scorer    {scorer}: {scored} pairs scored, {threshold:.4} needed\n\n\
         {candidates}",
        id = harmless(&decision.id),
        verdict = sentence(decision),
        rule = explain.rule,
        decided = moment(decision.decided_ms),
        generation = decision.generation,
        model = explain.model,
        index = explain.index,
        indexed = count(explain.num_indexed),
        found = count(explain.num_candidates),
        recent = count(explain.num_recent),
        scorer = explain.scorer,
        scored = count(explain.num_scored),
        threshold = explain.threshold,
    )
}

/// Sets candidates as a table, best first; `*` marks those at or above the threshold.
pub(crate) fn candidate_table(candidates: &[CandidateView], threshold: f32) -> Table {
    let mut table = Table::new([
        "", "score", "cosine", "pdq", "quality", "flat", "id", "head", "found",
    ]);
    for candidate in candidates {
        let is_above = candidate.score >= threshold;
        table.row([
            if is_above { "*" } else { "" }.to_owned(),
            format!("{:.4}", candidate.score),
            format!("{:.4}", candidate.cosine),
            candidate.pdq_distance.to_string(),
            candidate.pdq_quality.to_string(),
            candidate.flat_percent.to_string(),
            candidate.id.clone(),
            if candidate.head == candidate.id {
                "itself".to_owned()
            } else {
                candidate.head.clone()
            },
            found(candidate),
        ]);
    }
    table
}

/// Says where a candidate came from, and by which view it was compared.
fn found(candidate: &CandidateView) -> String {
    let source = match candidate.source {
        CandidateSource::Index => "index",
        CandidateSource::Recent => "recent",
        CandidateSource::Head => "head",
    };
    match candidate.view {
        None => source.to_owned(),
        Some(view) => format!(
            "{source}, {} at {},{} {}×{}",
            view.in_words(),
            view.x,
            view.y,
            view.width,
            view.height
        ),
    }
}
