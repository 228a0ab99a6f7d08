//! Pairs of images that must never, or always, be in one cluster.

use bytes::Bytes;
use likeness_core::state::{Key, Scan, StateStore, Write};
use likeness_core::{ImageId, ImageNumber, StoreResult};
use serde::{Deserialize, Serialize};

use super::apply::{Applying, Attempt, Placed, Refused};
use super::{CONSTRAINTS, Effect, MAX_CONSTRAINTS};
use crate::dedup::tables::{SHARD, decode, encode};

/// Rows of one read.
const PAGE: usize = 1_024;

/// What is asked of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::dedup) enum Bond {
    /// Never in one cluster.
    Never,
    /// Always in one cluster.
    Always,
}

/// A pair, and what is asked of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::dedup) struct ConstraintRecord {
    pub(in crate::dedup) bond: Bond,
    /// Sequence number of the correction that asked for it.
    pub(in crate::dedup) correction: u64,
    pub(in crate::dedup) a: ImageId,
    pub(in crate::dedup) b: ImageId,
}

fn pair_key(a: ImageNumber, b: ImageNumber) -> Key {
    let (low, high) = (a.min(b).0, a.max(b).0);
    let mut sort = low.to_be_bytes().to_vec();
    sort.extend(high.to_be_bytes());
    Key::new(CONSTRAINTS, Bytes::from_static(SHARD), sort)
}

impl Applying<'_> {
    /// Returns what is asked of a pair.
    pub(super) async fn bond(&self, a: &Placed, b: &Placed) -> Attempt<Option<Bond>> {
        let row = self.state.get(&pair_key(a.number, b.number)).await?;
        let record: Option<ConstraintRecord> =
            row.map(|row| decode("constraints", &row)).transpose()?;
        Ok(record.map(|record| record.bond))
    }

    /// Asks something of a pair. What was asked of it before stays, and stays the earlier correction's.
    pub(super) async fn bind(
        &mut self,
        bond: Bond,
        a: &Placed,
        b: &Placed,
        effect: &mut Effect,
    ) -> Attempt<()> {
        if self.bond(a, b).await?.is_some() {
            return Ok(());
        }
        if self.totals.constraints >= MAX_CONSTRAINTS {
            return Err(Refused::because(
                "too_many_constraints",
                format!(
                    "{MAX_CONSTRAINTS} pairs are kept together or apart already; undo corrections that are no longer needed"
                ),
            ));
        }
        self.totals.constraints += 1;
        let record = ConstraintRecord {
            bond,
            correction: self.sequence,
            a: a.id.clone(),
            b: b.id.clone(),
        };
        let key = pair_key(a.number, b.number);
        self.writes.push(Write::Put(key, encode(&record)));
        effect.bound.push((a.number, b.number));
        Ok(())
    }

    /// Takes back what a correction asked. Pairs with an image that was erased since are gone already.
    pub(super) async fn unbind(&mut self, pairs: &[(ImageNumber, ImageNumber)]) -> Attempt<()> {
        for &(a, b) in pairs {
            let key = pair_key(a, b);
            if self.state.get(&key).await?.is_some() {
                self.totals.constraints -= 1;
                self.writes.push(Write::Delete(key));
            }
        }
        Ok(())
    }

    /// Returns the rows of the pairs with an image. All pairs are looked at, see [`MAX_CONSTRAINTS`].
    pub(super) async fn pairs_with(&self, number: ImageNumber) -> Attempt<Vec<Key>> {
        let mut scan = Scan::all(CONSTRAINTS, Bytes::from_static(SHARD), PAGE);
        let mut found = Vec::new();
        loop {
            let rows = self.state.scan(scan.clone()).await?;
            let Some(last) = rows.last() else {
                return Ok(found);
            };
            scan = scan.after(last.sort.clone());
            let names = |sort: &[u8]| sort.chunks(8).any(|half| half == number.0.to_be_bytes());
            let of_image = rows.into_iter().filter(|row| names(&row.sort));
            found.extend(
                of_image.map(|row| Key::new(CONSTRAINTS, Bytes::from_static(SHARD), row.sort)),
            );
        }
    }

    /// Returns all pairs of which `bond` is asked, but for those of the correction `except`.
    pub(super) async fn pairs(
        &self,
        bond: Bond,
        except: Option<u64>,
    ) -> Attempt<Vec<ConstraintRecord>> {
        let mut found = all(self.state).await?;
        found.retain(|record| record.bond == bond && Some(record.correction) != except);
        Ok(found)
    }
}

/// Returns all pairs of which anything is asked, in the order of their numbers.
///
/// # Errors
/// If the store fails.
pub(in crate::dedup) async fn all(state: &dyn StateStore) -> StoreResult<Vec<ConstraintRecord>> {
    let mut scan = Scan::all(CONSTRAINTS, Bytes::from_static(SHARD), PAGE);
    let mut found = Vec::new();
    loop {
        let rows = state.scan(scan.clone()).await?;
        let Some(last) = rows.last() else {
            return Ok(found);
        };
        scan = scan.after(last.sort.clone());
        for row in &rows {
            found.push(decode("constraints", &row.value)?);
        }
    }
}
