//! The keeper rule: which member of a cluster is its head, the one that images are compared with.
//!
//! The rule prefers; the star comes first. A member that the rule prefers becomes the head only if every other
//! member scores enough with it, and that is looked at in clusters of at most [`MAX_COMPARED`] images. So no
//! head moves away from its members step by step. The canonical id is the first image's, whoever is the head
//! (docs/adr/017-erasure.md).

use std::cmp::Reverse;

use likeness_core::ImageNumber;
use serde::{Deserialize, Serialize};

use super::records::{MemberRecord, NumberRecord};

/// Most members that are compared to choose a head. In a larger cluster the rule moves no head, and where one
/// must be found, since the last was erased, the members that joined first are looked at.
pub const MAX_COMPARED: usize = 64;

/// Which member is preferred as the head. Part of a generation's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeper {
    /// The one decided first.
    #[default]
    First,
    /// The one with the most pixels, then the most bytes.
    Largest,
    /// The one with the highest PDQ quality, then the most bytes, then the most pixels. Of copies of one
    /// picture, the one with the most detail left has the most bytes, unless another format wastes them.
    Quality,
}

/// What the rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merits {
    pub number: ImageNumber,
    pub pixels: u64,
    pub num_bytes: u64,
    pub pdq_quality: u8,
}

impl Merits {
    pub(super) fn of(number: ImageNumber, member: &MemberRecord, record: &NumberRecord) -> Self {
        Self {
            number,
            pixels: u64::from(member.width) * u64::from(member.height),
            num_bytes: member.num_bytes,
            pdq_quality: record.pdq_quality,
        }
    }
}

impl Keeper {
    /// Returns what members are sorted by, the preferred one first. No two members are equal.
    pub(super) fn rank(self, merits: &Merits) -> impl Ord + use<> {
        let Merits {
            number,
            pixels,
            num_bytes,
            pdq_quality,
        } = *merits;
        let by = match self {
            Self::First => [0, 0, 0],
            Self::Largest => [pixels, num_bytes, 0],
            Self::Quality => [u64::from(pdq_quality), num_bytes, pixels],
        };
        (Reverse(by), number)
    }
}

/// Which of some members, offered in the order of preference, becomes the head: the first that all others score
/// enough with, or else the first of those that the most do.
#[derive(Debug)]
pub(super) struct Choice {
    count: usize,
    /// How many are near the best so far, and which that is.
    best: Option<(usize, usize)>,
}

impl Choice {
    /// Returns a choice among `count` members.
    pub(super) fn of(count: usize) -> Self {
        Self { count, best: None }
    }

    /// Takes how many others score enough with a member. True once nobody can be better: the others need not be
    /// looked at.
    pub(super) fn offer(&mut self, member: usize, num_near: usize) -> bool {
        if self.best.is_none_or(|(most, _)| num_near > most) {
            self.best = Some((num_near, member));
        }
        num_near + 1 == self.count
    }

    /// Returns the head; nothing if there are no members.
    pub(super) fn chosen(&self) -> Option<usize> {
        self.best.map(|(_, member)| member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(count: usize, near: &[(usize, usize)], expected: Option<usize>) {
        let is_near = |a: usize, b: usize| near.contains(&(a.min(b), a.max(b)));
        let mut choice = Choice::of(count);
        for head in 0..count {
            let num_near = (0..count).filter(|&other| other != head && is_near(head, other));
            if choice.offer(head, num_near.count()) {
                break;
            }
        }
        assert_eq!(choice.chosen(), expected);
    }

    #[test]
    fn the_preferred_member_that_all_are_near_is_the_head() {
        check(0, &[], None);
        check(1, &[], Some(0));
        check(3, &[(0, 1), (0, 2), (1, 2)], Some(0));
        check(3, &[(0, 1), (1, 2)], Some(1));
        // No one is near all: the one that most are near.
        check(4, &[(1, 2), (2, 3)], Some(2));
        check(2, &[], Some(0));
    }

    #[test]
    fn rules_rank_by_what_they_say_and_then_by_age() {
        let merits = |number, pixels, num_bytes, pdq_quality| Merits {
            number: ImageNumber(number),
            pixels,
            num_bytes,
            pdq_quality,
        };
        let members = [
            merits(0, 10, 500, 40),
            merits(1, 90, 100, 70),
            merits(2, 90, 200, 60),
            merits(3, 10, 900, 70),
            merits(4, 90, 200, 60),
        ];
        let ranked = |keeper: Keeper| {
            let mut sorted = members;
            sorted.sort_by_key(|merits| keeper.rank(merits));
            sorted.map(|merits| merits.number.0)
        };
        assert_eq!(ranked(Keeper::First), [0, 1, 2, 3, 4]);
        assert_eq!(ranked(Keeper::Largest), [2, 4, 1, 3, 0]);
        assert_eq!(ranked(Keeper::Quality), [3, 1, 2, 4, 0]);
    }
}
