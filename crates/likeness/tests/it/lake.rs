//! A lake of drawn pins, and queries of it without a server.

use serde_json::{Value, json};

use crate::program::Sandbox;

#[test]
fn a_lake_is_filled_once_and_answers_queries() {
    let sandbox = Sandbox::new();
    let fill = [
        "bench",
        "lake",
        "--into",
        "data",
        "--rows",
        "30000",
        "--days",
        "3",
        "--updates",
        "10%",
        "--json",
    ];
    let run = sandbox.run(&fill);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let said: Value = serde_json::from_str(run.stdout.trim()).unwrap();
    assert_eq!((&said["rows"], &said["days"]), (&json!(30_000), &json!(3)));

    let rows = |sql: &str| {
        let run = sandbox.run(&["--data-dir", "data", "sql", "--json", sql]);
        assert_eq!(run.code, 0, "{sql}: {}", run.stderr);
        let said: Value = serde_json::from_str(&run.stdout).unwrap();
        said["rows"].clone()
    };
    let count = |table: &str| {
        let counted = rows(&format!("SELECT count(*) FROM {table}"));
        counted[0][0].as_u64().unwrap()
    };
    let tables = [
        "pins_versions",
        "geolocations_versions",
        "users_versions",
        "pins_rejected",
    ];
    let all: u64 = tables.map(count).iter().sum();
    assert_eq!(all, 30_000);
    let (latest, versions) = (count("pins"), count("pins_versions"));
    let distinct = rows("SELECT count(DISTINCT unique_id) FROM pins_versions");
    assert_eq!(distinct, json!([[latest]]));
    assert!(latest < versions - 500, "{latest} of {versions}");
    let days = rows("SELECT count(DISTINCT date) FROM pins_versions");
    assert_eq!(days, json!([[3]]));
    let left: Vec<_> = std::fs::read_dir(sandbox.path("data/spill"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().is_dir())
        .collect();
    assert!(left.is_empty(), "queries leave nothing: {left:?}");

    let again = sandbox.run(&fill);
    assert_eq!(again.code, 4);
    assert!(again.stderr.contains("is not empty"), "{}", again.stderr);
}
