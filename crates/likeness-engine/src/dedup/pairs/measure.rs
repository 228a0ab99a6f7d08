//! What the candidates of an upload cost before any look. For `likeness bench scorer`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use likeness_core::{ImageId, ImageNumber, Sha256, StoreResult, Timestamp};
use likeness_index::bf16;
use likeness_vision::PdqHash;

use super::super::compare::{Descriptors, ViewsMode};
use super::super::records::NumberRecord;
use super::super::scorer::{Marks, Scorer};
use super::PairScorer;

/// One in so many candidates is a copy, at a cosine that is in no doubt.
const COPY_EVERY: usize = 500;

/// Candidates that were measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CascadeCost {
    /// Candidates of each image.
    pub candidates: usize,
    /// Of all of them, those that reach the scorer's threshold without looks.
    pub matches: usize,
    /// Median time for all candidates of an image, on one thread.
    pub median: Duration,
    /// Longest time.
    pub longest: Duration,
}

/// Scores `candidates` rows of drawn pictures against each of `images`, one in five hundred of them a copy, on one
/// thread. `draw` gives numbers from -0.5 to 0.5.
///
/// # Errors
/// None in practice: rows that were drawn are rows.
pub async fn cascade_cost(
    scorer: Scorer,
    dim: usize,
    candidates: usize,
    images: usize,
    mut draw: impl FnMut() -> f32,
) -> StoreResult<CascadeCost> {
    let scorer = PairScorer::new(scorer, None, ViewsMode::Off).without_looks(None);
    let mut vector = |like: Option<&[f32]>| -> Vec<f32> {
        let own: Vec<f32> = (0..dim).map(|_| draw()).collect();
        match like {
            None => own,
            Some(like) => like.iter().zip(own).map(|(a, b)| a + 0.2 * b).collect(),
        }
    };
    let mut times = Vec::with_capacity(images);
    let mut matches = 0;
    for _ in 0..images {
        let image = vector(None);
        let records: Vec<NumberRecord> = (0..candidates)
            .map(|number| {
                let like = number.is_multiple_of(COPY_EVERY).then_some(&*image);
                record(number, &vector(like))
            })
            .collect();
        let others: Vec<&NumberRecord> = records.iter().collect();
        let descriptors = Descriptors {
            marks: marks(&image),
            vector: image,
            views: Vec::new(),
        };
        let started = Instant::now();
        let compared = scorer
            .model
            .compare_records(&descriptors, &others, ViewsMode::Off)
            .await?;
        times.push(started.elapsed());
        matches += compared
            .iter()
            .filter(|compared| compared.score >= scorer.threshold())
            .count();
    }
    times.sort_unstable();
    Ok(CascadeCost {
        candidates,
        matches,
        median: times.get(images / 2).copied().unwrap_or_default(),
        longest: times.last().copied().unwrap_or_default(),
    })
}

/// Marks of a photo: a hash of half ones, of full quality.
fn marks(vector: &[f32]) -> Marks {
    let mut pdq = [0; 32];
    for (place, value) in vector.iter().take(256).enumerate() {
        pdq[place / 8] |= u8::from(*value > 0.0) << (place % 8);
    }
    Marks {
        pdq: PdqHash(pdq),
        pdq_quality: 100,
        flatness: 10,
        aspect: Some(2),
    }
}

fn record(number: usize, vector: &[f32]) -> NumberRecord {
    let id = ImageId::new(format!("bench-{number}")).expect("letters and digits are an id");
    let marks = marks(vector);
    NumberRecord {
        head: id.clone(),
        id,
        head_number: ImageNumber(number as u64),
        uploaded: Timestamp(0),
        sha256: Sha256([0; 32]),
        pdq: marks.pdq,
        pdq_quality: marks.pdq_quality,
        flatness: marks.flatness,
        embedding: Bytes::from(bf16::to_le_bytes(&bf16::encode(vector))),
        width: 1_200,
        height: 800,
        views: Vec::new(),
    }
}
