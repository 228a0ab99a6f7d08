//! Decoding, shrinking, hashing and looking for regions, on pictures whose spectrum falls like that of
//! photographs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use likeness_vision::{
    DecodeLimits, RgbImage, decode,
    edits::Edit,
    pdq::{pdq, pdq_dihedral},
    pixels::Filter,
    probe,
    regions::{RegionLimits, find_regions},
    thumbnail::thumbnail_jpeg,
    views::polarity,
};

const SMALL: (u32, u32) = (640, 480);
const LARGE: (u32, u32) = (1_024, 768);
const JPEG_QUALITY: u8 = 85;
const MODEL_SIDE: u32 = 224;
const THUMBNAIL_SIDE: u32 = 256;

/// Octaves of soft noise of equal strength, which is the amplitude of 1/f that photographs have
/// (Field 1987), and some discs with hard edges.
fn photograph((width, height): (u32, u32)) -> RgbImage {
    let mut state = 12_345_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let mut sums = vec![0.0_f32; (width * height * 3) as usize];
    const OCTAVES: [u32; 7] = [4, 8, 16, 32, 64, 128, 256];
    for cells in OCTAVES {
        let coarse = RgbImage::from_fn(cells, cells, |_, _| [random(), random(), random()]);
        let octave =
            coarse
                .expect("a possible shape")
                .resize_exact(width, height, Filter::Bilinear);
        for (sum, sample) in sums.iter_mut().zip(octave.data()) {
            *sum += f32::from(*sample) / OCTAVES.len() as f32;
        }
    }
    let discs: Vec<[u32; 6]> = (0..12)
        .map(|_| {
            let [x, y, radius, r, g, b] = [(); 6].map(|()| u32::from(random()));
            [x * width / 256, y * height / 256, radius / 4, r, g, b]
        })
        .collect();
    let mut image = RgbImage::new(width, height, sums.iter().map(|sum| *sum as u8).collect())
        .expect("the length fits the shape");
    for (idx, pixel) in image.data_mut().chunks_exact_mut(3).enumerate() {
        let (x, y) = (idx as u32 % width, idx as u32 / width);
        for [centre_x, centre_y, radius, r, g, b] in &discs {
            if x.abs_diff(*centre_x).pow(2) + y.abs_diff(*centre_y).pow(2) < radius * radius {
                pixel.copy_from_slice(&[*r as u8, *g as u8, *b as u8]);
            }
        }
    }
    image
}

fn bench_decode(c: &mut Criterion) {
    let limits = DecodeLimits::default();
    for (shape, min_sides) in [
        (SMALL, [None, Some(MODEL_SIDE)]),
        (LARGE, [None, Some(MODEL_SIDE)]),
    ] {
        let jpeg = photograph(shape).encode_jpeg(JPEG_QUALITY);
        let (width, height) = shape;
        for min_side in min_sides {
            let scale = min_side.map_or("full".to_owned(), |side| format!("min_side={side}"));
            let name = format!(
                "decode/jpeg/{width}x{height},q85,{}KB/{scale}",
                jpeg.len() / 1_000
            );
            c.bench_function(&name, |b| {
                b.iter(|| decode(black_box(&jpeg), &limits, min_side).expect("a valid file"));
            });
        }
    }
    let jpeg = photograph(SMALL).encode_jpeg(JPEG_QUALITY);
    c.bench_function("probe/jpeg/640x480", |b| {
        b.iter(|| probe(black_box(&jpeg), &limits).expect("a valid file"));
    });
    let png = photograph(SMALL).encode_png();
    c.bench_function("decode/png/640x480", |b| {
        b.iter(|| decode(black_box(&png), &limits, None).expect("a valid file"));
    });
}

fn bench_pixels(c: &mut Criterion) {
    let image = photograph(LARGE);
    for filter in [Filter::Box, Filter::Bilinear, Filter::Lanczos3] {
        c.bench_function(&format!("resize/1024x768 to 224x224/{filter:?}"), |b| {
            b.iter(|| black_box(&image).resize_exact(MODEL_SIDE, MODEL_SIDE, filter));
        });
    }
    c.bench_function("thumbnail/1024x768 to 256,q80", |b| {
        b.iter(|| thumbnail_jpeg(black_box(&image), THUMBNAIL_SIDE, 80));
    });
}

fn bench_hash(c: &mut Criterion) {
    for shape in [(320, 240), SMALL, LARGE, (2_000, 1_500)] {
        let image = photograph(shape);
        let (width, height) = shape;
        c.bench_function(&format!("pdq/{width}x{height}"), |b| {
            b.iter(|| pdq(black_box(&image)));
        });
    }
    let image = photograph(SMALL);
    c.bench_function("pdq_dihedral/640x480", |b| {
        b.iter(|| pdq_dihedral(black_box(&image)));
    });
}

fn bench_views(c: &mut Criterion) {
    let limits = RegionLimits::default();
    let image = photograph(SMALL);
    let page = Edit::Page15.pixels(&image, &[], 1);
    let collage = Edit::Collage.pixels(&image, &[&image; 3], 1);
    for (name, image) in [("photo", &image), ("page", &page), ("collage", &collage)] {
        let (width, height) = (image.width(), image.height());
        c.bench_function(&format!("regions/{name} {width}x{height}"), |b| {
            b.iter(|| find_regions(black_box(image), &limits));
        });
    }
    c.bench_function("polarity/640x480", |b| {
        b.iter(|| polarity(black_box(&image)));
    });
}

criterion_group!(benches, bench_decode, bench_pixels, bench_hash, bench_views);
criterion_main!(benches);
