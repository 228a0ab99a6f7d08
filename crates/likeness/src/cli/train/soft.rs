//! Soft pictures to learn from: photos of which nothing is left but large blots of colour.
//!
//! A picture without a corner has no keypoints, so that a close look can tell nothing of it, whatever is done to it.
//! Skies, gradients and abstract wallpapers are like that, and few sets of photos have many of them.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use likeness_vision::edits::WORKING_SIDE;
use likeness_vision::pixels::Filter;
use likeness_vision::{DecodeLimits, RgbImage, decode};
use tempfile::TempDir;

use crate::corpus::{Corpus, MAX_OTHERS, Variant};
use crate::files::FoundFile;
use crate::progress::Progress;

/// Before the name of the photo that one was made of.
pub(super) const PREFIX: &str = "soft/";
/// Longer side that photos are shrunk to, in turn: what is smaller than a pixel of that is gone.
const SIDES: [u32; 3] = [12, 20, 36];
/// Longer side of what is written.
const SIDE: u32 = 1_024;
const QUALITY: u8 = 95;

/// Soft pictures in a folder of their own, which goes with this.
pub(super) struct Soft {
    pub(super) corpus: Arc<Corpus>,
    /// Number of each photo that one was made of, by its name.
    numbers: HashMap<String, usize>,
    _folder: TempDir,
}

impl Soft {
    /// Makes one of every n-th photo, but for the first few, which collages show. Blocks.
    ///
    /// # Errors
    /// If a photo cannot be read any more, there is no room for the files, or fewer than two are to be made.
    pub(super) fn of(photos: &Corpus, every: usize, limits: &DecodeLimits) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no folder for soft pictures")?;
        let chosen: Vec<usize> = (MAX_OTHERS..photos.len()).step_by(every).collect();
        let progress = Progress::start("soft pictures", chosen.len() as u64);
        let mut found = Vec::new();
        let mut numbers = HashMap::new();
        for (number, photo) in chosen.into_iter().enumerate() {
            let whole = Variant { photo, edit: None };
            let decoded = decode(&photos.bytes(whole, 0)?, limits, Some(SIDE))?;
            let soft = soften(&decoded.image, SIDES[number % SIDES.len()]);
            let path = folder.path().join(format!("{number}.jpg"));
            std::fs::write(&path, soft.encode_jpeg(QUALITY))?;
            found.push(FoundFile {
                relative: format!("{PREFIX}{}", photos.name(photo)),
                path,
            });
            numbers.insert(photos.name(photo).to_owned(), number);
            progress.advance(1);
        }
        progress.finish();
        Ok(Self {
            corpus: Arc::new(Corpus::of_files(found, None, limits.clone(), WORKING_SIDE)?),
            numbers,
            _folder: folder,
        })
    }

    /// Returns the number of the soft picture that was made of a photo, or that has this name.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(plain_name(name)).copied()
    }
}

/// Returns the name of the photo that a soft picture was made of; other names as they are.
pub(super) fn plain_name(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// Shrinks a picture to a longer side of `side`, and enlarges it again by doubling: the tents of one large step would
/// have edges.
fn soften(image: &RgbImage, side: u32) -> RgbImage {
    let shape = image.fit_within(SIDE);
    let mut soft = shape.fit_within(side);
    while soft.longer_side() * 2 < SIDE {
        let (width, height) = (soft.width() * 2, soft.height() * 2);
        soft = soft.resize_exact(width, height, Filter::Bilinear);
    }
    soft.resize_exact(shape.width(), shape.height(), Filter::Bilinear)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soft_picture_has_the_shape_of_the_photo_and_no_edges() {
        let stripes = |x: u32, _| if x % 16 < 8 { [250; 3] } else { [5; 3] };
        let image = RgbImage::from_fn(1_200, 900, stripes).unwrap();
        let soft = soften(&image, 20);
        assert_eq!((soft.width(), soft.height()), (1_024, 768));
        let row = soft.rows().nth(400).unwrap();
        let steepest = row.windows(4).map(|four| four[0].abs_diff(four[3])).max();
        assert!(steepest < Some(8), "{steepest:?}");
    }

    #[test]
    fn a_soft_picture_is_of_its_photo() {
        let folder = tempfile::tempdir().unwrap();
        for (name, red) in (b'a'..b'h').map(|letter| (char::from(letter), letter)) {
            let image = RgbImage::from_fn(64, 48, |x, y| [red, x as u8 * 3, y as u8 * 4]).unwrap();
            std::fs::write(
                folder.path().join(format!("{name}.jpg")),
                image.encode_jpeg(90),
            )
            .unwrap();
        }
        let limits = DecodeLimits::default();
        let photos = Corpus::open(&[folder.path().to_owned()], None, limits.clone()).unwrap();
        let soft = Soft::of(&photos, 2, &limits).unwrap();
        assert_eq!(soft.corpus.len(), 2);
        let numbers: Vec<Option<usize>> = (3..7).map(|n| soft.number(photos.name(n))).collect();
        assert_eq!(numbers, [None, Some(0), None, Some(1)]);
        assert_eq!(plain_name(soft.corpus.name(1)), photos.name(6));
        assert_eq!(soft.number(soft.corpus.name(1)), Some(1));
    }
}
