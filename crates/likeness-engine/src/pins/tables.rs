//! Tables of clean events: the same columns in the lake and in SQL.
//!
//! Every row begins with its key, has the columns of its kind in their order, and ends with what every event has:
//! when it was received and where it stands in the log, so that two versions of a row can be ordered and a row can
//! be traced back.

use likeness_core::Timestamp;
use likeness_core::log::{Offset, Partition};
use likeness_core::table::ColumnType::{Boolean, Integer, Json, Reals, Text, Texts};
use likeness_core::table::{Column, ColumnType, Row, TableSpec, Value};

use super::clean::time::EventTime;
use super::clean::{CleanEvent, CleanGeolocation, CleanPin, CleanUser};
use super::event::{EventKind, RawEvent, Rejection};

/// Where an event stands in the log of its kind, and when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// When it was received.
    pub received: Timestamp,
    /// Partition of its topic.
    pub partition: Partition,
    /// Place in the partition. Of two events of one key the one with the greater offset counts.
    pub offset: Offset,
}

const RECEIVED: Column = Column::required("received", ColumnType::Timestamp);
const PARTITION: Column = Column::required("log_partition", Integer);
const OFFSET: Column = Column::required("log_offset", Integer);

/// Clean pins, by `unique_id`.
pub const PINS: TableSpec = TableSpec {
    name: "pins",
    columns: &[
        Column::required("unique_id", Text),
        Column::nullable("ind", Integer),
        Column::nullable("title", Text),
        Column::nullable("category", Text),
        Column::nullable("poster_name", Text),
        Column::nullable("follower_count", Integer),
        Column::nullable("description", Text),
        Column::nullable("tag_list", Texts),
        Column::nullable("is_image_or_video", Text),
        Column::nullable("image_src", Text),
        Column::nullable("save_location", Text),
        Column::nullable("downloaded", Boolean),
        Column::nullable("extra", Json),
        RECEIVED,
        PARTITION,
        OFFSET,
    ],
    num_key_columns: 1,
};

/// Clean geolocations, by `ind`.
pub const GEOLOCATIONS: TableSpec = TableSpec {
    name: "geolocations",
    columns: &[
        Column::required("ind", Integer),
        Column::required("timestamp", ColumnType::Timestamp),
        Column::nullable("country", Text),
        Column::nullable("coordinates", Reals),
        Column::nullable("extra", Json),
        RECEIVED,
        PARTITION,
        OFFSET,
    ],
    num_key_columns: 1,
};

/// Clean users, by `ind`.
pub const USERS: TableSpec = TableSpec {
    name: "users",
    columns: &[
        Column::required("ind", Integer),
        Column::nullable("user_name", Text),
        Column::nullable("age", Integer),
        Column::nullable("date_joined", ColumnType::Timestamp),
        Column::nullable("extra", Json),
        RECEIVED,
        PARTITION,
        OFFSET,
    ],
    num_key_columns: 1,
};

/// Events that cannot be cleaned, by their place in the log.
pub const REJECTED: TableSpec = TableSpec {
    name: "pins_rejected",
    columns: &[
        Column::required("kind", Text),
        PARTITION,
        OFFSET,
        Column::required("key", Text),
        Column::required("field", Text),
        Column::required("reason", Text),
        Column::required("value", Json),
        Column::required("event", Json),
        RECEIVED,
    ],
    num_key_columns: 3,
};

/// Returns the table of clean events of a kind.
pub fn table_of(kind: EventKind) -> &'static TableSpec {
    match kind {
        EventKind::Pin => &PINS,
        EventKind::Geolocation => &GEOLOCATIONS,
        EventKind::User => &USERS,
    }
}

/// An event of the log, read and cleaned.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaned {
    /// Where it stands, and when it came.
    pub origin: Origin,
    /// What came.
    pub raw: RawEvent,
    /// Row of its kind's table, or why there is none.
    pub outcome: Result<CleanEvent, Rejection>,
}

/// Reads and cleans a record of a kind's topic. Both ways call this.
///
/// # Errors
/// If the payload is none that the way in has written: the log is damaged.
pub fn read(
    kind: EventKind,
    (partition, offset): (Partition, Offset),
    payload: &[u8],
) -> Result<Cleaned, serde_json::Error> {
    let raw = RawEvent::decode(payload)?;
    let origin = Origin {
        received: raw.received,
        partition,
        offset,
    };
    Ok(Cleaned {
        origin,
        outcome: super::clean::clean(kind, &raw.event),
        raw,
    })
}

impl Cleaned {
    /// Returns the row of the kind's table, or of [`REJECTED`], with that table. `key` is the record's.
    pub fn into_row(self, kind: EventKind, key: &str) -> (&'static TableSpec, Row) {
        let origin = self.origin;
        match self.outcome {
            Ok(event) => (table_of(kind), row(event, origin)),
            Err(rejection) => (&REJECTED, rejected(kind, key, rejection, self.raw, origin)),
        }
    }
}

/// Returns the row of a clean event, in the order of its table.
pub fn row(event: CleanEvent, origin: Origin) -> Row {
    let mut values: Vec<Value> = match event {
        CleanEvent::Pin(pin) => of_pin(pin),
        CleanEvent::Geolocation(geolocation) => of_geolocation(geolocation),
        CleanEvent::User(user) => of_user(user),
    };
    values.extend([
        received(origin.received),
        Value::Integer(i64::from(origin.partition.0)),
        offset(origin.offset),
    ]);
    Row(values)
}

fn of_pin(pin: CleanPin) -> Vec<Value> {
    vec![
        pin.unique_id.into(),
        pin.ind.into(),
        pin.title.into(),
        pin.category.into(),
        pin.poster_name.into(),
        pin.follower_count.into(),
        pin.description.into(),
        pin.tag_list.into(),
        pin.is_image_or_video.into(),
        pin.image_src.into(),
        pin.save_location.into(),
        pin.downloaded.into(),
        pin.extra.map(serde_json::Value::Object).into(),
    ]
}

fn of_geolocation(geolocation: CleanGeolocation) -> Vec<Value> {
    vec![
        geolocation.ind.into(),
        Value::Timestamp(geolocation.timestamp.micros()),
        geolocation.country.into(),
        geolocation.coordinates.map(Vec::from).into(),
        geolocation.extra.map(serde_json::Value::Object).into(),
    ]
}

fn of_user(user: CleanUser) -> Vec<Value> {
    let joined = user.date_joined;
    vec![
        user.ind.into(),
        user.user_name.into(),
        user.age.map(i64::from).into(),
        joined.map_or(Value::Null, |joined| Value::Timestamp(joined.micros())),
        user.extra.map(serde_json::Value::Object).into(),
    ]
}

fn rejected(
    kind: EventKind,
    key: &str,
    rejection: Rejection,
    raw: RawEvent,
    origin: Origin,
) -> Row {
    Row(vec![
        kind.name().into(),
        Value::Integer(i64::from(origin.partition.0)),
        offset(origin.offset),
        key.into(),
        rejection.field.into(),
        rejection.reason.into(),
        rejection.value.into(),
        serde_json::Value::Object(raw.event).into(),
        received(origin.received),
    ])
}

fn received(time: Timestamp) -> Value {
    Value::Timestamp(EventTime::from(time).micros())
}

fn offset(offset: Offset) -> Value {
    // 2^63 records of one partition are out of reach.
    Value::Integer(i64::try_from(offset.0).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::pins::emulate::{Emulator, EmulatorOptions};
    use crate::pins::event;

    const NOW: Timestamp = Timestamp(1_760_000_000_000);

    #[test]
    fn whatever_is_emulated_gives_rows_of_its_tables() {
        let emulator = Emulator::new(EmulatorOptions {
            dirty: 0.5,
            ..EmulatorOptions::default()
        });
        let mut tables = HashSet::new();
        for number in 0..400 {
            for kind in EventKind::ALL {
                let event = emulator.post(number, NOW.into()).event(kind);
                let Ok(key) = event::key(kind, &event) else {
                    continue;
                };
                let payload = RawEvent {
                    received: NOW,
                    event,
                }
                .encode();
                let place = (Partition(3), Offset(u64::from(number)));
                let (table, row) = read(kind, place, &payload).unwrap().into_row(kind, &key);
                row.check(table).unwrap();
                tables.insert(table.name);
            }
        }
        assert_eq!(tables.len(), 4, "{tables:?}");
    }

    #[test]
    fn tables_have_the_columns_of_clean_events_in_their_order() {
        for (spec, columns) in [
            (PINS, &CleanPin::COLUMNS[..]),
            (GEOLOCATIONS, &CleanGeolocation::COLUMNS[..]),
            (USERS, &CleanUser::COLUMNS[..]),
        ] {
            let names: Vec<_> = spec.columns.iter().map(|column| column.name).collect();
            assert_eq!(names[..columns.len()], *columns);
            let rest = &names[columns.len()..];
            assert_eq!(rest, ["received", "log_partition", "log_offset"]);
        }
    }
}
