//! Thousands of damaged files of every format: a picture or a typed error, never a panic.
//!
//! The fuzz targets in `fuzz/` look deeper; this runs on every machine, and always the same way.

use std::io::Cursor;
use std::time::Duration;

use image::{
    ExtendedColorType, Frame, ImageEncoder, Rgba, RgbaImage,
    codecs::{
        bmp::BmpEncoder, gif::GifEncoder, png::PngEncoder, tiff::TiffEncoder, webp::WebPEncoder,
    },
};
use likeness_vision::{DecodeLimits, RgbImage, decode, probe};

const MUTANTS_PER_FILE: u32 = 1_500;
const WIDTH: u32 = 24;
const HEIGHT: u32 = 17;

/// A small generator of numbers (xorshift64*, Vigna 2016), for damage that can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }
}

fn picture() -> RgbImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        [(x * 9) as u8, (y * 13) as u8, (x * y) as u8]
    })
    .unwrap()
}

/// A valid file of every kind that has a path of its own.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let image = picture();
    let rgba: Vec<u8> = image
        .data()
        .chunks_exact(3)
        .flat_map(|rgb| [rgb[0], rgb[1], rgb[2], rgb[0]])
        .collect();
    let write = |encode: &dyn Fn(&mut Cursor<Vec<u8>>) -> image::ImageResult<()>| {
        let mut file = Cursor::new(Vec::new());
        encode(&mut file).unwrap();
        file.into_inner()
    };
    let rgba8 = ExtendedColorType::Rgba8;
    let mut progressive = turbojpeg::Compressor::new().unwrap();
    progressive.set_progressive(true).unwrap();
    let progressive = progressive
        .compress_to_vec(turbojpeg::Image {
            pixels: image.data(),
            width: WIDTH as usize,
            pitch: WIDTH as usize * 3,
            height: HEIGHT as usize,
            format: turbojpeg::PixelFormat::RGB,
        })
        .unwrap();
    vec![
        ("jpeg", image.encode_jpeg(80)),
        ("progressive jpeg", progressive),
        ("png", image.encode_png()),
        (
            "png with alpha",
            write(&|file| PngEncoder::new(file).write_image(&rgba, WIDTH, HEIGHT, rgba8)),
        ),
        (
            "webp",
            write(&|file| WebPEncoder::new_lossless(file).encode(&rgba, WIDTH, HEIGHT, rgba8)),
        ),
        (
            "gif",
            write(&|file| GifEncoder::new(file).encode(&rgba, WIDTH, HEIGHT, rgba8)),
        ),
        (
            "bmp",
            write(&|file| BmpEncoder::new(file).encode(&rgba, WIDTH, HEIGHT, rgba8)),
        ),
        (
            "tiff",
            write(&|file| TiffEncoder::new(file).write_image(&rgba, WIDTH, HEIGHT, rgba8)),
        ),
        ("animated gif", {
            let mut file = Vec::new();
            let mut encoder = GifEncoder::new(&mut file);
            for level in [0, 80, 160] {
                let frame = RgbaImage::from_pixel(WIDTH, HEIGHT, Rgba([level, 9, 9, 255]));
                encoder.encode_frame(Frame::new(frame)).unwrap();
            }
            drop(encoder);
            file
        }),
    ]
}

/// Damages a file in one to eight places: bits, bytes, values that overflow, cuts, repeats.
fn mutate(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut mutant = file.to_vec();
    for _ in 0..=random.below(8) {
        if mutant.is_empty() {
            break;
        }
        // Half of the damage goes to the header, where lengths and offsets are.
        let reach = if random.below(2) == 0 { 64 } else { usize::MAX };
        let at = random.below(mutant.len().min(reach));
        match random.below(7) {
            0 => mutant[at] ^= 1 << random.below(8),
            1 => mutant[at] = random.next() as u8,
            2 => mutant[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            3 => {
                let end = (at + 4).min(mutant.len());
                mutant[at..end].fill([0, 0xff][random.below(2)]);
            }
            4 => mutant.truncate(at),
            5 => {
                let end = (at + random.below(32)).min(mutant.len());
                let part = mutant[at..end].to_vec();
                mutant.splice(at..at, part);
            }
            _ => {
                let end = (at + random.below(32)).min(mutant.len());
                mutant.drain(at..end);
            }
        }
    }
    mutant
}

#[test]
fn damaged_files_give_a_picture_or_a_typed_error() {
    let limits = DecodeLimits {
        max_pixels: 1 << 20,
        max_alloc_bytes: 32 << 20,
        max_time: Duration::from_secs(5),
        ..DecodeLimits::default()
    };
    for (name, file) in seeds() {
        assert!(
            decode(&file, &limits, None).is_ok(),
            "{name} is no valid seed"
        );
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut num_refused = 0;
        for _ in 0..MUTANTS_PER_FILE {
            let mutant = mutate(&file, &mut random);
            let min_side = [None, Some(4)][random.below(2)];
            let probed = probe(&mutant, &limits);
            match decode(&mutant, &limits, min_side) {
                Ok(decoded) => {
                    assert_eq!(probed, Ok(decoded.info), "{name}");
                    assert!(decoded.image.width() <= decoded.info.width);
                    assert!(decoded.image.height() <= decoded.info.height);
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    if let Err(from_header) = probed {
                        assert_eq!(error, from_header, "{name}");
                    }
                    num_refused += 1;
                }
            }
        }
        assert!(
            num_refused > MUTANTS_PER_FILE / 10,
            "{name}: the damage does no damage"
        );
    }
}
