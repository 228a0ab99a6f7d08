//! The report: a page with thumbnails, a table for spreadsheets, and JSON.

use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use likeness_vision::thumbnail::thumbnail_jpeg;
use likeness_vision::{DecodeLimits, decode};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plan::{Entry, Group, Plan};
use crate::files;
use crate::output::count;
use crate::progress::Progress;
use crate::units::ByteSize;

/// Longest side of a thumbnail, in pixels.
const THUMBNAIL_SIDE: u32 = 220;
/// JPEG quality of thumbnails.
const THUMBNAIL_QUALITY: u8 = 78;
/// Thumbnails in the page; further files are listed without. About 40 MB.
const MAX_THUMBNAILS: usize = 4_000;

const STYLE: &str = include_str!("report.css");

/// Writes the three files of the report to `out`. Blocks.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn write(plan: &Plan, out: &Path, limits: &DecodeLimits) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make `{}`", out.display()))?;
    let json = serde_json::to_vec_pretty(plan)?;
    let files = [
        ("report.html", page(plan, limits).into_string().into_bytes()),
        ("duplicates.csv", table(plan).into_bytes()),
        ("report.json", json),
    ];
    for (name, content) in files {
        let path = out.join(name);
        std::fs::write(&path, content)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

/// Tells the result in a few lines.
pub(super) fn summary(plan: &Plan, out: &Path) -> String {
    let mut text = format!(
        "{} pictures in {} files: {} groups of copies, {} duplicates, {} that need not be kept\n",
        count(plan.images as u64),
        count(plan.files as u64),
        count(plan.groups.len() as u64),
        count(plan.duplicates as u64),
        ByteSize(plan.duplicate_bytes).rounded(),
    );
    if !plan.skipped.is_empty() {
        text.push_str(&format!(
            "{} files passed over, listed in report.json\n",
            count(plan.skipped.len() as u64)
        ));
    }
    match &plan.moved {
        Some(moved) => text.push_str(&format!(
            "{} files moved; `likeness dedup --restore {}` brings them back\n",
            count(moved.files as u64),
            moved.list
        )),
        None => text.push_str("nothing was changed\n"),
    }
    text.push_str(&format!(
        "{:.1} s; report: {}",
        plan.seconds,
        out.join("report.html").display()
    ));
    text
}

/// Returns one row per file of a group (RFC 4180).
fn table(plan: &Plan) -> String {
    let mut text = String::from("group,keep,file,width,height,format,bytes,score,sha256\r\n");
    for (number, group) in plan.groups.iter().enumerate() {
        let kept = [(true, &group.keep)].into_iter();
        for (keep, entry) in kept.chain(group.duplicates.iter().map(|entry| (false, entry))) {
            text.push_str(&format!(
                "{},{},{},{},{},{},{},{:.4},{}\r\n",
                number + 1,
                if keep { "yes" } else { "no" },
                cell(&entry.file),
                entry.width,
                entry.height,
                entry.format,
                entry.num_bytes,
                entry.score,
                entry.sha256
            ));
        }
    }
    text
}

/// Quotes a text. A leading `=`, `+`, `-` or `@` would be a formula to a spreadsheet: a quote mark
/// before it keeps it a text.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if is_formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn page(plan: &Plan, limits: &DecodeLimits) -> Markup {
    let progress = Progress::start("thumbnails", (plan.duplicates + plan.groups.len()) as u64);
    let mut left = MAX_THUMBNAILS;
    let mut thumbnail = |entry: &Entry| {
        progress.advance(1);
        left = left.checked_sub(1)?;
        data_url(&entry.path, limits)
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Duplicates in " (plan.folder) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Duplicates in " (plan.folder) }
                    p {
                        b { (count(plan.duplicates as u64)) } " duplicates in "
                        b { (count(plan.groups.len() as u64)) } " groups; "
                        b { (ByteSize(plan.duplicate_bytes).rounded()) } " need not be kept. "
                        (count(plan.images as u64)) " pictures were compared."
                    }
                    @if let Some(moved) = &plan.moved {
                        p { (count(moved.files as u64)) " files were moved; the list is " code { (moved.list) } "." }
                    }
                }
                main {
                    @if plan.groups.is_empty() {
                        p.empty { "Every picture is there once." }
                    }
                    @for (number, group) in plan.groups.iter().enumerate() {
                        (section(number, group, &mut thumbnail))
                    }
                    @if !plan.skipped.is_empty() {
                        details {
                            summary { (count(plan.skipped.len() as u64)) " files passed over" }
                            ul {
                                @for skipped in &plan.skipped {
                                    li { code { (skipped.name) } ": " (skipped.reason) }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    progress.finish();
    page
}

fn section(
    number: usize,
    group: &Group,
    thumbnail: &mut dyn FnMut(&Entry) -> Option<String>,
) -> Markup {
    html! {
        section {
            h2 {
                "Group " (number + 1)
                small { (count(group.duplicates.len() as u64 + 1)) " files, " (ByteSize(group.duplicate_bytes()).rounded()) " to spare" }
            }
            div.files {
                (figure(&group.keep, true, thumbnail(&group.keep)))
                @for entry in &group.duplicates {
                    (figure(entry, false, thumbnail(entry)))
                }
            }
        }
    }
}

fn figure(entry: &Entry, keep: bool, thumbnail: Option<String>) -> Markup {
    html! {
        figure.keep[keep] {
            @match thumbnail {
                Some(url) => img src=(url) alt="" loading="lazy";,
                None => div.blank {},
            }
            figcaption {
                @if keep { span.badge { "keep" } }
                span.file title=(entry.file) { (entry.file) }
                span.facts {
                    (entry.width) "×" (entry.height) " " (entry.format) ", " (ByteSize(entry.num_bytes).rounded())
                    @if !keep { ", score " (format!("{:.3}", entry.score)) }
                }
            }
        }
    }
}

/// Returns the thumbnail as part of the page; `None` if the file has gone since.
fn data_url(path: &Path, limits: &DecodeLimits) -> Option<String> {
    let bytes = files::read_image(path, limits.max_bytes).ok()?;
    let decoded = decode(&bytes, limits, Some(THUMBNAIL_SIDE)).ok()?;
    let jpeg = thumbnail_jpeg(&decoded.image, THUMBNAIL_SIDE, THUMBNAIL_QUALITY);
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)))
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::seen;
    use super::*;

    fn plan() -> Plan {
        let seen = vec![seen("<b>.jpg", 0, 9), seen("=cmd(\"x\").jpg", 0, 5)];
        Plan::new(Path::new("photos & more"), seen, Vec::new(), 2)
    }

    #[test]
    fn the_table_has_a_row_per_file_and_no_formulas() {
        let expected = "group,keep,file,width,height,format,bytes,score,sha256\r\n\
            1,yes,\"<b>.jpg\",9,9,jpeg,9,1.0000,\r\n\
            1,no,\"'=cmd(\"\"x\"\").jpg\",5,5,jpeg,5,1.0000,\r\n";
        assert_eq!(table(&plan()), expected);
    }

    #[test]
    fn names_are_escaped_in_the_page() {
        let page = page(&plan(), &DecodeLimits::default()).into_string();
        assert!(page.contains("&lt;b&gt;.jpg") && !page.contains("<b>.jpg"));
        assert!(page.contains("photos &amp; more"));
    }

    #[test]
    fn the_report_is_three_files_and_thumbnails_are_in_the_page() {
        let folder = tempfile::tempdir().unwrap();
        let image = likeness_vision::RgbImage::filled(400, 300, [9, 99, 199]).unwrap();
        let mut plan = plan();
        for group in &mut plan.groups {
            for entry in group.duplicates.iter_mut().chain([&mut group.keep]) {
                entry.path = folder.path().join("picture.jpg");
                std::fs::write(&entry.path, image.encode_jpeg(80)).unwrap();
            }
        }
        let out = folder.path().join("report");
        write(&plan, &out, &DecodeLimits::default()).unwrap();
        let page = std::fs::read_to_string(out.join("report.html")).unwrap();
        assert_eq!(page.matches("data:image/jpeg;base64,").count(), 2);
        let json = std::fs::read(out.join("report.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["duplicates"], 1);
        assert!(out.join("duplicates.csv").exists());
    }
}
