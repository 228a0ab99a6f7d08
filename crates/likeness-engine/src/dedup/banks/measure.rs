//! What a bank costs an upload. For `likeness bench bank`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use likeness_core::{ImageId, Sha256, StoreResult, Timestamp};
use likeness_index::bf16;
use likeness_vision::PdqHash;
use likeness_vision::decode::ImageFormat;

use super::set::Bank;
use super::{BankRecord, ReferenceRecord};
use crate::dedup::compare::ViewsMode;
use crate::dedup::pairs::PairScorer;
use crate::dedup::records::Signature;
use crate::dedup::scorer::Scorer;

/// How far an image of the measurement is from its reference: a share of a component.
const NOISE: f32 = 0.3;

/// A bank that was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BankCost {
    /// Images that were compared with all references, half of them like one.
    pub images: usize,
    /// Of these, those that matched.
    pub matches: usize,
    /// Time for one image, on one thread.
    pub per_image: Duration,
    /// Memory of the vectors and codes.
    pub memory_bytes: usize,
}

/// Makes a bank of drawn references of `dim` components, and compares drawn images with it, on one thread.
///
/// # Errors
/// If a vector that was drawn has no direction.
pub async fn bank_cost(
    references: usize,
    dim: usize,
    images: usize,
    mut draw: impl FnMut() -> f32,
) -> StoreResult<BankCost> {
    let mut bank = Bank::empty(
        BankRecord {
            name: "measured".to_owned(),
            serial: 0,
            threshold: 0.9,
            share: 1.0,
            negative: false,
            enabled: true,
            created: Timestamp(0),
            references: references as u64,
            next_reference: references as u64,
            removals: 0,
        },
        dim,
    );
    let mut drawn = |like: Option<&[f32]>| -> Vec<f32> {
        let own: Vec<f32> = (0..dim).map(|_| draw()).collect();
        match like {
            None => own,
            Some(like) => like.iter().zip(own).map(|(a, b)| a + NOISE * b).collect(),
        }
    };
    let mut vectors = Vec::with_capacity(references);
    for sequence in 0..references as u64 {
        let vector = drawn(None);
        let record = ReferenceRecord {
            sequence,
            digest: Sha256([0; 32]),
            image: None,
            name: None,
            signature: signature(&vector),
            author: String::new(),
            reason: String::new(),
            added: Timestamp(0),
        };
        bank.add(record, ViewsMode::Off)?;
        vectors.push(vector);
    }
    let mut queries = Vec::with_capacity(images);
    for idx in 0..images {
        let like = vectors.get(idx % references.max(1));
        let vector = drawn(like.filter(|_| idx % 2 == 0).map(Vec::as_slice));
        let id = ImageId::new(format!("image-{idx}")).expect("letters and digits are an id");
        queries.push((id, signature(&vector).descriptors(ViewsMode::Off)?));
    }
    let scorer = PairScorer::new(Scorer::builtin(), None, ViewsMode::Off);
    let digest = Sha256([1; 32]);
    let mut matches = 0;
    let started = Instant::now();
    for (id, image) in &queries {
        let near = bank.near(&scorer, id, image)?;
        let matched = bank.matched(&near, &scorer, id, &digest, image).await?;
        matches += usize::from(matched.is_some());
    }
    let elapsed = started.elapsed();
    Ok(BankCost {
        images,
        matches,
        per_image: elapsed / u32::try_from(images.max(1)).unwrap_or(u32::MAX),
        memory_bytes: bank.memory_bytes(),
    })
}

fn signature(vector: &[f32]) -> Signature {
    Signature {
        format: ImageFormat::Jpeg,
        width: 1,
        height: 1,
        pdq: PdqHash([0; 32]),
        pdq_quality: 0,
        flatness: 0,
        embedding: Bytes::from(bf16::to_le_bytes(&bf16::encode(vector))),
        views: Vec::new(),
    }
}
