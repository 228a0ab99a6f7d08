//! `cargo xtask rest`: the scenarios of `tests/rest` against a real server.
//!
//! Every file gets a server of its own, so that scenarios neither see nor need each other. Every
//! answer is also held against the server's own OpenAPI document, and all operations of the document
//! must have been called by the end.

mod matcher;
mod openapi;
mod scenario;
mod schema;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use self::scenario::{Scenario, Scope, Step};
use self::schema::Document;
use crate::http::{Client, Response};
use crate::process::{Server, ServerOptions, review_all};
use crate::report::{self, Checks};
use crate::workspace;

const LIMIT: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(100);

/// Which scenarios.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only files whose name contains this
    #[arg(value_name = "NAME")]
    filter: Option<String>,
}

impl Arguments {
    /// All of them.
    pub(crate) fn all() -> Self {
        Self { filter: None }
    }
}

/// Runs the scenarios and returns their figures.
///
/// # Errors
/// If an answer is not as expected.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let binary = workspace::build_likeness()?;
    run_with(&binary, arguments.filter.as_deref(), &|_| Ok(Vec::new()))
}

/// Runs those scenarios whose name contains `filter` against servers of a binary. `environment` says what each server is
/// told besides, by the scenario's number.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_with(
    binary: &Path,
    filter: Option<&str>,
    environment: &dyn Fn(usize) -> anyhow::Result<Vec<(String, String)>>,
) -> anyhow::Result<Value> {
    let files = files(filter)?;
    let models = workspace::models(binary)?;
    let temporary = tempfile::tempdir().context("making a folder")?;
    let mut checks = Checks::default();
    let mut runner = Runner::default();
    let mut num_operations = 0;
    for (index, file) in files.iter().enumerate() {
        let text = std::fs::read_to_string(file).context("reading a scenario")?;
        let scenario: Scenario = serde_norway::from_str(&text)
            .with_context(|| format!("reading the scenario {}", file.display()))?;
        let options = ServerOptions {
            binary: binary.to_owned(),
            models: models.clone(),
            data: temporary.path().join(index.to_string()),
            environment: review_all()
                .into_iter()
                .chain(environment(index)?)
                .chain(scenario.environment.clone())
                .collect(),
        };
        let server = Server::start(&options)?;
        let document = server.client(LIMIT).get_json("/openapi.json")?;
        if index == 0 {
            checks.step("openapi.json is valid", openapi::check(&document));
        }
        let document = Document::new(document);
        num_operations = document.num_operations();
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        checks.step(
            &name,
            runner.scenario(&scenario, &server.client(LIMIT), &document),
        );
        checks.step(&format!("{name}: a clean stop"), server.stop());
    }
    if filter.is_none() {
        checks.that(runner.operations.len() == num_operations, || {
            format!(
                "{} of {num_operations} operations were called: {:?}",
                runner.operations.len(),
                runner.operations
            )
        });
    }
    checks.verdict("rest")?;
    Ok(json!({
        "scenarios": files.len(),
        "steps": runner.num_steps,
        "operations": runner.operations.len(),
        "checks_passed": checks.passed(),
    }))
}

fn files(filter: Option<&str>) -> anyhow::Result<Vec<PathBuf>> {
    let folder = workspace::root().join("tests/rest");
    let mut files = Vec::new();
    for entry in
        std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?
    {
        let path = entry.context("reading a folder")?.path();
        let is_wanted = filter.is_none_or(|filter| path.to_string_lossy().contains(filter));
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
            && is_wanted
        {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("no scenario in {}", folder.display());
    }
    files.sort();
    Ok(files)
}

#[derive(Default)]
struct Runner {
    num_steps: usize,
    operations: BTreeSet<String>,
}

impl Runner {
    fn scenario(
        &mut self,
        scenario: &Scenario,
        client: &Client,
        document: &Document,
    ) -> anyhow::Result<()> {
        let mut scope = Scope::new(scenario)?;
        for step in &scenario.steps {
            self.step(step, &mut scope, client, document)
                .with_context(|| format!("`{}`", step.name))?;
            self.num_steps += 1;
        }
        report::line(&format!("  ok {}", scenario.name));
        Ok(())
    }

    fn step(
        &mut self,
        step: &Step,
        scope: &mut Scope,
        client: &Client,
        document: &Document,
    ) -> anyhow::Result<()> {
        let path = scope.fill(&step.request.path)?;
        let (content_type, body) = step.request.body(scope)?;
        let mut headers = Vec::new();
        if let Some(content_type) = content_type
            && !step.request.headers.contains_key("content-type")
        {
            headers.push(("content-type".to_owned(), content_type));
        }
        for (name, value) in &step.request.headers {
            headers.push((name.clone(), scope.fill(value)?));
        }
        let borrowed: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let deadline = Instant::now() + Duration::from_secs(step.until);
        let answer = loop {
            let answer = client.send(&step.request.method, &path, &borrowed, body.clone())?;
            match compare(step, scope, &answer) {
                Ok(()) => break answer,
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => thread::sleep(RETRY),
            }
        };
        match document.operation(&step.request.method, &path) {
            Some(operation) => {
                document
                    .check(&operation, &answer)
                    .context("openapi.json")?;
                self.operations.insert(operation);
            }
            // Pages, and paths that a scenario knows not to exist.
            None if path.starts_with("/v1/") && answer.status < 400 => {
                bail!("openapi.json does not know {} {path}", step.request.method)
            }
            None => {}
        }
        for (name, place) in &step.capture {
            let value = captured(&answer, place)
                .with_context(|| format!("there is no `{place}` to capture"))?;
            scope.set(name, value);
        }
        Ok(())
    }
}

fn compare(step: &Step, scope: &Scope, answer: &Response) -> anyhow::Result<()> {
    let expect = &step.expect;
    if answer.status != expect.status {
        bail!(
            "status is {}, expected {}: {}",
            answer.status,
            expect.status,
            answer.excerpt()
        );
    }
    for (name, value) in &expect.headers {
        let expected = Value::String(scope.fill(value)?);
        let actual = answer
            .header(name)
            .map(|value| Value::String(value.to_owned()));
        if let Some(difference) = matcher::mismatch(&expected, actual.as_ref()) {
            bail!("header {name}: {difference}");
        }
    }
    if let Some(body) = &expect.body {
        let expected = scope.fill_value(body)?;
        if let Some(difference) = matcher::mismatch(&expected, Some(&answer.json()?)) {
            bail!("{difference}; the whole: {}", answer.excerpt());
        }
    }
    for text in &expect.contains {
        let text = scope.fill(text)?;
        if !String::from_utf8_lossy(&answer.body).contains(&text) {
            bail!("the body does not contain `{text}`: {}", answer.excerpt());
        }
    }
    if let Some(name) = &expect.file
        && scope.file(name)? != answer.body
    {
        bail!("the body is not the file `{name}`");
    }
    Ok(())
}

fn captured(answer: &Response, place: &str) -> Option<String> {
    if let Some(name) = place.strip_prefix("header:") {
        return answer.header(name).map(str::to_owned);
    }
    let body = answer.json().ok()?;
    match matcher::at(&body, place)? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
