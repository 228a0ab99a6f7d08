//! The local features of a picture: found, and as bytes.

use super::agreement::PLANE_SIDE;
use super::corners::corners;
use super::descriptor::{self, Descriptor, PATCH_RADIUS};
use super::pyramid::{MAX_LEVELS, Plane, level_scale, pyramid};
use crate::pixels::RgbImage;

/// Keypoints kept of a picture; of more, the best of every place.
pub const MAX_KEYPOINTS: usize = 512;

/// Keypoints that are described, of which the telling ones are kept.
const MAX_DESCRIBED: usize = MAX_KEYPOINTS * 8 / 5;

/// Two keypoints of one picture, at different places, whose descriptors are nearer than this are a
/// pattern or letters: neither tells where it is.
const SELF_SIMILAR: u32 = 30;

/// Pixels of the largest level, times the keypoint's scale, within which two keypoints are one place.
const SAME_PLACE: f32 = 10.0;

/// First byte of the encoding.
const VERSION: u8 = 1;

/// Bytes of a keypoint: place 2 × 2, level, angle, descriptor.
const KEYPOINT_LEN: usize = 38;

/// Bytes before the keypoints: version, sides of the largest level, sides of the plane, number.
const HEADER_LEN: usize = 9;

/// Most bytes of the encoding.
pub const MAX_ENCODED_LEN: usize =
    HEADER_LEN + MAX_KEYPOINTS * KEYPOINT_LEN + PLANE_SIDE * PLANE_SIDE;

/// A corner with a size and a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keypoint {
    /// Column in the largest level, in 64ths of a pixel.
    x: u16,
    /// Row, likewise.
    y: u16,
    /// Level it was found in.
    pub(super) level: u8,
    /// Direction, in 256ths of a turn, from the x axis towards the y axis.
    pub(super) angle: u8,
}

impl Keypoint {
    /// Returns column and row in pixels of the largest level.
    pub(super) fn place(&self) -> (f32, f32) {
        (f32::from(self.x) / 64.0, f32::from(self.y) / 64.0)
    }

    /// Returns how many pixels of the largest level a pixel of its level covers.
    pub(super) fn scale(&self) -> f32 {
        level_scale(self.level)
    }
}

/// What [`verify`](super::verify) compares: keypoints with descriptors, and a small gray plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFeatures {
    /// Sides of the largest level.
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) keypoints: Vec<Keypoint>,
    /// One for each keypoint.
    pub(super) descriptors: Vec<Descriptor>,
    /// The picture, longest side 64 pixels or less.
    pub(super) plane: Plane,
}

/// Bytes that are not local features as this version writes them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no local features: {reason}; compute them again from the picture")]
pub struct DecodeFeaturesError {
    reason: &'static str,
}

impl LocalFeatures {
    /// Finds the local features of `image`. The same picture gives the same bits.
    ///
    /// At most [`MAX_KEYPOINTS`]; a flat picture has none. Works on a copy with a longer side of 192
    /// to 384 pixels.
    pub fn extract(image: &RgbImage) -> Self {
        let levels = pyramid(image);
        let base = &levels[0];
        let mut found: Vec<(Keypoint, Descriptor)> = Vec::with_capacity(MAX_DESCRIBED);
        let shares: f32 = (0..levels.len())
            .map(|level| 1.0 / level_scale(level as u8))
            .sum();
        // The small levels first: what they leave goes to the large ones.
        let mut left_shares = shares;
        for (level, plane) in levels.iter().enumerate().rev() {
            let share = 1.0 / level_scale(level as u8);
            let left = MAX_DESCRIBED - found.len();
            let quota = (left as f32 * share / left_shares).round() as usize;
            left_shares = (left_shares - share).max(f32::MIN_POSITIVE);
            let smooth = plane.blurred();
            let smoother = smooth.blurred().blurred();
            let scale_x = base.width as f32 / plane.width as f32;
            let scale_y = base.height as f32 / plane.height as f32;
            for corner in corners(&smooth, PATCH_RADIUS + 1, quota.min(left)) {
                let centre = (corner.x.round() as usize, corner.y.round() as usize);
                let angle = descriptor::angle(&smoother, centre);
                let place = |at: f32, scale: f32| {
                    (((at + 0.5) * scale - 0.5).max(0.0) * 64.0).round() as u16
                };
                let keypoint = Keypoint {
                    x: place(corner.x, scale_x),
                    y: place(corner.y, scale_y),
                    level: level as u8,
                    angle,
                };
                found.push((keypoint, descriptor::describe(&smoother, centre, angle)));
            }
        }
        let mut kept = without_self_similar(&found);
        thin_out(&mut kept);
        let longer = base.width.max(base.height);
        let side = |side: usize| (side * PLANE_SIDE / longer).max(1);
        let (keypoints, descriptors) = kept.into_iter().unzip();
        Self {
            width: base.width as u16,
            height: base.height as u16,
            keypoints,
            descriptors,
            plane: base.resized(side(base.width), side(base.height)),
        }
    }

    /// Returns the number of keypoints.
    pub fn len(&self) -> usize {
        self.keypoints.len()
    }

    /// Tells whether there are no keypoints: a flat picture.
    pub fn is_empty(&self) -> bool {
        self.keypoints.is_empty()
    }

    /// Returns the features as bytes, at most [`MAX_ENCODED_LEN`]: 38 for a keypoint and 4,105 or
    /// less for the rest.
    ///
    /// ```text
    /// version u8 | width u16 | height u16 | plane width u8 | plane height u8 | number u16
    /// number × (x u16 | y u16 | level u8 | angle u8 | descriptor 4 × u64) | plane, a byte a pixel
    /// ```
    /// All numbers little-endian; x and y in 64ths of a pixel.
    pub fn to_bytes(&self) -> Vec<u8> {
        let len = HEADER_LEN + self.len() * KEYPOINT_LEN + self.plane.data.len();
        let mut bytes = Vec::with_capacity(len);
        bytes.push(VERSION);
        bytes.extend(self.width.to_le_bytes());
        bytes.extend(self.height.to_le_bytes());
        bytes.extend([self.plane.width as u8, self.plane.height as u8]);
        bytes.extend((self.len() as u16).to_le_bytes());
        for (keypoint, descriptor) in self.keypoints.iter().zip(&self.descriptors) {
            bytes.extend(keypoint.x.to_le_bytes());
            bytes.extend(keypoint.y.to_le_bytes());
            bytes.extend([keypoint.level, keypoint.angle]);
            for word in descriptor {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes.extend(&self.plane.data);
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// If the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeFeaturesError> {
        let refuse = |reason| Err(DecodeFeaturesError { reason });
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return refuse("too short");
        };
        let [version, w0, w1, h0, h1, plane_width, plane_height, n0, n1] = *header;
        if version != VERSION {
            return refuse("another version");
        }
        let (width, height) = (u16::from_le_bytes([w0, w1]), u16::from_le_bytes([h0, h1]));
        let n_keypoints = usize::from(u16::from_le_bytes([n0, n1]));
        let (plane_width, plane_height) = (usize::from(plane_width), usize::from(plane_height));
        let sides = 1..=PLANE_SIDE;
        if width == 0
            || height == 0
            || n_keypoints > MAX_KEYPOINTS
            || !sides.contains(&plane_width)
            || !sides.contains(&plane_height)
        {
            return refuse("a size out of bounds");
        }
        if rest.len() != n_keypoints * KEYPOINT_LEN + plane_width * plane_height {
            return refuse("the length does not fit");
        }
        let (records, plane) = rest.split_at(n_keypoints * KEYPOINT_LEN);
        let mut keypoints = Vec::with_capacity(n_keypoints);
        let mut descriptors = Vec::with_capacity(n_keypoints);
        for record in records.as_chunks::<KEYPOINT_LEN>().0 {
            let keypoint = Keypoint {
                x: u16::from_le_bytes([record[0], record[1]]),
                y: u16::from_le_bytes([record[2], record[3]]),
                level: record[4],
                angle: record[5],
            };
            if usize::from(keypoint.level) >= MAX_LEVELS {
                return refuse("a level out of bounds");
            }
            keypoints.push(keypoint);
            let (words, _) = record[6..].as_chunks::<8>();
            descriptors.push(std::array::from_fn(|word| u64::from_le_bytes(words[word])));
        }
        Ok(Self {
            width,
            height,
            keypoints,
            descriptors,
            plane: Plane {
                width: plane_width,
                height: plane_height,
                data: plane.to_vec(),
            },
        })
    }
}

/// Drops keypoints that another one, elsewhere in the picture, looks just like.
fn without_self_similar(found: &[(Keypoint, Descriptor)]) -> Vec<(Keypoint, Descriptor)> {
    let mut is_similar = vec![false; found.len()];
    for (idx, (keypoint, descriptor)) in found.iter().enumerate() {
        for (other_idx, (other, other_descriptor)) in found.iter().enumerate().skip(idx + 1) {
            if (descriptor[0] ^ other_descriptor[0]).count_ones() > SELF_SIMILAR / 2 {
                continue;
            }
            if descriptor::distance(descriptor, other_descriptor) >= SELF_SIMILAR {
                continue;
            }
            let ((x, y), (other_x, other_y)) = (keypoint.place(), other.place());
            let reach = SAME_PLACE * keypoint.scale().max(other.scale());
            if (x - other_x).abs().max((y - other_y).abs()) > reach {
                is_similar[idx] = true;
                is_similar[other_idx] = true;
            }
        }
    }
    let telling = found
        .iter()
        .zip(&is_similar)
        .filter(|(_, similar)| !**similar);
    telling.map(|(pair, _)| *pair).collect()
}

/// Keeps [`MAX_KEYPOINTS`], the same share of every level, the first of each.
fn thin_out(found: &mut Vec<(Keypoint, Descriptor)>) {
    let n_found = found.len();
    if n_found <= MAX_KEYPOINTS {
        return;
    }
    let mut n_of_level = [0_usize; MAX_LEVELS];
    for (keypoint, _) in found.iter() {
        n_of_level[usize::from(keypoint.level)] += 1;
    }
    let mut seen = [0_usize; MAX_LEVELS];
    found.retain(|(keypoint, _)| {
        let level = usize::from(keypoint.level);
        seen[level] += 1;
        seen[level] * n_found <= n_of_level[level] * MAX_KEYPOINTS
    });
}
