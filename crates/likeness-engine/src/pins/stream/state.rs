//! What the stream knows of itself, one row for each number.

use likeness_core::sql::{Select, Tables};
use likeness_core::table::{Row, Value};
use likeness_core::{StoreError, StoreResult};

use super::schema::{STREAM_STATE, fields, integer, text};
use crate::pins::StreamConfig;

/// Totals, and the greatest time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Greatest time of an event, not later than events were received; microseconds since 1970.
    pub(super) greatest: Option<i64>,
    /// Rows.
    pub(super) pins: i64,
    pub(super) geolocations: i64,
    pub(super) users: i64,
    pub(super) rejected: i64,
    /// Pins that were late, as often as they were.
    pub(super) late: i64,
    /// Half-life that scores were made with, in microseconds.
    half_life: i64,
}

impl State {
    /// Reads the state, or returns that of empty tables.
    ///
    /// # Errors
    /// `Invalid` if the numbers were made with another half-life.
    pub(super) async fn load(tables: &dyn Tables, config: &StreamConfig) -> StoreResult<Self> {
        let wanted = config.half_life().micros();
        let mut state = Self {
            half_life: 0,
            ..Self::default()
        };
        let select = Select {
            limit: 100,
            ..Select::default()
        };
        for row in tables.select(&STREAM_STATE, select).await? {
            let [name, value] = fields(&STREAM_STATE, &row, ["name", "value"]);
            let (name, value) = (text(name).unwrap_or_default(), integer(value));
            match name {
                "greatest_event_time" => state.greatest = Some(value),
                "half_life" => state.half_life = value,
                _ => {
                    let mut totals = state.totals();
                    if let Some((_, total)) = totals.iter_mut().find(|(known, _)| *known == name) {
                        **total = value;
                    }
                }
            }
        }
        if state.half_life != 0 && state.half_life != wanted {
            let reason = format!(
                "the scores there are of a half-life of {} s, `pins.half_life` is {} s; set it back, or give an empty \
                 database, which is filled from the log",
                state.half_life / 1_000_000,
                wanted / 1_000_000
            );
            return Err(StoreError::invalid("tables", reason));
        }
        Ok(state)
    }

    fn totals(&mut self) -> [(&'static str, &mut i64); 5] {
        [
            ("pins", &mut self.pins),
            ("geolocations", &mut self.geolocations),
            ("users", &mut self.users),
            ("rejected", &mut self.rejected),
            ("late", &mut self.late),
        ]
    }

    /// Returns the time before which what comes is late.
    pub(super) fn watermark(&self, config: &StreamConfig) -> Option<i64> {
        let lateness = i64::try_from(config.allowed_lateness.as_micros()).unwrap_or(i64::MAX);
        self.greatest
            .map(|greatest| greatest.saturating_sub(lateness))
    }

    /// Returns the state of tables that scores of a half-life are in.
    pub(super) fn with_half_life(self, micros: i64) -> Self {
        Self {
            half_life: micros,
            ..self
        }
    }

    /// Returns the rows of another state that differ from those of this one.
    pub(super) fn rows_changed(&self, after: &Self) -> Vec<Row> {
        let (mut old, mut new) = (*self, *after);
        let mut rows = Vec::new();
        for ((name, before), (_, now)) in old.totals().into_iter().zip(new.totals()) {
            if before != now {
                rows.push(Row(vec![name.into(), (*now).into()]));
            }
        }
        if self.greatest != after.greatest {
            let value: Value = after.greatest.into();
            rows.push(Row(vec!["greatest_event_time".into(), value]));
        }
        if self.half_life != after.half_life {
            rows.push(Row(vec!["half_life".into(), after.half_life.into()]));
        }
        rows
    }
}
