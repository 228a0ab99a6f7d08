//! All banks in memory, and the search of an image among their references.
//!
//! Every reference of a bank is looked at: the cosines of an image with all of them are computed block by block
//! by the kernels of the index. The [`MAX_COMPARED`] nearest whose cosine can reach the bank's threshold are
//! compared in full, views included, and the best of them counts. So what matches is a function of the image and
//! of the bank, not of an index that misses something.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use likeness_core::state::{Scan, StateStore};
use likeness_core::{ImageId, Sha256, StoreResult, Timestamp};
use likeness_index::{ExactIndex, ExactParams, bf16};
use tokio::sync::Mutex;

use super::{
    BANKS, BankMatchView, BankRecord, MAX_COMPARED, REFERENCES, ReferenceRecord, digest_key, draw,
    read_u64, reference_key, serial_partition,
};
use crate::dedup::compare::{Comparison, Descriptors, ViewsMode};
use crate::dedup::live_index::{ROTATION_SEED, corrupt};
use crate::dedup::pairs::PairScorer;
use crate::dedup::tables::{SHARD, decode};

/// Rows of one read.
const PAGE: usize = 1_024;
/// Numbers of one reference in the index: the whole, then its views.
const ROWS_PER_REFERENCE: u64 = 16;

/// The banks as they are, read anew when they have changed.
#[derive(Debug)]
pub(in crate::dedup) struct Banks {
    dim: usize,
    views: ViewsMode,
    /// With the number of changes that had been made when they were read.
    read: Mutex<(u64, Arc<BankSet>)>,
}

/// The banks at one place of the log.
#[derive(Debug, Default)]
pub(in crate::dedup) struct BankSet {
    /// By name.
    banks: Vec<Arc<Bank>>,
}

/// A bank with its references.
#[derive(Debug, Clone)]
pub(in crate::dedup) struct Bank {
    pub(in crate::dedup) record: BankRecord,
    references: HashMap<u64, Reference>,
    /// References from here on are not read yet.
    next: u64,
    index: ExactIndex,
}

#[derive(Debug, Clone)]
struct Reference {
    digest: Sha256,
    image: Option<ImageId>,
    descriptors: Descriptors,
}

/// What an image is near to in a bank, before it is compared in full.
#[derive(Debug, Clone)]
pub(in crate::dedup) struct Near {
    bank: Arc<Bank>,
    /// In ascending order.
    references: Vec<u64>,
}

/// A bank that an image matches.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::dedup) struct BankMatch {
    pub(in crate::dedup) serial: u64,
    pub(in crate::dedup) view: BankMatchView,
}

impl Banks {
    pub(in crate::dedup) fn new(dim: usize, views: ViewsMode) -> Self {
        Self {
            dim,
            views,
            read: Mutex::new((0, Arc::default())),
        }
    }

    /// Returns the banks as they are when `changes` have been made to them. Reads what has changed only; nothing
    /// is read while there has never been a bank.
    ///
    /// # Errors
    /// If the store fails or holds what it should not.
    pub(in crate::dedup) async fn current(
        &self,
        state: &dyn StateStore,
        changes: u64,
    ) -> StoreResult<Arc<BankSet>> {
        let mut read = self.read.lock().await;
        if read.0 != changes {
            let banks = self.load(state, &read.1).await?;
            *read = (changes, Arc::new(BankSet { banks }));
        }
        Ok(Arc::clone(&read.1))
    }

    async fn load(&self, state: &dyn StateStore, known: &BankSet) -> StoreResult<Vec<Arc<Bank>>> {
        let mut banks = Vec::new();
        for record in records(state).await? {
            let before = known.banks.iter().find(|bank| {
                bank.record.serial == record.serial && bank.record.removals == record.removals
            });
            let mut bank = match before {
                Some(before) if before.record == record => {
                    banks.push(Arc::clone(before));
                    continue;
                }
                Some(before) => Bank {
                    record,
                    ..before.as_ref().clone()
                },
                None => Bank::empty(record, self.dim),
            };
            bank.read_on(state, self.views).await?;
            banks.push(Arc::new(bank));
        }
        Ok(banks)
    }
}

/// Reads the records of all banks, by name.
///
/// # Errors
/// If the store fails.
pub(super) async fn records(state: &dyn StateStore) -> StoreResult<Vec<BankRecord>> {
    let mut scan = Scan::all(BANKS, Bytes::from_static(SHARD), PAGE);
    let mut found = Vec::new();
    loop {
        let rows = state.scan(scan.clone()).await?;
        let Some(last) = rows.last() else {
            return Ok(found);
        };
        scan = scan.after(last.sort.clone());
        for row in &rows {
            found.push(decode("banks", &row.value)?);
        }
    }
}

/// Returns the banks that were given a file with this digest as a reference, as `bank/NAME`.
///
/// # Errors
/// If the store fails.
pub(in crate::dedup) async fn banks_with_file(
    state: &dyn StateStore,
    digest: &Sha256,
) -> StoreResult<Vec<String>> {
    let mut found = Vec::new();
    for bank in records(state).await? {
        let Some(row) = state.get(&digest_key(bank.serial, digest)).await? else {
            continue;
        };
        let key = reference_key(bank.serial, read_u64(&row)?);
        let Some(row) = state.get(&key).await? else {
            continue;
        };
        let reference: ReferenceRecord = decode("bank_references", &row)?;
        if reference.image.is_none() {
            found.push(format!("bank/{}", bank.name));
        }
    }
    Ok(found)
}

impl BankSet {
    /// Returns the matches of an image with every bank in force, by the banks' names.
    ///
    /// # Errors
    /// If the image's embedding is not one of this model, or the scorer is out of reach.
    pub(in crate::dedup) async fn matches(
        &self,
        scorer: &PairScorer,
        id: &ImageId,
        digest: &Sha256,
        image: &Descriptors,
    ) -> StoreResult<Vec<BankMatch>> {
        let near = self.near(scorer, id, image)?;
        matched(&near, scorer, id, digest, image).await
    }

    /// Returns what an image is near to in every bank in force, by the banks' names: the costly part, without the
    /// scorer's.
    ///
    /// # Errors
    /// If the image's embedding is not one of this model.
    pub(in crate::dedup) fn near(
        &self,
        scorer: &PairScorer,
        id: &ImageId,
        image: &Descriptors,
    ) -> StoreResult<Vec<Near>> {
        let mut found = Vec::new();
        for bank in self.banks.iter().filter(|bank| bank.record.enabled) {
            let references = bank.near(scorer, id, image)?;
            if !references.is_empty() {
                let bank = Arc::clone(bank);
                found.push(Near { bank, references });
            }
        }
        Ok(found)
    }

    /// Whether there is nothing that an image could match.
    pub(in crate::dedup) fn is_empty(&self) -> bool {
        !self.banks.iter().any(|bank| bank.record.enabled)
    }

    /// Returns a bank by its name.
    pub(super) fn bank(&self, name: &str) -> Option<&Arc<Bank>> {
        self.banks.iter().find(|bank| bank.record.name == name)
    }
}

/// Returns the matches among what an image is near to.
///
/// # Errors
/// If the scorer is out of reach.
pub(in crate::dedup) async fn matched(
    near: &[Near],
    scorer: &PairScorer,
    id: &ImageId,
    digest: &Sha256,
    image: &Descriptors,
) -> StoreResult<Vec<BankMatch>> {
    let mut found = Vec::new();
    for Near { bank, references } in near {
        let matched = bank.matched(references, scorer, id, digest, image);
        found.extend(matched.await?);
    }
    Ok(found)
}

impl Bank {
    pub(super) fn empty(record: BankRecord, dim: usize) -> Self {
        Self {
            record,
            references: HashMap::new(),
            next: 0,
            index: ExactIndex::new(ExactParams {
                dim,
                rotation_seed: ROTATION_SEED,
                rerank: MAX_COMPARED,
            }),
        }
    }

    /// Returns the memory of vectors and codes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.index.memory_bytes()
    }

    /// Reads the references that came since the last time.
    async fn read_on(&mut self, state: &dyn StateStore, views: ViewsMode) -> StoreResult<()> {
        let mut scan = Scan::all(REFERENCES, serial_partition(self.record.serial), PAGE);
        if let Some(last) = self.next.checked_sub(1) {
            scan = scan.after(Bytes::copy_from_slice(&last.to_be_bytes()));
        }
        loop {
            let rows = state.scan(scan.clone()).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            scan = scan.after(last.sort.clone());
            for row in &rows {
                self.add(decode("bank_references", &row.value)?, views)?;
            }
        }
    }

    pub(super) fn add(&mut self, record: ReferenceRecord, views: ViewsMode) -> StoreResult<()> {
        let descriptors = record.signature.descriptors(views)?;
        let wholes = std::iter::once(&descriptors.vector);
        let shown = wholes.chain(descriptors.views.iter().map(|view| &view.vector));
        let first = record.sequence * ROWS_PER_REFERENCE;
        for (number, vector) in (first..first + ROWS_PER_REFERENCE).zip(shown) {
            self.index
                .insert(number, &bf16::encode(vector))
                .map_err(|error| corrupt(&error))?;
        }
        self.next = record.sequence + 1;
        let reference = Reference {
            digest: record.digest,
            image: record.image,
            descriptors,
        };
        self.references.insert(record.sequence, reference);
        Ok(())
    }

    /// Returns the match of an image with this bank, in force or not, among the references that
    /// [`near`](Self::near) has found.
    ///
    /// # Errors
    /// If the scorer is out of reach.
    pub(super) async fn matched(
        &self,
        references: &[u64],
        scorer: &PairScorer,
        id: &ImageId,
        digest: &Sha256,
        image: &Descriptors,
    ) -> StoreResult<Option<BankMatch>> {
        let record = &self.record;
        let Some((sequence, best)) = self.best(references, scorer, digest, image).await? else {
            return Ok(None);
        };
        if best.score < record.threshold {
            return Ok(None);
        }
        let reference = &self.references[&sequence];
        Ok(Some(BankMatch {
            serial: record.serial,
            view: BankMatchView {
                image: id.to_string(),
                bank: record.name.clone(),
                negative: record.negative,
                reference: reference.digest.to_string(),
                reference_image: reference.image.as_ref().map(ToString::to_string),
                score: best.score,
                threshold: record.threshold,
                cosine: best.cosine,
                pdq_distance: best.features.pdq_distance,
                pdq_quality: best.features.pdq_quality_min,
                flat_percent: best.features.flat_min,
                view: best.view,
                share: record.share,
                draw: draw(&record.name, id),
                retroactive: false,
                time_ms: Timestamp(0).0,
            },
        }))
    }

    /// Returns the references whose cosine with an image can reach the bank's threshold, at most
    /// [`MAX_COMPARED`] for the whole and for each view; none if the bank does not take part.
    ///
    /// # Errors
    /// If the image's embedding is not one of this model.
    pub(super) fn near(
        &self,
        scorer: &PairScorer,
        id: &ImageId,
        image: &Descriptors,
    ) -> StoreResult<Vec<u64>> {
        let record = &self.record;
        if draw(&record.name, id) >= record.share || self.references.is_empty() {
            return Ok(Vec::new());
        }
        let floor = scorer.floor_of(record.threshold);
        let wholes = std::iter::once(&image.vector);
        let mut near = Vec::new();
        for vector in wholes.chain(image.views.iter().map(|view| &view.vector)) {
            let found = self
                .index
                .search_exact(vector, MAX_COMPARED)
                .map_err(|error| corrupt(&error))?;
            let reached = found.iter().take_while(|near| near.similarity >= floor);
            near.extend(reached.map(|near| near.number / ROWS_PER_REFERENCE));
        }
        near.sort_unstable();
        near.dedup();
        Ok(near)
    }

    /// Returns the reference with the highest score; the first of equals.
    async fn best(
        &self,
        references: &[u64],
        scorer: &PairScorer,
        digest: &Sha256,
        image: &Descriptors,
    ) -> StoreResult<Option<(u64, Comparison)>> {
        let others: Vec<_> = references
            .iter()
            .map(|sequence| &self.references[sequence].descriptors)
            .collect();
        let compared = scorer.model().compare(image, &others).await?;
        let mut best: Option<(u64, Comparison)> = None;
        for (&sequence, mut compared) in references.iter().zip(compared) {
            if self.references[&sequence].digest == *digest {
                compared.score = 1.0;
            }
            if best
                .as_ref()
                .is_none_or(|(_, best)| compared.score > best.score)
            {
                best = Some((sequence, compared));
            }
        }
        Ok(best)
    }
}
