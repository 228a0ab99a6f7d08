//! From the bytes of a file to its [`Signature`]. The same for uploads, questions, folders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use likeness_index::bf16;
use likeness_vision::decode::{DecodeError, DecodeLimits, decode};
use likeness_vision::pdq::pdq;
use likeness_vision::runtime::queue::ModelPool;
use likeness_vision::runtime::{ModelError, prepare};

use super::flatness::flatness;
use super::records::Signature;
use crate::cpu::{CpuPool, Panicked};

/// Pixels that a signature needs on the shorter side: enough for the model's input, and for PDQ,
/// which looks at 64 × 64 samples. Formats that can decode to a smaller size stop there.
/// Part of a generation's parameters.
pub const SIGNATURE_MIN_SIDE: u32 = 256;

/// Computes signatures.
#[derive(Debug, Clone)]
pub struct Signer {
    cpu: CpuPool,
    embedder: Arc<ModelPool>,
    limits: DecodeLimits,
    times: Arc<SignerTimes>,
}

/// Where the time of signatures goes, in nanoseconds since the start, summed over threads.
#[derive(Debug, Default)]
pub struct SignerTimes {
    /// Decoding.
    pub decode: AtomicU64,
    /// PDQ.
    pub pdq: AtomicU64,
    /// Resizing to the model's input, and the flatness of that.
    pub resize: AtomicU64,
}

/// Why a picture has no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// It cannot be decoded, now or ever.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The decoder has a bug that this picture brings out.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The model failed; another try may help.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl Signer {
    /// Returns a signer that decodes on `cpu`.
    pub fn new(cpu: CpuPool, embedder: Arc<ModelPool>, limits: DecodeLimits) -> Self {
        Self {
            cpu,
            embedder,
            limits,
            times: Arc::default(),
        }
    }

    /// Returns where the time goes.
    pub fn times(&self) -> &SignerTimes {
        &self.times
    }

    /// Returns the time spent in the model, summed over threads.
    pub fn model_busy(&self) -> std::time::Duration {
        self.embedder.stats().busy
    }

    /// Computes the signature of a picture.
    ///
    /// # Errors
    /// See [`SignatureError`]; only [`SignatureError::Model`] is worth another try.
    pub async fn sign(&self, bytes: Bytes) -> Result<Signature, SignatureError> {
        let spec = self.embedder.spec().clone();
        let limits = self.limits.clone();
        let times = Arc::clone(&self.times);
        let (info, hash, flatness, input) = self
            .cpu
            .run(move || -> Result<_, DecodeError> {
                let started = Instant::now();
                let decoded = decode(&bytes, &limits, Some(SIGNATURE_MIN_SIDE))?;
                let decoded_at = Instant::now();
                let hash = pdq(&decoded.image);
                let hashed_at = Instant::now();
                let input = prepare(&decoded.image, &spec);
                let flatness = flatness(&input);
                add(&times.decode, started, decoded_at);
                add(&times.pdq, decoded_at, hashed_at);
                add(&times.resize, hashed_at, Instant::now());
                Ok((decoded.info, hash, flatness, input))
            })
            .await??;
        let embedding = self.embedder.embed(input).await?;
        Ok(Signature {
            format: info.format,
            width: info.width,
            height: info.height,
            pdq: hash.hash,
            pdq_quality: hash.quality,
            flatness,
            embedding: bf16::to_le_bytes(&bf16::encode(embedding.as_slice())).into(),
        })
    }
}

fn add(counter: &AtomicU64, from: Instant, to: Instant) {
    let nanos = u64::try_from((to - from).as_nanos()).unwrap_or(u64::MAX);
    counter.fetch_add(nanos, Ordering::Relaxed);
}
