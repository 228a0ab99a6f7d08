//! `cargo xtask browser`: the pages in a real Chromium, by mouse and keyboard, light and dark, wide
//! and narrow, with and without content. Screenshots go to `target/screenshots`.

mod banks;
mod jobs;
mod pages;
mod pins;
mod review;
mod sql;
mod webdriver;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use self::webdriver::Browser;
use crate::formats::jpeg;
use crate::pictures::{NUM_EDITS, Picture};
use crate::process::{Server, ServerOptions, review_all};
use crate::report::{self, Checks};
use crate::workspace;

const LIMIT: Duration = Duration::from_secs(60);
/// Pictures, each with a number of copies of its own.
const NUM_PICTURES: usize = 14;

/// Runs the browser test and returns its figures.
///
/// # Errors
/// If a page is not as it should be.
pub(crate) fn run() -> anyhow::Result<Value> {
    let binary = workspace::build_likeness()?;
    let models = workspace::models(&binary)?;
    let temporary = tempfile::tempdir().context("making a folder")?;
    let screenshots = workspace::root().join("target/screenshots");
    std::fs::create_dir_all(&screenshots).context("making the folder of screenshots")?;
    let server = Server::start(&ServerOptions {
        binary,
        models,
        data: temporary.path().join("data"),
        // A kind that nothing waits for, so that there can be orphans and all else is as ever.
        environment: review_all()
            .into_iter()
            .chain([(
                "LIKENESS__DEDUP__JOIN__KINDS".to_owned(),
                r#"[{name="copy", model="elsewhere 1", dimension=2}]"#.to_owned(),
            )])
            .collect(),
    })?;
    let upload = temporary.path().join("captioned.png");
    std::fs::write(&upload, picture(1).edited(4).png()).context("writing a picture")?;

    let mut visit = Visit {
        browser: Browser::start(1280, 900)?,
        server,
        screenshots,
        upload,
        checks: Checks::default(),
        num_screenshots: 0,
    };
    let empty = pages::EMPTY.iter().chain(banks::EMPTY).chain(pins::EMPTY);
    for (name, step) in empty.chain(sql::EMPTY) {
        visit.step(name, *step);
    }
    fill(&visit.server)?;
    let filled = banks::FILLED.iter().chain(pins::STEPS).chain(sql::STEPS);
    for (name, step) in filled.chain(pages::FILLED).chain(review::STEPS) {
        visit.step(name, *step);
    }
    let Visit {
        browser,
        server,
        checks,
        num_screenshots,
        screenshots,
        ..
    } = visit;
    drop(browser);
    server.stop()?;
    checks.verdict("browser")?;
    Ok(json!({
        "checks_passed": checks.passed(),
        "screenshots": num_screenshots,
        "folder": screenshots,
    }))
}

/// What a step works with.
#[derive(Debug)]
struct Visit {
    browser: Browser,
    server: Server,
    screenshots: PathBuf,
    /// A file for the upload page: a copy of a picture that is stored.
    upload: PathBuf,
    checks: Checks,
    num_screenshots: usize,
}

impl Visit {
    /// Runs a step; then the console must be silent. A failure is shown by a screenshot.
    fn step(&mut self, name: &'static str, step: fn(&mut Self) -> anyhow::Result<()>) {
        let outcome = step(self).and_then(|()| self.silent_console());
        let failed = outcome.is_err();
        self.checks.step(name, outcome);
        if failed {
            let path = self.screenshots.join("failed.png");
            if self.browser.screenshot(&path).is_ok() {
                report::line(&format!("  see {}", path.display()));
            }
        } else {
            report::line(&format!("  ok {name}"));
        }
        // What a failed step left in the console is not the next one's fault.
        self.browser.console().ok();
    }

    fn silent_console(&self) -> anyhow::Result<()> {
        let messages = self.browser.console()?;
        anyhow::ensure!(messages.is_empty(), "the console says {messages:?}");
        Ok(())
    }

    fn open(&self, path: &str) -> anyhow::Result<()> {
        self.browser
            .visit(&format!("{}{path}", self.server.url()))?;
        self.browser.wait("document.readyState === 'complete'")
    }

    /// Waits until a JavaScript expression is true.
    fn wait(&self, expression: &str) -> anyhow::Result<()> {
        self.browser.wait(expression)
    }

    fn screenshot(&mut self, name: &str) -> anyhow::Result<()> {
        // Every picture in view has been loaded, or the page is not what a person sees.
        self.wait(
            "[...document.images].every((image) => image.complete || image.loading === 'lazy' \
             && image.getBoundingClientRect().top > innerHeight)",
        )?;
        self.browser
            .screenshot(&self.screenshots.join(format!("{name}.png")))?;
        self.num_screenshots += 1;
        Ok(())
    }
}

fn picture(index: usize) -> Picture {
    Picture::distinct(index, 480, 360)
}

/// Stores pictures with copies, so that clusters have one to seven members, and one that is rejected
/// if the server takes it in at all.
fn fill(server: &Server) -> anyhow::Result<()> {
    let client = server.client(LIMIT);
    for index in 0..NUM_PICTURES {
        let original = picture(index);
        let num_edits = index % (NUM_EDITS + 1);
        let mut files = vec![("original".to_owned(), jpeg::baseline(&original))];
        files.extend(
            (0..num_edits).map(|edit| (format!("edit-{edit}"), original.edited(edit).png())),
        );
        for (name, bytes) in files {
            let id = format!("picture-{index:02}-{name}");
            let answer = client.upload(&id, &format!("{id}.png"), &bytes, true)?;
            anyhow::ensure!(
                answer.status == 200,
                "`{id}`: {} {}",
                answer.status,
                answer.excerpt()
            );
        }
    }
    Ok(())
}
