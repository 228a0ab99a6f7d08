//! From the bytes of a file to its [`Signature`]. The same for uploads, questions, folders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use likeness_index::bf16;
use likeness_vision::decode::{DecodeError, DecodeLimits, decode};
use likeness_vision::pdq::pdq;
use likeness_vision::runtime::queue::ModelPool;
use likeness_vision::runtime::{EmbedderSpec, Embedding, ModelError, prepare};
use likeness_vision::views::{View, ViewsConfig, views};

use super::flatness;
use super::records::{Signature, ViewRecord};
use super::scorer::{Marks, aspect};
use crate::cpu::{CpuPool, Panicked};
use crate::large::LargePictures;

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
    large: LargePictures,
    views: ViewsConfig,
    /// Whether the model is asked; otherwise the embedding stays empty.
    embeds: bool,
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
    /// Looking for views, and resizing them.
    pub views: AtomicU64,
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
    /// Returns a signer that decodes on `cpu` and makes the default views.
    pub fn new(cpu: CpuPool, embedder: Arc<ModelPool>, limits: DecodeLimits) -> Self {
        Self {
            cpu,
            embedder,
            limits,
            large: LargePictures::default(),
            views: ViewsConfig::default(),
            embeds: true,
            times: Arc::default(),
        }
    }

    /// Returns the same signer with other views. Part of a generation's parameters.
    #[must_use]
    pub fn with_views(self, views: ViewsConfig) -> Self {
        Self { views, ..self }
    }

    /// Returns the same signer, which shares what lets large pictures be decoded.
    #[must_use]
    pub(super) fn with_large(self, large: LargePictures) -> Self {
        Self { large, ..self }
    }

    /// Returns the same signer without a model: embeddings stay empty, since they come from elsewhere.
    #[must_use]
    pub(super) fn without_embedding(self) -> Self {
        Self {
            embeds: false,
            ..self
        }
    }

    /// Returns which model it asks.
    pub(super) fn spec(&self) -> &EmbedderSpec {
        self.embedder.spec()
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
        let wanted = self.views.clone();
        let times = Arc::clone(&self.times);
        let permit = self.large.admit(&bytes, &limits).await;
        let (info, hash, flatness, input, views) = self
            .cpu
            .run(move || -> Result<_, DecodeError> {
                let _permit = permit;
                let started = Instant::now();
                let decoded = decode(&bytes, &limits, Some(SIGNATURE_MIN_SIDE))?;
                let decoded_at = Instant::now();
                let hash = pdq(&decoded.image);
                let hashed_at = Instant::now();
                let input = prepare(&decoded.image, &spec);
                let flatness = flatness::flatness(&input);
                let resized_at = Instant::now();
                let full = (decoded.info.width, decoded.info.height);
                let shown = (decoded.image.width(), decoded.image.height());
                let views: Vec<(View, Marks)> = views(&decoded.image, &wanted)
                    .into_iter()
                    .map(|view| {
                        let hash = pdq(&view.image);
                        let input = prepare(&view.image, &spec);
                        let rect = view.rect.resized(shown, full);
                        let marks = Marks {
                            pdq: hash.hash,
                            pdq_quality: hash.quality,
                            flatness: flatness::flatness(&input),
                            aspect: aspect(rect.width, rect.height),
                        };
                        let view = View {
                            rect,
                            image: input,
                            ..view
                        };
                        (view, marks)
                    })
                    .collect();
                add(&times.decode, started, decoded_at);
                add(&times.pdq, decoded_at, hashed_at);
                add(&times.resize, hashed_at, resized_at);
                add(&times.views, resized_at, Instant::now());
                Ok((decoded.info, hash, flatness, input, views))
            })
            .await??;
        let embedding = match self.embeds {
            true => as_bytes(&self.embedder.embed(input).await?),
            false => Bytes::new(),
        };
        let mut view_records = Vec::with_capacity(views.len());
        // One after the other: an image with many views shall not crowd others out of the queue.
        for (View { kind, rect, image }, marks) in views {
            view_records.push(ViewRecord {
                kind,
                rect,
                pdq: marks.pdq,
                pdq_quality: marks.pdq_quality,
                flatness: marks.flatness,
                embedding: as_bytes(&self.embedder.embed(image).await?),
            });
        }
        Ok(Signature {
            format: info.format,
            width: info.width,
            height: info.height,
            pdq: hash.hash,
            pdq_quality: hash.quality,
            flatness,
            embedding,
            views: view_records,
        })
    }
}

fn as_bytes(embedding: &Embedding) -> Bytes {
    bf16::to_le_bytes(&bf16::encode(embedding.as_slice())).into()
}

fn add(counter: &AtomicU64, from: Instant, to: Instant) {
    let nanos = u64::try_from((to - from).as_nanos()).unwrap_or(u64::MAX);
    counter.fetch_add(nanos, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use likeness_vision::RgbImage;
    use likeness_vision::regions::{Rect, RegionKind, RegionLimits};
    use likeness_vision::runtime::fake::TestEmbedder;
    use likeness_vision::runtime::queue::PoolConfig;
    use likeness_vision::views::ViewKind;

    use super::*;

    fn signer() -> Signer {
        let embedder = Arc::new(TestEmbedder::new(1));
        let pool = ModelPool::start(embedder, &PoolConfig::default()).unwrap();
        Signer::new(CpuPool::new(1), Arc::new(pool), DecodeLimits::default())
    }

    /// Soft colours on 1200 × 800 pixels in a black border of 200.
    fn framed() -> Bytes {
        let image = RgbImage::from_fn(1_600, 1_200, |x, y| {
            let is_inside = (200..1_400).contains(&x) && (200..1_000).contains(&y);
            if is_inside {
                [100 + (x / 12) as u8, 60 + (y / 8) as u8, 60]
            } else {
                [0; 3]
            }
        });
        image.unwrap().encode_jpeg(90).into()
    }

    #[tokio::test]
    async fn a_picture_in_a_border_has_a_view_at_its_place_in_the_full_picture() {
        let signature = signer().sign(framed()).await.unwrap();

        let [view] = signature.views.as_slice() else {
            panic!("{:?}", signature.views);
        };
        assert_eq!(view.kind, ViewKind::Region(RegionKind::Picture));
        assert_eq!(view.embedding.len(), signature.embedding.len());
        assert_ne!(view.embedding, signature.embedding);
        let Rect {
            x,
            y,
            width,
            height,
        } = view.rect;
        for (found, expected) in [(x, 200), (y, 200), (width, 1_200), (height, 800)] {
            assert!(found.abs_diff(expected) <= 10, "{:?}", view.rect);
        }
    }

    #[tokio::test]
    async fn views_can_be_done_without_and_old_rows_have_none() {
        let none = ViewsConfig {
            regions: RegionLimits {
                max_regions: 0,
                ..RegionLimits::default()
            },
            inverted: false,
            ..ViewsConfig::default()
        };
        let signature = signer().with_views(none).sign(framed()).await.unwrap();
        assert_eq!(signature.views, []);

        let mut row = serde_json::to_value(&signature).unwrap();
        row.as_object_mut().unwrap().remove("views");
        let old: Signature = serde_json::from_value(row).unwrap();
        assert_eq!(old, signature);
    }
}
