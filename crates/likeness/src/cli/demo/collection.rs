//! Which pictures the demo shows: photos with several edited copies each, stickers with a few.
//!
//! First come all originals, then the copies, each in a random order: as on a site where a picture
//! is posted once and then copied by others.

use std::collections::HashMap;
use std::path::PathBuf;

use likeness_core::ImageId;
use likeness_engine::dedup::NewImage;
use likeness_vision::DecodeLimits;
use likeness_vision::edits::{Edit, EditList};

use super::summary::Known;
use crate::corpus::{Corpus, Variant};
use crate::files::{FoundFile, Unusable};
use crate::intake::Source;
use crate::random::Random;
use crate::samples::{Pulled, SampleKind, choose_stickers};

/// Longest side of a photo that copies are made of: what a phone shows.
const PHOTO_SIDE: u32 = 1_280;
/// Longest side of a sticker.
const STICKER_SIDE: u32 = 512;
/// Share of the images that are stickers as they are.
const STICKERS: f64 = 0.2;
/// Share of the images that are copies of stickers.
const STICKER_COPIES: f64 = 0.04;

/// What people do to stickers; cutting half of one off is not among it.
const STICKER_EDITS: [Edit; 6] = [
    Edit::Mirror,
    Edit::Jpeg20,
    Edit::Border10,
    Edit::Caption,
    Edit::Colour,
    Edit::Crop70,
];

/// The pictures of the demo.
#[derive(Debug)]
pub(super) struct Collection {
    photos: Corpus,
    stickers: Option<Corpus>,
    items: Vec<Item>,
    /// Sets that could not be had.
    pub(super) missing: Vec<String>,
}

/// One image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    is_sticker: bool,
    variant: Variant,
}

impl Collection {
    /// Chooses about `count` images. Blocks.
    ///
    /// # Errors
    /// If there are too few photos.
    pub(super) fn choose(
        pulled: &Pulled,
        count: usize,
        seed: u64,
        limits: &DecodeLimits,
    ) -> anyhow::Result<Self> {
        let photos = found(pulled.files(SampleKind::Photos));
        let photos = Corpus::of_files(photos, Some(count / 4), limits.clone(), PHOTO_SIDE)?;
        let part = |share: f64| (count as f64 * share) as usize;
        let sticker_files = pulled.files(SampleKind::Stickers);
        let chosen = found(choose_stickers(&sticker_files, part(STICKERS), seed));
        let stickers = if chosen.len() < 2 {
            None
        } else {
            Some(Corpus::of_files(
                chosen,
                None,
                limits.clone(),
                STICKER_SIDE,
            )?)
        };
        let n_stickers = stickers.as_ref().map_or(0, Corpus::len);
        let mut items = choose_items(photos.len(), n_stickers, part(STICKER_COPIES), count);
        let n_originals = photos.len() + n_stickers;
        let mut random = Random::new(seed, 1);
        random.shuffle(&mut items[..n_originals]);
        random.shuffle(&mut items[n_originals..]);
        Ok(Self {
            photos,
            stickers,
            items,
            missing: pulled
                .missing
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
        })
    }

    /// Returns how many images there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns all images in their order.
    pub(super) fn items(&self) -> Vec<Item> {
        self.items.clone()
    }

    /// Says of every decided image what is known and what was found.
    pub(super) fn known<'a>(&self, heads: &'a HashMap<String, String>) -> Vec<Known<'a>> {
        self.items
            .iter()
            .filter_map(|item| {
                let head = heads.get(&self.id(*item))?;
                let original = Item {
                    variant: Variant {
                        edit: None,
                        ..item.variant
                    },
                    ..*item
                };
                Some(Known {
                    head,
                    origin: (item.is_sticker, item.variant.photo),
                    edit: item.variant.edit_name(),
                    original_head: heads.get(&self.id(original))?,
                })
            })
            .collect()
    }

    fn corpus(&self, item: Item) -> &Corpus {
        match &self.stickers {
            Some(stickers) if item.is_sticker => stickers,
            _ => &self.photos,
        }
    }

    /// Returns `interiors:pexels-1317558` or `interiors:pexels-1317558.crop50`.
    fn id(&self, item: Item) -> String {
        let name = self.corpus(item).name(item.variant.photo);
        match item.variant.edit_name() {
            None => name.to_owned(),
            Some(edit) => format!("{name}.{edit}"),
        }
    }
}

/// Originals first, then copies: `copies_per_photo` of each photo by edits that take turns, one of
/// each of the first stickers.
fn choose_items(
    n_photos: usize,
    n_stickers: usize,
    n_sticker_copies: usize,
    count: usize,
) -> Vec<Item> {
    let item = |is_sticker, photo, edit| Item {
        is_sticker,
        variant: Variant { photo, edit },
    };
    let mut items: Vec<Item> = (0..n_photos)
        .map(|photo| item(false, photo, None))
        .collect();
    items.extend((0..n_stickers).map(|photo| item(true, photo, None)));
    for photo in 0..n_sticker_copies.min(n_stickers) {
        let edit = STICKER_EDITS[photo % STICKER_EDITS.len()];
        items.push(item(true, photo, Some(edit)));
    }
    let edits = EditList::Standard.edits();
    for round in 0..edits.len() {
        for photo in 0..n_photos {
            if items.len() >= count {
                return items;
            }
            let edit = edits[(photo + round) % edits.len()];
            items.push(item(false, photo, Some(edit)));
        }
    }
    items
}

/// Names files by set and file name without its ending.
fn found(files: Vec<PathBuf>) -> Vec<FoundFile> {
    let name =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    files
        .into_iter()
        .map(|path| {
            let set = name(path.parent().and_then(|parent| parent.file_name()));
            FoundFile {
                relative: format!("{set}:{}", name(path.file_stem())),
                path,
            }
        })
        .collect()
}

impl Source for Collection {
    type Item = Item;

    fn name(&self, item: &Item) -> String {
        self.id(*item)
    }

    fn load(&self, item: &Item) -> Result<NewImage, Unusable> {
        let bytes = self.corpus(*item).bytes(item.variant, super::SEED);
        let bytes = bytes.map_err(|error| Unusable::Unreadable(format!("{error:#}")))?;
        let id = ImageId::new(self.id(*item))
            .map_err(|error| Unusable::Unreadable(error.to_string()))?;
        Ok(NewImage {
            name: Some(self.id(*item)),
            id: Some(id),
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_as_many_images_as_asked_for_and_none_twice() {
        let items = choose_items(80, 420, 72, 1_200);
        assert_eq!(items.len(), 1_200);
        let names: HashSet<_> = items
            .iter()
            .map(|item| {
                (
                    item.is_sticker,
                    item.variant.photo,
                    item.variant.edit_name(),
                )
            })
            .collect();
        assert_eq!(names.len(), items.len());
        assert!(items[..500].iter().all(|item| item.variant.edit.is_none()));
        assert!(items[500..].iter().all(|item| item.variant.edit.is_some()));
    }

    #[test]
    fn few_photos_give_every_copy_there_is() {
        assert_eq!(choose_items(2, 0, 72, 1_200).len(), 2 * 18);
    }
}
