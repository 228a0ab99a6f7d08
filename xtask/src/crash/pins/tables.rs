//! What must hold of the stream's tables: by HTTP, and in the file itself once the server has stopped.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::Value;

use super::ledger::{Found, Ledger, Place, Which};
use super::workload::Kind;
use crate::http::Client;
use crate::report::Checks;
use crate::sqlite::{self, Row};

/// Numbers that the file keeps, and how they follow from its rows; both are tables of the same columns.
const NUMBERS: [(&str, &str, &str); 4] = [
    (
        "pins of a minute",
        "SELECT category, minute, pins, late FROM pins_per_minute",
        "SELECT coalesce(category, ''), event_time - event_time % 60000000, count(*), sum(late)
         FROM experimental_data GROUP BY 1, 2",
    ),
    (
        "pins of a profile",
        "SELECT poster_name, pins FROM profiles",
        "SELECT profile, count(*) FROM experimental_data WHERE profile IS NOT NULL GROUP BY 1",
    ),
    (
        "pins of a profile by spans",
        "SELECT profile, sum(pins) FROM profile_activity GROUP BY 1",
        "SELECT profile, count(*) FROM experimental_data WHERE profile IS NOT NULL GROUP BY 1",
    ),
    (
        "totals",
        "SELECT name, value FROM pins_stream
         WHERE name IN ('pins', 'geolocations', 'users', 'rejected') AND value != 0",
        "SELECT 'pins', count(*) FROM experimental_data HAVING count(*) > 0
         UNION ALL SELECT 'geolocations', count(*) FROM geolocations HAVING count(*) > 0
         UNION ALL SELECT 'users', count(*) FROM users HAVING count(*) > 0
         UNION ALL SELECT 'rejected', count(*) FROM pins_rejected HAVING count(*) > 0",
    ),
];

/// Checks what a running server says of the tables, which have read everything.
///
/// # Errors
/// If it does not answer.
pub(super) fn check_server(
    client: &Client,
    ledger: &Ledger,
    checks: &mut Checks,
) -> anyhow::Result<()> {
    let status = client.get_json("/v1/pins/status")?;
    for kind in Kind::ALL {
        let (rows, wanted) = (&status[kind.topic()], ledger.num_rows(kind));
        checks.that(*rows == wanted, || {
            format!(
                "the status tells of {rows} {}, there are {wanted}",
                kind.topic()
            )
        });
    }
    checks.that(status["waits_for"].is_null(), || format!("{status} waits"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let path = format!(
        "/v1/pins/series?from={}&until={}&step=1h",
        now - 10 * 86_400,
        now + 3_600
    );
    let series = client.get_json(&path)?;
    let points = series["points"].as_array().context("no points")?;
    let counts = points.iter().filter_map(|point| point["pins"].as_u64());
    let (counted, wanted) = (counts.sum::<u64>(), ledger.num_rows(Kind::Pin) as u64);
    checks.that(counted == wanted, || {
        format!("{counted} pins are counted in minutes, there are {wanted}")
    });
    Ok(())
}

/// Checks the file of a server that has stopped.
///
/// # Errors
/// If it cannot be read.
pub(super) fn check_file(path: &Path, ledger: &Ledger, checks: &mut Checks) -> anyhow::Result<()> {
    let differences = NUMBERS
        .iter()
        .flat_map(|(what, kept, counted)| [(what, kept, counted), (what, counted, kept)]);
    let mut texts = vec![
        "PRAGMA integrity_check".to_owned(),
        "SELECT log_partition, log_offset, key, json_extract(event, '$.version'), kind FROM pins_rejected".to_owned(),
        "SELECT unique_id, event_time, received FROM experimental_data".to_owned(),
        "SELECT topic, partition, next FROM likeness_positions WHERE consumer = 'pins-stream'".to_owned(),
    ];
    texts.extend(Kind::ALL.map(rows_of));
    texts.extend(differences.clone().map(|(_, left, right)| {
        format!("SELECT count(*) FROM (SELECT * FROM ({left}) EXCEPT SELECT * FROM ({right}))")
    }));
    let mut answers = sqlite::query(path, &texts)?.into_iter();
    let mut next = || answers.next().context("too few answers");

    let whole = next()?;
    checks.that(whole == [["ok"]], || {
        format!("{}: {whole:?}", path.display())
    });
    let rejected = found(&next()?)?;
    ledger.check_versions("rejected events", Which::Rejected, &rejected, checks);
    check_times(&next()?, ledger, checks)?;
    let positions = positions(&next()?)?;
    for (place, end) in ledger.ends() {
        let next = positions.get(&place).copied().unwrap_or(0);
        checks.that(next >= end, || {
            format!("tables: {place:?} is read up to {next}, its end is {end} at least")
        });
    }
    for kind in Kind::ALL {
        ledger.check_rows("tables", kind, &found(&next()?)?, checks);
    }
    for (what, _, _) in differences {
        let rows = next()?;
        checks.that(rows == [[0]], || {
            format!("tables: {rows:?} {what} are wrong")
        });
    }
    Ok(())
}

/// Reads rows of five columns: partition, offset, key, version, name of the kind.
fn found(rows: &[Row]) -> anyhow::Result<Vec<Found>> {
    let found = rows.iter().map(|row| {
        let kind = text(row, 4)?;
        Ok(Found {
            place: Place {
                kind: Kind::of_name(kind).with_context(|| format!("a kind `{kind}`"))?,
                partition: number(row, 0)?,
                offset: number(row, 1)?,
            },
            key: text(row, 2)?.to_owned(),
            version: number(row, 3)?,
        })
    });
    found.collect()
}

fn rows_of(kind: Kind) -> String {
    let (table, key, name) = (table(kind), kind.key_column(), kind.name());
    format!(
        "SELECT log_partition, log_offset, CAST({key} AS TEXT), json_extract(extra, '$.version'), '{name}'
         FROM {table}"
    )
}

/// Each pin was posted when the latest geolocation of its number says, or when it was received.
fn check_times(rows: &[Row], ledger: &Ledger, checks: &mut Checks) -> anyhow::Result<()> {
    for row in rows {
        let (key, time, received) = (text(row, 0)?, number(row, 1)?, number(row, 2)?);
        let ind = ledger.latest(Kind::Pin, key).and_then(|pin| pin.ind);
        let geolocation = ind.and_then(|ind| ledger.latest(Kind::Geolocation, &ind.to_string()));
        let seconds = geolocation.and_then(|geolocation| geolocation.time);
        let wanted = seconds.map_or(received, |seconds| seconds * 1_000_000);
        checks.that(time == wanted, || {
            format!("`{key}` is of {time}, not of {wanted}, as {geolocation:?} says")
        });
    }
    Ok(())
}

fn positions(rows: &[Row]) -> anyhow::Result<BTreeMap<(Kind, u64), u64>> {
    let positions = rows.iter().map(|row| {
        let topic = text(row, 0)?;
        let kind = Kind::of_topic(topic).with_context(|| format!("a topic `{topic}`"))?;
        Ok(((kind, number(row, 1)?), number(row, 2)?))
    });
    positions.collect()
}

fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Pin => "experimental_data",
        Kind::Geolocation | Kind::User => kind.topic(),
    }
}

fn text(row: &Row, idx: usize) -> anyhow::Result<&str> {
    let text = row.get(idx).and_then(Value::as_str);
    text.with_context(|| format!("no text in column {idx} of {row:?}"))
}

fn number(row: &Row, idx: usize) -> anyhow::Result<u64> {
    let number = row.get(idx).and_then(Value::as_u64);
    number.with_context(|| format!("no number in column {idx} of {row:?}"))
}

/// Returns how many records the stream has not committed yet; nothing while it cannot say.
pub(super) fn unread(client: &Client) -> Option<u64> {
    let status: Value = client.get_json("/v1/pins/status").ok()?;
    let topics = status["topics"].as_array()?;
    topics.iter().map(|topic| topic["records"].as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::workload::Event;
    use super::*;

    /// Two pins, one of them with a geolocation, a user, and an event that was rejected.
    const FILE: &str = r#"
        CREATE TABLE experimental_data (unique_id, category, received, extra, log_partition, log_offset,
            event_time, late, profile);
        CREATE TABLE geolocations (ind, extra, log_partition, log_offset);
        CREATE TABLE users (ind, extra, log_partition, log_offset);
        CREATE TABLE pins_rejected (kind, log_partition, log_offset, key, event);
        CREATE TABLE pins_per_minute (category, minute, pins, late);
        CREATE TABLE profiles (poster_name, pins);
        CREATE TABLE profile_activity (profile, span, pins);
        CREATE TABLE pins_stream (name, value);
        CREATE TABLE likeness_positions (consumer, topic, partition, next);
        INSERT INTO experimental_data VALUES
            ('a', 'art', 70000000, '{"version": 1}', 0, 0, 61000000, 1, 'Anna'),
            ('b', NULL, 70000000, '{"version": 1}', 0, 1, 70000000, 0, NULL);
        INSERT INTO geolocations VALUES (7, '{"version": 1}', 2, 0);
        INSERT INTO users VALUES (7, '{"version": 2}', 3, 4);
        INSERT INTO pins_rejected VALUES ('user', 3, 3, '7', '{"version": 1}');
        INSERT INTO pins_per_minute VALUES ('art', 60000000, 1, 1), ('', 60000000, 1, 0);
        INSERT INTO profiles VALUES ('Anna', 1);
        INSERT INTO profile_activity VALUES ('Anna', 0, 1);
        INSERT INTO pins_stream VALUES ('pins', 2), ('geolocations', 1), ('users', 1), ('rejected', 1), ('late', 1);
        INSERT INTO likeness_positions VALUES ('pins-stream', 'pins', 0, 2), ('pins-stream', 'geolocations', 2, 1),
            ('pins-stream', 'users', 3, 5), ('other', 'pins', 0, 9);
    "#;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let mut acknowledge = |kind, key: &str, version, is_clean, (partition, offset)| {
            let event = Event {
                kind,
                key: key.to_owned(),
                version,
                is_clean,
                ind: (key != "b").then_some(7),
                time: (kind == Kind::Geolocation).then_some(61),
                body: Value::Null,
            };
            let place = Place {
                kind,
                partition,
                offset,
            };
            ledger.acknowledge(place, &Arc::new(event));
        };
        acknowledge(Kind::Pin, "a", 1, true, (0, 0));
        acknowledge(Kind::Pin, "b", 1, true, (0, 1));
        acknowledge(Kind::Geolocation, "7", 1, true, (2, 0));
        acknowledge(Kind::User, "7", 1, false, (3, 3));
        acknowledge(Kind::User, "7", 2, true, (3, 4));
        ledger
    }

    /// Returns how many checks fail after a change of the file.
    fn failed_after(change: &str) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pins.sqlite3");
        sqlite::tests::execute(&path, &format!("{FILE}{change}"));
        let mut checks = Checks::default();
        check_file(&path, &ledger(), &mut checks).unwrap();
        assert!(checks.passed() > 10);
        checks.failed()
    }

    #[test]
    fn a_whole_file_passes() {
        assert_eq!(failed_after(""), 0);
    }

    #[test]
    fn every_breach_is_seen() {
        for change in [
            "DELETE FROM users",
            "INSERT INTO users SELECT * FROM users",
            "UPDATE users SET log_offset = 2",
            "UPDATE users SET extra = '{\"version\": 1}'",
            "DELETE FROM pins_rejected",
            "INSERT INTO pins_rejected SELECT * FROM pins_rejected",
            "UPDATE pins_rejected SET log_offset = 2",
            "UPDATE experimental_data SET event_time = received WHERE unique_id = 'a'",
            "UPDATE experimental_data SET late = 1",
            "UPDATE pins_per_minute SET pins = 2 WHERE category = 'art'",
            "INSERT INTO pins_per_minute VALUES ('food', 60000000, 1, 0)",
            "UPDATE profiles SET pins = 2",
            "UPDATE profile_activity SET pins = 2",
            "UPDATE pins_stream SET value = 3 WHERE name = 'pins'",
            "UPDATE likeness_positions SET next = 1 WHERE consumer = 'pins-stream'",
            "DELETE FROM likeness_positions",
        ] {
            assert!(failed_after(change) > 0, "{change}");
        }
    }
}
