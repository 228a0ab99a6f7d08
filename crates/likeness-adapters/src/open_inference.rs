//! A model server that speaks the Open Inference Protocol, version 2, over HTTP/REST
//! (kserve/open-inference-protocol, `specification/protocol/inference_rest.md`).
//!
//! ```text
//! GET  v2/health/ready                          200 once models are loaded
//! GET  v2/models/NAME                           metadata: one FP32 input of shape [-1, F]; the first output is
//!                                               FP32 or FP64, of shape [-1] or [-1, 1]
//! GET  v2/models/NAME[/versions/V]/ready        200 once this one is
//! POST v2/models/NAME[/versions/V]/infer        {"inputs": [{name, shape [n, F], datatype FP32, data}]}
//!                                               → {"outputs": [{name, shape [n] or [n, 1], datatype, data}, …]}
//! ```
//! V is the last version that the metadata list, so a server that gets another one goes on with this one or
//! says that it is gone. Without a list it is the server's choice, and an answer that names another version than
//! the first one did is refused.
//!
//! A call that fails is tried again a few times; after several calls that failed in a row the circuit opens,
//! and calls fail at once for a while, so that a server that is away is not run into by every image. Whatever
//! goes wrong is [`StoreError::Unavailable`]: who calls waits, and skips nothing.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use likeness_core::scoring::RowScorer;
use likeness_core::{StoreError, StoreResult};
use serde::{Deserialize, Serialize};

const STORE: &str = "scorer (open inference protocol)";
/// Tries of one call.
const TRIES: u32 = 3;
/// Pause before the second try; doubled before each further one.
const PAUSE: Duration = Duration::from_millis(50);
/// Calls that must fail in a row for the circuit to open.
const FAILURES: u32 = 2;
/// How long calls fail at once while the circuit is open.
const OPEN: Duration = Duration::from_secs(1);
/// Most bytes of an answer: a longer one is none.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// Where the model is, and what a call may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInferenceConfig {
    /// Root of the server, such as `http://127.0.0.1:8080`.
    pub url: String,
    /// Name of the model.
    pub model: String,
    /// Features of a row: what the model's input must take.
    pub n_features: usize,
    /// Time for one try.
    pub timeout: Duration,
    /// Most rows of a request; more are sent in several.
    pub max_rows: usize,
}

/// A model served elsewhere.
#[derive(Debug, Clone)]
pub struct OpenInferenceScorer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    agent: ureq::Agent,
    config: OpenInferenceConfig,
    id: String,
    form: Form,
    state: Mutex<State>,
}

/// What the metadata say of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Form {
    /// The one that is asked for; the server's choice if it lists none.
    version: Option<String>,
    input: String,
    output: String,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
    /// Version that answers say they are of.
    answered: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    versions: Option<Vec<String>>,
    #[serde(default)]
    inputs: Vec<Tensor>,
    #[serde(default)]
    outputs: Vec<Tensor>,
}

#[derive(Debug, Deserialize)]
struct Tensor {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

#[derive(Debug, Serialize)]
struct InferRequest<'a> {
    inputs: [InferInput<'a>; 1],
}

#[derive(Debug, Serialize)]
struct InferInput<'a> {
    name: &'a str,
    shape: [usize; 2],
    datatype: &'static str,
    /// Each number is that of the `f32`, to the last digit.
    data: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct InferAnswer {
    #[serde(default)]
    model_version: Option<String>,
    outputs: Vec<InferOutput>,
}

#[derive(Debug, Deserialize)]
struct InferOutput {
    name: String,
    shape: Vec<usize>,
    data: Vec<f64>,
}

/// Finds the model and checks that it is one of rows. Blocks.
///
/// # Errors
/// [`StoreError::Unavailable`] if the server is not there or not ready; [`StoreError::Invalid`] if it has no such
/// model, or one that takes or gives something else.
pub fn open_inference(config: OpenInferenceConfig) -> StoreResult<OpenInferenceScorer> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(config.timeout))
            .proxy(None)
            .build(),
    );
    let base = config.url.trim_end_matches('/').to_owned();
    let config = OpenInferenceConfig {
        url: base,
        ..config
    };
    get(&agent, &format!("{}/v2/health/ready", config.url))?.body()?;
    let answer = get(
        &agent,
        &format!("{}/v2/models/{}", config.url, config.model),
    )?;
    if answer.status == 404 {
        return Err(StoreError::invalid(
            STORE,
            format!("{} has no model `{}`", config.url, config.model),
        ));
    }
    let metadata: Metadata = serde_json::from_slice(&answer.body()?).map_err(|error| {
        StoreError::invalid(
            STORE,
            format!("the metadata of `{}`: {error}", config.model),
        )
    })?;
    let form = check(&metadata, &config)?;
    let id = match &form.version {
        Some(version) => format!("oip:{}/{version}", config.model),
        None => format!("oip:{}", config.model),
    };
    let shared = Shared {
        id,
        agent,
        config,
        form,
        state: Mutex::default(),
    };
    get(&shared.agent, &shared.url("ready"))?.body()?;
    Ok(OpenInferenceScorer {
        shared: Arc::new(shared),
    })
}

fn check(metadata: &Metadata, config: &OpenInferenceConfig) -> StoreResult<Form> {
    let refuse = |reason: String| {
        Err(StoreError::invalid(
            STORE,
            format!("model `{}` {reason}", config.model),
        ))
    };
    if !metadata.name.is_empty() && metadata.name != config.model {
        return refuse(format!("says that it is `{}`", metadata.name));
    }
    let [input] = metadata.inputs.as_slice() else {
        return refuse(format!("has {} inputs, not one", metadata.inputs.len()));
    };
    if input.datatype != "FP32" {
        return refuse(format!("takes `{}`, not `FP32`", input.datatype));
    }
    let n_features = i64::try_from(config.n_features).unwrap_or(i64::MAX);
    if input.shape != [-1, n_features] {
        return refuse(format!(
            "takes the shape {:?}, not [-1, {n_features}]",
            input.shape
        ));
    }
    let Some(output) = metadata.outputs.first() else {
        return refuse("has no output".to_owned());
    };
    if !["FP32", "FP64"].contains(&output.datatype.as_str()) {
        return refuse(format!(
            "gives `{}`, neither `FP32` nor `FP64`",
            output.datatype
        ));
    }
    if output.shape != [-1] && output.shape != [-1, 1] {
        return refuse(format!(
            "gives the shape {:?}, neither [-1] nor [-1, 1]",
            output.shape
        ));
    }
    let versions = metadata.versions.as_deref().unwrap_or_default();
    Ok(Form {
        version: versions.last().cloned(),
        input: input.name.clone(),
        output: output.name.clone(),
    })
}

/// What a server has sent.
#[derive(Debug)]
struct Answer {
    url: String,
    status: u16,
    bytes: Vec<u8>,
}

impl Answer {
    fn read(url: &str, mut response: ureq::http::Response<ureq::Body>) -> StoreResult<Self> {
        let bytes = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec()
            .map_err(|error| unavailable(format!("{url}: {error}")))?;
        Ok(Self {
            url: url.to_owned(),
            status: response.status().as_u16(),
            bytes,
        })
    }

    /// Returns the bytes of an answer that says that all went well.
    fn body(self) -> StoreResult<Vec<u8>> {
        if (200..300).contains(&self.status) {
            return Ok(self.bytes);
        }
        let text = String::from_utf8_lossy(&self.bytes);
        let text: String = text.chars().take(200).collect();
        Err(unavailable(format!(
            "{}: status {}: {text}",
            self.url, self.status
        )))
    }
}

fn get(agent: &ureq::Agent, url: &str) -> StoreResult<Answer> {
    let response = agent
        .get(url)
        .call()
        .map_err(|error| unavailable(format!("{url}: {error}")))?;
    Answer::read(url, response)
}

fn unavailable(reason: String) -> StoreError {
    StoreError::Unavailable {
        store: STORE,
        source: reason.into(),
    }
}

impl Shared {
    fn url(&self, verb: &str) -> String {
        let OpenInferenceConfig { url, model, .. } = &self.config;
        match &self.form.version {
            Some(version) => format!("{url}/v2/models/{model}/versions/{version}/{verb}"),
            None => format!("{url}/v2/models/{model}/{verb}"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no code that holds this lock can panic")
    }

    /// Scores rows that fit into one request. Blocks.
    fn score(&self, rows: &[f32]) -> StoreResult<Vec<f32>> {
        if self
            .state()
            .open_until
            .is_some_and(|until| Instant::now() < until)
        {
            return Err(unavailable(format!(
                "{}: the last calls failed; it is asked again in a moment",
                self.config.url
            )));
        }
        let mut pause = PAUSE;
        let mut tried = 1;
        let outcome = loop {
            match self.infer(rows) {
                Err(_) if tried < TRIES => {
                    std::thread::sleep(pause);
                    pause *= 2;
                    tried += 1;
                }
                outcome => break outcome,
            }
        };
        let mut state = self.state();
        match outcome {
            Ok(_) => {
                state.failures = 0;
                state.open_until = None;
            }
            Err(_) => {
                state.failures += 1;
                if state.failures >= FAILURES {
                    state.open_until = Some(Instant::now() + OPEN);
                }
            }
        }
        outcome
    }

    fn infer(&self, rows: &[f32]) -> StoreResult<Vec<f32>> {
        let n_features = self.config.n_features;
        let n_rows = rows.len() / n_features;
        let url = self.url("infer");
        let refuse = |reason: String| Err(unavailable(format!("{url}: {reason}")));
        let request = InferRequest {
            inputs: [InferInput {
                name: &self.form.input,
                shape: [n_rows, n_features],
                datatype: "FP32",
                data: rows.iter().map(|&number| f64::from(number)).collect(),
            }],
        };
        let body = serde_json::to_vec(&request).map_err(|error| unavailable(error.to_string()))?;
        let response = self
            .agent
            .post(&url)
            .content_type("application/json")
            .send(body.as_slice())
            .map_err(|error| unavailable(format!("{url}: {error}")))?;
        let answer = Answer::read(&url, response)?.body()?;
        let InferAnswer {
            model_version,
            outputs,
        } = serde_json::from_slice(&answer)
            .map_err(|error| unavailable(format!("{url}: not an answer: {error}")))?;
        let named = |output: &InferOutput| output.name == self.form.output;
        let Some(output) = outputs.into_iter().find(named) else {
            return refuse(format!("an answer without `{}`", self.form.output));
        };
        let InferOutput { shape, data, .. } = output;
        if data.len() != n_rows || (shape != [n_rows] && shape != [n_rows, 1]) {
            return refuse(format!(
                "{} scores of shape {shape:?} for {n_rows} rows",
                data.len()
            ));
        }
        let scores: Vec<f32> = data.into_iter().map(|score| score as f32).collect();
        // Not a number is not in the range either.
        if let Some(score) = scores.iter().find(|score| !(0.0..=1.0).contains(*score)) {
            return refuse(format!("a score of {score}, not 0 to 1"));
        }
        self.check_version(&url, model_version)?;
        Ok(scores)
    }

    /// Refuses answers of another version than was asked for, or than answers were of before.
    fn check_version(&self, url: &str, version: Option<String>) -> StoreResult<()> {
        let Some(version) = version.filter(|version| !version.is_empty()) else {
            return Ok(());
        };
        let mut state = self.state();
        let wanted = match &self.form.version {
            Some(version) => version,
            None => state.answered.get_or_insert_with(|| version.clone()),
        };
        if *wanted == version {
            return Ok(());
        }
        Err(unavailable(format!(
            "{url}: answers as version {version}, this process began with {wanted}; start it again to use the \
             new one"
        )))
    }
}

#[async_trait]
impl RowScorer for OpenInferenceScorer {
    fn id(&self) -> &str {
        &self.shared.id
    }

    async fn score(&self, rows: &[f32], n_features: usize) -> StoreResult<Vec<f32>> {
        let config = &self.shared.config;
        if n_features != config.n_features || !rows.len().is_multiple_of(n_features) {
            return Err(StoreError::invalid(
                STORE,
                format!(
                    "rows of {n_features} features, the model takes {}",
                    config.n_features
                ),
            ));
        }
        let (shared, rows) = (Arc::clone(&self.shared), rows.to_vec());
        let scored = tokio::task::spawn_blocking(move || {
            let mut scores = Vec::with_capacity(rows.len() / n_features);
            for part in rows.chunks(shared.config.max_rows * n_features) {
                scores.extend(shared.score(part)?);
            }
            Ok(scores)
        });
        scored
            .await
            .map_err(|error| unavailable(error.to_string()))?
    }
}
