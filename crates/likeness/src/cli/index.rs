pub(super) mod npy;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};
use likeness_index::{Costs, PlanError, PlanRequest, Setting, Spread, plan};
use serde::Serialize;

use super::Context;
use crate::error::Refusal;
use crate::output::{Table, count};

/// Rows of a sample that are looked at: enough for a million pairs of different rows.
const MAX_SAMPLE_ROWS: usize = 20_000;

/// Components of a vector, if neither a flag nor a sample says.
const DEFAULT_DIM: usize = 512;

/// Subcommands of `likeness index`.
#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Say how many terms, bits and probes a number of images needs, and what they cost
    Plan(PlanArgs),
}

/// Arguments of `likeness index plan`.
#[derive(Debug, Args)]
#[command(after_help = "\
A term is the sides of some random hyperplanes that a vector is on; near vectors share terms.
Recall is that of candidates: the share of pairs at the given cosine of which one finds the other.
The plan is the setting with the least time for one query and one insertion. The rest of the table
is the best with fewer or more probes; fewer need more terms, and so more bytes.

How many candidates there will be depends on how alike images are that have nothing to do with
each other. A sample tells; without one, that of random directions is assumed, times a factor that
is printed.

Examples:
  likeness index plan --images 1000000 --recall 0.99
  likeness index plan --images 10000000 --recall 0.95 --sample embeddings.npy --json")]
pub(crate) struct PlanArgs {
    /// Images that the index will hold
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    images: u64,
    /// Share of near-duplicates that must be among the candidates, between 0 and 1
    #[arg(long, value_name = "SHARE")]
    recall: f64,
    /// Cosine of near-duplicates for which that must hold, between 0 and 1
    #[arg(long, value_name = "COSINE", default_value_t = 0.8)]
    similarity: f64,
    /// Components of a vector [default: those of the sample, else 512]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    dim: Option<u32>,
    /// Embeddings like those to come: a matrix of floats in NumPy's format, one row each
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    /// Reckon with fixed costs instead of measuring this machine: the same plan everywhere
    #[arg(long)]
    typical_costs: bool,
}

/// A plan as it is printed.
#[derive(Debug, Serialize)]
struct PlanView {
    images: u64,
    recall: f64,
    similarity: f64,
    dim: usize,
    chosen: SettingView,
    alternatives: Vec<SettingView>,
    assumptions: Assumptions,
}

#[derive(Debug, Serialize)]
struct SettingView {
    terms: usize,
    bits: usize,
    probes: usize,
    expected_recall: f64,
    expected_candidates: f64,
    /// Matching terms below which candidates are cut off.
    least_terms: usize,
    entries_read: f64,
    query_us: f64,
    insert_us: f64,
    term_bytes_per_image: f64,
    bytes_per_image: f64,
}

#[derive(Debug, Serialize)]
struct Assumptions {
    max_candidates: usize,
    max_list: usize,
    spread: SpreadView,
    costs_measured: bool,
    costs_ns: CostsView,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum SpreadView {
    Uniform {
        excess: f64,
    },
    Sample {
        rows: usize,
        pairs: usize,
        mean_cosine: f64,
        deviation: f64,
    },
}

#[derive(Debug, Serialize)]
struct CostsView {
    rotation: f64,
    code: f64,
    flip: f64,
    bucket: f64,
    entry: f64,
    far_entry: f64,
    estimate: f64,
    exact: f64,
    push: f64,
}

pub(crate) async fn run(command: IndexCommand, context: Context) -> anyhow::Result<()> {
    let IndexCommand::Plan(args) = command;
    let view = tokio::task::spawn_blocking(move || make_plan(&args)).await??;
    context.output.show(&view, describe)
}

fn make_plan(args: &PlanArgs) -> anyhow::Result<PlanView> {
    let sample = args.sample.as_deref().map(read_sample).transpose()?;
    let asked = args.dim.map(usize::try_from).transpose()?;
    let dim = match (&sample, asked) {
        (Some(sample), Some(dim)) if sample.columns != dim => {
            return Err(Refusal::Input.because(format!(
                "rows of the sample have {} numbers, not {dim}",
                sample.columns
            )));
        }
        (Some(sample), _) => sample.columns,
        (None, asked) => asked.unwrap_or(DEFAULT_DIM),
    };
    let costs = if args.typical_costs {
        Costs::typical(dim)
    } else {
        let start = Instant::now();
        Costs::measure(dim, &|| start.elapsed())
    };
    let request = PlanRequest {
        similarity: args.similarity,
        sample: sample.as_ref().map(|sample| &sample.values[..]),
        costs,
        ..PlanRequest::new(args.images, args.recall, dim)
    };
    let plan = plan(&request).map_err(|error| {
        let message = match &error {
            PlanError::Sample(cause) => format!("{error}: {cause}"),
            _ => error.to_string(),
        };
        Refusal::Input.because(message)
    })?;
    Ok(PlanView {
        images: request.images,
        recall: request.recall,
        similarity: request.similarity,
        dim,
        chosen: plan.chosen.into(),
        alternatives: plan.alternatives.into_iter().map(Into::into).collect(),
        assumptions: Assumptions {
            max_candidates: request.max_candidates,
            max_list: request.max_list,
            spread: plan.spread.into(),
            costs_measured: !args.typical_costs,
            costs_ns: plan.costs.into(),
        },
    })
}

fn read_sample(path: &Path) -> anyhow::Result<npy::Matrix> {
    let name = path.display();
    if !path.exists() {
        return Err(Refusal::Missing.because(format!("`{name}` does not exist")));
    }
    npy::read(path, MAX_SAMPLE_ROWS)
        .map_err(|reason| Refusal::Input.because(format!("`{name}`: {reason:#}")))
}

impl From<Setting> for SettingView {
    fn from(setting: Setting) -> Self {
        Self {
            terms: setting.terms,
            bits: setting.bits,
            probes: setting.probes,
            expected_recall: setting.recall,
            expected_candidates: setting.candidates,
            least_terms: setting.least_terms,
            entries_read: setting.entries,
            query_us: setting.query_us,
            insert_us: setting.insert_us,
            term_bytes_per_image: setting.term_bytes,
            bytes_per_image: setting.bytes_per_image,
        }
    }
}

impl From<Spread> for SpreadView {
    fn from(spread: Spread) -> Self {
        match spread {
            Spread::Uniform { excess } => Self::Uniform { excess },
            Spread::Sample {
                rows,
                pairs,
                mean,
                deviation,
            } => Self::Sample {
                rows,
                pairs,
                mean_cosine: mean,
                deviation,
            },
        }
    }
}

impl From<Costs> for CostsView {
    fn from(costs: Costs) -> Self {
        Self {
            rotation: costs.rotation_ns,
            code: costs.code_ns,
            flip: costs.flip_ns,
            bucket: costs.bucket_ns,
            entry: costs.entry_ns,
            far_entry: costs.far_entry_ns,
            estimate: costs.estimate_ns,
            exact: costs.exact_ns,
            push: costs.push_ns,
        }
    }
}

fn describe(plan: &PlanView) -> String {
    let mut table = Table::new([
        "",
        "terms",
        "bits",
        "probes",
        "recall",
        "candidates",
        "entries",
        "µs/query",
        "µs/insert",
        "term bytes",
        "bytes/image",
    ]);
    let settings = [("*", &plan.chosen)]
        .into_iter()
        .chain(plan.alternatives.iter().map(|setting| ("", setting)));
    for (mark, setting) in settings {
        table.row([
            mark.to_owned(),
            setting.terms.to_string(),
            setting.bits.to_string(),
            setting.probes.to_string(),
            format!("{:.4}", setting.expected_recall),
            whole(setting.expected_candidates),
            whole(setting.entries_read),
            format!("{:.1}", setting.query_us),
            format!("{:.1}", setting.insert_us),
            whole(setting.term_bytes_per_image),
            whole(setting.bytes_per_image),
        ]);
    }
    let chosen = &plan.chosen;
    let gibibytes = chosen.bytes_per_image * plan.images as f64 / f64::from(1 << 30);
    let assumptions = &plan.assumptions;
    let spread = match &assumptions.spread {
        SpreadView::Uniform { excess } => format!(
            "strangers   as random directions in {} dimensions, {excess} times as many meet (no sample)",
            plan.dim
        ),
        SpreadView::Sample {
            rows,
            pairs,
            mean_cosine,
            deviation,
        } => format!(
            "strangers   {} random pairs of {} rows: cosine {mean_cosine:.3} ± {deviation:.3}",
            count(*pairs as u64),
            count(*rows as u64)
        ),
    };
    let costs = &assumptions.costs_ns;
    format!(
        "{table}\n\n\
         plan        {terms} terms of {bits} bits, {probes} probes: {images} images in {gibibytes:.2} GiB\n\
         recall      of pairs at cosine {similarity} or nearer; {recall} was asked for\n\
         {spread}\n\
         to use it   [dedup] index_scheme = \"hyperplanes\", index_terms = {terms}, index_bits = {bits}, index_probes = {probes}\n\
         cut         at most {max_candidates} candidates of a query, {max_list} vectors in a list\n\
         costs       {origin}, ns: rotation {rotation:.0}, code {code:.0}, flip {flip:.0}, bucket {bucket:.0}, \
         entry {entry:.1} to {far_entry:.1}, estimate {estimate:.0}, exact {exact:.0}, push {push:.0}",
        terms = chosen.terms,
        bits = chosen.bits,
        probes = chosen.probes,
        images = count(plan.images),
        similarity = plan.similarity,
        recall = plan.recall,
        max_candidates = count(assumptions.max_candidates as u64),
        max_list = count(assumptions.max_list as u64),
        origin = if assumptions.costs_measured {
            "measured just now on one core"
        } else {
            "typical"
        },
        rotation = costs.rotation,
        code = costs.code,
        flip = costs.flip,
        bucket = costs.bucket,
        entry = costs.entry,
        far_entry = costs.far_entry,
        estimate = costs.estimate,
        exact = costs.exact,
        push = costs.push,
    )
}

fn whole(number: f64) -> String {
    count(number.round() as u64)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: PlanArgs,
    }

    fn args(line: &str) -> PlanArgs {
        Line::parse_from(["plan"].into_iter().chain(line.split(' '))).args
    }

    #[test]
    fn a_plan_shows_its_price_and_what_it_rests_on() {
        let view = make_plan(&args("--images 1000000 --recall 0.95 --typical-costs")).unwrap();
        assert!(view.chosen.expected_recall >= 0.95);
        assert_eq!(view.dim, DEFAULT_DIM);
        let text = describe(&view);
        for part in [
            "µs/query",
            "1,000,000 images",
            "no sample",
            "typical, ns",
            "index_scheme = \"hyperplanes\", index_terms = ",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["assumptions"]["spread"]["uniform"]["excess"], 4.0);
    }

    #[test]
    fn a_sample_says_the_dimension() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.npy");
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (50, 16), }";
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        for idx in 0..50 * 16 {
            bytes.extend((idx as f32 * 0.37).sin().to_le_bytes());
        }
        std::fs::write(&path, bytes).unwrap();
        let line = format!(
            "--images 1000 --recall 0.9 --typical-costs --sample {}",
            path.display()
        );
        let view = make_plan(&args(&line)).unwrap();
        assert_eq!(view.dim, 16);
        assert!(describe(&view).contains("1,225 random pairs of 50 rows"));
        let error = make_plan(&args(&format!("{line} --dim 17"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rows of the sample have 16 numbers, not 17"
        );
    }

    #[test]
    fn what_cannot_be_planned_is_refused() {
        let error = |line: &str| make_plan(&args(line)).unwrap_err().to_string();
        assert_eq!(
            error("--images 1000 --recall 1.5 --typical-costs"),
            "recall must be above 0 and below 1"
        );
        assert_eq!(
            error("--images 1000 --recall 0.9 --sample nowhere.npy"),
            "`nowhere.npy` does not exist"
        );
        assert!(
            error("--images 1000000000 --recall 0.999 --similarity 0.1 --typical-costs")
                .starts_with("no setting of at most 64 terms")
        );
    }
}
