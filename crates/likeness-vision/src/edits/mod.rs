//! What still is the same picture: the two published edit lists (requirement A11).
//!
//! Evaluation and training make copies with them, so a result can be repeated years later: an edit
//! is a pure function of the picture, the other pictures it may need, and a seed. It uses random
//! numbers and drawing of this crate alone; a test pins the pixels of every edit.
//!
//! All edits: the picture is first shrunk to a longer side of [`WORKING_SIDE`] pixels if it is
//! larger. Turns and warps keep the size of the canvas, and what they uncover is black. Lengths below
//! are shares of the side they lie along. Places, colours and words come from the seed.
//!
//! | standard | | extreme | |
//! |---|---|---|---|
//! | `resize25` | both sides to 25 % | `crop20` | crop keeping 20 % of the area |
//! | `jpeg20` | JPEG quality 20 | `crop10` | crop keeping 10 % |
//! | `crop70` | crop keeping 70 % of the area, shape kept | `rotate45` | turn by 45° |
//! | `crop50` | 50 % | `perspective` | each corner moved inwards by up to 20 % |
//! | `crop40` | 40 % | `page15` | 15 % of the area of a text page, 1000×1414 |
//! | `mirror` | left and right exchanged | `page7` | 7 % of it |
//! | `rotate10` | turn by 10° clockwise | `collage` | a quarter of four square pictures |
//! | `rotate90` | quarter turn clockwise | `box-half` | one colour over half of it |
//! | `caption` | a line of outlined text at top and bottom | `posterise` | four levels a channel |
//! | `stickers` | three drawn stickers, 22 % of the shorter side | `noise` | normal noise, deviation 50 of 255 |
//! | `colour` | saturation and contrast ×0.65 or ×1.4, brightness ±25 | `jpeg5` | JPEG quality 5 |
//! | `gray` | brightness only | `thumbnail48` | longer side 48 pixels |
//! | `blur` | deviation 1 % of the shorter side | `invert` | 255 − value |
//! | `border10` | a border of 10 %, black, white or gray | `print-scan` | paler, screened, blurred, noisy, turned by 2° on white, JPEG 60 |
//! | `screenshot` | in a window with bars and text, 59 % of the area | `mirror-crop40-caption` | as named |
//! | `squash` | both sides to the shorter one | `rotate90-crop50` | as named |
//! | `strong` | crop keeping 60 %, `colour`, `caption`, JPEG 35 | `screenshot-crop50` | crop keeping 50 % in a `screenshot` |
//!
//! Written as JPEG of quality 90 unless said otherwise; screenshots as PNG.

mod draw;
mod geometry;
mod negatives;
mod scene;
mod text;
mod tone;

pub use negatives::Negative;

use crate::pixels::{Filter, RgbImage};
use crate::random::Random;

/// Longest side that an edit works on, in pixels.
pub const WORKING_SIDE: u32 = 2_048;

/// Quality of a JPEG where the edit does not say another.
const JPEG_QUALITY: u8 = 90;

const WHITE: [u8; 3] = [255; 3];
const BLACK: [u8; 3] = [0; 3];

/// A published list of edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EditList {
    /// What people do to pictures every day; a system should find nearly all.
    Standard,
    /// What still is recognisable to a person.
    Extreme,
}

impl EditList {
    /// Both lists.
    pub const ALL: [Self; 2] = [Self::Standard, Self::Extreme];

    /// Returns the name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Extreme => "extreme",
        }
    }

    /// Returns the edits, in the order of reports.
    pub fn edits(self) -> &'static [Edit] {
        use Edit::*;
        match self {
            Self::Standard => &[
                Resize25, Jpeg20, Crop70, Crop50, Crop40, Mirror, Rotate10, Rotate90, Caption,
                Stickers, Colour, Gray, Blur, Border10, Screenshot, Squash, Strong,
            ],
            Self::Extreme => &[
                Crop20,
                Crop10,
                Rotate45,
                Perspective,
                Page15,
                Page7,
                Collage,
                BoxHalf,
                Posterise,
                Noise,
                Jpeg5,
                Thumbnail48,
                Invert,
                PrintScan,
                MirrorCrop40Caption,
                Rotate90Crop50,
                ScreenshotCrop50,
            ],
        }
    }

    /// Applies every edit of the list, in order; lazily, since copies are large.
    pub fn apply<'a>(
        self,
        image: &'a RgbImage,
        others: &'a [&'a RgbImage],
        seed: u64,
    ) -> impl Iterator<Item = EditedImage> + 'a {
        self.edits().iter().map(move |edit| EditedImage {
            name: edit.name(),
            bytes: edit.apply(image, others, seed),
        })
    }
}

/// A copy made by an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditedImage {
    /// Name of the edit.
    pub name: &'static str,
    /// The image file, JPEG or PNG.
    pub bytes: Vec<u8>,
}

/// One edit; the table at the top says what each does.
#[expect(
    missing_docs,
    reason = "the module's table documents them side by side"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edit {
    Resize25,
    Jpeg20,
    Crop70,
    Crop50,
    Crop40,
    Mirror,
    Rotate10,
    Rotate90,
    Caption,
    Stickers,
    Colour,
    Gray,
    Blur,
    Border10,
    Screenshot,
    Squash,
    Strong,
    Crop20,
    Crop10,
    Rotate45,
    Perspective,
    Page15,
    Page7,
    Collage,
    BoxHalf,
    Posterise,
    Noise,
    Jpeg5,
    Thumbnail48,
    Invert,
    PrintScan,
    MirrorCrop40Caption,
    Rotate90Crop50,
    ScreenshotCrop50,
}

/// How a copy is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Jpeg(u8),
    Png,
}

impl Edit {
    /// Returns the name used in reports: lower case, words joined by dashes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resize25 => "resize25",
            Self::Jpeg20 => "jpeg20",
            Self::Crop70 => "crop70",
            Self::Crop50 => "crop50",
            Self::Crop40 => "crop40",
            Self::Mirror => "mirror",
            Self::Rotate10 => "rotate10",
            Self::Rotate90 => "rotate90",
            Self::Caption => "caption",
            Self::Stickers => "stickers",
            Self::Colour => "colour",
            Self::Gray => "gray",
            Self::Blur => "blur",
            Self::Border10 => "border10",
            Self::Screenshot => "screenshot",
            Self::Squash => "squash",
            Self::Strong => "strong",
            Self::Crop20 => "crop20",
            Self::Crop10 => "crop10",
            Self::Rotate45 => "rotate45",
            Self::Perspective => "perspective",
            Self::Page15 => "page15",
            Self::Page7 => "page7",
            Self::Collage => "collage",
            Self::BoxHalf => "box-half",
            Self::Posterise => "posterise",
            Self::Noise => "noise",
            Self::Jpeg5 => "jpeg5",
            Self::Thumbnail48 => "thumbnail48",
            Self::Invert => "invert",
            Self::PrintScan => "print-scan",
            Self::MirrorCrop40Caption => "mirror-crop40-caption",
            Self::Rotate90Crop50 => "rotate90-crop50",
            Self::ScreenshotCrop50 => "screenshot-crop50",
        }
    }

    /// Returns the edited copy of `image` as a file.
    ///
    /// `others` are pictures for the other places of a collage, of which up to three are used;
    /// with fewer, plain colours fill the places.
    pub fn apply(self, image: &RgbImage, others: &[&RgbImage], seed: u64) -> Vec<u8> {
        let edited = self.pixels(image, others, seed);
        match self.encoding() {
            Encoding::Jpeg(quality) => edited.encode_jpeg(quality),
            Encoding::Png => edited.encode_png(),
        }
    }

    /// Returns the edited copy of `image` before it is written as a file; see [`Self::apply`].
    pub fn pixels(self, image: &RgbImage, others: &[&RgbImage], seed: u64) -> RgbImage {
        let image = &image.fit_within(WORKING_SIDE);
        // Mixed with the name, so that the edits of one seed do not all crop the same corner.
        let random = &mut Random::new(seed ^ name_hash(self.name()));
        match self {
            Self::Jpeg20 | Self::Jpeg5 => image.clone(),
            Self::Resize25 => image.resize_exact(
                (image.width() / 4).max(1),
                (image.height() / 4).max(1),
                Filter::Bilinear,
            ),
            Self::Thumbnail48 => image.fit_within(48),
            Self::Squash => {
                let side = image.shorter_side();
                image.resize_exact(side, side, Filter::Bilinear)
            }
            Self::Crop70 => geometry::crop(image, 0.7, random),
            Self::Crop50 => geometry::crop(image, 0.5, random),
            Self::Crop40 => geometry::crop(image, 0.4, random),
            Self::Crop20 => geometry::crop(image, 0.2, random),
            Self::Crop10 => geometry::crop(image, 0.1, random),
            Self::Mirror => image.clone().flip_horizontal(),
            Self::Rotate10 => geometry::rotate(image, geometry::TEN_DEGREES, BLACK),
            Self::Rotate45 => geometry::rotate(image, geometry::FORTY_FIVE_DEGREES, BLACK),
            Self::Rotate90 => geometry::quarter_turn(image),
            Self::Perspective => geometry::perspective(image, random),
            Self::Caption => scene::caption(image, random),
            Self::Stickers => scene::stickers(image, random),
            Self::Border10 => scene::border(image, random),
            Self::BoxHalf => scene::box_over_half(image, random),
            Self::Screenshot => scene::screenshot(image, random),
            Self::Page15 => scene::page(image, 0.15, random),
            Self::Page7 => scene::page(image, 0.07, random),
            Self::Collage => scene::collage(image, others, random),
            Self::Colour => tone::colour(image, random),
            Self::Gray => tone::gray(image),
            Self::Blur => tone::blur(image, 0.01),
            Self::Posterise => tone::posterise(image),
            Self::Noise => tone::noise(image, 50.0, random),
            Self::Invert => tone::invert(image),
            Self::PrintScan => {
                let printed = tone::print(image, random);
                geometry::rotate(&printed, geometry::TWO_DEGREES, WHITE)
            }
            Self::Strong => {
                let cropped = geometry::crop(image, 0.6, random);
                scene::caption(&tone::colour(&cropped, random), random)
            }
            Self::MirrorCrop40Caption => {
                let mirrored = image.clone().flip_horizontal();
                scene::caption(&geometry::crop(&mirrored, 0.4, random), random)
            }
            Self::Rotate90Crop50 => geometry::crop(&geometry::quarter_turn(image), 0.5, random),
            Self::ScreenshotCrop50 => {
                scene::screenshot(&geometry::crop(image, 0.5, random), random)
            }
        }
    }

    fn encoding(self) -> Encoding {
        match self {
            Self::Jpeg20 => Encoding::Jpeg(20),
            Self::Jpeg5 => Encoding::Jpeg(5),
            Self::Strong => Encoding::Jpeg(35),
            Self::PrintScan => Encoding::Jpeg(60),
            Self::Screenshot | Self::ScreenshotCrop50 => Encoding::Png,
            _ => Encoding::Jpeg(JPEG_QUALITY),
        }
    }
}

/// FNV-1a of 64 bits.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
