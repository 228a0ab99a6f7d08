//! Pictures in, clusters out, by the real program with the real model. See [`program::models`] for
//! when these run.

use std::path::PathBuf;

use serde_json::Value;

use crate::program::{Run, Sandbox, Server, models};

/// A sandbox with pictures and models.
struct Flow {
    sandbox: Sandbox,
    models: PathBuf,
}

impl Flow {
    fn new() -> Option<Self> {
        let models = models()?;
        let sandbox = Sandbox::new();
        sandbox.write_pictures("pictures");
        Some(Self { sandbox, models })
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Run {
        let mut command = self.sandbox.command(arguments);
        command
            .env("LIKENESS_MODELS", &self.models)
            .env("LIKENESS_DATA_DIR", self.sandbox.path("data"));
        self.sandbox.finish(command)
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let run = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        serde_json::from_str(&run.stdout).expect("one JSON value")
    }

    /// Asks everything that can be asked of what `write_pictures` wrote.
    #[track_caller]
    fn check_answers(&self) {
        let clusters = self.json(&["clusters"]);
        assert_eq!(clusters["items"].as_array().unwrap().len(), 1, "{clusters}");
        assert_eq!(clusters["items"][0]["size"], 2);
        // Which of two that arrive together is first is not promised.
        let head = clusters["items"][0]["head"].as_str().unwrap();
        let member = match head {
            "first.jpg" => "copy.jpg",
            "copy.jpg" => "first.jpg",
            other => panic!("`{other}` heads the cluster"),
        };

        let cluster = self.json(&["cluster", head]);
        assert_eq!(cluster["members"][0]["id"], head);
        assert_eq!(cluster["members"][1]["id"], member);

        let explain = self.json(&["explain", member]);
        assert_eq!(explain["decision"]["canonical_id"], head);
        assert_eq!(explain["candidates"][0]["id"], head);
        assert_eq!(self.json(&["image", member])["decision"]["kind"], "joined");

        let found = self.json(&["match", "pictures/sub/copy.jpg"]);
        assert_eq!(found["match"]["canonical_id"], head);

        let status = self.json(&["status"]);
        assert_eq!(
            (&status["images"], &status["duplicates"]),
            (&3.into(), &1.into())
        );

        let decisions = self.run(&[
            "tail",
            "decisions",
            "--from",
            "beginning",
            "--limit",
            "3",
            "--json",
        ]);
        assert_eq!(decisions.stdout.lines().count(), 3, "{}", decisions.stderr);

        assert_eq!(self.run(&["image", "nobody"]).code, 3);
        assert_eq!(self.run(&["cluster", member]).code, 3);
        assert_eq!(self.run(&["match", "pictures/notes.txt"]).code, 4);
    }
}

#[test]
fn pictures_become_clusters_without_a_server() {
    let Some(flow) = Flow::new() else { return };
    let ingest = ["ingest", "pictures", "--id-from", "name"];
    let summary = flow.json(&ingest);
    assert_eq!(
        (&summary["stored"], &summary["joined"]),
        (&3.into(), &1.into())
    );
    assert_eq!(summary["skipped"].as_array().unwrap().len(), 1);
    flow.check_answers();

    let again = flow.json(&ingest);
    assert_eq!(
        (&again["stored"], &again["existed"]),
        (&0.into(), &3.into())
    );
}

#[test]
fn the_same_commands_work_through_a_server() {
    let Some(flow) = Flow::new() else { return };
    let server = Server::start(&flow.sandbox, &flow.models);
    let summary = flow.json(&["ingest", "pictures", "--id-from", "name"]);
    assert_eq!(summary["stored"], 3);
    assert!(flow.json(&["status"])["server"].is_string());
    flow.check_answers();
    assert_eq!(server.stop(), 0);
    assert!(!flow.sandbox.path("data/server.json").exists());
    // What the server stored is there for the next process.
    flow.check_answers();
}

#[test]
fn pins_are_posted_to_a_running_server_and_to_nothing_else() {
    let Some(flow) = Flow::new() else { return };
    let command = [
        "emulate", "--rate", "1000", "--count", "300", "--dirty", "50%",
    ];
    let nowhere = flow.run(&command);
    assert_eq!(nowhere.code, 5, "{}", nowhere.stderr);
    assert!(
        nowhere.stderr.contains("likeness serve"),
        "{}",
        nowhere.stderr
    );

    let server = Server::start(&flow.sandbox, &flow.models);
    let summary = flow.json(&command);
    for (name, expected) in [
        ("pins", 300),
        ("sent", 900),
        ("accepted", 900),
        ("refused", 0),
    ] {
        assert_eq!(summary[name], expected, "{name}: {summary}");
    }
    assert!(summary["p50_ms"].as_f64() <= summary["p99_ms"].as_f64());
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_store_that_is_open_elsewhere_is_said() {
    let Some(flow) = Flow::new() else { return };
    let server = Server::start(&flow.sandbox, &flow.models);
    // As after a crash: nobody tells where the server is.
    std::fs::remove_file(flow.sandbox.path("data/server.json")).unwrap();
    let run = flow.run(&["status"]);
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert!(
        run.stderr.contains("in use by another process"),
        "{}",
        run.stderr
    );
    drop(server);
}

#[test]
fn duplicates_of_a_folder_are_reported_moved_and_brought_back() {
    let Some(flow) = Flow::new() else { return };
    let report = flow.json(&["dedup", "pictures", "--out", "report"]);
    assert_eq!(
        (&report["images"], &report["duplicates"]),
        (&3.into(), &1.into())
    );
    assert_eq!(report["groups"][0]["keep"]["file"], "first.jpg");
    for name in ["report.html", "duplicates.csv", "report.json"] {
        assert!(flow.sandbox.path("report").join(name).exists(), "{name}");
    }
    let copy = flow.sandbox.path("pictures/sub/copy.jpg");
    assert!(copy.exists(), "nothing is moved unasked");
    assert!(!flow.sandbox.path("data").exists(), "nothing is stored");

    flow.json(&[
        "dedup",
        "pictures",
        "--out",
        "report",
        "--move-to",
        "moved",
        "--yes",
    ]);
    assert!(!copy.exists());
    let restored = flow.json(&["dedup", "--restore", "moved/moved.json"]);
    assert_eq!(restored["restored"], 1);
    assert!(copy.exists());
}

#[test]
fn an_evaluation_gives_figures() {
    let Some(flow) = Flow::new() else { return };
    let report = flow.json(&[
        "eval",
        "near-duplicates",
        "--photos",
        "pictures",
        "--limit",
        "2",
    ]);
    assert_eq!(report["pictures"], 2);
    assert_eq!(report["recall"]["total"], 34);
    assert_eq!(report["clusters"]["images"], 36);
}

#[test]
fn an_evaluation_of_candidates_gives_figures() {
    let Some(flow) = Flow::new() else { return };
    let few = ["eval", "candidates", "--photos", "pictures"];
    let asked = ["--distractors", "500", "--save-vectors", "vectors.npy"];
    let rest = ["--background", "pictures", "--probes", "7,500"];
    let report = flow.json(&[&few[..], &asked, &rest].concat());
    assert_eq!(report["pictures"], 3);
    assert_eq!(report["queries"], 3 * 17);
    assert_eq!(report["vectors"], 3 * 18 + 500);
    let schemes = report["schemes"].as_array().unwrap();
    let names: Vec<&str> = schemes
        .iter()
        .map(|scheme| scheme["scheme"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "exact",
            "cells 7",
            "within 7",
            "cells 500",
            "within 500",
            "hyperplanes"
        ]
    );
    for scheme in schemes {
        assert!(scheme["recall"]["count"].as_u64() > Some(0), "{scheme}");
    }
    // Three pictures of the background as well; 512 components; the header has 128 bytes.
    let saved = std::fs::metadata(flow.sandbox.path("vectors.npy")).unwrap();
    assert_eq!(saved.len(), 128 + (3 * 18 + 3) * 512 * 4);

    let impossible = flow.run(&[&few[..], &asked, &["--scheme", "exact"]].concat());
    assert_eq!(impossible.code, 4, "{}", impossible.stderr);
    assert!(impossible.stderr.contains("--background"));
}

#[test]
fn a_model_of_onnx_scores_pairs() {
    let Some(flow) = Flow::new() else { return };
    // Reads the cosine alone: .6 scores .5.
    let model = likeness_vision::runtime::fake::logistic_onnx(&[40.0], -24.0);
    let file = flow.sandbox.path("by-cosine.onnx");
    std::fs::write(&file, model).unwrap();
    let run = |features: &str, arguments: &[&str]| {
        let mut command = flow.sandbox.command(arguments);
        command
            .env("LIKENESS_MODELS", &flow.models)
            .env("LIKENESS_DATA_DIR", flow.sandbox.path("data"))
            .env(
                "LIKENESS__DEDUP__SCORER",
                format!("onnx:{}", file.display()),
            )
            .env("LIKENESS__DEDUP__THRESHOLD", "0.5")
            .env("LIKENESS__DEDUP__SCORER_MODEL__FEATURES", features);
        flow.sandbox.finish(command)
    };
    let refused = run(r#"["cosine", "view"]"#, &["status"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("f32[-1, 2] was expected"),
        "{}",
        refused.stderr
    );

    let features = r#"["cosine"]"#;
    let ingested = run(
        features,
        &["ingest", "pictures", "--id-from", "name", "--json"],
    );
    assert_eq!(ingested.code, 0, "{}", ingested.stderr);
    let summary: Value = serde_json::from_str(&ingested.stdout).unwrap();
    assert_eq!(
        (&summary["stored"], &summary["joined"]),
        (&3.into(), &1.into())
    );
    let status = run(features, &["status", "--json"]);
    assert!(
        status.stdout.contains("onnx:by-cosine@"),
        "{}",
        status.stdout
    );
}
