//! Which keys of a table may have several rows.
//!
//! A filter of one word a key (Putze, Sanders & Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", ACM JEA 2009, section 3, with
//! blocks of 64 bits) says of each key whether it was seen before: never no of one that was, and yes of about one in 200 that were not.
//! A word is changed at once, so of two threads that come with the same key one sees what the other has set.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::Session;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::common::{DataFusionError, HashSet, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use futures::StreamExt as _;
use tokio::task::JoinSet;

/// Keys for which a word of the filter is there.
const KEYS_PER_WORD: u64 = 4;
/// Bits that a key sets.
const BITS: u32 = 4;
/// One key in so many may be repeated; if more are, numbering all rows is no slower.
const MAX_SHARE: u64 = 8;
/// Of small tables all keys may be.
const FEW: u64 = 1 << 10;
/// What a repeated key takes in a set, in bytes, at most.
const BYTES_PER_KEY: u64 = 20;

/// Keys that may have several rows, by their hashes. One that is missing has one row.
pub(super) struct Repeated {
    hashes: HashSet<u64>,
    _memory: MemoryReservation,
}

impl fmt::Debug for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repeated({})", self.hashes.len())
    }
}

impl Repeated {
    /// Reads a plan whose columns are a key, of so many rows at most. `None` if memory does not suffice, or too many keys are repeated.
    pub(super) async fn find(
        state: &dyn Session,
        keys: Arc<dyn ExecutionPlan>,
        num_rows: u64,
    ) -> Result<Option<Self>> {
        let most = (num_rows / MAX_SHARE).max(FEW).min(num_rows);
        let pool = Arc::clone(&state.runtime_env().memory_pool);
        let memory = MemoryConsumer::new("repeated keys").register(&pool);
        let seen_bytes = Seen::num_words(num_rows) * 8;
        let bytes = usize::try_from(seen_bytes + most * BYTES_PER_KEY).unwrap_or(usize::MAX);
        if memory.try_grow(bytes).is_err() {
            return Ok(None);
        }
        let seen = Arc::new(Seen::new(num_rows));
        let found = Arc::new(AtomicU64::new(0));
        let mut parts = JoinSet::new();
        for partition in 0..keys.output_partitioning().partition_count() {
            let mut batches = keys.execute(partition, state.task_ctx())?;
            let (seen, found) = (Arc::clone(&seen), Arc::clone(&found));
            parts.spawn(async move {
                let mut repeated = HashSet::new();
                let mut hashes = Vec::new();
                while let Some(batch) = batches.next().await {
                    for hash in hash(batch?.columns(), &mut hashes)? {
                        if seen.insert(*hash) && repeated.insert(*hash) {
                            found.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    if found.load(Ordering::Relaxed) > most {
                        return Ok(None);
                    }
                }
                Ok::<_, DataFusionError>(Some(repeated))
            });
        }
        let mut hashes = HashSet::new();
        while let Some(part) = parts.join_next().await {
            let part = part.map_err(|error| DataFusionError::External(Box::new(error)))?;
            match part? {
                Some(repeated) => hashes.extend(repeated),
                None => return Ok(None),
            }
        }
        drop(seen);
        let needed = hashes.len() as u64 * BYTES_PER_KEY;
        memory.try_resize(usize::try_from(needed).unwrap_or(usize::MAX))?;
        Ok(Some(Self {
            hashes,
            _memory: memory,
        }))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Returns a function of the columns of a key, which are of these types as they were when they were read: whether it may be repeated.
    pub(super) fn function(self: &Arc<Self>, types: Vec<DataType>) -> ScalarUDF {
        let repeated = Arc::clone(self);
        let is_repeated = move |key: &[ColumnarValue]| {
            let mut hashes = Vec::new();
            let hashes = hash(&ColumnarValue::values_to_arrays(key)?, &mut hashes)?;
            let is_repeated = hashes.iter().map(|hash| repeated.hashes.contains(hash));
            let is_repeated: BooleanArray = is_repeated.map(Some).collect();
            Ok(ColumnarValue::Array(Arc::new(is_repeated)))
        };
        create_udf(
            "is_repeated",
            types,
            DataType::Boolean,
            Volatility::Immutable,
            Arc::new(is_repeated),
        )
    }
}

/// Hashes the rows of a key's columns.
fn hash<'a>(key: &[ArrayRef], hashes: &'a mut Vec<u64>) -> Result<&'a [u64]> {
    hashes.clear();
    hashes.resize(key.first().map_or(0, Array::len), 0);
    create_hashes(key, &RandomState::with_seed(0), hashes)?;
    for hash in hashes.iter_mut() {
        *hash = mixed(*hash);
    }
    Ok(hashes)
}

/// Appleby's MurmurHash3, `fmix64`: after it every bit depends on all, as bits of a word are chosen by few of them.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// What was seen before.
struct Seen(Vec<AtomicU64>);

impl Seen {
    fn num_words(num_keys: u64) -> u64 {
        num_keys.div_ceil(KEYS_PER_WORD).max(1)
    }

    fn new(num_keys: u64) -> Self {
        let num_words = Self::num_words(num_keys);
        Self((0..num_words).map(|_| AtomicU64::new(0)).collect())
    }

    /// Enters a key, and returns whether it may have been entered before.
    fn insert(&self, hash: u64) -> bool {
        // High bits choose the word, low ones the bits in it.
        let at = (u128::from(hash) * self.0.len() as u128) >> 64;
        let bits = (0..BITS).fold(0, |bits, nth| bits | 1 << (hash >> (6 * nth) & 63));
        let before = self.0[at as usize].fetch_or(bits, Ordering::Relaxed);
        before & bits == bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_and_little_else() {
        const KEYS: u64 = 200_000;
        let seen = Seen::new(KEYS);
        let wrong = (0..KEYS).filter(|key| seen.insert(mixed(*key))).count();
        assert!((200..2_400).contains(&wrong), "{wrong} of {KEYS}");
        assert!((0..KEYS).all(|key| seen.insert(mixed(key))));
    }

    #[test]
    fn of_threads_with_the_same_keys_all_but_one_have_seen_each() {
        const KEYS: u64 = 50_000;
        const THREADS: usize = 4;
        let seen = Seen::new(KEYS);
        let known = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let count = (0..KEYS).filter(|key| seen.insert(mixed(*key))).count();
                    known.fetch_add(count as u64, Ordering::Relaxed);
                });
            }
        });
        let least = KEYS * (THREADS as u64 - 1);
        assert!(known.into_inner() >= least);
    }
}
