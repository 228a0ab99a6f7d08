use super::*;
use crate::decode::{ImageFormat, Orientation, decode, probe};
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

/// A smooth picture with some detail, which JPEG keeps well.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let ripple = (f64::from(x) / 7.0).sin() * (f64::from(y) / 11.0).cos();
        let level = 128.0 + 90.0 * ripple;
        [
            level as u8,
            (255 * x / width) as u8,
            (255 * y / height) as u8,
        ]
    })
    .unwrap()
}

fn compress(image: &RgbImage, configure: impl FnOnce(&mut Compressor)) -> Vec<u8> {
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(90).unwrap();
    configure(&mut compressor);
    compressor
        .compress_to_vec(Image {
            pixels: image.data(),
            width: image.width() as usize,
            pitch: image.width() as usize * 3,
            height: image.height() as usize,
            format: PixelFormat::RGB,
        })
        .unwrap()
}

fn progressive(image: &RgbImage) -> Vec<u8> {
    compress(image, |compressor| {
        compressor.set_progressive(true).unwrap();
    })
}

/// Inserts a segment after the start-of-image marker.
fn with_segment(jpeg: &[u8], marker: u8, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, marker], &len, data, &jpeg[2..]].concat()
}

fn exif(orientation: u16) -> Vec<u8> {
    let mut data = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    data.extend(orientation.to_be_bytes());
    data.extend([0; 6]);
    data
}

fn decode_default(jpeg: &[u8]) -> Result<RgbImage, DecodeError> {
    decode(jpeg, &DecodeLimits::default(), None).map(|decoded| decoded.image)
}

#[track_caller]
fn mean_difference(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    let sum: u64 = a
        .data()
        .iter()
        .zip(b.data())
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    sum as f64 / a.data().len() as f64
}

#[test]
fn baseline_progressive_gray_and_arithmetic_are_read() {
    let image = picture(120, 90);

    for jpeg in [
        image.encode_jpeg(90),
        progressive(&image),
        compress(&image, |compressor| {
            compressor.set_arithmetic(true).unwrap();
        }),
        compress(&image, |compressor| {
            compressor.set_subsamp(Subsamp::None).unwrap();
        }),
    ] {
        assert!(mean_difference(&decode_default(&jpeg).unwrap(), &image) < 3.0);
    }

    let gray = compress(&image, |compressor| {
        compressor.set_subsamp(Subsamp::Gray).unwrap();
    });
    let decoded = decode_default(&gray).unwrap();
    assert!(
        decoded
            .data()
            .chunks_exact(3)
            .all(|rgb| rgb[0] == rgb[1] && rgb[1] == rgb[2])
    );
}

#[test]
fn min_side_picks_the_smallest_scale_that_keeps_it() {
    let jpeg = picture(640, 480).encode_jpeg(85);
    for (min_side, expected) in [
        (None, (640, 480)),
        (Some(1_000), (640, 480)),
        (Some(241), (640, 480)),
        (Some(240), (320, 240)),
        (Some(121), (320, 240)),
        (Some(120), (160, 120)),
        (Some(60), (80, 60)),
        (Some(0), (80, 60)),
    ] {
        let decoded = decode(&jpeg, &DecodeLimits::default(), min_side).unwrap();
        let shape = (decoded.image.width(), decoded.image.height());
        assert_eq!(shape, expected, "{min_side:?}");
        assert_eq!((decoded.info.width, decoded.info.height), (640, 480));
    }
}

#[test]
fn scaled_sides_are_rounded_up() {
    let jpeg = picture(643, 481).encode_jpeg(85);

    let decoded = decode(&jpeg, &DecodeLimits::default(), Some(100)).unwrap();

    assert_eq!((decoded.image.width(), decoded.image.height()), (161, 121));
}

#[test]
fn exif_orientation_is_applied_and_reported() {
    let upright = picture(48, 32);
    for orientation in Orientation::ALL {
        let jpeg = with_segment(
            &upright.encode_jpeg(95),
            0xe1,
            &exif(u16::from(orientation.to_exif())),
        );

        let decoded = decode(&jpeg, &DecodeLimits::default(), None).unwrap();

        assert_eq!(decoded.info.orientation, orientation);
        let shape = (decoded.image.width(), decoded.image.height());
        assert_eq!(shape, (decoded.info.width, decoded.info.height));
        assert_eq!(shape == (32, 48), orientation.swaps_sides());
        let expected = decode_default(&upright.encode_jpeg(95))
            .unwrap()
            .oriented(orientation);
        assert_eq!(decoded.image, expected);
        assert_eq!(
            probe(&jpeg, &DecodeLimits::default()).unwrap(),
            decoded.info
        );
    }
}

#[test]
fn the_first_exif_segment_counts_and_xmp_is_passed_over() {
    let jpeg = picture(16, 16).encode_jpeg(80);
    let twice = with_segment(&with_segment(&jpeg, 0xe1, &exif(3)), 0xe1, &exif(6));
    let xmp_first = with_segment(&twice, 0xe1, b"http://ns.adobe.com/xap/1.0/\0<x/>");

    let info = probe(&xmp_first, &DecodeLimits::default()).unwrap();

    assert_eq!(info.orientation, Orientation::Rotate90);
}

#[test]
fn cmyk_and_ycck_become_rgb() {
    // Red and black, inverted: no cyan, full magenta and yellow; then no ink but black.
    for (cmyk, expected) in [
        ([255, 0, 0, 255], [255, 0, 0]),
        ([255, 255, 255, 0], [0, 0, 0]),
    ] {
        for colorspace in [turbojpeg::Colorspace::CMYK, turbojpeg::Colorspace::YCCK] {
            let mut compressor = Compressor::new().unwrap();
            compressor.set_quality(100).unwrap();
            compressor.set_colorspace(colorspace).unwrap();
            let pixels = cmyk.repeat(32 * 32);
            let jpeg = compressor
                .compress_to_vec(Image {
                    pixels: pixels.as_slice(),
                    width: 32,
                    pitch: 128,
                    height: 32,
                    format: PixelFormat::CMYK,
                })
                .unwrap();

            let image = decode_default(&jpeg).unwrap();

            let centre = image.pixel(16, 16).unwrap();
            let off = (0..3)
                .map(|idx| centre[idx].abs_diff(expected[idx]))
                .max()
                .unwrap();
            assert!(
                off <= 4,
                "{colorspace:?}: {centre:?} instead of {expected:?}"
            );
        }
    }
}

#[test]
fn every_cut_within_the_image_data_is_truncated() {
    let image = picture(64, 48);
    for jpeg in [image.encode_jpeg(80), progressive(&image)] {
        let data_at = jpeg::read(&jpeg).unwrap().first_scan_at;
        for len in (data_at + 20..jpeg.len() - 40).step_by(7) {
            assert_eq!(
                decode_default(&jpeg[..len]),
                Err(DecodeError::Truncated),
                "{len}"
            );
        }
        for len in 3..data_at {
            assert_eq!(
                decode_default(&jpeg[..len]),
                Err(DecodeError::Truncated),
                "{len}"
            );
        }
    }
}

#[test]
fn a_missing_end_marker_and_trailing_bytes_are_forgiven() {
    let jpeg = picture(64, 48).encode_jpeg(80);
    let whole = decode_default(&jpeg).unwrap();

    assert_eq!(decode_default(&jpeg[..jpeg.len() - 2]).unwrap(), whole);
    assert_eq!(
        decode_default(&[&jpeg, b"trailing".as_slice()].concat()).unwrap(),
        whole
    );
}

#[test]
fn a_progressive_file_without_its_end_is_truncated() {
    let jpeg = progressive(&picture(64, 48));
    assert_eq!(
        decode_default(&jpeg[..jpeg.len() - 2]),
        Err(DecodeError::Truncated)
    );
}

#[test]
fn rubbish_between_segments_is_forgiven() {
    let jpeg = picture(64, 48).encode_jpeg(80);
    // The first segment, JFIF, has 18 bytes after the marker of the start.
    let rubbish = [&jpeg[..20], b"rubbish", &jpeg[20..]].concat();

    assert_eq!(decode_default(&rubbish), decode_default(&jpeg));
}

#[test]
fn damaged_image_data_are_corrupt() {
    let mut jpeg = picture(256, 256).encode_jpeg(90);
    let at = jpeg::read(&jpeg).unwrap().first_scan_at + 500;
    // A restart marker where none can be.
    jpeg[at..at + 2].copy_from_slice(&[0xff, 0xd5]);

    assert_eq!(decode_default(&jpeg).unwrap_err().code(), "corrupt_image");
}

#[test]
fn a_flood_of_scans_is_refused() {
    let jpeg = progressive(&picture(64, 48));
    let first_scan_at = jpeg::read(&jpeg).unwrap().first_scan_at;
    let end = jpeg.len() - 2;
    let last_scan = jpeg[..end]
        .windows(2)
        .rposition(|pair| pair == [0xff, 0xda])
        .unwrap();
    assert!(last_scan > first_scan_at);
    let scan = &jpeg[last_scan..end];
    let flood = [&jpeg[..end], &scan.repeat(200), &END_OF_IMAGE].concat();

    let error = decode_default(&flood).unwrap_err();

    assert_eq!(error.code(), "corrupt_image");
    assert!(error.to_string().contains("scans"), "{error}");
}

#[test]
fn scans_are_bounded_by_pixels_too() {
    let image = picture(64, 48);
    let limits = DecodeLimits {
        max_pixels: 64 * 48,
        ..DecodeLimits::default()
    };
    assert!(decode(&progressive(&image), &limits, None).is_ok());

    let header = jpeg::read(&progressive(&image)).unwrap();
    let scans = Scans {
        count: 17,
        num_components_in_first: 3,
        is_ended: true,
    };
    assert!(check_work(&header, &scans, &limits).is_err());
}

#[test]
fn memory_for_coefficients_is_bounded() {
    // 1,024 × 1,024 pixels: 3 MiB of RGB, and as much again or more of coefficients.
    let jpeg = progressive(&picture(1_024, 1_024));
    let with_budget = |max_alloc_bytes| {
        let limits = DecodeLimits {
            max_alloc_bytes,
            ..DecodeLimits::default()
        };
        decode(&jpeg, &limits, None).map(|_| ())
    };

    let limit = 4 << 20;
    assert_eq!(
        with_budget(limit),
        Err(DecodeError::OutOfMemoryBudget { limit })
    );
    assert_eq!(with_budget(64 << 20), Ok(()));
}

#[test]
fn twelve_bits_are_unsupported_and_said_so() {
    let mut jpeg = picture(16, 16).encode_jpeg(80);
    let frame_at = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    jpeg[frame_at + 4] = 12;

    let error = decode_default(&jpeg).unwrap_err();

    assert_eq!(error.code(), "unsupported_format");
    assert!(error.to_string().contains("12 bits"), "{error}");
}

#[test]
fn a_failure_does_not_spoil_the_next_picture() {
    let jpeg = picture(64, 48).encode_jpeg(80);
    let whole = decode_default(&jpeg).unwrap();
    for at in 2..jpeg.len().min(700) {
        let mut damaged = jpeg.clone();
        damaged[at] ^= 0x5a;
        // Whatever becomes of the damaged one, the next must be right.
        drop(decode_default(&damaged));
        assert_eq!(decode_default(&jpeg).as_ref(), Ok(&whole), "{at}");
    }
}

#[test]
fn the_name_of_the_format_comes_from_the_bytes() {
    let info = probe(&picture(16, 16).encode_jpeg(80), &DecodeLimits::default()).unwrap();
    assert_eq!(info.format, ImageFormat::Jpeg);
    assert!(!info.animated);
}
