//! `cargo xtask remote-scorer`: scores by a real model server that speaks the Open Inference Protocol.
//!
//! MLServer serves the regression's file (`xtask/remote_scorer/pairs.py`). Two servers get the same pictures, one
//! of which scores in its own process: decisions and scores must be the same. MLServer is killed in the middle and
//! started again: images must wait meanwhile, visibly, and be decided as if nothing had happened. A model of another
//! form must be refused at the start, and one that answers nonsense must decide nothing.

mod model_server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::http::Client;
use crate::pictures::Picture;
use crate::process::{self, Server, ServerOptions};
use crate::report::Checks;
use crate::workspace;
use model_server::{ModelServer, Served};

const LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);
/// Pictures, each with this many copies.
const NUM_PICTURES: usize = 12;
const NUM_COPIES: usize = 4;
/// Images that are decided before the model server is killed, and those that are on their way then.
const DECIDED: usize = 25;
const ON_THEIR_WAY: usize = 10;
/// How long an image that must not be decided is watched.
const WATCHED: Duration = Duration::from_secs(3);
/// The largest difference of two scores that is not one: the last bits of two exponentials.
const TOLERANCE: f64 = 1e-6;
/// Name and version of the model, as decisions give them.
const SCORER_ID: &str = "oip:pairs/3";
/// What MLServer computes, and the server that it is compared with.
const SCORER: &str = "crates/likeness-engine/src/dedup/scorer_v3.json";

/// What every server is started with.
#[derive(Debug)]
struct Stage {
    binary: PathBuf,
    models: PathBuf,
    folder: PathBuf,
    threshold: String,
}

impl Stage {
    /// Returns how to start a server with a scorer and a data folder of this name.
    fn options(&self, data: &str, scorer: &str) -> ServerOptions {
        let environment = [("SCORER", scorer), ("THRESHOLD", &self.threshold)];
        ServerOptions {
            binary: self.binary.clone(),
            models: self.models.clone(),
            data: self.folder.join(data),
            environment: environment
                .map(|(key, value)| (format!("LIKENESS__DEDUP__{key}"), value.to_owned()))
                .to_vec(),
        }
    }
}

/// Runs the comparison and returns its figures.
///
/// # Errors
/// If a decision differs, an image is lost or doubled, or a wrong model is taken.
pub(crate) fn run() -> anyhow::Result<Value> {
    let binary = workspace::build_likeness()?;
    let temporary = tempfile::tempdir().context("making a folder")?;
    let stage = Stage {
        models: workspace::models(&binary)?,
        binary,
        folder: temporary.path().to_owned(),
        threshold: threshold()?,
    };
    let served = Served::prepare(&temporary.path().join("served"))?;
    let model_server = served.start()?;
    let mut checks = Checks::default();

    refuse_wrong_models(&stage, &served, &mut checks)?;
    for model in ["not-numbers", "too-few"] {
        let outcome = decide_nothing(&stage, &served, model);
        checks.step(&format!("`{model}` decides nothing"), outcome);
    }
    let figures = compare_and_kill(&stage, &served, model_server, &mut checks)?;
    checks.verdict("remote-scorer")?;
    Ok(json!({
        "images": figures.images,
        "candidates_compared": figures.compared.candidates,
        "largest_score_difference": figures.compared.difference,
        "tolerance": TOLERANCE,
        "waiting_while_away": figures.waiting,
        "seconds_away": figures.seconds_away,
        "checks_passed": checks.passed(),
    }))
}

/// Starts `likeness` with models of another form, and with none: each is refused with an exit code and a reason.
fn refuse_wrong_models(stage: &Stage, served: &Served, checks: &mut Checks) -> anyhow::Result<()> {
    let nobody = format!("oip:http://127.0.0.1:{}/pairs", free_port()?);
    for (scorer, code, reason) in [
        (served.address("wrong-shape"), 4, "[-1, 4], not [-1, 5]"),
        (
            served.address("wrong-datatype"),
            4,
            "takes `FP64`, not `FP32`",
        ),
        (served.address("couples"), 4, "has no model `couples`"),
        (nobody, 5, "is unavailable"),
    ] {
        let ServerOptions {
            data, environment, ..
        } = stage.options("refused", &scorer);
        let mut command = Command::new(&stage.binary);
        command
            .args(["serve", "--port", "0", "--data-dir"])
            .arg(&data)
            .env("LIKENESS_MODELS", &stage.models)
            .envs(environment);
        let output = process::output(command, LIMIT)?;
        let (status, said) = (output.code, output.stderr.trim());
        checks.that(status == Some(code) && said.contains(reason), || {
            format!("`{scorer}` ended with {status:?}, not {code} and `{reason}`: {said}")
        });
    }
    Ok(())
}

/// Gives a server whose model answers nonsense an image and a copy of it: the copy waits, and is decided once the
/// data are opened with the right model.
fn decide_nothing(stage: &Stage, served: &Served, model: &str) -> anyhow::Result<()> {
    let files = files();
    let server = Server::start(&stage.options(model, &served.address(model)))?;
    // The first one has nothing to be compared with.
    store(&server, &files[..1], true)?;
    store(&server, &files[1..2], false)?;
    let client = server.client(LIMIT);
    wait_unready(&client)?;
    thread::sleep(WATCHED);
    let overview = client.get_json("/v1/overview")?;
    ensure!(
        overview["images"] == 1 && overview["pending"] == 1,
        "{} are decided and {} wait",
        overview["images"],
        overview["pending"]
    );
    server.stop()?;
    let server = Server::start(&stage.options(model, &served.address("pairs")))?;
    let client = server.client(LIMIT);
    wait_decided(&client, 2)?;
    let copy = client.get_json(&format!("/v1/images/{}/explain", files[1].0))?;
    ensure!(
        copy["decision"]["canonical_id"] == files[0].0.as_str() && copy["scorer"] == SCORER_ID,
        "decided as {}",
        copy["decision"]
    );
    server.stop()
}

#[derive(Debug)]
struct Figures {
    images: usize,
    compared: Compared,
    waiting: u64,
    seconds_away: f64,
}

/// Lets a server score elsewhere and one in its own process, kills the model server while images are on their way,
/// and starts it again.
fn compare_and_kill(
    stage: &Stage,
    served: &Served,
    model_server: ModelServer,
    checks: &mut Checks,
) -> anyhow::Result<Figures> {
    let scorer = workspace::root().join(SCORER);
    let local = Server::start(&stage.options("local", &scorer.to_string_lossy()))?;
    let remote = Server::start(&stage.options("remote", &served.address("pairs")))?;
    let all = files();
    let (decided, rest) = all.split_at(DECIDED);
    let (on_their_way, later) = rest.split_at(ON_THEIR_WAY);
    store(&local, &all, true)?;
    store(&remote, decided, true)?;
    let same = compare(&local, &remote, decided).map(|_| ());
    checks.step("the same decisions and scores", same);

    store(&remote, on_their_way, false)?;
    drop(model_server);
    let away = Instant::now();
    store(&remote, later, false)?;
    let client = remote.client(LIMIT);
    checks.step("the wait is visible", wait_unready(&client));
    let overview = client.get_json("/v1/overview")?;
    let waiting = overview["pending"].as_u64().unwrap_or(0);
    checks.that(waiting >= later.len() as u64, || {
        format!(
            "{waiting} wait, though {} came while it was away",
            later.len()
        )
    });

    let model_server = served.start()?;
    let seconds_away = away.elapsed().as_secs_f64();
    checks.step("all are decided", wait_decided(&client, all.len()));
    checks.step("and it is ready again", wait_ready(&client));
    let compared = compare(&local, &remote, &all)?;
    let (here, there) = (clusters(&local)?, clusters(&remote)?);
    checks.that(here == there, || {
        format!("{here} images and clusters here, {there} there")
    });
    checks.step("each is decided once", decided_once(&remote, &all));

    // What was decided is there without the model.
    drop(model_server);
    let id = &all[1].0;
    let kept = client.get_json(&format!("/v1/images/{id}/explain"))?;
    checks.that(!scores(&kept).is_empty(), || {
        "no scores are kept".to_owned()
    });
    local.stop()?;
    remote.stop()?;
    Ok(Figures {
        images: all.len(),
        compared,
        waiting,
        seconds_away,
    })
}

/// Returns the scorer's threshold as text.
fn threshold() -> anyhow::Result<String> {
    let text = std::fs::read_to_string(workspace::root().join(SCORER)).context(SCORER)?;
    let spec: Value = serde_json::from_str(&text).context(SCORER)?;
    Ok(spec["threshold"].to_string())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A picture's id and bytes.
type Named = (String, Vec<u8>);

/// Pictures and their copies, in the order in which they come.
fn files() -> Vec<Named> {
    let mut files = Vec::new();
    for index in 0..NUM_PICTURES {
        let original = Picture::distinct(index, 480, 360);
        files.push((format!("picture-{index:02}"), original.png()));
        for edit in 0..NUM_COPIES {
            let copy = original.edited(edit).png();
            files.push((format!("picture-{index:02}-edit-{edit}"), copy));
        }
    }
    files
}

fn store(server: &Server, files: &[Named], waits: bool) -> anyhow::Result<()> {
    let client = server.client(LIMIT);
    for (id, bytes) in files {
        let answer = client.upload(id, &format!("{id}.png"), bytes, waits)?;
        let wanted = if waits { 200 } else { 202 };
        ensure!(
            answer.status == wanted,
            "`{id}`: {} {}",
            answer.status,
            answer.excerpt()
        );
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Compared {
    candidates: usize,
    difference: f64,
}

/// Compares the decisions about images, and the scores of candidates that both have looked at.
fn compare(local: &Server, remote: &Server, files: &[Named]) -> anyhow::Result<Compared> {
    let mut compared = Compared::default();
    for (id, _) in files {
        let path = format!("/v1/images/{id}/explain");
        let here = local.client(LIMIT).get_json(&path)?;
        let there = remote.client(LIMIT).get_json(&path)?;
        for field in ["kind", "canonical_id", "number"] {
            let (here, there) = (&here["decision"][field], &there["decision"][field]);
            ensure!(
                here == there,
                "`{id}`: {field} is {here} here and {there} there"
            );
        }
        ensure!(
            there["scorer"] == SCORER_ID,
            "`{id}` was scored by {}",
            there["scorer"]
        );
        let there = scores(&there);
        for (candidate, score) in scores(&here) {
            let Some(other) = there.get(&candidate) else {
                continue;
            };
            compared.candidates += 1;
            compared.difference = compared.difference.max((score - other).abs());
        }
    }
    ensure!(compared.candidates > 0, "no candidates to compare");
    ensure!(
        compared.difference <= TOLERANCE,
        "scores differ by {}",
        compared.difference
    );
    Ok(compared)
}

fn scores(explanation: &Value) -> BTreeMap<String, f64> {
    let candidates = explanation["candidates"].as_array();
    let candidates = candidates.map(Vec::as_slice).unwrap_or_default();
    candidates
        .iter()
        .filter_map(|it| Some((it["id"].as_str()?.to_owned(), it["score"].as_f64()?)))
        .collect()
}

/// Returns the numbers of images and clusters.
fn clusters(server: &Server) -> anyhow::Result<Value> {
    let overview = server.client(LIMIT).get_json("/v1/overview")?;
    Ok(json!([overview["images"], overview["clusters"]]))
}

/// Checks that every image has a number of its own, and that there are no others.
fn decided_once(server: &Server, files: &[Named]) -> anyhow::Result<()> {
    let client = server.client(LIMIT);
    let mut numbers = BTreeSet::new();
    for (id, _) in files {
        let explanation = client.get_json(&format!("/v1/images/{id}/explain"))?;
        let number = explanation["decision"]["number"].as_u64();
        numbers.insert(number.with_context(|| format!("`{id}` has no number"))?);
    }
    let (first, last) = (numbers.first().copied(), numbers.last().copied());
    ensure!(
        numbers.len() == files.len() && first == Some(0) && last == Some(files.len() as u64 - 1),
        "{} images have {} numbers",
        files.len(),
        numbers.len()
    );
    Ok(())
}

fn wait_unready(client: &Client) -> anyhow::Result<()> {
    until("`/readyz` says that it waits for the scorer", || {
        let answer = client.get("/readyz")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(answer.status == 503 && text.contains("waits") && text.contains("scorer"))
    })
}

fn wait_ready(client: &Client) -> anyhow::Result<()> {
    until("`/readyz` is true again", || {
        Ok(client.get("/readyz")?.status == 200)
    })
}

fn wait_decided(client: &Client, count: usize) -> anyhow::Result<()> {
    until("all images are decided", || {
        let overview = client.get_json("/v1/overview")?;
        Ok(overview["images"] == count && overview["pending"] == 0)
    })
}

fn until(what: &str, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !holds()? {
        ensure!(
            Instant::now() < deadline,
            "{what}: not in {} s",
            LIMIT.as_secs()
        );
        thread::sleep(POLL);
    }
    Ok(())
}
