//! The catalog port: the few, precious, relational facts. Generations, leases, settings.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Generation, StoreResult, Timestamp};

/// A set of models and parameters, and since when it exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// Its number.
    pub generation: Generation,
    /// When it was created.
    pub created: Timestamp,
    /// Digest of `parameters`, hex; two generations with equal fingerprints are the same.
    pub fingerprint: String,
    /// Models, versions, thresholds: whatever decides how an image is treated.
    pub parameters: serde_json::Value,
}

/// The right to be the only writer of something, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is held.
    pub name: String,
    /// Who holds it.
    pub owner: String,
    /// Grows with every change of owner. What the lease guards must refuse a smaller token than
    /// it has seen: the holder may have slept past its time.
    pub token: u64,
    /// When it lapses unless renewed.
    pub expires: Timestamp,
}

/// What became of a wish for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// It is held now.
    Acquired(Lease),
    /// Another owner holds it.
    Held(Lease),
}

/// Small relational facts, strongly consistent.
///
/// Contract, checked by [`crate::testsuite::check_catalog`]:
/// - Every method is one serialisable transaction, durable when it returns.
/// - Time is the caller's, given to each call, so that tests need not sleep; callers keep their
///   clocks within a small part of a lease's length of each other.
#[async_trait]
pub trait Catalog: fmt::Debug + Send + Sync {
    /// Returns the generation with this fingerprint, created with the next free number (the first
    /// is 1) if there is none.
    async fn ensure_generation(
        &self,
        fingerprint: &str,
        parameters: &serde_json::Value,
        now: Timestamp,
    ) -> StoreResult<GenerationRecord>;

    /// Returns all generations, oldest first.
    async fn generations(&self) -> StoreResult<Vec<GenerationRecord>>;

    /// Returns a setting, or nothing.
    async fn setting(&self, name: &str) -> StoreResult<Option<String>>;

    /// Changes a setting from `expected` (nothing: not set) to `new` (nothing: remove). Returns
    /// whether it was as expected.
    async fn compare_and_set_setting(
        &self,
        name: &str,
        expected: Option<&str>,
        new: Option<&str>,
    ) -> StoreResult<bool>;

    /// Takes the lease `name` for `owner` if it is free, lapsed, or held by the same owner
    /// (whose token then stays).
    async fn acquire_lease(
        &self,
        name: &str,
        owner: &str,
        length: Duration,
        now: Timestamp,
    ) -> StoreResult<LeaseOutcome>;

    /// Prolongs a lease to `length` from now. Returns nothing if it was lost in between: another
    /// owner took it, or it was given back. One that lapsed and that nobody took is not lost.
    async fn renew_lease(
        &self,
        lease: &Lease,
        length: Duration,
        now: Timestamp,
    ) -> StoreResult<Option<Lease>>;

    /// Gives a lease back; it is not an error if it was lost in between.
    async fn release_lease(&self, lease: &Lease) -> StoreResult<()>;
}
