//! The stream of decisions, as a consumer sees it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::http::Event;
use crate::process::Server;

/// Longest wait for the next decision while some are missing.
const NEXT_LIMIT: Duration = Duration::from_secs(60);
/// How long the stream must be silent to count as read to its end.
const SILENCE: Duration = Duration::from_millis(1_500);
/// The same while images still arrive, where the end does not matter.
const GLANCE: Duration = Duration::from_millis(60);

/// A decision, and what must never change about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decided {
    /// Place in the stream.
    pub(crate) offset: u64,
    /// Id of the image.
    pub(crate) id: String,
    /// `new_cluster`, `joined` or `rejected`.
    pub(crate) kind: String,
    /// Canonical id; empty for a rejected image.
    pub(crate) canonical_id: String,
    /// Internal number; absent for a rejected image.
    pub(crate) number: Option<u64>,
    /// All of it.
    pub(crate) body: Value,
}

impl Decided {
    fn parse(event: &Event) -> anyhow::Result<Self> {
        let body: Value = serde_json::from_str(&event.data).context("an event is not JSON")?;
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let offset = match body["offset"].as_u64() {
            Some(offset) => offset,
            None => event
                .id
                .parse()
                .with_context(|| format!("an event has no offset: {body}"))?,
        };
        Ok(Self {
            offset,
            id: text("id"),
            kind: text("kind"),
            canonical_id: text("canonical_id"),
            number: body["number"].as_u64(),
            body,
        })
    }
}

/// Reads the stream from its beginning until `at_least` decisions are there and silence follows.
///
/// # Errors
/// If the next decision does not come in a minute while some are missing.
pub(crate) fn read_all(server: &Server, at_least: usize) -> anyhow::Result<Vec<Decided>> {
    let events = server
        .client(NEXT_LIMIT)
        .events("/v1/events?from=beginning")?;
    let mut read = Vec::new();
    loop {
        let is_complete = read.len() >= at_least;
        let wait = if is_complete { SILENCE } else { NEXT_LIMIT };
        match events.recv_timeout(wait) {
            Ok(event) => read.push(Decided::parse(&event)?),
            Err(_) if is_complete => return Ok(read),
            Err(_) => bail!(
                "only {} of {at_least} uploads are decided after {} s of silence",
                read.len(),
                NEXT_LIMIT.as_secs()
            ),
        }
    }
}

/// Returns what can be read at once after `last`. A server that dies meanwhile ends the list.
pub(crate) fn read_available(server: &Server, last: Option<&Decided>) -> Vec<Decided> {
    let path = match last {
        Some(last) => format!("/v1/events?from={}", last.offset + 1),
        None => "/v1/events?from=beginning".to_owned(),
    };
    let mut read = Vec::new();
    let Ok(events) = server.client(NEXT_LIMIT).events(&path) else {
        return read;
    };
    while let Ok(event) = events.recv_timeout(GLANCE) {
        match Decided::parse(&event) {
            Ok(decided) => read.push(decided),
            // The last line of a stream that was cut off.
            Err(_) => break,
        }
    }
    read
}
