//! What the demo found, compared with what is known.

use likeness_engine::dedup::view::Overview;
use likeness_engine::eval::{ClusterQuality, Share, cluster_quality};
use serde::{Deserialize, Serialize};

use super::collection::Collection;
use crate::cli::status::stage_table;
use crate::intake::Tally;
use crate::output::{Table, count};

/// What is known of an image, and what was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// Head of its cluster.
    pub(super) head: &'a str,
    /// The picture it was made from: images of one origin belong together, and no others.
    pub(super) origin: (bool, usize),
    /// The edit, if it is a copy.
    pub(super) edit: Option<&'static str>,
    /// Head of the cluster of its original.
    pub(super) original_head: &'a str,
}

/// The summary of a demo.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Summary {
    images: u64,
    photos: u64,
    stickers: u64,
    copies: u64,
    /// From the first upload to the last decision, making copies included.
    seconds: f64,
    images_per_second: f64,
    /// Clusters against the truth, over all images.
    quality: ClusterQuality,
    /// Photos and their copies alone.
    of_photos: Found,
    /// Stickers and their copies alone.
    of_stickers: Found,
    /// Sample sets that could not be had.
    missing_sets: Vec<String>,
    /// Images that were passed over.
    skipped: u64,
    overview: Overview,
}

/// What was found among images of one kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    /// Copies in the cluster of their original.
    copies: Share,
    quality: ClusterQuality,
}

impl Found {
    fn of<'a>(known: impl Iterator<Item = &'a Known<'a>> + Clone) -> Self {
        let mut copies = Share::default();
        for image in known.clone().filter(|image| image.edit.is_some()) {
            copies.add(image.head == image.original_head);
        }
        Self {
            copies,
            quality: cluster_quality(known.map(|image| (image.head, image.origin))),
        }
    }
}

impl Summary {
    pub(super) fn new(
        collection: &Collection,
        known: &[Known<'_>],
        overview: Overview,
        tally: Tally,
        seconds: f64,
    ) -> Self {
        let of_kind = |is_sticker| {
            let is_wanted = move |image: &&Known<'_>| image.origin.0 == is_sticker;
            known.iter().filter(is_wanted)
        };
        let originals = |is_sticker| {
            let originals = of_kind(is_sticker).filter(|image| image.edit.is_none());
            originals.count() as u64
        };
        Self {
            images: known.len() as u64,
            photos: originals(false),
            stickers: originals(true),
            copies: known.iter().filter(|image| image.edit.is_some()).count() as u64,
            seconds,
            images_per_second: known.len() as f64 / seconds.max(1e-9),
            quality: cluster_quality(known.iter().map(|image| (image.head, image.origin))),
            of_photos: Found::of(of_kind(false)),
            of_stickers: Found::of(of_kind(true)),
            missing_sets: collection.missing.clone(),
            skipped: tally.skipped.len() as u64,
            overview,
        }
    }
}

/// Tells a summary.
pub(super) fn describe(summary: &Summary, url: Option<&str>) -> String {
    let mut figures = Table::new(["", "copies found", "pairs right", "pairs found"]);
    for (name, copies, quality) in [
        (
            "photos",
            &summary.of_photos.copies,
            &summary.of_photos.quality,
        ),
        (
            "stickers",
            &summary.of_stickers.copies,
            &summary.of_stickers.quality,
        ),
    ] {
        figures.row([
            name.to_owned(),
            share(copies),
            share(&quality.pair_precision),
            share(&quality.pair_recall),
        ]);
    }
    let all = &summary.quality;
    figures.row([
        "all".to_owned(),
        String::new(),
        share(&all.pair_precision),
        share(&all.pair_recall),
    ]);
    let mut text = format!(
        "{images} images: {photos} photos, {stickers} stickers, {copies} edited copies\n\
         {clusters} clusters, {duplicates} of two images and more; truly {truly} pictures\n\
         {seconds:.1} s, {rate:.0} images/s, making the copies included\n\n\
         {stages}\n\n\
         {figures}\n\n\
         Copies found: in the cluster of their original. Pairs right: of those put together, made \
         from one original (precision).\nPairs found: of those made from one original, put \
         together (recall).\n\
         Stickers are hard negatives: objects drawn by one hand on blank ground. So are photos of \
         one room from two sides.",
        images = count(summary.images),
        photos = count(summary.photos),
        stickers = count(summary.stickers),
        copies = count(summary.copies),
        clusters = count(all.clusters),
        duplicates = count(summary.overview.duplicate_clusters),
        truly = count(all.true_clusters),
        seconds = summary.seconds,
        rate = summary.images_per_second,
        stages = stage_table(&summary.overview),
    );
    if !summary.missing_sets.is_empty() {
        text.push_str(&format!(
            "\nWithout the sample sets {}, which could not be obtained here.",
            summary.missing_sets.join(", ")
        ));
    }
    match url {
        Some(url) => text.push_str(&format!("\n\nserving at {url}   (Ctrl-C stops)")),
        None => text.push_str("\n\n`likeness demo` shows them in the browser"),
    }
    text
}

/// Writes `98.53 % of 1,234`.
fn share(share: &Share) -> String {
    match share.value() {
        Some(value) => format!("{:.2} % of {}", 100.0 * value, count(share.total)),
        None => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_count_as_found_in_the_cluster_of_their_original() {
        let known = |head, photo, edit, original_head| Known {
            head,
            origin: (false, photo),
            edit,
            original_head,
        };
        let images = [
            known("a", 0, None, "a"),
            known("a", 0, Some("crop50"), "a"),
            known("c", 0, Some("rotate90"), "a"),
            known("a", 1, None, "a"),
        ];
        let found = Found::of(images.iter());
        assert_eq!(found.copies, Share { count: 1, total: 2 });
        assert_eq!(found.quality.pair_precision, Share { count: 1, total: 3 });
        assert_eq!(found.quality.pair_recall, Share { count: 1, total: 3 });
    }
}
