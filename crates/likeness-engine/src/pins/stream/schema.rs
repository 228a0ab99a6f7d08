//! Tables of the stream: rows of clean events, and the numbers that are kept about them.

use likeness_core::sql::{MAX_INDEXED_BYTES, Migration};
use likeness_core::table::ColumnType::{Boolean, Integer, Real, Text, Timestamp};
use likeness_core::table::{Column, Row, TableSpec, Value};

use crate::pins::tables::{GEOLOCATIONS, PINS, REJECTED, USERS};

const NUM_PIN_COLUMNS: usize = PINS.columns.len();

/// Clean pins, by `unique_id`: the columns of [`PINS`], and when each was posted.
pub const EXPERIMENTAL_DATA: TableSpec = TableSpec {
    name: "experimental_data",
    columns: &EXPERIMENTAL_COLUMNS,
    num_key_columns: 1,
};

const EXPERIMENTAL_COLUMNS: [Column; NUM_PIN_COLUMNS + 3] = {
    // When it was posted, as its geolocation says; when it was received, if there is none.
    let mut columns = [Column::required("event_time", Timestamp); NUM_PIN_COLUMNS + 3];
    let mut idx = 0;
    while idx < NUM_PIN_COLUMNS {
        columns[idx] = PINS.columns[idx];
        idx += 1;
    }
    // Whether the watermark had passed that time when it was learnt.
    columns[NUM_PIN_COLUMNS + 1] = Column::required("late", Boolean);
    // The poster's name as numbers are kept by it: see `indexed`.
    columns[NUM_PIN_COLUMNS + 2] = Column::nullable("profile", Text);
    columns
};

/// Pins of a category and minute of event time. Pins without a category count under the empty one.
pub const PINS_PER_MINUTE: TableSpec = TableSpec {
    name: "pins_per_minute",
    columns: &[
        Column::required("category", Text),
        Column::required("minute", Timestamp),
        Column::required("pins", Integer),
        // How many of them are late.
        Column::required("late", Integer),
    ],
    num_key_columns: 2,
};

/// Profiles that post.
pub const PROFILES: TableSpec = TableSpec {
    name: "profiles",
    columns: &[
        Column::required("poster_name", Text),
        // As the pin says that was received last of those that say anything.
        Column::nullable("followers", Integer),
        Column::required("pins", Integer),
        // Logarithm to base 2: see `decay`.
        Column::required("score", Real),
        // Which pin that is, and when it was received.
        Column::nullable("followers_by", Text),
        Column::nullable("followers_at", Timestamp),
    ],
    num_key_columns: 1,
};

/// Pins of a profile in a span of one half-life: of these, scores are made.
pub const PROFILE_ACTIVITY: TableSpec = TableSpec {
    name: "profile_activity",
    columns: &[
        Column::required("profile", Text),
        Column::required("span", Integer),
        Column::required("pins", Integer),
        // Sum of their weights within the span, in units of 2^-32.
        Column::required("weight", Integer),
    ],
    num_key_columns: 2,
};

/// What the stream knows of itself.
pub const STREAM_STATE: TableSpec = TableSpec {
    name: "pins_stream",
    columns: &[
        Column::required("name", Text),
        Column::required("value", Integer),
    ],
    num_key_columns: 1,
};

/// Name of the set of migrations.
pub(super) const SET: &str = "pins";

/// The schema. Only ever added to, at the end.
pub(super) const MIGRATIONS: [Migration; 15] = [
    Migration::CreateTable(EXPERIMENTAL_DATA),
    Migration::CreateTable(GEOLOCATIONS),
    Migration::CreateTable(USERS),
    Migration::CreateTable(REJECTED),
    Migration::CreateTable(PINS_PER_MINUTE),
    Migration::CreateTable(PROFILES),
    Migration::CreateTable(PROFILE_ACTIVITY),
    Migration::CreateTable(STREAM_STATE),
    Migration::CreateIndex {
        name: "experimental_data_by_ind",
        table: "experimental_data",
        columns: &[
            Column::nullable("ind", Integer),
            Column::required("unique_id", Text),
        ],
    },
    Migration::CreateIndex {
        name: "experimental_data_by_profile",
        table: "experimental_data",
        columns: &[
            Column::nullable("profile", Text),
            Column::required("received", Timestamp),
            Column::required("unique_id", Text),
        ],
    },
    Migration::CreateIndex {
        name: "pins_per_minute_by_minute",
        table: "pins_per_minute",
        columns: &[Column::required("minute", Timestamp)],
    },
    Migration::CreateIndex {
        name: "profiles_by_score",
        table: "profiles",
        columns: &[Column::required("score", Real)],
    },
    Migration::CreateIndex {
        name: "profiles_by_followers",
        table: "profiles",
        columns: &[Column::nullable("followers", Integer)],
    },
    Migration::CreateIndex {
        name: "profiles_by_pins",
        table: "profiles",
        columns: &[Column::required("pins", Integer)],
    },
    Migration::CreateIndex {
        name: "pins_rejected_by_received",
        table: "pins_rejected",
        columns: &[
            Column::required("received", Timestamp),
            Column::required("kind", Text),
            Column::required("log_partition", Integer),
            Column::required("log_offset", Integer),
        ],
    },
];

/// Returns the beginning of a name that can be in an index: names that agree in their first 256 bytes count as one.
pub(super) fn indexed(name: &str) -> &str {
    const MAX_BYTES: usize = 256;
    const { assert!(MAX_BYTES <= MAX_INDEXED_BYTES) };
    &name[..name.floor_char_boundary(MAX_BYTES)]
}

/// Returns the values of columns by their names, to be read by pattern.
pub(super) fn fields<'a, const N: usize>(
    spec: &TableSpec,
    row: &'a Row,
    names: [&str; N],
) -> [&'a Value; N] {
    names.map(|name| {
        let idx = spec.column(name);
        &row.0[idx.expect("tables are constants, and tests read all of their columns")]
    })
}

pub(super) fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(number) | Value::Timestamp(number) => *number,
        _ => 0,
    }
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pins_table_has_the_columns_of_clean_pins_first() {
        let columns = EXPERIMENTAL_DATA.columns;
        assert_eq!(columns[..NUM_PIN_COLUMNS], *PINS.columns);
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        assert_eq!(names[NUM_PIN_COLUMNS..], ["event_time", "late", "profile"]);
    }

    #[test]
    fn migrations_are_what_they_were() {
        let texts = MIGRATIONS.map(|migration| migration.to_string());
        let hash = texts.concat().bytes().fold(0_u64, |hash, byte| {
            hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        });
        // A change of the schema is a further migration, not another one of these.
        assert_eq!(hash, EXPECTED, "{texts:#?}");
    }

    /// Of the version that first had them.
    const EXPECTED: u64 = 16_477_193_204_265_139_413;

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(indexed("Anna"), "Anna");
        let long = "ä".repeat(200);
        assert_eq!(indexed(&long), "ä".repeat(128));
        let odd = format!("a{long}");
        assert_eq!(indexed(&odd).len(), 255);
    }
}
