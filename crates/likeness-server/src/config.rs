use std::net::SocketAddr;
use std::time::Duration;

use likeness_core::Sha256;
use serde::{Deserialize, Deserializer};

use crate::error::ServerError;

/// Where and for whom the server answers. Durations are written like `"30s"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address to listen on. Any other than loopback needs at least one key.
    pub bind: SocketAddr,
    /// Who may call. Empty: everyone who reaches the loopback address.
    pub keys: Vec<ApiKey>,
    /// Further names (without port) under which browsers reach this server, behind a proxy for
    /// example. Loopback names are always allowed. Looked at only while there are no keys.
    pub allowed_hosts: Vec<String>,
    /// Open connections; beyond it a connection is answered 503 and closed.
    pub max_connections: usize,
    /// Requests worked on at once; beyond it requests are answered 503.
    pub max_requests: usize,
    /// Open streams of `/v1/events`; beyond it requests for one are answered 503.
    pub max_event_streams: usize,
    /// How long a client may take to send a request's head, and how long an idle connection is
    /// kept; then it is closed.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body; then it is answered 408.
    #[serde(deserialize_with = "duration")]
    pub body_timeout: Duration,
    /// How long the server goes on accepting after `/readyz` turned false, so that a load balancer
    /// sees it first. Zero on a laptop.
    #[serde(deserialize_with = "duration")]
    pub stop_delay: Duration,
    /// How long requests in progress may take once the server stops; then they are cut off.
    #[serde(deserialize_with = "duration")]
    pub drain_timeout: Duration,
}

/// A key that callers show as `Authorization: Bearer …`. Only its digest is configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Who has it; appears in logs.
    pub name: String,
    /// SHA-256 of the key, hex: `printf %s "$KEY" | sha256sum`.
    pub sha256: Sha256,
    /// What it may do.
    pub scopes: Vec<Scope>,
}

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// See everything, by SQL too, and match pictures without storing them.
    Read,
    /// Upload.
    Write,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 7878)),
            keys: Vec::new(),
            allowed_hosts: Vec::new(),
            max_connections: 1024,
            max_requests: 256,
            max_event_streams: 64,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(60),
            stop_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl ServerConfig {
    /// Checks the parts against each other.
    ///
    /// # Errors
    /// [`ServerError::KeysNeeded`] for an address that others can reach while there are no keys,
    /// [`ServerError::Config`] for anything else.
    pub fn validate(&self) -> Result<(), ServerError> {
        self.check_exposure(self.bind)?;
        let invalid = |reason: String| Err(ServerError::Config { reason });
        for (name, value) in [
            ("max_connections", self.max_connections),
            ("max_requests", self.max_requests),
            ("max_event_streams", self.max_event_streams),
        ] {
            if value == 0 || value > tokio::sync::Semaphore::MAX_PERMITS {
                return invalid(format!("`{name}` must be at least 1 and not absurd"));
            }
        }
        for (name, value) in [
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
        ] {
            if value.is_zero() {
                return invalid(format!("`{name}` must not be zero"));
            }
        }
        for key in &self.keys {
            if key.scopes.is_empty() {
                return invalid(format!("key `{}` has no scope", key.name));
            }
        }
        Ok(())
    }

    /// Refuses `address` if others can reach it and no key would stop them.
    pub(crate) fn check_exposure(&self, address: SocketAddr) -> Result<(), ServerError> {
        if address.ip().is_loopback() || !self.keys.is_empty() {
            return Ok(());
        }
        Err(ServerError::KeysNeeded { address })
    }
}

/// Reads `"30s"`, `"1m 30s"`, `"250ms"`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(json: &str) -> Result<ServerConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_that_others_reach_needs_a_key() {
        let open = read(r#"{"bind": "0.0.0.0:80"}"#).unwrap();
        let error = open.validate().unwrap_err();
        assert!(matches!(error, ServerError::KeysNeeded { .. }));
        assert!(error.to_string().contains("0.0.0.0:80"), "{error}");

        let digest = "ab".repeat(32);
        let closed = read(&format!(
            r#"{{"bind": "0.0.0.0:80", "keys": [{{"name": "ops", "sha256": "{digest}", "scopes": ["read"]}}]}}"#
        ));
        closed.unwrap().validate().unwrap();
        read(r#"{"bind": "[::1]:80"}"#).unwrap().validate().unwrap();
    }

    #[test]
    fn typos_and_bare_numbers_are_refused() {
        assert!(
            read(r#"{"bnd": "127.0.0.1:80"}"#)
                .unwrap_err()
                .contains("bnd")
        );
        assert!(read(r#"{"body_timeout": "soon"}"#).is_err());
        let config = read(r#"{"body_timeout": "1m 30s"}"#).unwrap();
        assert_eq!(config.body_timeout, Duration::from_secs(90));
    }

    #[test]
    fn a_bound_of_zero_is_refused() {
        for json in [r#"{"max_requests": 0}"#, r#"{"header_timeout": "0s"}"#] {
            assert!(read(json).unwrap().validate().is_err(), "{json}");
        }
    }
}
