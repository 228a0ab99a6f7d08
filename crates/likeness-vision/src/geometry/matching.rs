//! Which keypoints of two pictures look alike: every one with every one.
//!
//! The first word of two descriptors is compared first, over whole lists, which vector units do
//! many at a time; few pairs are left to be compared in full. A keypoint whose second-best partner,
//! elsewhere, is nearly as good as its best tells nothing (Lowe, "Distinctive image features from
//! scale-invariant keypoints", 2004, §7.1).

use super::descriptor::Descriptor;

/// Pairs whose first words differ in more of their 64 bits are not looked at: a quarter of the bits
/// of a match, and a little more.
const MAX_FIRST_WORD_DISTANCE: u32 = 15;

/// Largest distance of a match, of 256 bits.
const MAX_DISTANCE: u32 = 58;

/// A match must be nearer than this share of the distance of the second best.
const MAX_RATIO: f32 = 0.86;

/// Distance of the second best where no second was near enough to be looked at.
const FAR: u32 = 70;

/// Partners nearer to each other than this, in pixels of the largest level, are one place, seen at
/// two levels.
const SAME_PLACE: f32 = 12.0;

/// Two keypoints that look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// Position in the list of the query.
    pub(super) query: usize,
    /// Position in the list of the stored picture.
    pub(super) stored: usize,
    /// Bits that differ.
    pub(super) distance: u32,
}

/// Returns the best partner of every query that has a telling one, in the order of `queries`.
///
/// `first_words` and `places` belong to `stored`: first words, and columns and rows.
pub(super) fn matches(
    queries: &[Descriptor],
    stored: &[Descriptor],
    first_words: &[u64],
    places: &[(f32, f32)],
) -> Vec<Match> {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq") {
            #[expect(
                unsafe_code,
                reason = "calls a function compiled for a wider instruction set"
            )]
            // SAFETY: the features were just found.
            return unsafe { matches_avx512(queries, stored, first_words, places) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
            #[expect(
                unsafe_code,
                reason = "calls a function compiled for a wider instruction set"
            )]
            // SAFETY: the features were just found.
            return unsafe { matches_avx2(queries, stored, first_words, places) };
        }
    }
    matches_portable(queries, stored, first_words, places)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
fn matches_avx512(
    queries: &[Descriptor],
    stored: &[Descriptor],
    first_words: &[u64],
    places: &[(f32, f32)],
) -> Vec<Match> {
    matches_portable(queries, stored, first_words, places)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn matches_avx2(
    queries: &[Descriptor],
    stored: &[Descriptor],
    first_words: &[u64],
    places: &[(f32, f32)],
) -> Vec<Match> {
    matches_portable(queries, stored, first_words, places)
}

/// The plain loops, which are compiled into every caller for the instructions it may use.
#[inline(always)]
fn matches_portable(
    queries: &[Descriptor],
    stored: &[Descriptor],
    first_words: &[u64],
    places: &[(f32, f32)],
) -> Vec<Match> {
    let mut found = Vec::new();
    let mut partners: Vec<(u32, usize)> = Vec::new();
    for (query, descriptor) in queries.iter().enumerate() {
        partners.clear();
        for (block, words) in first_words.chunks(64).enumerate() {
            let mut near = 0_u64;
            for (bit, word) in words.iter().enumerate() {
                let distance = (descriptor[0] ^ word).count_ones();
                near |= u64::from(distance <= MAX_FIRST_WORD_DISTANCE) << bit;
            }
            while near != 0 {
                let idx = block * 64 + near.trailing_zeros() as usize;
                near &= near - 1;
                let words = descriptor.iter().zip(&stored[idx]);
                let distance = words.map(|(a, b)| (a ^ b).count_ones()).sum();
                if distance < FAR {
                    partners.push((distance, idx));
                }
            }
        }
        if let Some(found_one) = telling(query, &partners, places) {
            found.push(found_one);
        }
    }
    found
}

/// Returns the best of `partners`, which are distances and positions, if no other is as good.
fn telling(query: usize, partners: &[(u32, usize)], places: &[(f32, f32)]) -> Option<Match> {
    let (best, idx) = *partners.iter().min()?;
    if best > MAX_DISTANCE {
        return None;
    }
    let (x, y) = places[idx];
    let second = partners
        .iter()
        .filter(|(_, other)| {
            let (other_x, other_y) = places[*other];
            (other_x - x).abs().max((other_y - y).abs()) > SAME_PLACE
        })
        .map(|(distance, _)| *distance)
        .min()
        .unwrap_or(FAR);
    (best as f32 <= MAX_RATIO * second as f32).then_some(Match {
        query,
        stored: idx,
        distance: best,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn wide_and_plain_loops_find_the_same() {
        let mut random = Random::new(1);
        // Few set bits, so that many are near; lengths that are no multiple of a block.
        let mut list = |len: usize| -> Vec<Descriptor> {
            (0..len)
                .map(|_| {
                    [(); 4].map(|()| random.next_u64() & random.next_u64() & random.next_u64())
                })
                .collect()
        };
        let (mut queries, stored) = (list(150), list(203));
        queries[7] = stored[202];
        let first_words: Vec<u64> = stored.iter().map(|words| words[0]).collect();
        let places: Vec<(f32, f32)> = (0..203).map(|idx| (idx as f32 * 40.0, 0.0)).collect();

        let found = matches(&queries, &stored, &first_words, &places);

        assert!(found.contains(&Match {
            query: 7,
            stored: 202,
            distance: 0
        }));
        let plain = matches_portable(&queries, &stored, &first_words, &places);
        assert_eq!(found, plain);
    }
}
