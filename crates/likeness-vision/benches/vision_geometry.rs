//! The geometric check, on pictures whose spectrum falls like that of photographs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use likeness_vision::RgbImage;
use likeness_vision::geometry::{Form, LocalFeatures, verify};
use likeness_vision::pixels::Filter;

const SHAPE: (u32, u32) = (640, 480);

/// Octaves of soft noise of equal strength, which is the amplitude of 1/f that photographs have
/// (Field 1987).
fn photograph(seed: u32) -> RgbImage {
    const OCTAVES: [u32; 7] = [4, 8, 16, 32, 64, 128, 256];
    let mut state = seed;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let (width, height) = SHAPE;
    let mut sums = vec![0.0_f32; (width * height * 3) as usize];
    for cells in OCTAVES {
        let coarse = RgbImage::from_fn(cells, cells, |_, _| [random(); 3]);
        let octave =
            coarse
                .expect("a possible shape")
                .resize_exact(width, height, Filter::Bilinear);
        for (sum, sample) in sums.iter_mut().zip(octave.data()) {
            *sum += f32::from(*sample) / OCTAVES.len() as f32;
        }
    }
    // The mean of many is gray: stretched to the contrast of a photograph.
    let stretched = |sum: &f32| ((sum - 128.0) * 2.0 + 128.0) as u8;
    RgbImage::new(width, height, sums.iter().map(stretched).collect())
        .expect("the length fits the shape")
}

fn bench_geometry(c: &mut Criterion) {
    let [a, b] = [1, 2].map(photograph);
    c.bench_function("geometry/extract/640x480", |bench| {
        bench.iter(|| LocalFeatures::extract(black_box(&a)));
    });
    let crop = a.crop(200, 100, 350, 260).expect("inside");
    let [a, b, crop] = [&a, &b, &crop].map(LocalFeatures::extract);
    let n_keypoints = a.len().min(b.len());
    for (forms, name) in [(&Form::ALL[..1], "plain"), (&Form::ALL[..], "four forms")] {
        c.bench_function(
            &format!("geometry/verify/strangers, {n_keypoints} keypoints, {name}"),
            |bench| {
                bench.iter(|| verify(black_box(&a), black_box(&b), forms));
            },
        );
    }
    c.bench_function("geometry/verify/a crop", |bench| {
        bench.iter(|| verify(black_box(&crop), black_box(&a), &Form::ALL));
    });
    let bytes = a.to_bytes();
    c.bench_function("geometry/from_bytes", |bench| {
        bench.iter(|| LocalFeatures::from_bytes(black_box(&bytes)));
    });
}

criterion_group!(benches, bench_geometry);
criterion_main!(benches);
