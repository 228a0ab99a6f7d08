//! What must hold of the lake: by SQL, and in its raw files once the server has stopped.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use super::ledger::{Found, Ledger, Place, Which};
use super::workload::Kind;
use crate::http::Client;
use crate::report::Checks;

/// Returns the environment of a server that writes and merges files often.
pub(super) fn environment() -> Vec<(String, String)> {
    [("FLUSH_EVERY", "40ms"), ("MERGE_FILES", "2")]
        .map(|(key, value)| (format!("LIKENESS__PINS__LAKE__{key}"), value.to_owned()))
        .to_vec()
}

/// Returns how many records are not in the lake yet; nothing while it cannot say.
pub(super) fn unread(client: &Client) -> Option<u64> {
    let status = client.get_json("/v1/pins/lake").ok()?;
    // Of a list that was not read yet, nothing is unread.
    let is_known = status["version"].as_u64()? > 0;
    let unread = |kind: Kind| status[format!("unread_{}", kind.topic())].as_u64();
    let sum = Kind::ALL.into_iter().map(unread).sum::<Option<u64>>()?;
    is_known.then_some(sum)
}

/// Checks what a running server answers, whose lake has read everything: every version once, by its place; the latest
/// of each key; what was rejected.
///
/// # Errors
/// If it does not answer.
pub(super) fn check_server(
    client: &Client,
    ledger: &Ledger,
    checks: &mut Checks,
) -> anyhow::Result<()> {
    let mut versions = Vec::new();
    for kind in Kind::ALL {
        let (table, key) = (kind.topic(), kind.key_column());
        let columns = format!("log_partition, log_offset, {key} AS key, extra AS event");
        let read = |table: &str| -> anyhow::Result<Vec<Found>> {
            let rows = rows(client, &format!("SELECT {columns} FROM {table}"))?;
            rows.iter().map(|row| found(kind, row)).collect()
        };
        versions.extend(read(&format!("{table}_versions"))?);
        ledger.check_rows("lake", kind, &read(table)?, checks);
    }
    ledger.check_versions("lake", Which::Clean, &versions, checks);
    let text = "SELECT kind, log_partition, log_offset, key, event FROM pins_rejected";
    let rejected = rows(client, text)?;
    let rejected: Vec<Found> = rejected
        .iter()
        .map(|row| {
            let kind = row["kind"].as_str().and_then(Kind::of_name);
            found(kind.context("an unknown kind")?, row)
        })
        .collect::<anyhow::Result<_>>()?;
    ledger.check_versions("lake, rejected", Which::Rejected, &rejected, checks);
    let counted = rows(client, "SELECT count(*) AS n FROM pins_versions")?;
    let wanted = versions.iter().filter(|one| one.place.kind == Kind::Pin);
    let (counted, wanted) = (&counted[0]["n"], wanted.count());
    checks.that(*counted == wanted, || {
        format!("lake: {counted} versions of pins are counted, {wanted} are there")
    });
    Ok(())
}

/// Checks the raw files of a server that has stopped, in its folder of objects: every event once, by its place.
///
/// # Errors
/// If they cannot be read.
pub(super) fn check_raw(
    objects: &Path,
    ledger: &Ledger,
    checks: &mut Checks,
) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for (path, topic) in raw_files(objects)? {
        let kind = Kind::of_topic(&topic).with_context(|| format!("a topic `{topic}`"))?;
        let file =
            fs::File::open(objects.join(&path)).with_context(|| format!("opening {path}"))?;
        let mut text = String::new();
        MultiGzDecoder::new(file)
            .read_to_string(&mut text)
            .with_context(|| format!("reading {path}"))?;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).with_context(|| format!("in {path}"))?;
            lines.push(found(kind, &line)?);
        }
    }
    ledger.check_versions("raw files", Which::All, &lines, checks);
    Ok(())
}

/// Returns the raw files of the latest list, with their topics.
fn raw_files(objects: &Path) -> anyhow::Result<BTreeSet<(String, String)>> {
    let folder = objects.join("lake/lists");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    // Names are numbers of one length.
    paths.sort();
    let mut files = BTreeSet::new();
    for path in paths {
        let list: Value = serde_json::from_slice(&fs::read(&path)?)
            .with_context(|| format!("reading {}", path.display()))?;
        apply(&list, &mut files).with_context(|| format!("in {}", path.display()))?;
    }
    Ok(files)
}

/// Applies a list to the raw files of the one before.
fn apply(list: &Value, files: &mut BTreeSet<(String, String)>) -> anyhow::Result<()> {
    if list["is_checkpoint"] == true {
        files.clear();
    }
    let empty = Vec::new();
    for path in list["remove"].as_array().unwrap_or(&empty) {
        files.retain(|(one, _)| path != one.as_str());
    }
    for file in list["add"].as_array().unwrap_or(&empty) {
        if file["kind"] == "raw" {
            let text = |name: &str| {
                let text = file[name].as_str().map(str::to_owned);
                text.with_context(|| format!("a file without `{name}`"))
            };
            files.insert((text("path")?, text("name")?));
        }
    }
    Ok(())
}

/// Asks for all rows of a query.
fn rows(client: &Client, query: &str) -> anyhow::Result<Vec<Value>> {
    let body = json!({"sql": query}).to_string().into_bytes();
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/x-ndjson"),
    ];
    let answer = client.send("POST", "/v1/sql", &headers, body)?;
    ensure!(
        answer.status == 200,
        "{query}: {} {}",
        answer.status,
        answer.excerpt()
    );
    let text = std::str::from_utf8(&answer.body).context("the answer is not UTF-8")?;
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("{query}: {line}")))
        .collect()
}

/// Reads a row or a line: its place, its key, and the version that `event` has, which is JSON, or text that is.
fn found(kind: Kind, row: &Value) -> anyhow::Result<Found> {
    let number = |name: &str| {
        let number = row[name].as_u64();
        number.with_context(|| format!("no `{name}` in {row}"))
    };
    let event = match &row["event"] {
        Value::String(text) => serde_json::from_str(text).with_context(|| text.clone())?,
        event => event.clone(),
    };
    Ok(Found {
        place: Place {
            kind,
            partition: number("log_partition")?,
            offset: number("log_offset")?,
        },
        key: match &row["key"] {
            Value::String(key) => key.clone(),
            key => key.to_string(),
        },
        version: event["version"]
            .as_u64()
            .with_context(|| format!("no version in {row}"))?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::workload::Event;
    use super::*;

    #[test]
    fn rows_and_raw_lines_are_read_alike() {
        let row =
            json!({"log_partition": 1, "log_offset": 7, "key": 12, "event": "{\"version\":3}"});
        let line =
            json!({"log_partition": 1, "log_offset": 7, "key": "12", "event": {"version": 3}});
        let read = found(Kind::User, &row).unwrap();
        assert_eq!(read, found(Kind::User, &line).unwrap());
        assert_eq!(
            (read.place.offset, read.key.as_str(), read.version),
            (7, "12", 3)
        );
        assert!(found(Kind::User, &json!({"log_partition": 1})).is_err());
    }

    /// Writes a raw file of pins with a line for each offset, and returns its entry of a list.
    fn write_raw(objects: &Path, name: &str, offsets: &[u64]) -> Value {
        let path = format!("lake/raw/pins/date=2026-01-31/{name}.ndjson.gz");
        let file = objects.join(&path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut writer = GzEncoder::new(fs::File::create(file).unwrap(), Compression::fast());
        for offset in offsets {
            let line = json!({
                "log_partition": 0, "log_offset": offset, "key": "a", "event": {"version": offset},
            });
            writeln!(writer, "{line}").unwrap();
        }
        writer.finish().unwrap();
        json!({"path": path, "kind": "raw", "name": "pins"})
    }

    #[test]
    fn raw_files_of_the_list_hold_each_event_once() {
        let folder = tempfile::tempdir().unwrap();
        let objects = folder.path();
        let write_list = |version: u32, list: Value| {
            let lists = objects.join("lake/lists");
            fs::create_dir_all(&lists).unwrap();
            fs::write(lists.join(format!("{version:020}.json")), list.to_string()).unwrap();
        };
        let mut ledger = Ledger::default();
        for version in 0..3 {
            let event = Event {
                kind: Kind::Pin,
                key: "a".to_owned(),
                version,
                is_clean: version > 0,
                ind: None,
                time: None,
                body: Value::Null,
            };
            let place = Place {
                kind: Kind::Pin,
                partition: 0,
                offset: version,
            };
            ledger.acknowledge(place, &Arc::new(event));
        }
        let failed = || {
            let mut checks = Checks::default();
            check_raw(objects, &ledger, &mut checks).unwrap();
            checks.failed()
        };
        let (one, two) = (
            write_raw(objects, "1", &[0, 1]),
            write_raw(objects, "2", &[1, 2]),
        );
        write_list(1, json!({"add": [one]}));
        assert_eq!(failed(), 1, "an event is missing");
        write_list(2, json!({"add": [two]}));
        assert_eq!(failed(), 1, "an event is there twice");
        let merged = write_raw(objects, "3", &[0, 1, 2]);
        write_list(
            3,
            json!({"add": [merged], "remove": [one["path"], two["path"]]}),
        );
        assert_eq!(failed(), 0);
    }

    #[test]
    fn lists_add_remove_and_begin_anew() {
        let mut files = BTreeSet::new();
        let raw = |path: &str| json!({"path": path, "kind": "raw", "name": "pins"});
        let rows = json!({"path": "c", "kind": "rows", "name": "pins"});
        apply(&json!({"add": [raw("a"), raw("b"), rows]}), &mut files).unwrap();
        assert_eq!(files.len(), 2);
        apply(
            &json!({"add": [raw("d")], "remove": ["a", "b"]}),
            &mut files,
        )
        .unwrap();
        assert_eq!(files, [("d".to_owned(), "pins".to_owned())].into());
        apply(
            &json!({"add": [raw("e")], "is_checkpoint": true}),
            &mut files,
        )
        .unwrap();
        assert_eq!(files, [("e".to_owned(), "pins".to_owned())].into());
        assert!(apply(&json!({"add": [{"kind": "raw"}]}), &mut files).is_err());
    }
}
