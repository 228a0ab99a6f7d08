//! The pictures of an evaluation against many distractors, on all cores.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::thread;

use likeness_engine::dedup::compare::Descriptors;
use likeness_engine::dedup::scorer::{Marks, Scorer};
use likeness_engine::eval::{
    CosineSummary, CrowdReport, Distractors, HighestScores, NearDistractor, Share,
    near_distractors, operating_points,
};
use likeness_vision::PdqHash;
use tokio_util::sync::CancellationToken;

use super::lab::Picture;
use super::{FPR_TARGETS, KEPT_STRANGERS};
use crate::corpus::Signed;
use crate::error::Refusal;
use crate::progress::Progress;

/// How far below the scorer's own floor pairs are still compared, so that lower thresholds can be judged.
const BELOW_FLOOR: f32 = 0.15;

/// Without a background of its own, every n-th photo is held out for it.
const HELD_OUT: usize = 2;

/// Distractors between two looks at the progress.
const CHUNK: u64 = 4_096;

/// Pairs whose cosines are summed up, of either kind.
const SUMMED: usize = 200_000;

/// A million distractors, or as many as were asked for.
pub(super) struct Crowd<'a> {
    pub(super) count: u64,
    pub(super) seed: u64,
    pub(super) scorer: &'a Scorer,
    pub(super) threshold: f32,
    /// Embeddings of pictures that distractors are modelled on; without them, of some of the photos.
    pub(super) background: Option<Vec<Vec<Vec<f32>>>>,
    pub(super) stop: &'a CancellationToken,
}

impl Crowd<'_> {
    /// Compares every photo and copy with every distractor, but for photos that distractors are modelled on:
    /// these are near them for no other reason. `copies` are the scores of copies with their photos. Blocks.
    ///
    /// # Errors
    /// If there are too few photos to model distractors on, or the user stops it.
    pub(super) fn compare(
        &self,
        pictures: &[Picture],
        signed: &[Signed],
        copies: &[f32],
    ) -> anyhow::Result<CrowdReport> {
        let members: Vec<(usize, &Signed)> = pictures
            .iter()
            .zip(signed)
            .filter_map(|(picture, signed)| Some((picture.variant()?.photo, signed)))
            .collect();
        let (distractors, members) = self.model(members)?;
        // Rows of a picture: its whole, then its views.
        let mut rows = Vec::new();
        let mut owners = Vec::new();
        for (member, (_, signed)) in members.iter().enumerate() {
            let views = signed.descriptors.views.iter().map(|view| &view.vector);
            for vector in std::iter::once(&signed.descriptors.vector).chain(views) {
                rows.push(unit(vector));
                owners.push(member);
            }
        }
        let least = (self.scorer.cosine_floor(self.threshold) - BELOW_FLOOR).max(0.0);
        let near = self.search(&rows, &distractors, least)?;

        let mut scores = HighestScores::new(KEPT_STRANGERS);
        let mut joined = BTreeSet::new();
        let mut drawn: HashMap<u64, Signed> = HashMap::new();
        let mut compared = BTreeSet::new();
        for pair in near {
            let member = owners[pair.row];
            if !compared.insert((pair.distractor, member)) {
                continue;
            }
            let distractor = drawn
                .entry(pair.distractor)
                .or_insert_with(|| stranger(distractors.draw(pair.distractor)));
            let score = members[member].1.compare(distractor, self.scorer).score;
            scores.add(score);
            if score >= self.threshold {
                joined.insert(member);
            }
        }
        scores.add_lower(members.len() as u64 * self.count - compared.len() as u64);
        Ok(CrowdReport {
            distractors: self.count,
            shrinkage: distractors.shrinkage(),
            least_cosine: least,
            real: self.real(&members),
            synthetic: self.synthetic(&members, &distractors),
            joined: scores.reaching(self.threshold),
            pictures: Share {
                count: joined.len() as u64,
                total: members.len() as u64,
            },
            operating_points: operating_points(copies, &scores, &FPR_TARGETS),
        })
    }

    /// Models distractors; returns them with the pictures to compare them with.
    fn model<'m>(
        &self,
        members: Vec<(usize, &'m Signed)>,
    ) -> anyhow::Result<(Distractors, Vec<(usize, &'m Signed)>)> {
        let fit = |background: &[Vec<Vec<f32>>]| {
            Distractors::fit(background, self.seed).ok_or_else(|| {
                Refusal::Input.because(format!(
                    "distractors are modelled on at least three pictures; give {} photos or more, or `--background`",
                    3 * HELD_OUT
                ))
            })
        };
        if let Some(background) = &self.background {
            return Ok((fit(background)?, members));
        }
        let is_held_out = |photo: usize| photo % HELD_OUT == HELD_OUT - 1;
        let (held_out, compared): (Vec<_>, Vec<_>) = members
            .into_iter()
            .partition(|(photo, _)| is_held_out(*photo));
        let mut photos: BTreeMap<usize, Vec<Vec<f32>>> = BTreeMap::new();
        for (photo, signed) in held_out {
            let vectors = photos.entry(photo).or_default();
            vectors.push(signed.descriptors.vector.clone());
        }
        let photos: Vec<_> = photos.into_values().collect();
        Ok((fit(&photos)?, compared))
    }

    fn search(
        &self,
        rows: &[Vec<f32>],
        distractors: &Distractors,
        least: f32,
    ) -> anyhow::Result<Vec<NearDistractor>> {
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let progress = Progress::start("distractors", self.count);
        let n_threads = thread::available_parallelism().map_or(1, usize::from) as u64;
        let mut near = Vec::new();
        let mut begin = 0;
        while begin < self.count {
            anyhow::ensure!(!self.stop.is_cancelled(), "stopped before the end");
            let end = self.count.min(begin + CHUNK * n_threads);
            let found: Vec<Vec<NearDistractor>> = thread::scope(|scope| {
                let threads: Vec<_> = (begin..end)
                    .step_by(CHUNK as usize)
                    .map(|first| {
                        let numbers = first..end.min(first + CHUNK);
                        let rows = &rows;
                        scope.spawn(move || near_distractors(rows, distractors, numbers, least))
                    })
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| {
                        thread
                            .join()
                            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    })
                    .collect()
            });
            near.extend(found.into_iter().flatten());
            progress.advance(end - begin);
            begin = end;
        }
        progress.finish();
        Ok(near)
    }

    /// Sums up cosines of wholes of different photos.
    fn real(&self, members: &[(usize, &Signed)]) -> Option<CosineSummary> {
        let pairs = members.len() * members.len();
        let stride = (pairs / SUMMED).max(1);
        let cosines = (0..pairs)
            .step_by(stride)
            .map(|pair| (members[pair / members.len()], members[pair % members.len()]))
            .filter(|(one, other)| one.0 != other.0)
            .map(|(one, other)| one.1.features(other.1).cosine);
        CosineSummary::of(cosines.collect())
    }

    fn synthetic(
        &self,
        members: &[(usize, &Signed)],
        distractors: &Distractors,
    ) -> Option<CosineSummary> {
        let per_member = (SUMMED / members.len().max(1)).max(1) as u64;
        let drawn: Vec<Signed> = (0..self.count.min(per_member))
            .map(|number| stranger(distractors.draw(number)))
            .collect();
        let cosines = members.iter().flat_map(|(_, signed)| {
            let cosine = |other| signed.features(other).cosine;
            drawn.iter().map(cosine)
        });
        CosineSummary::of(cosines.collect())
    }
}

/// A picture of which nothing is known but its embedding: its hash says nothing, and it is not flat, so no
/// other picture with this embedding scores higher.
fn stranger(vector: Vec<f32>) -> Signed {
    Signed {
        descriptors: Descriptors {
            vector,
            marks: Marks {
                pdq: PdqHash([0; 32]),
                pdq_quality: 0,
                flatness: 0,
                aspect: None,
            },
            views: Vec::new(),
        },
        // There are no pixels to look at: its first score stands.
        close_ups: Vec::new(),
    }
}

fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    vector.iter().map(|v| v / length).collect()
}
