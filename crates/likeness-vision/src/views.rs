//! What of a picture is worth a descriptor of its own besides the whole.
//!
//! A descriptor of a whole picture is blind to copies that are a small part of another picture, to small
//! crops, and to exchanged colours. Each [`View`] is embedded like a picture and points to the one it is
//! of; views are compared with whole pictures, in both directions, not with views. What each kind finds
//! and costs is measured in `docs/adr/012-regions.md`, by `examples/views.rs`.

use serde::{Deserialize, Serialize};

use crate::pdq::pdq;
use crate::pixels::{Filter, RgbImage, luma};
use crate::regions::{Rect, Region, RegionKind, RegionLimits, find_regions};

/// Longest side of a view's pixels: larger than the input of any model, and views of a huge picture stay
/// small.
pub const MAX_VIEW_SIDE: u32 = 1_024;

/// PDQ quality that a crop has to reach: the sky above two towns is the same sky.
const MIN_CROP_QUALITY: u8 = 30;

/// Rows and columns of the copy that [`polarity`] looks at.
const POLARITY_SIDE: u32 = 32;

/// What a view shows of its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewKind {
    /// A part that may be a picture of its own.
    Region(RegionKind),
    /// The whole, each channel 255 less its value.
    Inverted,
    /// A part at a fixed place, half as wide and high as the whole.
    Crop,
}

/// A picture to be embedded beside the one it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// What it shows.
    pub kind: ViewKind,
    /// Which part, in pixels of the picture.
    pub rect: Rect,
    /// Its pixels, shrunk to [`MAX_VIEW_SIDE`]; meant for [`prepare`](crate::runtime::prepare).
    pub image: RgbImage,
}

/// Which crops of a picture become views, so that small parts of it are known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CropGrid {
    /// None.
    #[default]
    None,
    /// The four corners and the centre.
    Five,
    /// Three by three, each overlapping its neighbour by half.
    Nine,
}

impl CropGrid {
    /// Returns the top left corners, in quarters of the sides.
    fn corners(self) -> &'static [(u32, u32)] {
        match self {
            Self::None => &[],
            Self::Five => &[(0, 0), (2, 0), (1, 1), (0, 2), (2, 2)],
            Self::Nine => &[
                (0, 0),
                (1, 0),
                (2, 0),
                (0, 1),
                (1, 1),
                (2, 1),
                (0, 2),
                (1, 2),
                (2, 2),
            ],
        }
    }
}

/// Which views are wanted. The default costs a photograph half an embedding on average.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewsConfig {
    /// Which regions; none if `max_regions` is zero.
    pub regions: RegionLimits,
    /// Whether pictures that look like negatives are also seen inverted.
    pub inverted: bool,
    /// Which crops.
    pub crops: CropGrid,
}

impl Default for ViewsConfig {
    fn default() -> Self {
        Self {
            regions: RegionLimits::default(),
            inverted: true,
            crops: CropGrid::None,
        }
    }
}

impl ViewsConfig {
    /// Returns how many views a picture can have.
    pub fn max_views(&self) -> usize {
        self.regions.max_regions + usize::from(self.inverted) + self.crops.corners().len()
    }
}

/// Returns the views of a picture: regions as [`find_regions`] orders them, then the inverted whole, then
/// crops, row by row. At most [`ViewsConfig::max_views`]; most photographs have none.
///
/// The same picture gives the same views.
pub fn views(image: &RgbImage, config: &ViewsConfig) -> Vec<View> {
    let mut views = Vec::new();
    if config.regions.max_regions > 0 {
        for Region { rect, kind, .. } in find_regions(image, &config.regions) {
            views.extend(part(image, rect, ViewKind::Region(kind)));
        }
    }
    if config.inverted && polarity(image) < 0 {
        views.push(View {
            kind: ViewKind::Inverted,
            rect: Rect {
                x: 0,
                y: 0,
                width: image.width(),
                height: image.height(),
            },
            image: inverted(image.fit_within(MAX_VIEW_SIDE)),
        });
    }
    for (column, row) in config.crops.corners() {
        let start = |side: u32, quarters: u32| (u64::from(side) * u64::from(quarters) / 4) as u32;
        let rect = Rect {
            x: start(image.width(), *column),
            y: start(image.height(), *row),
            width: (image.width() / 2).max(1),
            height: (image.height() / 2).max(1),
        };
        let crop = part(image, rect, ViewKind::Crop);
        views.extend(crop.filter(|crop| pdq(&crop.image).quality >= MIN_CROP_QUALITY));
    }
    views
}

/// Tells whether a picture looks like a positive (above zero) or a negative (below).
///
/// Inverting a picture changes the sign, so of a picture and its inverted copy one is a negative: if
/// negatives are also seen inverted, the two meet, and ordinary pictures, which are positives, cost
/// nothing. Turned copies may differ.
///
/// Positives are brighter above than below, rather red than blue, and rather green than magenta. Fitted
/// by logistic regression on 338 photographs, of which 72 % are positives by the rounded weights.
pub fn polarity(image: &RgbImage) -> i32 {
    /// Rows at the top and at the bottom that are compared.
    const N_ROWS: usize = POLARITY_SIDE as usize / 3;
    let small = image.resize_exact(POLARITY_SIDE, POLARITY_SIDE, Filter::Box);
    let [mut above, mut below, mut red_blue, mut green] = [0.0_f64; 4];
    for (y, row) in small.rows().enumerate() {
        for [red, green_level, blue] in row.as_chunks::<3>().0 {
            let [r, g, b] = [red, green_level, blue].map(|level| f32::from(*level));
            if y < N_ROWS {
                above += f64::from(luma(r, g, b));
            } else if y >= POLARITY_SIDE as usize - N_ROWS {
                below += f64::from(luma(r, g, b));
            }
            red_blue += f64::from(r - b);
            green += f64::from(g - (r + b) / 2.0);
        }
    }
    let n_compared = f64::from(POLARITY_SIDE) * N_ROWS as f64;
    let n_pixels = f64::from(POLARITY_SIDE * POLARITY_SIDE);
    let score = (above - below) / n_compared + red_blue / n_pixels + 3.0 * green / n_pixels;
    // In hundredths of a level: rounding of the copy is below, so signs do not depend on it.
    (score * 100.0).round() as i32
}

fn inverted(mut image: RgbImage) -> RgbImage {
    for level in image.data_mut() {
        *level = u8::MAX - *level;
    }
    image
}

fn part(image: &RgbImage, rect: Rect, kind: ViewKind) -> Option<View> {
    let image = image.crop(rect.x, rect.y, rect.width, rect.height)?;
    Some(View {
        kind,
        rect,
        image: image.fit_within(MAX_VIEW_SIDE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A meadow under a blue sky, with some structure everywhere.
    fn meadow(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let grain = (x * 7 + y * 13 + x * y % 31) as u8 % 60;
            if y * 2 < height {
                [120 + grain, 160 + grain, 180 + grain]
            } else {
                [40 + grain, 110 + grain, 20 + grain]
            }
        })
        .unwrap()
    }

    #[test]
    fn inverting_changes_the_sign_of_polarity() {
        let image = meadow(300, 200);
        assert!(polarity(&image) > 0);
        assert!(polarity(&inverted(image.clone())) < 0);

        let gray = RgbImage::filled(9, 4, [77; 3]).unwrap();
        assert_eq!(polarity(&gray), 0);
    }

    #[test]
    fn a_negative_is_also_seen_as_a_positive() {
        let image = meadow(300, 200);
        let config = ViewsConfig {
            regions: RegionLimits {
                max_regions: 0,
                ..RegionLimits::default()
            },
            ..ViewsConfig::default()
        };
        assert_eq!(views(&image, &config), []);

        let negative = views(&inverted(image.clone()), &config);
        assert_eq!(negative.len(), 1);
        assert_eq!(negative[0].kind, ViewKind::Inverted);
        assert_eq!(negative[0].image, image);
    }

    #[test]
    fn crops_cover_the_picture_in_reading_order() {
        let image = meadow(400, 300);
        let config = ViewsConfig {
            crops: CropGrid::Nine,
            ..ViewsConfig::default()
        };
        let crops: Vec<_> = views(&image, &config)
            .into_iter()
            .filter(|view| view.kind == ViewKind::Crop)
            .map(|view| (view.rect.x, view.rect.y, view.rect.width, view.rect.height))
            .collect();

        assert_eq!(crops.len(), 9);
        assert_eq!(crops[0], (0, 0, 200, 150));
        assert_eq!(crops[5], (200, 75, 200, 150));
        assert_eq!(crops[8], (200, 150, 200, 150));
    }

    #[test]
    fn crops_without_detail_are_left_out() {
        let config = ViewsConfig {
            crops: CropGrid::Five,
            ..ViewsConfig::default()
        };
        for (width, height) in [(300, 200), (1, 1), (1, 500)] {
            let plain = RgbImage::filled(width, height, [90, 120, 150]).unwrap();
            let kinds: Vec<_> = views(&plain, &config)
                .iter()
                .map(|view| view.kind)
                .collect();
            assert!(!kinds.contains(&ViewKind::Crop), "{kinds:?}");
        }
    }

    #[test]
    fn views_are_bounded_in_number_and_size() {
        let config = ViewsConfig {
            crops: CropGrid::Nine,
            ..ViewsConfig::default()
        };
        let image = inverted(meadow(2_600, 1_200));
        let views = views(&image, &config);

        assert!(views.len() <= config.max_views());
        for view in views {
            assert!(view.image.longer_side() <= MAX_VIEW_SIDE, "{view:?}");
        }
    }
}
