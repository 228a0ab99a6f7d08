//! Scores of all pairs of a photo with copies of it and of others.

use std::collections::BTreeMap;

use likeness_engine::eval::{
    ContenderReport, HardNegatives, HighestScores, NegativesOfKind, ScoredPair, Share,
};

use super::KEPT_STRANGERS;
use super::contenders::Contender;
use super::lab::{Lab, Picture, SAME_SCENE};
use crate::corpus::Signed;
use crate::families::Families;

/// What is compared.
pub(super) struct Gallery<'a> {
    pub(super) lab: &'a Lab,
    pub(super) pictures: &'a [Picture],
    pub(super) signed: &'a [Signed],
    /// Numbers of the families of each photo.
    pub(super) families: Vec<Vec<usize>>,
}

/// Scores of the pairs, by one contender.
#[derive(Debug)]
pub(super) struct Pairs {
    pub(super) copies: Vec<ScoredPair>,
    pub(super) strangers: HighestScores,
    /// Strangers that reach the threshold.
    pub(super) joined: Vec<ScoredPair>,
}

impl<'a> Gallery<'a> {
    pub(super) fn new(
        lab: &'a Lab,
        pictures: &'a [Picture],
        signed: &'a [Signed],
        families: &Families,
    ) -> Self {
        let of_photo = |photo| families.of(lab.corpus.name(photo));
        Self {
            lab,
            pictures,
            signed,
            families: (0..lab.corpus.len()).map(of_photo).collect(),
        }
    }

    /// Compares each photo with its copies, and with every picture of other photos; two photos once. Pairs of
    /// one family, and a photo with a collage that shows it beside another, count as neither.
    pub(super) fn score(&self, contender: &Contender<'_>) -> Pairs {
        let (_, threshold) = contender.recommended();
        let mut pairs = Pairs {
            copies: Vec::new(),
            strangers: HighestScores::new(KEPT_STRANGERS),
            joined: Vec::new(),
        };
        let variants = || {
            self.pictures
                .iter()
                .zip(self.signed)
                .enumerate()
                .filter_map(|(idx, (picture, signed))| Some((idx, picture.variant()?, signed)))
        };
        for (first, original, original_signed) in variants() {
            if original.edit.is_some() {
                continue;
            }
            for (second, variant, variant_signed) in variants() {
                let is_own = variant.photo == original.photo;
                let is_seen = variant.edit.is_none() && variant.photo <= original.photo;
                let is_neither = self.are_related(original.photo, variant.photo)
                    || self.lab.corpus.shows(variant, original.photo);
                if is_seen || !is_own && is_neither {
                    continue;
                }
                let score = contender.score((first, original_signed), (second, variant_signed));
                let pair = || ScoredPair {
                    first: self.lab.name_of(&self.pictures[first]),
                    second: self.lab.name_of(&self.pictures[second]),
                    edit: variant.edit_name().filter(|_| is_own).map(str::to_owned),
                    score,
                };
                if is_own {
                    pairs.copies.push(pair());
                    continue;
                }
                pairs.strangers.add(score);
                if score >= threshold {
                    pairs.joined.push(pair());
                }
            }
        }
        pairs
    }

    /// Compares `contender` with the others on the same pairs.
    pub(super) fn report(&self, contender: &Contender<'_>, fpr_targets: &[f64]) -> ContenderReport {
        let pairs = self.score(contender);
        ContenderReport::of(
            contender.title(),
            contender.recommended(),
            &pairs.copies,
            &pairs.strangers,
            fpr_targets,
        )
    }

    fn are_related(&self, photo: usize, other: usize) -> bool {
        let others = &self.families[other];
        self.families[photo]
            .iter()
            .any(|family| others.contains(family))
    }

    /// Compares hard negatives of one family with each other; `is_member` says which pictures ended in the
    /// cluster of another one. Nothing if there are none.
    pub(super) fn hard_negatives(
        &self,
        contender: &Contender<'_>,
        families: &Families,
        is_member: impl Fn(usize) -> bool,
    ) -> Option<HardNegatives> {
        let (_, threshold) = contender.recommended();
        let mut members: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (idx, picture) in self.pictures.iter().enumerate() {
            if let Some(family) = picture.family() {
                members.entry(family).or_default().push(idx);
            }
        }
        let mut kinds: BTreeMap<&str, NegativesOfKind> = BTreeMap::new();
        for (family, members) in members {
            let of_kind = kinds.entry(family.kind).or_insert_with(|| NegativesOfKind {
                kind: family.kind.to_owned(),
                pictures: 0,
                pairs: Share::default(),
                merged: Share::default(),
            });
            of_kind.pictures += members.len() as u64;
            for (place, &first) in members.iter().enumerate() {
                of_kind.merged.add(is_member(first));
                for &second in &members[..place] {
                    if family.kind == SAME_SCENE && self.is_one_view(first, second, families) {
                        continue;
                    }
                    let score = contender
                        .score((first, &self.signed[first]), (second, &self.signed[second]));
                    of_kind.pairs.add(score >= threshold);
                }
            }
        }
        (!kinds.is_empty()).then(|| HardNegatives::of(kinds.into_values().collect()))
    }

    /// Two photos of a scene that people would call the same picture.
    fn is_one_view(&self, first: usize, second: usize, families: &Families) -> bool {
        let of = |idx: usize| families.of(&self.lab.name_of(&self.pictures[idx]));
        let others = of(second);
        of(first).iter().any(|family| others.contains(family))
    }
}
