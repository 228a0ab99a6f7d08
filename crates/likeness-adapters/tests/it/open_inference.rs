//! The client of a model server, against one that this process plays.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use likeness_adapters::{OpenInferenceConfig, OpenInferenceScorer, open_inference};
use likeness_core::StoreError;
use likeness_core::scoring::{ROLE, RowScorer};
use likeness_core::testsuite::check_row_scorer;
use serde_json::{Value, json};

/// Scores a row by its first feature.
#[derive(Debug)]
struct Fake {
    url: String,
    metadata: Value,
    is_away: AtomicBool,
    /// What it answers instead of the scores.
    instead: Mutex<Option<Value>>,
    calls: AtomicU64,
}

fn metadata() -> Value {
    json!({
        "name": "pairs",
        "versions": ["1", "4"],
        "platform": "",
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1]}],
    })
}

fn start(metadata: Value) -> Arc<Fake> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let fake = Arc::new(Fake {
        url: format!("http://{address}"),
        metadata,
        is_away: AtomicBool::new(false),
        instead: Mutex::default(),
        calls: AtomicU64::new(0),
    });
    let server = Arc::clone(&fake);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            server.answer(stream).expect("a client that stays");
        }
    });
    fake
}

impl Fake {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let path = first.split(' ').nth(1).unwrap_or_default();
        let (status, answer) = match path {
            _ if self.is_away.load(Ordering::SeqCst) => {
                self.calls.fetch_add(1, Ordering::SeqCst);
                ("503 Service Unavailable", json!({"error": "loading"}))
            }
            "/v2/health/ready" => ("200 OK", json!({})),
            "/v2/models/pairs" => ("200 OK", self.metadata.clone()),
            "/v2/models/pairs/versions/4/ready" | "/v2/models/pairs/ready" => {
                ("200 OK", json!({"ready": true}))
            }
            "/v2/models/pairs/versions/4/infer" | "/v2/models/pairs/infer" => {
                ("200 OK", self.infer(&body))
            }
            _ => ("404 Not Found", json!({"error": "unknown"})),
        };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            answer.len()
        );
        stream.write_all((head + &answer).as_bytes())
    }

    fn infer(&self, body: &[u8]) -> Value {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let request: Value = serde_json::from_slice(body).expect("JSON");
        let input = &request["inputs"][0];
        assert_eq!(
            (&input["name"], &input["datatype"]),
            (&json!("features"), &json!("FP32"))
        );
        let numbers: Vec<f64> = serde_json::from_value(input["data"].clone()).expect("numbers");
        assert_eq!(input["shape"], json!([numbers.len() / 2, 2]));
        let scores: Vec<f64> = numbers.chunks(2).map(|row| row[0]).collect();
        let instead = self.instead.lock().expect("no test panics with it");
        instead
            .clone()
            .unwrap_or_else(|| answer(json!([scores.len()]), json!(scores)))
    }

    fn answer_instead(&self, answer: Option<Value>) {
        *self.instead.lock().expect("no test panics with it") = answer;
    }
}

fn answer(shape: Value, data: Value) -> Value {
    json!({"model_name": "pairs", "model_version": "4", "id": "x", "outputs": [
        {"name": "other", "datatype": "FP32", "shape": [1], "data": [0.5]},
        {"name": "score", "datatype": "FP32", "shape": shape, "data": data},
    ]})
}

fn open(fake: &Fake) -> Result<OpenInferenceScorer, StoreError> {
    open_model(fake, "pairs")
}

fn open_model(fake: &Fake, model: &str) -> Result<OpenInferenceScorer, StoreError> {
    open_inference(OpenInferenceConfig {
        url: format!("{}/", fake.url),
        model: model.to_owned(),
        n_features: 2,
        timeout: Duration::from_secs(5),
        max_rows: 3,
    })
}

/// Why a model is out of reach.
#[track_caller]
fn reason(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable { store, source } if store.starts_with(ROLE) => source.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn rows_are_scored_in_order_and_in_parts() {
    let fake = start(metadata());
    let scorer = open(&fake).unwrap();
    assert_eq!(scorer.id(), "oip:pairs/4");
    let rows: Vec<f32> = (0..7u8)
        .flat_map(|row| [f32::from(row) / 10.0, 9.0])
        .collect();
    let scores = scorer.score(&rows, 2).await.unwrap();
    assert_eq!(scores, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
    assert_eq!(fake.calls.load(Ordering::SeqCst), 3, "three rows a call");
    check_row_scorer(&scorer, &rows, 2).await;
}

#[tokio::test]
async fn a_model_of_another_form_is_refused_with_what_is_wrong() {
    let changed = |pointer: &str, value: Value| {
        let mut metadata = metadata();
        *metadata.pointer_mut(pointer).unwrap() = value;
        metadata
    };
    for (metadata, wanted) in [
        (changed("/name", json!("other")), "says that it is `other`"),
        (changed("/inputs", json!([])), "0 inputs"),
        (changed("/inputs/0/datatype", json!("FP64")), "`FP64`"),
        (changed("/inputs/0/shape", json!([-1, 3])), "[-1, 3]"),
        (changed("/outputs", json!([])), "no output"),
        (changed("/outputs/0/datatype", json!("INT64")), "`INT64`"),
        (changed("/outputs/0/shape", json!([-1, 2])), "[-1, 2]"),
        (json!({"name": "pairs", "inputs": 3}), "metadata"),
    ] {
        let error = open(&start(metadata)).unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let error = open_model(&start(metadata()), "couples").unwrap_err();
    assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    assert!(error.to_string().contains("no model `couples`"), "{error}");
}

#[tokio::test]
async fn what_is_away_is_tried_again_and_then_left_alone_for_a_while() {
    let fake = start(metadata());
    let scorer = open(&fake).unwrap();
    fake.is_away.store(true, Ordering::SeqCst);
    assert!(open(&fake).unwrap_err().is_retryable());
    fake.calls.store(0, Ordering::SeqCst);
    for _ in 0..4 {
        let error = scorer.score(&[0.5, 1.0], 2).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }
    // Two calls of three tries; the others failed at once.
    assert_eq!(fake.calls.load(Ordering::SeqCst), 6);

    fake.is_away.store(false, Ordering::SeqCst);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let scores = loop {
        match scorer.score(&[0.5, 1.0], 2).await {
            Ok(scores) => break scores,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(scores, [0.5]);
}

#[tokio::test]
async fn an_answer_that_is_none_decides_nothing() {
    let fake = start(metadata());
    let later = |version: &str| {
        let mut answer = answer(json!([2]), json!([0.5, 0.5]));
        answer["model_version"] = json!(version);
        answer
    };
    for (instead, wanted) in [
        (answer(json!([1]), json!([0.5])), "1 scores"),
        (answer(json!([1, 2]), json!([0.5, 0.5])), "[1, 2]"),
        (answer(json!([2]), json!([0.5, 1.5])), "a score of 1.5"),
        (answer(json!([2]), json!([0.5, -0.1])), "a score of -0.1"),
        // What JSON has instead of NaN.
        (answer(json!([2]), json!([0.5, null])), "not an answer"),
        (answer(json!([2]), json!([0.5, "NaN"])), "not an answer"),
        (json!({"outputs": []}), "without `score`"),
        (json!({"error": "no"}), "not an answer"),
        (later("5"), "answers as version 5"),
    ] {
        // A client of its own: no circuit is open yet.
        let scorer = open(&fake).unwrap();
        fake.answer_instead(Some(instead));
        let error = scorer.score(&[0.5, 1.0, 0.5, 1.0], 2).await.unwrap_err();
        let reason = reason(&error);
        assert!(reason.contains(wanted), "{reason}");
        fake.answer_instead(None);
        let scores = scorer.score(&[0.5, 1.0, 0.25, 1.0], 2).await.unwrap();
        assert_eq!(scores, [0.5, 0.25]);
    }
    fake.answer_instead(Some(answer(json!([2, 1]), json!([0.5, 0.75]))));
    let scores = open(&fake).unwrap().score(&[0.0; 4], 2).await.unwrap();
    assert_eq!(scores, [0.5, 0.75], "a column is as good as a row");
}

#[tokio::test]
async fn without_a_list_of_versions_the_first_answer_says_which_one_it_is() {
    let mut metadata = metadata();
    metadata["versions"] = Value::Null;
    let fake = start(metadata);
    let scorer = open(&fake).unwrap();
    assert_eq!(scorer.id(), "oip:pairs");
    assert_eq!(scorer.score(&[0.5, 1.0], 2).await.unwrap(), [0.5]);
    let mut other = answer(json!([1]), json!([0.5]));
    other["model_version"] = json!("5");
    fake.answer_instead(Some(other));
    let error = scorer.score(&[0.5, 1.0], 2).await.unwrap_err();
    assert!(reason(&error).contains("began with 4"), "{error:?}");
}
