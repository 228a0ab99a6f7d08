//! Searches by views: of wholes by the views of a picture, and of views by the whole.
//!
//! Wholes are found wherever they are, as by a whole. Views are kept in memory for the latest images only, as
//! many as [`IndexConfig::exact_below`](super::IndexConfig) says, and all of them are looked at. So a page
//! finds every picture on it that came before; a picture finds a page that came before if the page is among
//! the latest, however many images there are. They are read from the images' records when data is opened.
//!
//! For the image with the number `n` these are the views of `[n − exact_below, n)`: a decision is a function
//! of the log here too (`decision.rs`).

use std::collections::{HashMap, VecDeque};

use likeness_core::{ImageNumber, StoreResult};
use likeness_index::{Candidates, ExactIndex, ExactParams};

use super::decision::best_first;
use super::recent::top;
use super::{Before, LiveIndex, ROTATION_SEED, Recent, SEGMENT, corrupt};
use crate::dedup::compare::{Descriptors, ViewsMode};
use crate::dedup::records::{Candidate, NumberRecord};

/// Numbers that an image's views may have: more than are made of one. Further ones would not be searched.
const PLACES: u64 = 16;

/// Views of the latest images, searched exactly.
#[derive(Debug)]
pub(in crate::dedup) struct RecentViews {
    /// By number of the segment of image numbers, ascending; views are numbered `image × PLACES + place`.
    segments: VecDeque<(u64, ExactIndex)>,
    /// Segments of numbers that are held, with views or without.
    max_segments: u64,
    mode: ViewsMode,
    params: ExactParams,
}

impl RecentViews {
    /// Holds the views of at least the last `capacity` images.
    pub(in crate::dedup) fn new(dim: usize, rerank: usize, capacity: u64, mode: ViewsMode) -> Self {
        Self {
            segments: VecDeque::new(),
            max_segments: capacity.div_ceil(SEGMENT) + 1,
            mode,
            params: ExactParams {
                dim,
                rotation_seed: ROTATION_SEED,
                rerank,
            },
        }
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.segments.clear();
    }

    /// Adds the views of an image; numbers ascend.
    pub(in crate::dedup) fn insert(
        &mut self,
        number: ImageNumber,
        record: &NumberRecord,
    ) -> StoreResult<()> {
        let segment = number.0 / SEGMENT;
        while let Some(&(first, _)) = self.segments.front()
            && first + self.max_segments <= segment
        {
            self.segments.pop_front();
        }
        let taken = record
            .views
            .iter()
            .filter(|view| self.mode.takes(view.kind));
        for (view, place) in taken.zip(0..PLACES) {
            if self
                .segments
                .back()
                .is_none_or(|(last, _)| *last != segment)
            {
                self.segments
                    .push_back((segment, ExactIndex::new(self.params)));
            }
            let (_, index) = self.segments.back_mut().expect("one was just made sure of");
            index
                .insert(number.0 * PLACES + place, &view.bf16()?)
                .map_err(|error| corrupt(&error))?;
        }
        Ok(())
    }

    /// Takes the views of an image out, if they are held.
    pub(super) fn remove(&mut self, number: ImageNumber) {
        let of = number.0 / SEGMENT;
        for (segment, index) in &mut self.segments {
            if *segment == of {
                for place in 0..PLACES {
                    index.remove(number.0 * PLACES + place);
                }
            }
        }
    }

    /// Whether views of an image are held.
    pub(super) fn holds(&self, number: ImageNumber) -> bool {
        let of = |(segment, _): &&(u64, ExactIndex)| *segment == number.0 / SEGMENT;
        self.segments
            .iter()
            .filter(of)
            .any(|(_, index)| (0..PLACES).any(|place| index.contains(number.0 * PLACES + place)))
    }

    /// Returns the views of images at or above `from` with the highest estimates; nothing if there are none.
    fn candidates(&self, query: &[f32], from: ImageNumber) -> StoreResult<Option<Candidates>> {
        let mut found: Option<Candidates> = None;
        for (_, segment) in &self.segments {
            let part = segment
                .candidates(query, from.0 * PLACES)
                .map_err(|error| corrupt(&error))?;
            found = Some(match found {
                Some(found) => found.merge(part),
                None => part,
            });
        }
        Ok(found)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let indexes = self.segments.iter();
        indexes.map(|(_, index)| index.memory_bytes()).sum()
    }
}

/// Returns the images of the views that were found and are near enough.
fn images_of(
    views: Option<Candidates>,
    limit: usize,
    floor: f32,
) -> impl Iterator<Item = Candidate> {
    top(views, limit)
        .into_iter()
        .filter(move |view| view.cosine >= floor)
        .map(|view| Candidate {
            number: ImageNumber(view.number.0 / PLACES),
            ..view
        })
}

/// Adds what was found by views: each image once, with its best cosine, best first, at most `limit`.
pub(in crate::dedup) fn unite(
    found: Vec<Candidate>,
    by_views: Vec<Candidate>,
    limit: usize,
) -> Vec<Candidate> {
    if by_views.is_empty() {
        return found;
    }
    let mut best: HashMap<ImageNumber, Candidate> = HashMap::new();
    for candidate in found.into_iter().chain(by_views) {
        let known = best.entry(candidate.number).or_insert(candidate);
        if candidate.cosine > known.cosine {
            *known = candidate;
        }
    }
    let mut found = best.into_values().collect();
    best_first(&mut found, limit);
    found
}

/// What was found for an image, by its whole and by views, among what was decided before its batch.
#[derive(Debug)]
pub(in crate::dedup) struct BeforeWithViews {
    /// By the whole, among wholes.
    pub whole: Before,
    /// By each view, among wholes.
    by_views: Vec<Before>,
    /// By the whole, among views of images from `views_from` on.
    in_views: Option<Candidates>,
    views_from: ImageNumber,
}

impl BeforeWithViews {
    /// As [`Before::with`], given the wholes and the views of the batch.
    pub(in crate::dedup) fn with(
        self,
        image: &Descriptors,
        (wholes, views): (&Recent, &RecentViews),
        limit: usize,
        floor: f32,
    ) -> StoreResult<Vec<Candidate>> {
        let with_batch = |before: Before, query: &[f32]| -> StoreResult<Vec<Candidate>> {
            let in_batch = wholes.candidates(query, before.begin)?;
            Ok(before.with(in_batch, limit, floor))
        };
        let found = with_batch(self.whole, &image.vector)?;
        let mut by_views = Vec::new();
        for (before, view) in self.by_views.into_iter().zip(&image.views) {
            by_views.extend(with_batch(before, &view.vector)?);
        }
        let in_batch = views.candidates(&image.vector, self.views_from)?;
        let in_views = match (self.in_views, in_batch) {
            (Some(before), Some(batch)) => Some(before.merge(batch)),
            (before, batch) => before.or(batch),
        };
        by_views.extend(images_of(in_views, limit, floor));
        Ok(unite(found, by_views, limit))
    }
}

impl LiveIndex {
    /// Returns what views find: at most `limit` images for each view and as many for the whole, whose cosine
    /// is at least `floor`. Add it to what [`search`](Self::search) finds by the whole, see [`unite`].
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub(in crate::dedup) fn search_views(
        &self,
        image: &Descriptors,
        limit: usize,
        floor: f32,
    ) -> StoreResult<Vec<Candidate>> {
        let inner = self.read();
        let in_views = inner.views.candidates(&image.vector, ImageNumber(0))?;
        let mut found: Vec<_> = images_of(in_views, limit, floor).collect();
        for view in &image.views {
            let (candidates, _) = self.search_in(&inner, &view.vector, limit, floor, 0)?;
            found.extend(candidates);
        }
        Ok(found)
    }

    /// As [`search_before`](Self::search_before), by the whole and by views.
    ///
    /// # Errors
    /// As [`search_before`](Self::search_before).
    pub(in crate::dedup) fn search_views_before(
        &self,
        image: &Descriptors,
        number: u64,
        limit: usize,
        floor: f32,
    ) -> StoreResult<BeforeWithViews> {
        let search = |query: &[f32]| self.search_before(query, number, limit, floor);
        let views_from = ImageNumber(number.saturating_sub(self.config.exact_below));
        Ok(BeforeWithViews {
            whole: search(&image.vector)?,
            by_views: image
                .views
                .iter()
                .map(|view| search(&view.vector))
                .collect::<StoreResult<_>>()?,
            in_views: self.read().views.candidates(&image.vector, views_from)?,
            views_from,
        })
    }
}
