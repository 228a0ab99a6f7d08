//! MLServer with the regression as its models, one that keeps the contract and some that break it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{POLL, SCORER, free_port};
use crate::bench::python;
use crate::http::Client;
use crate::process::Guard;
use crate::report;
use crate::workspace;

const READY_LIMIT: Duration = Duration::from_secs(180);
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// A model: name, class in `pairs.py`, and what its metadata say of its input.
type Model = (&'static str, &'static str, &'static str, [i64; 2]);

/// The one that is right, and those that are not.
const MODELS: [Model; 5] = [
    ("pairs", "Pairs", "FP32", [-1, 5]),
    ("wrong-shape", "Pairs", "FP32", [-1, 4]),
    ("wrong-datatype", "Pairs", "FP64", [-1, 5]),
    ("not-numbers", "NotNumbers", "FP32", [-1, 5]),
    ("too-few", "TooFew", "FP32", [-1, 5]),
];

/// What MLServer reads, and the port that it listens on.
#[derive(Debug)]
pub(super) struct Served {
    folder: PathBuf,
    port: u16,
}

/// A model server that is killed (SIGKILL) when dropped.
#[derive(Debug)]
pub(super) struct ModelServer {
    process: Guard,
}

impl Served {
    /// Writes what MLServer reads: its settings, those of each model, the models, and their file.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(super) fn prepare(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).context("making the models' folder")?;
        let port = free_port()?;
        let settings = json!({
            "host": "127.0.0.1",
            "http_port": port,
            "grpc_port": free_port()?,
            "metrics_port": free_port()?,
            "parallel_workers": 0,
            "debug": false,
        });
        write(&folder.join("settings.json"), &settings)?;
        let root = workspace::root();
        std::fs::copy(
            root.join("xtask/remote_scorer/pairs.py"),
            folder.join("pairs.py"),
        )?;
        let scorer = folder.join("scorer.json");
        std::fs::copy(root.join(SCORER), &scorer)?;
        for (name, class, datatype, shape) in MODELS {
            let model = json!({
                "name": name,
                "implementation": format!("pairs.{class}"),
                "versions": ["3"],
                "inputs": [{"name": "features", "datatype": datatype, "shape": shape}],
                "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1]}],
                "parameters": {"uri": scorer, "version": "3"},
            });
            let folder = folder.join(name);
            std::fs::create_dir_all(&folder)?;
            write(&folder.join("model-settings.json"), &model)?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            port,
        })
    }

    /// Returns a model as `dedup.scorer` names it.
    pub(super) fn address(&self, model: &str) -> String {
        format!("oip:http://127.0.0.1:{}/{model}", self.port)
    }

    /// Starts MLServer, and waits until all models are ready.
    ///
    /// # Errors
    /// If it ends, or is not ready in time; its log is part of the error.
    pub(super) fn start(&self) -> anyhow::Result<ModelServer> {
        let log_path = self.folder.join("server.log");
        let log = File::options().create(true).append(true).open(&log_path)?;
        let mut command = python::tool("mlserver", "mlserver")?;
        command
            .args(["start", "."])
            .current_dir(&self.folder)
            .env("PYTHONPATH", &self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child: Child = command.spawn().context("starting MLServer")?;
        let mut server = ModelServer {
            process: Guard(child),
        };
        let client = Client::new(&format!("http://127.0.0.1:{}", self.port), CALL_LIMIT);
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            let is_ready = |name: &str| {
                let answer = client.get(&format!("/v2/models/{name}/ready"));
                answer.is_ok_and(|answer| answer.status == 200)
            };
            if MODELS.iter().all(|(name, ..)| is_ready(name)) {
                report::line(&format!("  MLServer answers on port {}", self.port));
                return Ok(server);
            }
            let has_ended = server.process.0.try_wait()?.is_some();
            ensure!(
                !has_ended && Instant::now() < deadline,
                "MLServer does not answer: {}",
                std::fs::read_to_string(&log_path).unwrap_or_default()
            );
            std::thread::sleep(POLL);
        }
    }
}

fn write(path: &Path, value: &Value) -> anyhow::Result<()> {
    std::fs::write(path, value.to_string()).with_context(|| format!("writing {}", path.display()))
}
