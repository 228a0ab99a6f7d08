//! A plot of recall against speed, drawn as SVG that is readable on light and dark ground.

use std::fmt::Write as _;

use super::contenders::{Family, OURS, find};
use super::front::{Point, front, spread};
use super::results::Run;
use super::sets::Facts;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 500.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 668.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 440.0;
/// Recalls that have a line of their own; the first and the last are the edges.
const TICKS: [f64; 8] = [0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995];

/// Colours of middle lightness, told apart by those who see few of them; ours comes first.
const COLOURS: [&str; 10] = [
    "#d9480f", "#1c7ed6", "#0b7285", "#15aabf", "#5c7cfa", "#7048e8", "#2f9e44", "#82a600",
    "#c2255c", "#a87000",
];
const DASHES: [&str; 4] = ["", "7 4", "2 4", "9 4 2 4"];

/// A contender's best points over all its builds.
struct Line<'a> {
    name: &'a str,
    points: Vec<&'a Point>,
}

/// Draws one line for each contender: its front over all builds.
pub(crate) fn draw(set: &Facts, runs: &[&Run]) -> String {
    let lines = lines(runs);
    let (low, high) = range(&lines);
    let to_y = |speed: f64| BOTTOM - (speed / low).ln() / (high / low).ln() * (BOTTOM - TOP);

    let mut svg = String::new();
    head(&mut svg, set);
    for recall in TICKS {
        let x = to_x(recall);
        put(
            &mut svg,
            format_args!(r#"<path class="grid" d="M{x:.1} {TOP}V{BOTTOM}"/>"#),
        );
        let y = BOTTOM + 20.0;
        put(
            &mut svg,
            format_args!(r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{recall}</text>"#),
        );
    }
    for speed in steps().filter(|speed| (low..=high).contains(speed)) {
        let (x, y) = (LEFT - 8.0, to_y(speed));
        put(
            &mut svg,
            format_args!(r#"<path class="grid" d="M{LEFT} {y:.1}H{RIGHT}"/>"#),
        );
        let (y, text) = (y + 4.0, short(speed));
        put(
            &mut svg,
            format_args!(r#"<text x="{x}" y="{y:.1}" text-anchor="end">{text}</text>"#),
        );
    }
    for (row, line) in lines.iter().enumerate() {
        draw_line(&mut svg, line, row, &to_y);
    }
    svg.push_str("</svg>\n");
    svg
}

fn lines<'a>(runs: &[&'a Run]) -> Vec<Line<'a>> {
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&run.contender.as_str()) {
            names.push(&run.contender);
        }
    }
    names
        .into_iter()
        .map(|name| {
            let of_name = runs.iter().filter(|run| run.contender == name);
            Line {
                name,
                points: front(of_name.flat_map(|run| &run.figures.points)),
            }
        })
        .collect()
}

/// Returns 1, 2, 5, 10 and so on, to ten millions.
fn steps() -> impl DoubleEndedIterator<Item = f64> {
    (0..8).flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(decade)))
}

/// Returns the steps that enclose what is drawn; two of them if that is nothing.
fn range(lines: &[Line<'_>]) -> (f64, f64) {
    let shown = || {
        let points = lines.iter().flat_map(|line| &line.points);
        let shown = points.filter(|point| point.recall >= TICKS[0]);
        shown.map(|point| point.queries_per_s)
    };
    let (slowest, fastest) = (
        shown().fold(f64::INFINITY, f64::min),
        shown().fold(0.0, f64::max),
    );
    let low = steps().rfind(|&step| step <= slowest);
    let high = steps().find(|&step| step >= fastest);
    match (low, high) {
        (Some(low), Some(high)) if low < high => (low, high),
        _ => (100.0, 100_000.0),
    }
}

fn head(svg: &mut String, set: &Facts) {
    let title = format!("{}: {} vectors, {} dimensions", set.name, set.n, set.dim);
    put(
        svg,
        format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}: recall and queries a second">
<style>
  svg {{ background: #fff; font: 13px system-ui, sans-serif; }}
  text {{ fill: #222; }}
  .title {{ font-size: 15px; font-weight: 600; }}
  .grid {{ stroke: #8886; stroke-width: .6; fill: none; }}
  .line {{ fill: none; stroke-width: 1.8; }}
  .ours {{ stroke-width: 3.4; }}
  @media (prefers-color-scheme: dark) {{ svg {{ background: #16181c; }} text {{ fill: #ddd; }} }}
</style>
<text class="title" x="{LEFT}" y="24">{title}</text>
<text x="{middle}" y="{below}" text-anchor="middle">recall@10</text>
<text transform="translate(18 {height}) rotate(-90)" text-anchor="middle">queries/s, one thread</text>"#,
            middle = (LEFT + RIGHT) / 2.0,
            below = BOTTOM + 44.0,
            height = (TOP + BOTTOM) / 2.0,
        ),
    );
}

fn draw_line(svg: &mut String, line: &Line<'_>, row: usize, to_y: &dyn Fn(f64) -> f64) {
    let known = super::contenders::CONTENDERS;
    let index = known.iter().position(|one| one.name == line.name);
    let colour = COLOURS[index.unwrap_or(0) % COLOURS.len()];
    let dash = match find(line.name).map(|one| one.family) {
        Some(Family::Graph) => DASHES[1 + index.unwrap_or(0) % 3],
        _ => DASHES[0],
    };
    let class = if line.name == OURS {
        "line ours"
    } else {
        "line"
    };
    // What is off the left edge is of no use to anybody.
    let shown: Vec<(f64, f64)> = line
        .points
        .iter()
        .filter(|point| point.recall >= TICKS[0])
        .map(|point| (to_x(point.recall), to_y(point.queries_per_s)))
        .collect();
    let mut path = String::new();
    for (index, (x, y)) in shown.iter().enumerate() {
        let verb = if index == 0 { 'M' } else { 'L' };
        put(&mut path, format_args!("{verb}{x:.1} {y:.1}"));
    }
    let path = path.replace('\n', "");
    if !path.is_empty() {
        put(
            svg,
            format_args!(
                r#"<path class="{class}" stroke="{colour}" stroke-dasharray="{dash}" d="{path}"/>"#
            ),
        );
    }
    for (x, y) in shown {
        put(
            svg,
            format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="2.6" fill="{colour}"/>"#),
        );
    }
    let y = TOP + 14.0 + 22.0 * row as f64;
    let (from, to, text, base) = (RIGHT + 16.0, RIGHT + 46.0, RIGHT + 54.0, y + 4.0);
    put(
        svg,
        format_args!(
            r#"<path class="{class}" stroke="{colour}" stroke-dasharray="{dash}" d="M{from} {y}H{to}"/>"#
        ),
    );
    put(
        svg,
        format_args!(r#"<text x="{text}" y="{base}">{}</text>"#, line.name),
    );
}

/// Places a recall; all above the last tick stand on the right edge.
fn to_x(recall: f64) -> f64 {
    let (from, to) = (spread(TICKS[0]), spread(TICKS[TICKS.len() - 1]));
    let share = (spread(recall) - from) / (to - from);
    LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
}

fn short(speed: f64) -> String {
    if speed >= 1_000.0 {
        format!("{}k", speed / 1_000.0)
    } else {
        format!("{speed}")
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::run;
    use super::{BOTTOM, LEFT, RIGHT, TOP, draw, to_x};

    /// The coordinates of all circles.
    fn circles(svg: &str) -> Vec<(f64, f64)> {
        let number = |line: &str, name: &str| -> f64 {
            let from = line.find(name).unwrap() + name.len();
            let rest = &line[from..];
            rest[..rest.find('"').unwrap()].parse().unwrap()
        };
        svg.lines()
            .filter(|line| line.starts_with("<circle"))
            .map(|line| (number(line, "cx=\""), number(line, "cy=\"")))
            .collect()
    }

    #[test]
    fn every_contender_has_one_line_over_all_its_builds() {
        let ours = run("likeness", &[(0.95, 8_000.0), (1.0, 4_000.0)], None);
        let first = run("hnswlib", &[(0.9, 9_000.0)], None);
        let mut second = run("hnswlib", &[(0.99, 300.0), (0.5, 9_500.0)], None);
        second.build = "M=32".to_owned();
        let svg = draw(&ours.set, &[&ours, &first, &second]);
        assert_eq!(svg.matches(">hnswlib</text>").count(), 1);
        let circles = circles(&svg);
        // The point of recall 0.5 is off the plot.
        assert_eq!(circles.len(), 4);
        for (x, y) in &circles {
            assert!((LEFT..=RIGHT).contains(x) && (TOP..=BOTTOM).contains(y));
        }
        // Faster is higher, better is further right.
        assert!(circles[0].1 < circles[1].1 && circles[0].0 < circles[1].0);
        assert_eq!(svg.matches('<').count(), svg.matches('>').count());
    }

    #[test]
    fn nothing_measured_gives_an_empty_plot() {
        let none = run("likeness", &[], None);
        assert!(circles(&draw(&none.set, &[&none])).is_empty());
    }

    #[test]
    fn recall_stays_on_the_plot() {
        assert_eq!(to_x(0.1), LEFT);
        assert_eq!(to_x(1.0), RIGHT);
        assert!(to_x(0.95) < to_x(0.99));
    }
}
