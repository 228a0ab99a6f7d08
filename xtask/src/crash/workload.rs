//! What is uploaded: pictures, edits of them, byte-for-byte copies and a few that cannot be decoded.

use crate::pictures::{NUM_EDITS, Picture};
use crate::rng::Rng;

/// A list of images, made on demand: image `index` is the same whenever it is asked for.
#[derive(Debug)]
pub(crate) struct Workload {
    recipes: Vec<Recipe>,
}

/// How an image is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recipe {
    /// A picture of its own, from this seed.
    New(u64),
    /// The same bytes as another picture.
    Copy(u64),
    /// An edit of another picture.
    Edit(u64, usize),
    /// A picture cut off in the middle: its header is fine, so that it is stored before it fails.
    Broken(u64),
    /// A picture of the distinct ones, all of it a little darker by this much.
    Near(usize, u8),
}

impl Workload {
    /// Plans `num_images` images, about half of them copies.
    pub(crate) fn new(seed: u64, num_images: usize) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed_0f1a);
        let mut originals: Vec<u64> = Vec::new();
        let recipes = (0..num_images)
            .map(|_| {
                let kind = rng.below(20);
                let fresh = rng.next();
                let known = (!originals.is_empty()).then(|| {
                    // Mostly recent ones, so that copies are under way at the same time.
                    let back = rng.below(originals.len().min(12));
                    originals[originals.len() - 1 - back]
                });
                match (kind, known) {
                    (0..=3, Some(original)) => Recipe::Copy(original),
                    (4..=9, Some(original)) => Recipe::Edit(original, rng.below(NUM_EDITS)),
                    (10, _) => Recipe::Broken(fresh),
                    _ => {
                        originals.push(fresh);
                        Recipe::New(fresh)
                    }
                }
            })
            .collect();
        Self { recipes }
    }

    /// Plans families of near-copies, one family after the other; the second half of each repeats the files
    /// of the first. Families are never near-copies of each other.
    pub(crate) fn families(num_families: usize, per_family: usize) -> Self {
        let distinct = per_family.div_ceil(2).max(1);
        let recipes = (0..num_families)
            .flat_map(|family| {
                (0..per_family).map(move |place| {
                    let shade = u8::try_from(place % distinct).unwrap_or(u8::MAX);
                    Recipe::Near(family, shade)
                })
            })
            .collect();
        Self { recipes }
    }

    /// Returns the number of images.
    pub(crate) fn len(&self) -> usize {
        self.recipes.len()
    }

    /// Returns the id of an image.
    pub(crate) fn id(index: usize) -> String {
        format!("crash-{index:06}")
    }

    /// Returns the index of an id that [`id`](Self::id) made.
    pub(crate) fn index(&self, id: &str) -> Option<usize> {
        let index = id.strip_prefix("crash-")?.parse().ok()?;
        (index < self.recipes.len()).then_some(index)
    }

    /// Returns the file of an image.
    pub(crate) fn bytes(&self, index: usize) -> Vec<u8> {
        let draw = |seed| Picture::draw(seed, 160, 120);
        match self.recipes[index] {
            Recipe::New(seed) | Recipe::Copy(seed) => draw(seed).png(),
            Recipe::Edit(seed, edit) => draw(seed).edited(edit).png(),
            Recipe::Near(family, shade) => {
                let mut picture = Picture::distinct(family, 160, 120);
                for value in &mut picture.rgb {
                    *value = value.saturating_sub(shade);
                }
                picture.png()
            }
            Recipe::Broken(seed) => {
                let whole = draw(seed).png();
                whole[..whole.len() * 2 / 3].to_vec()
            }
        }
    }

    /// Returns whether an image cannot be decoded.
    pub(crate) fn is_broken(&self, index: usize) -> bool {
        matches!(self.recipes[index], Recipe::Broken(_))
    }
}

#[cfg(test)]
mod tests {
    use super::{Recipe, Workload};

    #[test]
    fn a_seed_makes_the_same_files_with_copies_among_them() {
        let one = Workload::new(3, 200);
        let two = Workload::new(3, 200);
        assert_eq!(one.recipes, two.recipes);
        assert_eq!(one.bytes(17), two.bytes(17));
        let count =
            |matches: fn(&Recipe) -> bool| one.recipes.iter().filter(|r| matches(r)).count();
        assert!(count(|r| matches!(r, Recipe::Copy(_))) > 10);
        assert!(count(|r| matches!(r, Recipe::Edit(..))) > 20);
        assert!(count(|r| matches!(r, Recipe::Broken(_))) > 2);
    }

    #[test]
    fn a_family_holds_near_copies_and_repeats_them() {
        let workload = Workload::families(2, 6);
        assert_eq!(workload.len(), 12);
        assert_eq!(workload.bytes(0), workload.bytes(3));
        assert_ne!(workload.bytes(0), workload.bytes(1));
        assert_ne!(workload.bytes(0), workload.bytes(6));
    }

    #[test]
    fn ids_lead_back_to_their_images() {
        let workload = Workload::new(1, 10);
        assert_eq!(workload.index(&Workload::id(7)), Some(7));
        assert_eq!(workload.index(&Workload::id(10)), None);
        assert_eq!(workload.index("other"), None);
    }
}
