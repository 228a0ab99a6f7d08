//! The pairs that trees are fitted to.

use likeness_engine::dedup::scorer::{CascadeOptions, N_KINDS, Sample, SampleKind};

use super::super::PictureKind;
use super::super::pairs::{Picture, mix};
use super::{Lab, Pair, Reference};

/// Most strangers of a kind above the least cosine that trees are boosted on; beyond it a part is drawn, and each
/// counts for more.
const MAX_STRANGERS: u64 = 150_000;
/// What a drawn pair counts for: an upload is a page of text far more often than a pair of random pictures is two
/// pages over one template. Much more, and the second stage learns little else (docs/adr/016).
const DRAWN_WEIGHT: f64 = 10.0;
/// What a pair of strangers counts for that has a soft picture: many are made of few photos.
const SOFT_WEIGHT: f64 = 0.3;

pub(super) fn copies(lab: &Lab, reference: &Reference) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut original = None;
    for (number, picture) in lab.gallery.pictures.iter().enumerate() {
        // Copies follow what they were made of.
        match (picture.edit, original) {
            (None, _) => original = Some(number),
            (Some(_), Some(original)) => {
                let (features, _) = lab.features(reference, original, number);
                pairs.push(Pair {
                    sample: Sample {
                        features,
                        label: true,
                        group: lab.gallery.group(picture.original),
                        kind: kind_of(lab, &lab.gallery.pictures[original], picture),
                        weight: 1.0,
                    },
                    pictures: (original, number),
                });
            }
            (Some(_), None) => {}
        }
    }
    pairs
}

fn kind_of(lab: &Lab, first: &Picture, second: &Picture) -> SampleKind {
    let is_soft = |picture: &Picture| lab.gallery.originals[picture.original].is_soft();
    if is_soft(first) || is_soft(second) {
        return SampleKind::Soft;
    }
    match lab.gallery.kind_of(first, second) {
        PictureKind::Photo => SampleKind::Photo,
        PictureKind::Sticker => SampleKind::Sticker,
    }
}

/// Adds the strangers above the least cosine, and counts the others.
pub(super) fn strangers(
    lab: &Lab,
    reference: &Reference,
    options: &mut CascadeOptions,
    pairs: &mut Vec<Pair>,
) {
    let mut near = [const { Vec::<(usize, usize)>::new() }; N_KINDS];
    lab.gallery.visit_stranger_numbers(|first, second| {
        let pictures = &lab.gallery.pictures;
        let kind = kind_of(lab, &pictures[first], &pictures[second]) as usize;
        let (features, _) = lab.features(reference, first, second);
        if features.cosine >= options.min_cosine {
            near[kind].push((first, second));
        } else if options.holds_out(lab.gallery.group(pictures[first].original)) {
            options.num_far[kind] += 1.0;
        }
    });
    for (kind, near) in SampleKind::ALL.into_iter().zip(near) {
        let n_near = near.len() as u64;
        let each = match kind {
            SampleKind::Soft => SOFT_WEIGHT,
            _ => 1.0,
        };
        let weight = each * (n_near as f64 / MAX_STRANGERS as f64).max(1.0);
        for (place, numbers) in near.into_iter().enumerate() {
            if mix(options.seed, place as u64) % n_near >= MAX_STRANGERS {
                continue;
            }
            let (features, _) = lab.features(reference, numbers.0, numbers.1);
            let original = lab.gallery.pictures[numbers.0].original;
            pairs.push(Pair {
                sample: Sample {
                    features,
                    label: false,
                    group: lab.gallery.group(original),
                    kind,
                    weight,
                },
                pictures: numbers,
            });
        }
    }
}

/// Adds each drawn original with its copies, and with every picture of the rest of its family.
pub(super) fn drawn_pairs(lab: &Lab, reference: &Reference, pairs: &mut Vec<Pair>) {
    let first_number = lab.gallery.pictures.len();
    let first_group = 2 * (lab.gallery.originals.len() as u64 + 1_000_000);
    for (idx, original) in lab.drawn.iter().enumerate() {
        if original.edit.is_some() {
            continue;
        }
        for (other_idx, other) in lab.drawn.iter().enumerate() {
            let is_own = original.member == other.member;
            if !original.is_family_of(other)
                || idx == other_idx
                || other.edit.is_none() && other_idx < idx
            {
                continue;
            }
            let pictures = (first_number + idx, first_number + other_idx);
            let (features, _) = lab.features(reference, pictures.0, pictures.1);
            let family = original.kind as u64 * 1_000_000 + u64::from(original.family);
            pairs.push(Pair {
                sample: Sample {
                    features,
                    label: is_own,
                    group: first_group + family,
                    kind: SampleKind::Drawn,
                    weight: if is_own { 1.0 } else { DRAWN_WEIGHT },
                },
                pictures,
            });
        }
    }
}

pub(super) fn judged_pairs(lab: &Lab, reference: &Reference, pairs: &mut Vec<Pair>) {
    let first_number = lab.gallery.pictures.len() + lab.drawn.len();
    let first_group = 4 * (lab.gallery.originals.len() as u64 + 10_000_000);
    for &(a, b, label) in &lab.labels.pairs {
        let pictures = (first_number + a, first_number + b);
        let (features, _) = lab.features(reference, pictures.0, pictures.1);
        pairs.push(Pair {
            sample: Sample {
                features,
                label,
                group: first_group + a as u64,
                kind: SampleKind::Judged,
                weight: 1.0,
            },
            pictures,
        });
    }
}
