//! The page of results, and the files beside it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use super::front;
use super::machine::Origin;
use super::plot;
use super::results::{Comparison, Mixed, RECALLS, Results, Run};
use super::sets::Facts;

/// A rate whose process had less of a CPU than this is marked.
const FULL_SHARE: f64 = 0.95;

const INTRODUCTION: &str = "\
# The index and its peers

Written by `cargo xtask bench index`; do not edit. All points, with their settings and latencies, are in
[index.json](index.json).

One process for each line of a table, on one CPU, with one thread. Every index gets one vector a call, in
the cheapest way that its Python package offers (likeness: a C function by ctypes); *empty call* is what
such a call takes when there is nothing to find, and is part of every time. Recall is the share of the
true ten nearest among ten answers. Every setting is tried once; those that are best, or nearly, for their
recall are then run three times over all queries, after 200 queries to warm up, and the run of median
time counts. Speeds at a recall lie on the front of the best settings, the logarithm of the speed
interpolated over that of what is missed; a dash says that no setting got there.

*Mixed* is pairs of one search and one insert: the last tenth of the set, at most 10,000 vectors, is
searched for and then inserted, each at once, into an index that holds the rest, at the fastest setting
with recall of at least 0.99; likeness does both in one pass. *Inserts* are in batches of 1,000 into an
index that grows (training not counted; ScaNN: into a full one), and one by one into a full one. *Bytes*
is how much the process grew by, with the vectors themselves. *Build* is training, inserting all, and what an
index does when there is time: likeness goes over its cells twice before it is searched, and under mixed load
asks of three vectors for each that comes in whether they are in the right cell, as the pipeline does.
A star marks a figure whose process was kept from its CPU for more than 5 % of the time.

Lists and leaves are multiples of the square root of the number of vectors.
";

/// Writes `index.md` and one plot for each set and size.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(results: &Results, folder: &Path) -> anyhow::Result<()> {
    let save = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    let mut page = INTRODUCTION.to_owned();
    aims(&mut page, results);
    for set in results.sets() {
        let runs = results.of(set);
        save(&plot_name(set), &plot::draw(set, &runs))?;
        section(&mut page, set, &runs);
    }
    save("index.md", &page)
}

fn plot_name(set: &Facts) -> String {
    format!("index-{}-{}.svg", set.name, size(set.n))
}

fn aims(page: &mut String, results: &Results) {
    put(page, format_args!("\n## Aims\n"));
    put(
        page,
        format_args!("| set | what | likeness | best other | reached | aim | |"),
    );
    put(page, format_args!("|---|---|--:|---|--:|--:|---|"));
    for set in results.sets() {
        for comparison in results.verdict(set) {
            let Comparison {
                what,
                ours,
                best,
                reached,
                aim,
                met,
            } = comparison;
            let best = best.map_or_else(
                || "–".to_owned(),
                |best| format!("{} {} ({})", number(best.value), best.contender, best.build),
            );
            put(
                page,
                format_args!(
                    "| {} {} | {what} | {} | {best} | {} | {} | {} |",
                    set.name,
                    size(set.n),
                    optional(ours),
                    optional(reached),
                    number(aim),
                    match met {
                        Some(true) => "met",
                        Some(false) => "not met",
                        None => "not compared",
                    }
                ),
            );
        }
    }
}

fn section(page: &mut String, set: &Facts, runs: &[&Run]) {
    put(page, format_args!("\n## {} {}\n", set.name, size(set.n)));
    put(
        page,
        format_args!(
            "{} vectors of {} dimensions, {}; seed {}. Recipe: {}.\n",
            number(set.n as f64),
            set.dim,
            set.metric,
            set.seed,
            set.recipe
        ),
    );
    let plot = plot_name(set);
    put(
        page,
        format_args!("![recall and queries a second]({plot})\n"),
    );
    let heads: Vec<String> = RECALLS
        .iter()
        .map(|recall| format!("queries/s at {recall}"))
        .collect();
    put(
        page,
        format_args!(
            "| index | build | {} | mixed pairs/s | inserts/s batch | one by one | bytes/vector | build s | empty call µs |",
            heads.join(" | ")
        ),
    );
    put(
        page,
        format_args!(
            "|---|---|{}--:|--:|--:|--:|--:|--:|",
            "--:|".repeat(RECALLS.len())
        ),
    );
    for run in runs {
        row(page, run);
    }
    put(page, format_args!(""));
    for run in runs {
        if let Some(speed) = run.figures.inserts_per_s_single_from_empty {
            put(
                page,
                format_args!(
                    "{} ({}) inserts {}/s one by one from empty.",
                    run.contender,
                    run.build,
                    number(speed)
                ),
            );
        }
    }
    origins(page, runs);
}

fn row(page: &mut String, run: &Run) {
    let figures = &run.figures;
    let best = front::front(&figures.points);
    let speeds: Vec<String> = RECALLS
        .iter()
        .map(|&recall| {
            let share = best.iter().find(|point| point.recall >= recall);
            let speed = optional(front::speed_at(&best, recall));
            format!(
                "{speed}{}",
                star(share.map_or(1.0, |point| point.cpu_share))
            )
        })
        .collect();
    let mixed = figures.mixed.as_ref().map_or_else(
        || "–".to_owned(),
        |Mixed {
             pairs_per_s,
             cpu_share,
             ..
         }| format!("{}{}", number(*pairs_per_s), star(*cpu_share)),
    );
    let built = star(figures.build_cpu_share);
    let single = star(figures.single_cpu_share);
    put(
        page,
        format_args!(
            "| {} | {} | {} | {mixed} | {}{built} | {}{single} | {} | {}{built} | {:.1} |",
            run.contender,
            run.build,
            speeds.join(" | "),
            number(figures.inserts_per_s_batch),
            number(figures.inserts_per_s_single),
            number(figures.bytes_per_vector),
            number(figures.build_s),
            figures.empty_call_us,
        ),
    );
}

/// Says once where each group of figures comes from.
fn origins(page: &mut String, runs: &[&Run]) {
    let mut all: Vec<&Origin> = runs.iter().map(|run| &run.origin).collect();
    all.sort();
    all.dedup();
    for origin in all {
        let mut names: Vec<String> = Vec::new();
        for run in runs.iter().filter(|run| &run.origin == origin) {
            let versions: Vec<String> = run
                .figures
                .versions
                .iter()
                .map(|(package, version)| format!("{package} {version}"))
                .collect();
            let name = if versions.is_empty() {
                run.contender.clone()
            } else {
                format!("{} ({})", run.contender, versions.join(", "))
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        put(
            page,
            format_args!(
                "\nMeasured {} at commit {} on {} by `{}`: {}.",
                origin.date,
                origin.commit,
                origin.machine,
                origin.command,
                names.join(", ")
            ),
        );
    }
}

fn star(cpu_share: f64) -> &'static str {
    if cpu_share < FULL_SHARE { "\\*" } else { "" }
}

/// Returns `200k`, `1m` or the plain number.
pub(crate) fn size(n: u64) -> String {
    match n {
        n if n % 1_000_000 == 0 => format!("{}m", n / 1_000_000),
        n if n % 1_000 == 0 => format!("{}k", n / 1_000),
        n => n.to_string(),
    }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// Returns a number with three digits at least, and thousands apart.
fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn put(page: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(page, "{what}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::super::results::Results;
    use super::super::results::tests::run;
    use super::{number, size, write};

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(123.4), "123");
        assert_eq!(number(5.0), "5.00");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(
            (size(200_000), size(1_000_000), size(1_234)),
            ("200k".to_owned(), "1m".to_owned(), "1234".to_owned())
        );
    }

    #[test]
    fn the_page_names_every_run_its_origin_and_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let mut disturbed = run("hnswlib", &[(0.96, 9_000.0)], None);
        disturbed.figures.build_cpu_share = 0.5;
        let results = Results {
            runs: vec![
                run(
                    "likeness",
                    &[(0.95, 8_000.0), (0.995, 4_000.0)],
                    Some(3_000.0),
                ),
                disturbed,
            ],
        };
        write(&results, folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join("index.md")).unwrap();
        assert!(
            page.contains("| hnswlib | default | 9,000 | – | – | 60,000\\* |"),
            "{page}"
        );
        assert!(page.contains("commit 0123456789"), "{page}");
        assert!(
            page.contains("not met") && page.contains("not compared"),
            "{page}"
        );
        assert!(folder.path().join("index-clustered-256-200k.svg").is_file());
    }
}
