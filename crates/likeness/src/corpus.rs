//! Photos of folders and edited copies of them, for evaluating, training and measuring.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use likeness_engine::cpu::CpuPool;
use likeness_engine::dedup::compare::{Comparison, Descriptors, ViewsMode, compare};
use likeness_engine::dedup::scorer::{LookFeatures, PairFeatures, Scorer};
use likeness_engine::dedup::view::MatchedPicture;
use likeness_engine::dedup::{SIGNATURE_MIN_SIDE, Signer};
use likeness_vision::edits::{Edit, EditList, WORKING_SIDE};
use likeness_vision::geometry::CloseUp;
use likeness_vision::regions::Rect;
use likeness_vision::runtime::queue::ModelPool;
use likeness_vision::{DecodeLimits, RgbImage, decode};

use crate::error::Refusal;
use crate::files::{self, FoundFile};
use crate::output::note;
use crate::progress::Progress;

/// Decoded photos kept for the next edit of the same photo. Several, since edits of neighbouring
/// photos are made at the same time.
const MAX_CACHED: usize = 4;

/// Side of the pictures that fill the other places of a collage.
const OTHERS_SIDE: u32 = 512;

/// The first photos: collages show them besides their own. Three at a time, and one may be the photo itself.
pub(crate) const MAX_OTHERS: usize = 4;

/// Photos to make copies of.
#[derive(Debug)]
pub(crate) struct Corpus {
    photos: Vec<FoundFile>,
    limits: DecodeLimits,
    /// Longest side of the photo that copies are made of.
    side: u32,
    /// The first few photos, small: by number.
    others: Vec<(usize, RgbImage)>,
    cache: Mutex<VecDeque<(usize, Arc<RgbImage>)>>,
}

/// A photo, or a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variant {
    /// Number of the photo.
    pub(crate) photo: usize,
    /// What was done to it; `None` for the photo as it is.
    pub(crate) edit: Option<Edit>,
}

impl Variant {
    /// Returns the name of the edit, or nothing for the photo as it is.
    pub(crate) fn edit_name(&self) -> Option<&'static str> {
        self.edit.map(Edit::name)
    }
}

/// What is compared of a picture.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) descriptors: Descriptors,
    /// For close looks: the whole, then the views, in their order. Empty if none are wanted.
    pub(crate) close_ups: Vec<Arc<CloseUp>>,
}

impl Signed {
    /// Returns what the scorer looks at if wholes are compared.
    pub(crate) fn features(&self, other: &Self) -> PairFeatures {
        let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(x, y)| x * y).sum() };
        let (own, others) = (&self.descriptors, &other.descriptors);
        let (a, b) = (&own.vector, &others.vector);
        // Rounding to bf16 has changed the lengths a little.
        let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        PairFeatures::of(cosine, &own.marks, &others.marks)
    }

    /// Compares wholes and views, as the pipeline does, with a close look if it is in doubt.
    pub(crate) fn compare(&self, other: &Self, scorer: &Scorer) -> Comparison {
        let mut compared = compare(scorer, &self.descriptors, &other.descriptors);
        if scorer.is_grey(compared.score)
            && let Some(look) = self.look(other, &compared)
        {
            compared.features.look = Some(look);
            compared.score = scorer.score(&compared.features);
        }
        compared
    }

    /// Looks closely at what was compared; `None` if no close-ups were made.
    pub(crate) fn look(&self, other: &Self, compared: &Comparison) -> Option<LookFeatures> {
        let place = |picture: &Self, of: MatchedPicture| {
            let view = compared.view.filter(|view| view.of == of)?;
            let rect = (view.x, view.y, view.width, view.height);
            picture.descriptors.views.iter().position(|view| {
                (view.rect.x, view.rect.y, view.rect.width, view.rect.height) == rect
            })
        };
        let of = |picture: &Self, of: MatchedPicture| {
            let at = place(picture, of).map_or(0, |view| view + 1);
            picture.close_ups.get(at).cloned()
        };
        let own = of(self, MatchedPicture::Image)?;
        let others = of(other, MatchedPicture::Candidate)?;
        Some(LookFeatures::from(&own.compare(&others)))
    }
}

impl Corpus {
    /// Finds the photos in `folders`, at most `limit`, and checks that each can be decoded. Blocks.
    ///
    /// # Errors
    /// If fewer than two can.
    pub(crate) fn open(
        folders: &[PathBuf],
        limit: Option<usize>,
        limits: DecodeLimits,
    ) -> anyhow::Result<Self> {
        Self::of_files(files::find(folders)?, limit, limits, WORKING_SIDE)
    }

    /// As [`open`](Self::open), for files that were found before, and copies made of photos shrunk
    /// to a longer side of `side`.
    pub(crate) fn of_files(
        found: Vec<FoundFile>,
        limit: Option<usize>,
        limits: DecodeLimits,
        side: u32,
    ) -> anyhow::Result<Self> {
        let mut photos = Vec::new();
        let mut others = Vec::new();
        let mut num_unusable = 0_usize;
        for file in found {
            if Some(photos.len()) == limit {
                break;
            }
            let decoded = files::read_image(&file.path, limits.max_bytes)
                .ok()
                .and_then(|bytes| decode(&bytes, &limits, Some(OTHERS_SIDE)).ok());
            match decoded {
                Some(decoded) if others.len() < MAX_OTHERS => {
                    others.push((photos.len(), decoded.image.fit_within(OTHERS_SIDE)));
                    photos.push(file);
                }
                Some(_) => photos.push(file),
                None => num_unusable += 1,
            }
        }
        if num_unusable > 0 {
            note(format_args!(
                "{num_unusable} files are no pictures and were left out"
            ));
        }
        if photos.len() < 2 {
            return Err(Refusal::Input.because("at least two photos are needed"));
        }
        Ok(Self {
            photos,
            limits,
            side,
            others,
            cache: Mutex::default(),
        })
    }

    /// Returns how many photos there are.
    pub(crate) fn len(&self) -> usize {
        self.photos.len()
    }

    /// Returns what the photo is called.
    pub(crate) fn name(&self, photo: usize) -> &str {
        &self.photos[photo].relative
    }

    /// Returns every photo, each followed by its copies in the order of the list.
    pub(crate) fn variants(&self, list: EditList) -> Vec<Variant> {
        let of_photo = |photo| {
            let copies = list.edits().iter().map(move |&edit| Variant {
                photo,
                edit: Some(edit),
            });
            [Variant { photo, edit: None }].into_iter().chain(copies)
        };
        (0..self.len()).flat_map(of_photo).collect()
    }

    /// Returns the file of a variant. Blocks.
    ///
    /// # Errors
    /// If the photo cannot be read any more.
    pub(crate) fn bytes(&self, variant: Variant, seed: u64) -> anyhow::Result<Bytes> {
        let Some(edit) = variant.edit else {
            let path = &self.photos[variant.photo].path;
            return files::read_image(path, self.limits.max_bytes)
                .map_err(|error| anyhow::anyhow!("`{}`: {error}", path.display()));
        };
        let image = self.image(variant.photo)?;
        let others: Vec<&RgbImage> = self
            .others_of(variant.photo)
            .map(|(_, image)| image)
            .collect();
        // Each photo is cropped at a place of its own.
        let seed = seed.wrapping_add((variant.photo as u64) << 20);
        Ok(edit.apply(&image, &others, seed).into())
    }

    /// Photos that fill the other places of a photo's collage.
    fn others_of(&self, photo: usize) -> impl Iterator<Item = &(usize, RgbImage)> {
        let others = self.others.iter();
        others.filter(move |(other, _)| *other != photo).take(3)
    }

    /// Whether a variant shows another photo too.
    pub(crate) fn shows(&self, variant: &Variant, photo: usize) -> bool {
        self.shown_by(variant).any(|other| other == photo)
    }

    /// Returns the numbers of the other photos that a variant shows.
    pub(crate) fn shown_by(&self, variant: &Variant) -> impl Iterator<Item = usize> {
        let is_collage = variant.edit == Some(Edit::Collage);
        let others = self.others_of(variant.photo).filter(move |_| is_collage);
        others.map(|(other, _)| *other)
    }

    fn image(&self, photo: usize) -> anyhow::Result<Arc<RgbImage>> {
        let lock = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, image)) = lock().iter().find(|(cached, _)| *cached == photo) {
            return Ok(Arc::clone(image));
        }
        let path = &self.photos[photo].path;
        let bytes = files::read_image(path, self.limits.max_bytes)
            .map_err(|error| anyhow::anyhow!("`{}`: {error}", path.display()))?;
        let decoded = decode(&bytes, &self.limits, Some(self.side))
            .with_context(|| format!("`{}`", path.display()))?;
        let image = Arc::new(decoded.image.fit_within(self.side));
        let mut cache = lock();
        if cache.len() == MAX_CACHED {
            cache.pop_front();
        }
        cache.push_back((photo, Arc::clone(&image)));
        Ok(image)
    }
}

/// Returns a signer on all cores.
pub(crate) fn signer(models: &Arc<ModelPool>, limits: &DecodeLimits, views: ViewsMode) -> Signer {
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    Signer::new(CpuPool::new(n_threads), Arc::clone(models), limits.clone())
        .with_views(views.config())
}

/// Computes the signature of a file.
///
/// # Errors
/// If it cannot be decoded, or the model fails.
pub(crate) async fn sign(
    signer: &Signer,
    bytes: Bytes,
    limits: &DecodeLimits,
) -> anyhow::Result<Signed> {
    let signature = signer.sign(bytes.clone()).await?;
    // All that the signer has made: it was told which.
    let descriptors = signature.descriptors(ViewsMode::RegionsAndInverted)?;
    let rects: Vec<Rect> = descriptors.views.iter().map(|view| view.rect).collect();
    let limits = limits.clone();
    let close_ups = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let decoded = decode(&bytes, &limits, Some(SIGNATURE_MIN_SIDE))?;
        let full = (decoded.info.width, decoded.info.height);
        let shown = (decoded.image.width(), decoded.image.height());
        let cuts = rects.iter().filter_map(|rect| {
            let rect = rect.resized(full, shown);
            decoded.image.crop(rect.x, rect.y, rect.width, rect.height)
        });
        let views = cuts.map(|cut| Arc::new(CloseUp::of(&cut)));
        Ok([Arc::new(CloseUp::of(&decoded.image))]
            .into_iter()
            .chain(views)
            .collect())
    });
    Ok(Signed {
        close_ups: close_ups.await??,
        descriptors,
    })
}

/// Makes and signs `variants`; the answer is in their order.
///
/// # Errors
/// The first failure.
pub(crate) async fn sign_all(
    corpus: &Arc<Corpus>,
    variants: &[Variant],
    seed: u64,
    signer: &Signer,
) -> anyhow::Result<Vec<Signed>> {
    let progress = Progress::start("pictures", variants.len() as u64);
    let at_once = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let signed = stream::iter(variants.iter().copied())
        .map(|variant| {
            let corpus = Arc::clone(corpus);
            let limits = corpus.limits.clone();
            let progress = &progress;
            async move {
                let made = tokio::task::spawn_blocking(move || corpus.bytes(variant, seed));
                let signed = sign(signer, made.await??, &limits).await?;
                progress.advance(1);
                anyhow::Ok(signed)
            }
        })
        .buffered(at_once)
        .try_collect()
        .await?;
    progress.finish();
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(n_photos: u32) -> (tempfile::TempDir, Corpus) {
        let folder = tempfile::tempdir().unwrap();
        for idx in 0..n_photos {
            let image = RgbImage::from_fn(80, 60, |x, y| [(x * 3) as u8, (y * 4) as u8, idx as u8]);
            let path = folder.path().join(format!("{idx}.jpg"));
            std::fs::write(path, image.unwrap().encode_jpeg(90)).unwrap();
        }
        std::fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
        let paths = [folder.path().to_owned()];
        let corpus = Corpus::open(&paths, Some(3), DecodeLimits::default()).unwrap();
        (folder, corpus)
    }

    #[test]
    fn copies_are_the_same_every_time_and_differ_by_photo() {
        let (_folder, corpus) = corpus(4);
        assert_eq!(corpus.len(), 3);
        let variants = corpus.variants(EditList::Standard);
        assert_eq!(variants.len(), 3 * (1 + EditList::Standard.edits().len()));
        let crop = |photo| Variant {
            photo,
            edit: Some(Edit::Crop50),
        };
        let first = corpus.bytes(crop(0), 1).unwrap();
        assert_eq!(first, corpus.bytes(crop(0), 1).unwrap());
        assert_ne!(first, corpus.bytes(crop(0), 2).unwrap());
        assert_ne!(first, corpus.bytes(crop(1), 1).unwrap());
    }

    #[test]
    fn one_photo_is_not_enough() {
        let folder = tempfile::tempdir().unwrap();
        let image = RgbImage::filled(8, 8, [1, 2, 3]).unwrap();
        std::fs::write(folder.path().join("a.png"), image.encode_png()).unwrap();
        let error = Corpus::open(&[folder.path().to_owned()], None, DecodeLimits::default());
        assert!(error.unwrap_err().to_string().contains("two photos"));
    }
}
