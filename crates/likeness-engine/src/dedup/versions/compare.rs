//! What would change if another scorer decided.
//!
//! Decisions of a seeded sample of images are made again, once with each scorer, from the candidates that
//! their explain records keep; labels and the most uncertain pairs of the review queue are scored with both.
//! Nothing is written. A candidate that the scorer of its time did not let through is not seen: of what a more
//! generous scorer would find besides, this says nothing, `likeness recluster` with that scorer does.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use likeness_core::ImageNumber;
use likeness_core::state::Scan;
use likeness_core::{StoreError, StoreResult};

use super::tally::Tally;
use super::view::{CompareOptions, ScorerComparison};
use crate::EngineError;
use crate::dedup::Dedup;
use crate::dedup::assign_stage::totals;
use crate::dedup::compare::{Descriptors, compare};
use crate::dedup::pairs::sort_best_first;
use crate::dedup::records::{ExplainRecord, NumberRecord, ScoredCandidate, decode_number};
use crate::dedup::reviews::{LABELS, LabelRecord, REVIEWS, ReviewRecord};
use crate::dedup::rule::{Verdict, decide};
use crate::dedup::scorer::Scorer;
use crate::dedup::tables::{SHARD, decode, explain_key, number_key};

/// Most images, and most labels, that are looked at; a greater wish is refused.
pub const MAX_SAMPLE: usize = 10_000;
/// Pairs of the review queue that are looked at, the most uncertain ones.
const MAX_REVIEWS: usize = 1_000;
/// Images read and scored at once.
const CHUNK: usize = 32;
/// Rows of one read.
const PAGE: usize = 500;

/// A scorer with the threshold that it would decide with.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) scorer: Scorer,
    pub(super) threshold: f32,
}

impl Judge {
    fn score(&self, image: &Descriptors, other: &Descriptors, is_exact: bool) -> f32 {
        match is_exact {
            true => 1.0,
            false => compare(&self.scorer, image, other).score,
        }
    }

    fn says_same(&self, image: &Descriptors, other: &Descriptors, is_exact: bool) -> bool {
        self.score(image, other, is_exact) >= self.threshold
    }

    /// Returns the candidates scored anew, best first, and what the rule says of them.
    fn decide(&self, case: &Case) -> (Vec<ScoredCandidate>, Verdict) {
        let mut scored: Vec<_> = case
            .candidates
            .iter()
            .map(|(candidate, other)| {
                let compared = compare(&self.scorer, &case.image, other);
                ScoredCandidate {
                    score: self.score(&case.image, other, candidate.exact_copy),
                    cosine: compared.cosine,
                    view: compared.view,
                    ..candidate.clone()
                }
            })
            .collect();
        sort_best_first(&mut scored);
        let verdict = decide(&scored, self.threshold);
        (scored, verdict)
    }
}

/// An image with what it was compared with.
#[derive(Debug)]
struct Case {
    id: String,
    image: Descriptors,
    candidates: Vec<(ScoredCandidate, Descriptors)>,
}

impl Dedup {
    /// Compares two versions of the scorer on what is stored. Changes nothing.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] if there is no such version, or the sample is too great;
    /// [`EngineError::Overloaded`] while another comparison runs; if a store fails.
    pub async fn compare_scorers(
        &self,
        options: &CompareOptions,
    ) -> Result<ScorerComparison, EngineError> {
        if !(1..=MAX_SAMPLE).contains(&options.sample) {
            return Err(EngineError::InvalidParameter {
                name: "sample",
                reason: format!("must be from 1 to {MAX_SAMPLE}"),
            });
        }
        // One at a time: it takes a core for seconds.
        let Ok(_turn) = self.comparing.try_lock() else {
            return Err(EngineError::Overloaded {
                reason: "another comparison of scorers runs",
                retry_after: std::time::Duration::from_secs(5),
            });
        };
        let live = self.scorer.id();
        let against = options.against.as_ref().unwrap_or(&live);
        let judges = Arc::new([
            self.judge(&options.candidate).await?,
            self.judge(against).await?,
        ]);
        let images = totals(self.ports.state.as_ref()).await?.images;
        let mut tally = Tally::new(&judges, images, options.seed);
        let numbers = sample(images, options.sample, options.seed);
        for chunk in numbers.chunks(CHUNK) {
            let (cases, skipped) = self.cases(chunk).await?;
            tally.comparison.skipped += skipped;
            let judges = Arc::clone(&judges);
            let decided = self
                .cpu
                .run(move || {
                    let decide = |case: &Case| {
                        let [candidate, against] = judges.each_ref().map(|it| it.decide(case));
                        (case.id.clone(), candidate, against)
                    };
                    cases.iter().map(decide).collect::<Vec<_>>()
                })
                .await
                .map_err(|panic| StoreError::corrupt("state", "explain", panic.to_string()))?;
            for (image, candidate, against) in decided {
                tally.add_decision(&image, candidate, against);
            }
        }
        for record in self.sampled_labels(options).await? {
            let (a, b) = record.numbers;
            if let Some(says) = self.both_say(&judges, a, b).await? {
                tally.add_label(says, record.same);
            }
        }
        let scan = Scan::all(REVIEWS, Bytes::from_static(SHARD), MAX_REVIEWS);
        for row in self.ports.state.scan(scan).await? {
            let record: ReviewRecord = decode("reviews", &row.value)?;
            let pair = (record.number, record.candidate.number);
            if let Some([one, other]) = self.both_say(&judges, pair.0, pair.1).await? {
                tally.comparison.reviews += 1;
                tally.comparison.reviews_changed += u64::from(one != other);
            }
        }
        Ok(tally.close())
    }

    async fn judge(&self, id: &str) -> Result<Judge, EngineError> {
        let scorer = self.scorer_version(id).await?;
        let threshold = self.threshold_of(&scorer);
        Ok(Judge { scorer, threshold })
    }

    /// Returns the images with the pictures that they were compared with, and how many of them cannot be
    /// decided again.
    async fn cases(&self, numbers: &[ImageNumber]) -> Result<(Vec<Case>, u64), EngineError> {
        let state = self.ports.state.as_ref();
        let images = self.number_records(numbers).await?;
        let keys: Vec<_> = images.values().map(|it| explain_key(&it.id)).collect();
        let rows = state.get_many(&keys).await?;
        let mut wanted = Vec::new();
        let mut explained = Vec::new();
        for ((number, image), row) in images.iter().zip(rows) {
            let mut record: Option<ExplainRecord> =
                row.map(|row| decode("explain", &row)).transpose()?;
            // Candidates are stored by their numbers; those that were erased are left out.
            if let Some(record) = &mut record {
                self.look_up(record).await?;
            }
            let candidates = record.map(|record| record.candidates).unwrap_or_default();
            wanted.extend(candidates.iter().map(|candidate| candidate.number));
            explained.push((*number, image, candidates));
        }
        wanted.sort_unstable();
        wanted.dedup();
        let others = self.number_records(&wanted).await?;
        let mut described = HashMap::new();
        for (number, record) in &others {
            described.insert(*number, record.descriptors(self.config.views)?);
        }
        let mut skipped = (numbers.len() - images.len()) as u64;
        let mut cases = Vec::new();
        for (_, image, candidates) in explained {
            let found: Option<Vec<_>> = candidates
                .into_iter()
                .map(|candidate| {
                    let other = described.get(&candidate.number)?.clone();
                    Some((candidate, other))
                })
                .collect();
            match found {
                Some(candidates) => cases.push(Case {
                    id: image.id.to_string(),
                    image: image.descriptors(self.config.views)?,
                    candidates,
                }),
                None => skipped += 1,
            }
        }
        Ok((cases, skipped))
    }

    /// Returns the records that are there, in the order of their numbers.
    async fn number_records(
        &self,
        numbers: &[ImageNumber],
    ) -> StoreResult<std::collections::BTreeMap<ImageNumber, NumberRecord>> {
        let keys: Vec<_> = numbers.iter().map(|&number| number_key(number)).collect();
        let rows = self.ports.state.get_many(&keys).await?;
        numbers
            .iter()
            .zip(rows)
            .filter_map(|(&number, row)| Some((number, row?)))
            .filter_map(|(number, row)| match decode_number(&row) {
                Ok(record) => record.map(|record| Ok((number, record))),
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    /// Returns whether each judge puts two images together; nothing if one of them is gone.
    async fn both_say(
        &self,
        judges: &[Judge; 2],
        a: ImageNumber,
        b: ImageNumber,
    ) -> Result<Option<[bool; 2]>, EngineError> {
        let records = self.number_records(&[a, b]).await?;
        let (Some(one), Some(other)) = (records.get(&a), records.get(&b)) else {
            return Ok(None);
        };
        let is_exact = one.sha256 == other.sha256;
        let views = self.config.views;
        let (one, other) = (one.descriptors(views)?, other.descriptors(views)?);
        Ok(Some(
            judges
                .each_ref()
                .map(|judge| judge.says_same(&one, &other, is_exact)),
        ))
    }

    /// Returns labels, all or a seeded sample of them (algorithm R, Vitter 1985), in their order.
    async fn sampled_labels(
        &self,
        options: &CompareOptions,
    ) -> Result<Vec<LabelRecord>, EngineError> {
        let mut random = SplitMix(options.seed ^ 1);
        let mut kept: Vec<LabelRecord> = Vec::new();
        let mut num_seen = 0u64;
        let mut scan = Scan::all(LABELS, Bytes::from_static(SHARD), PAGE);
        loop {
            let rows = self.ports.state.scan(scan.clone()).await?;
            let Some(last) = rows.last() else { break };
            scan = scan.after(last.sort.clone());
            for row in &rows {
                num_seen += 1;
                let record = decode("labels", &row.value)?;
                if kept.len() < options.sample {
                    kept.push(record);
                } else if let Ok(place) = usize::try_from(random.below(num_seen))
                    && let Some(slot) = kept.get_mut(place)
                {
                    *slot = record;
                }
            }
        }
        kept.sort_by_key(|record| record.numbers);
        Ok(kept)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    /// Returns a number below `end`. The bias is below `end` / 2⁶⁴.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = mixed ^ (mixed >> 31);
        ((u128::from(mixed) * u128::from(end)) >> 64) as u64
    }
}

/// Returns `count` different numbers below `images`, or all, in ascending order (Floyd's algorithm, Bentley
/// and Floyd 1987).
pub(super) fn sample(images: u64, count: usize, seed: u64) -> Vec<ImageNumber> {
    let count = images.min(count as u64);
    let mut random = SplitMix(seed);
    let mut chosen = BTreeSet::new();
    for last in images - count..images {
        let drawn = random.below(last + 1);
        if !chosen.insert(drawn) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().map(ImageNumber).collect()
}
