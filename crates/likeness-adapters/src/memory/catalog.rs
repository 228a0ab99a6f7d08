use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use likeness_core::catalog::{Catalog, GenerationRecord, Lease, LeaseOutcome};
use likeness_core::{Generation, StoreError, StoreResult, Timestamp};

const STORE: &str = "catalog (memory)";

/// Generations, settings and leases in memory.
#[derive(Debug, Default)]
pub struct MemoryCatalog {
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    /// Generation `n` stands at `n - 1`.
    generations: Vec<GenerationRecord>,
    settings: HashMap<String, String>,
    leases: HashMap<String, LeaseState>,
}

#[derive(Debug, Default)]
struct LeaseState {
    /// The last token given out; it outlives its lease.
    token: u64,
    held: Option<Lease>,
}

impl MemoryCatalog {
    /// Returns an empty catalog.
    pub fn new() -> Self {
        Self::default()
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts
            .lock()
            .expect("no holder of the lock panics: it only moves values")
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn ensure_generation(
        &self,
        fingerprint: &str,
        parameters: &serde_json::Value,
        now: Timestamp,
    ) -> StoreResult<GenerationRecord> {
        let generations = &mut self.facts().generations;
        let mut known = generations.iter();
        if let Some(record) = known.find(|record| record.fingerprint == fingerprint) {
            return Ok(record.clone());
        }
        let number = u32::try_from(generations.len() + 1)
            .map_err(|_| StoreError::invalid(STORE, "no generation number is left"))?;
        let record = GenerationRecord {
            generation: Generation(number),
            created: now,
            fingerprint: fingerprint.to_owned(),
            parameters: parameters.clone(),
        };
        generations.push(record.clone());
        Ok(record)
    }

    async fn generations(&self) -> StoreResult<Vec<GenerationRecord>> {
        Ok(self.facts().generations.clone())
    }

    async fn setting(&self, name: &str) -> StoreResult<Option<String>> {
        Ok(self.facts().settings.get(name).cloned())
    }

    async fn compare_and_set_setting(
        &self,
        name: &str,
        expected: Option<&str>,
        new: Option<&str>,
    ) -> StoreResult<bool> {
        let settings = &mut self.facts().settings;
        if settings.get(name).map(String::as_str) != expected {
            return Ok(false);
        }
        match new {
            Some(new) => settings.insert(name.to_owned(), new.to_owned()),
            None => settings.remove(name),
        };
        Ok(true)
    }

    async fn acquire_lease(
        &self,
        name: &str,
        owner: &str,
        length: Duration,
        now: Timestamp,
    ) -> StoreResult<LeaseOutcome> {
        let leases = &mut self.facts().leases;
        let state = leases.entry(name.to_owned()).or_default();
        match &state.held {
            Some(held) if held.owner == owner => {}
            Some(held) if held.expires > now => return Ok(LeaseOutcome::Held(held.clone())),
            _ => state.token += 1,
        }
        let lease = Lease {
            name: name.to_owned(),
            owner: owner.to_owned(),
            token: state.token,
            expires: now.plus(length),
        };
        state.held = Some(lease.clone());
        Ok(LeaseOutcome::Acquired(lease))
    }

    async fn renew_lease(
        &self,
        lease: &Lease,
        length: Duration,
        now: Timestamp,
    ) -> StoreResult<Option<Lease>> {
        let mut facts = self.facts();
        let held = held_by(&mut facts, lease);
        Ok(held.map(|held| {
            held.expires = now.plus(length);
            held.clone()
        }))
    }

    async fn release_lease(&self, lease: &Lease) -> StoreResult<()> {
        let mut facts = self.facts();
        if held_by(&mut facts, lease).is_some()
            && let Some(state) = facts.leases.get_mut(&lease.name)
        {
            state.held = None;
        }
        Ok(())
    }
}

/// Returns the lease as it stands, if it is still the one that was given out.
fn held_by<'a>(facts: &'a mut Facts, lease: &Lease) -> Option<&'a mut Lease> {
    let held = facts.leases.get_mut(&lease.name)?.held.as_mut()?;
    (held.owner == lease.owner && held.token == lease.token).then_some(held)
}
