//! What goes wrong, said in words, with the exit codes of `--help`.

use insta::assert_snapshot;

use crate::program::Sandbox;

#[track_caller]
fn check_refused(arguments: &[&str], code: i32) -> String {
    let sandbox = Sandbox::new();
    let run = sandbox.run(arguments);
    assert_eq!(run.code, code, "{}", run.stderr);
    assert_eq!(run.stdout, "", "results only on stdout");
    run.stderr
}

#[test]
fn missing_models_name_the_command_that_obtains_them() {
    let error = check_refused(&["clusters"], 3);
    assert_snapshot!(error, @"error: the inference library is not in `[FOLDER]/.local/share/likeness/models`; `likeness models pull` obtains it");
}

#[test]
fn missing_models_leave_no_data_directory_behind() {
    let sandbox = Sandbox::new();
    sandbox.run(&["clusters", "--data-dir", "data"]);
    assert!(!sandbox.path("data").exists());
}

#[test]
fn a_typo_in_the_configuration_is_named() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("l.toml"), "[dedup]\ntreshold = 0.5\n").unwrap();
    let run = sandbox.run(&["--config", "l.toml", "config"]);
    assert_eq!(run.code, 4);
    assert!(
        run.stderr.contains("treshold") && run.stderr.contains("l.toml"),
        "{}",
        run.stderr
    );

    let mut command = sandbox.command(&["status"]);
    command.env("LIKENESS__SERVER__PROT", "1");
    let run = sandbox.finish(command);
    assert_eq!(run.code, 4);
    assert!(run.stderr.contains("prot"), "{}", run.stderr);
}

#[test]
fn a_configuration_file_that_is_not_there_is_said() {
    let error = check_refused(&["--config", "no.toml", "status"], 3);
    assert_snapshot!(error, @"error: configuration file `no.toml` does not exist");
}

#[test]
fn a_sample_set_that_does_not_exist_is_named() {
    let error = check_refused(&["samples", "pull", "nature", "cats"], 3);
    assert_snapshot!(error, @"error: no sample set `cats`; `likeness samples list` names them");
}

#[test]
fn a_family_that_matches_no_picture_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write_pictures("photos");
    std::fs::write(
        sandbox.path("f.toml"),
        "[families]\na = [\"photos/no*.png\"]\n",
    )
    .unwrap();
    let train = [
        "train",
        "scorer",
        "--photos",
        "photos",
        "--families",
        "f.toml",
    ];
    let run = sandbox.run(&train);
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert_snapshot!(run.stderr, @"error: `photos/no*.png` in the file of families matches no picture; globs that do not: 1");
    // Not all pictures are there: only a note, and then the models are missing.
    let run = sandbox.run(&[&train[..], &["--limit", "2"]].concat());
    assert!(run.stderr.contains("of these folders: 1"), "{}", run.stderr);
    assert_eq!(run.code, 3, "{}", run.stderr);
}

#[test]
fn wrong_usage_has_its_own_code() {
    assert!(check_refused(&["clusters", "--limit", "0"], 2).contains("--limit"));
    assert!(check_refused(&["ingest"], 2).contains("<PATH>"));
    assert!(check_refused(&["dedup", "photos", "--yes"], 2).contains("--move-to"));
}

#[test]
fn an_id_that_cannot_be_one_is_said() {
    let error = check_refused(&["image", "a/b"], 4);
    assert_snapshot!(error, @"error: an image id must not contain '/'");
}

#[test]
fn paths_that_are_not_there_are_said() {
    let error = check_refused(&["ingest", "no/such/folder"], 3);
    assert!(error.contains("no/such/folder"), "{error}");
    let error = check_refused(&["dedup", "no-such-folder"], 3);
    assert_snapshot!(error, @"error: `no-such-folder` is no folder");
}

#[test]
fn a_server_that_is_not_there_is_said() {
    let error = check_refused(&["--server", "http://127.0.0.1:9", "status"], 5);
    assert!(
        error.contains("cannot reach the server at http://127.0.0.1:9"),
        "{error}"
    );
}

#[test]
fn addresses_that_others_reach_need_keys() {
    let error = check_refused(&["serve", "--bind", "0.0.0.0", "--port", "0"], 4);
    assert!(error.contains("without keys"), "{error}");
}

#[test]
fn a_model_of_another_name_is_said() {
    let error = check_refused(&["models", "pull", "no-such-model"], 3);
    assert_snapshot!(error, @"error: no model `no-such-model` for this machine; `likeness models list` names them");
}

#[test]
fn models_can_be_listed_before_any_is_there() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(&["models", "list", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let models: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let models = models.as_array().unwrap();
    assert!(models.iter().any(|model| model["name"] == "sscd-distilled"));
    assert!(models.iter().all(|model| model["installed"] == false));
}

#[test]
fn a_model_that_is_not_what_its_manifest_says_is_refused() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("m.onnx"), "abd").unwrap();
    let manifest = "name = \"m\"\nversion = \"1\"\nkind = \"copy-detection\"\nfile = \"m.onnx\"\n\
        sha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n\
        bytes = 3\nlicence = \"MIT\"\n";
    std::fs::write(sandbox.path("m.toml"), manifest).unwrap();
    let run = sandbox.run(&["models", "add", "m.onnx", "m.toml"]);
    assert_ne!(run.code, 0);
    assert!(
        run.stderr.contains("sha256") || run.stderr.contains("SHA-256"),
        "{}",
        run.stderr
    );
    assert_eq!(
        sandbox.run(&["models", "verify"]).stdout,
        "no models; `likeness models pull` obtains them\n"
    );
}

#[test]
fn a_feature_that_a_scorer_reads_is_not_retired() {
    let error = check_refused(&["features", "retire", "cosine"], 4);
    assert!(
        error.contains("feature_in_use: `cosine` is read by pairs/"),
        "{error}"
    );
    assert_snapshot!(
        check_refused(&["features", "show", "colour"], 3),
        @"error: there is no feature `colour`; `likeness features list` names them"
    );
}

#[test]
fn what_a_scorer_elsewhere_needs_is_said_before_anything_is_opened() {
    let sandbox = Sandbox::new();
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        for (name, value) in variables {
            command.env(format!("LIKENESS__DEDUP__{name}"), value);
        }
        let run = sandbox.finish(command);
        assert_eq!(run.code, 4, "{}", run.stderr);
        run.stderr
    };
    let scorer = ("SCORER", "oip:http://127.0.0.1:9/pairs");
    let error = run(&[scorer], &["status"]);
    assert!(error.contains("set `dedup.threshold`"), "{error}");
    let error = run(&[("SCORER", "oip:https://there/pairs")], &["status"]);
    assert!(
        error.contains("not as `oip:http://host:port/model`"),
        "{error}"
    );

    let threshold = ("THRESHOLD", "0.5");
    let error = run(&[scorer, threshold], &["features", "retire", "view"]);
    assert!(
        error.contains("feature_in_use: `view` is read by pairs/4, oip:http://127.0.0.1:9/pairs"),
        "{error}"
    );
}
