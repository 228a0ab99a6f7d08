//! Long runs of the index, each with a figure at its end: the last line is one JSON object.
//!
//! ```text
//! cargo run --release -p likeness-index --example drill -- soak  --operations 1000000 --seed 1
//! cargo run --release -p likeness-index --example drill -- soak  --operations 1000000 --scheme hyperplanes
//! cargo run --release -p likeness-index --example drill -- drift --vectors 200000 --dim 256
//! cargo run --release -p likeness-index --example drill -- grow  --vectors 300000 --dim 256
//! cargo run --release -p likeness-index --example drill -- large --vectors 10000000 --dim 256 --rounds 2
//! cargo run --release -p likeness-index --example drill -- plan  --vectors 1000000 --dim 512
//! ```
//!
//! - `soak`: a random history of insertions, removals, updates, refinements, commits, crashes and reopenings,
//!   checked against a plain map. Fails if a number is lost, doubled or wrong, or if recall@10 is below 0.95.
//! - `drift`: inserts cluster by cluster, removes half, inserts other vectors, and compares recall and
//!   speed with an index built of the same vectors in random order.
//! - `grow`: lets an index grow in blocks as the pipeline does, without refinement and with it: recall, the times that
//!   readers wait for insertions and for refinement, and the rows and bytes that are written for an image. Times are
//!   the median, the 99th and the 99.99th percentile, and the largest.
//! - `large`: builds and searches a large index within memory, refines all cells that many rounds, searches again,
//!   writes rows and opens from them.
//! - `plan`: plans hyperplanes, builds what the plan says, and compares what it expected. Fails if the recall is
//!   more than a point below what was planned, or if a query takes less than half or more than twice as long.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command: figures to stdout, progress to stderr"
)]

mod drift;
mod grow;
mod large;
mod mixture;
mod plan;
mod rows;
mod soak;

use std::error::Error;

type Outcome = Result<(), Box<dyn Error>>;

const TOP_K: usize = 10;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |name: &str| match arguments.iter().position(|argument| argument == name) {
        Some(idx) => match arguments.get(idx + 1) {
            Some(value) => Ok(Some(value.as_str())),
            None => Err(format!("{name} needs a value")),
        },
        None => Ok(None),
    };
    let value = |name: &str, default: u64| -> Result<u64, Box<dyn Error>> {
        Ok(text(name)?.map_or(Ok(default), str::parse)?)
    };
    let seed = value("--seed", 1)?;
    match arguments.first().map(String::as_str) {
        Some("soak") => {
            let terms = match text("--scheme")? {
                None | Some("cells") => soak::cells(),
                Some("hyperplanes") => soak::hyperplanes(),
                Some(other) => return Err(format!("no scheme is called `{other}`").into()),
            };
            soak::soak(terms, value("--operations", 1_000_000)?, seed)
        }
        Some("drift") => drift::drift(
            value("--vectors", 200_000)? as usize,
            value("--dim", 256)? as usize,
            seed,
        ),
        Some("grow") => grow::grow(
            value("--vectors", 300_000)?,
            value("--dim", 256)? as usize,
            seed,
        ),
        Some("large") => large::large(
            value("--vectors", 10_000_000)?,
            value("--dim", 256)? as usize,
            value("--rounds", 2)?,
            seed,
        ),
        Some("plan") => plan::plan(
            value("--vectors", 1_000_000)?,
            value("--dim", 512)? as usize,
            seed,
        ),
        _ => Err(
            "usage: drill soak|drift|grow|large|plan [--operations N] [--vectors N] [--dim D] \
                  [--rounds N] [--scheme cells|hyperplanes] [--seed S]"
                .into(),
        ),
    }
}
