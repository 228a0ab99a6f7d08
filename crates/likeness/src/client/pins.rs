//! Pins, geolocations and users.

use bytes::Bytes;
use likeness_engine::pins::{EventKind, RawObject};
use serde::Deserialize;

use super::Client;

/// What became of several events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Ingested {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
}

impl Client {
    /// Sends events of one kind.
    pub(crate) async fn push_events(
        &self,
        kind: EventKind,
        events: &[RawObject],
    ) -> anyhow::Result<Ingested> {
        let path = match kind {
            EventKind::Pin => "/v1/pins",
            EventKind::Geolocation => "/v1/geolocations",
            EventKind::User => "/v1/users",
        };
        let body = Bytes::from(serde_json::to_vec(events)?);
        self.post(path, "application/json", body).await
    }
}
