use std::io::Cursor;
use std::time::Duration;

use image::{
    DynamicImage, ExtendedColorType, Frame, GrayImage, ImageBuffer, ImageEncoder, LumaA, Rgb, Rgba,
    RgbaImage,
    codecs::{
        bmp::BmpEncoder, gif::GifEncoder, png::PngEncoder, tiff::TiffEncoder, webp::WebPEncoder,
    },
};

use super::*;

/// Formats that keep every pixel.
const LOSSLESS: [ImageFormat; 5] = [
    ImageFormat::Png,
    ImageFormat::WebP,
    ImageFormat::Gif,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
];

/// Few enough colours for GIF to keep them all.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        [(x / 8 * 30) as u8, (y / 8 * 30) as u8, 200]
    })
    .unwrap()
}

fn write(
    samples: &[u8],
    width: u32,
    height: u32,
    color: ExtendedColorType,
    format: ImageFormat,
) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    match format {
        ImageFormat::Jpeg => unreachable!("JPEG has tests of its own"),
        ImageFormat::Png => PngEncoder::new(&mut file).write_image(samples, width, height, color),
        ImageFormat::WebP => {
            WebPEncoder::new_lossless(&mut file).encode(samples, width, height, color)
        }
        ImageFormat::Gif => GifEncoder::new(&mut file).encode(samples, width, height, color),
        ImageFormat::Bmp => BmpEncoder::new(&mut file).encode(samples, width, height, color),
        ImageFormat::Tiff => TiffEncoder::new(&mut file).write_image(samples, width, height, color),
    }
    .unwrap();
    file.into_inner()
}

fn write_rgb(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    write(
        image.data(),
        image.width(),
        image.height(),
        ExtendedColorType::Rgb8,
        format,
    )
}

fn decode_default(bytes: &[u8]) -> Result<DecodedImage, DecodeError> {
    decode(bytes, &DecodeLimits::default(), None)
}

fn limits(change: impl FnOnce(&mut DecodeLimits)) -> DecodeLimits {
    let mut limits = DecodeLimits::default();
    change(&mut limits);
    limits
}

/// EXIF with one entry: the orientation.
fn exif(orientation: Orientation) -> Vec<u8> {
    let mut exif = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation.to_exif(), 0, 0, 0, 0, 0, 0, 0]);
    exif
}

/// Inserts a chunk after PNG's header chunk.
fn with_png_chunk(png: &[u8], kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap().to_be_bytes();
    let body = [kind.as_slice(), data].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    [
        &png[..33],
        &len,
        &body,
        &crc.sum().to_be_bytes(),
        &png[33..],
    ]
    .concat()
}

#[test]
fn every_lossless_format_gives_the_same_pixels() {
    let image = picture(61, 37);
    for format in LOSSLESS {
        let file = write_rgb(&image, format);

        let decoded = decode_default(&file).unwrap();

        assert_eq!(decoded.info.format, format);
        assert_eq!(decoded.image, image, "{format}");
        assert_eq!(
            probe(&file, &DecodeLimits::default()).unwrap(),
            decoded.info
        );
        assert!(!decoded.info.animated);
    }
}

#[test]
fn min_side_leaves_other_formats_at_full_size() {
    for format in LOSSLESS {
        let file = write_rgb(&picture(64, 48), format);
        let decoded = decode(&file, &DecodeLimits::default(), Some(8)).unwrap();
        assert_eq!((decoded.image.width(), decoded.image.height()), (64, 48));
    }
}

#[test]
fn every_format_cut_in_half_is_truncated() {
    for format in LOSSLESS {
        // Noise, so that half of the file is half of the picture.
        let mut state = 1_u32;
        let image = RgbImage::from_fn(64, 64, |_, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            [(state >> 24) as u8, (state >> 16) as u8, (state >> 8) as u8]
        })
        .unwrap();
        let file = write_rgb(&image, format);
        let error = decode_default(&file[..file.len() / 2]).unwrap_err();
        assert_eq!(error, DecodeError::Truncated, "{format}");
    }
}

#[test]
fn every_cut_of_every_format_is_a_typed_error_or_a_picture() {
    for format in LOSSLESS {
        let file = write_rgb(&picture(24, 16), format);
        for len in 0..file.len() {
            if let Ok(decoded) = decode_default(&file[..len]) {
                assert_eq!((decoded.info.width, decoded.info.height), (24, 16));
            }
        }
    }
}

#[test]
fn alpha_is_composed_over_white() {
    let samples = [10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 255, 128];
    for format in [
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Tiff,
        ImageFormat::Bmp,
    ] {
        let file = write(&samples, 3, 1, ExtendedColorType::Rgba8, format);
        let decoded = decode_default(&file).unwrap();
        assert_eq!(
            decoded.image.data(),
            [10, 20, 30, 255, 255, 255, 127, 177, 255],
            "{format}"
        );
    }
}

#[test]
fn transparent_parts_of_a_gif_are_white() {
    let file = write(
        &[10, 20, 30, 255, 9, 9, 9, 0],
        2,
        1,
        ExtendedColorType::Rgba8,
        ImageFormat::Gif,
    );
    assert_eq!(
        decode_default(&file).unwrap().image.data(),
        [10, 20, 30, 255, 255, 255]
    );
}

#[test]
fn gray_and_gray_with_alpha_become_rgb() {
    let gray = GrayImage::from_raw(2, 1, vec![0, 200]).unwrap();
    let file = write(gray.as_raw(), 2, 1, ExtendedColorType::L8, ImageFormat::Png);
    assert_eq!(
        decode_default(&file).unwrap().image.data(),
        [0, 0, 0, 200, 200, 200]
    );

    let file = write(&[0, 51], 1, 1, ExtendedColorType::La8, ImageFormat::Png);
    assert_eq!(decode_default(&file).unwrap().image.data(), [204, 204, 204]);
}

#[test]
fn sixteen_bits_become_eight() {
    type Rgb16 = ImageBuffer<Rgb<u16>, Vec<u16>>;
    let rgb = Rgb16::from_raw(1, 1, vec![0, 32_896, 65_535]).unwrap();
    for format in [image::ImageFormat::Png, image::ImageFormat::Tiff] {
        let mut file = Cursor::new(Vec::new());
        DynamicImage::ImageRgb16(rgb.clone())
            .write_to(&mut file, format)
            .unwrap();
        assert_eq!(
            decode_default(file.get_ref()).unwrap().image.data(),
            [0, 128, 255]
        );
    }

    type GrayAlpha16 = ImageBuffer<LumaA<u16>, Vec<u16>>;
    let gray = GrayAlpha16::from_raw(1, 1, vec![0, 13_107]).unwrap();
    let mut file = Cursor::new(Vec::new());
    DynamicImage::ImageLumaA16(gray)
        .write_to(&mut file, image::ImageFormat::Png)
        .unwrap();
    assert_eq!(
        decode_default(file.get_ref()).unwrap().image.data(),
        [204, 204, 204]
    );
}

#[test]
fn a_palette_becomes_rgb() {
    // GIF is all palette; PNG's is written by hand: one row of two 1-bit pixels.
    let png = write(&[0, 0, 0], 1, 1, ExtendedColorType::Rgb8, ImageFormat::Png);
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let empty = [&png[..8], &[0; 25]].concat();
        with_png_chunk(&empty, kind, data)[33..].to_vec()
    };
    let rows = flate2_zlib(&[0, 0b0100_0000]);
    let file = [
        &png[..8],
        &chunk(b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 1, 1, 3, 0, 0, 0]),
        &chunk(b"PLTE", &[255, 0, 0, 0, 0, 255]),
        &chunk(b"IDAT", &rows),
        &chunk(b"IEND", &[]),
    ]
    .concat();

    assert_eq!(
        decode_default(&file).unwrap().image.data(),
        [255, 0, 0, 0, 0, 255]
    );
}

fn flate2_zlib(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn orientation_of_a_png_is_applied() {
    let image = picture(16, 8);
    for orientation in Orientation::ALL {
        let file = with_png_chunk(
            &write_rgb(&image, ImageFormat::Png),
            b"eXIf",
            &exif(orientation),
        );

        let decoded = decode_default(&file).unwrap();

        assert_eq!(decoded.info.orientation, orientation);
        assert_eq!(decoded.image, image.clone().oriented(orientation));
        let shape = (decoded.image.width(), decoded.image.height());
        assert_eq!(shape, (decoded.info.width, decoded.info.height));
    }
}

#[test]
fn orientation_of_a_webp_is_applied() {
    let image = picture(16, 8);
    for orientation in Orientation::ALL {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = WebPEncoder::new_lossless(&mut file);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder
            .encode(image.data(), 16, 8, ExtendedColorType::Rgb8)
            .unwrap();

        let decoded = decode_default(file.get_ref()).unwrap();

        assert_eq!(decoded.info.orientation, orientation);
        assert_eq!(decoded.image, image.clone().oriented(orientation));
    }
}

#[test]
fn orientation_of_a_tiff_is_applied() {
    let image = picture(16, 8);
    let plain = write_rgb(&image, ImageFormat::Tiff);
    let directory_at = u32::from_le_bytes(plain[4..8].try_into().unwrap()) as usize;
    let num_entries = usize::from(u16::from_le_bytes(
        plain[directory_at..][..2].try_into().unwrap(),
    ));
    let entries = &plain[directory_at + 2..][..12 * num_entries];

    // A copy of the directory, one entry longer, at the end of the file. Tags must ascend.
    let mut entries: Vec<&[u8]> = entries.chunks_exact(12).collect();
    let entry = [0x12, 0x01, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0];
    entries.push(&entry);
    entries.sort_by_key(|entry| u16::from_le_bytes([entry[0], entry[1]]));
    let mut file = plain.clone();
    file[4..8].copy_from_slice(&u32::try_from(plain.len()).unwrap().to_le_bytes());
    file.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
    file.extend(entries.concat());
    file.extend([0; 4]);

    let decoded = decode_default(&file).unwrap();

    assert_eq!(decoded.info.orientation, Orientation::Rotate90);
    assert_eq!(decoded.image, image.oriented(Orientation::Rotate90));
}

fn animated_gif(num_frames: u8) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = GifEncoder::new(&mut file);
    for frame_idx in 0..num_frames {
        let image = RgbaImage::from_pixel(4, 3, Rgba([100 + frame_idx, 0, 0, 255]));
        encoder.encode_frame(Frame::new(image)).unwrap();
    }
    drop(encoder);
    file
}

#[test]
fn an_animation_gives_its_first_frame() {
    let decoded = decode_default(&animated_gif(3)).unwrap();

    assert!(decoded.info.animated);
    assert_eq!(decoded.image, RgbImage::filled(4, 3, [100, 0, 0]).unwrap());
}

#[test]
fn frames_are_counted_up_to_the_limit() {
    let file = animated_gif(5);
    let allowed = |max_frames| probe(&file, &limits(|limits| limits.max_frames = max_frames));

    assert!(allowed(5).unwrap().animated);
    assert_eq!(allowed(4), Err(DecodeError::TooManyFrames { limit: 4 }));

    let apng = with_png_chunk(
        &write_rgb(&picture(4, 4), ImageFormat::Png),
        b"acTL",
        &[0, 0, 4, 0, 0, 0, 0, 0],
    );
    let error = probe(&apng, &DecodeLimits::default()).unwrap_err();
    assert_eq!(error, DecodeError::TooManyFrames { limit: 1_000 });
}

#[test]
fn limits_are_checked_by_probe_and_decode_alike() {
    let file = write_rgb(&picture(40, 30), ImageFormat::Png);
    let check = |limits: DecodeLimits, code: &str| {
        let probed = probe(&file, &limits).unwrap_err();
        assert_eq!(probed.code(), code);
        assert_eq!(decode(&file, &limits, None).unwrap_err(), probed);
    };

    check(limits(|limits| limits.max_bytes = 10), "image_too_large");
    check(
        limits(|limits| limits.max_pixels = 1_199),
        "too_many_pixels",
    );
    check(limits(|limits| limits.max_side = 39), "image_side_too_long");
    let exact = limits(|limits| {
        limits.max_bytes = file.len() as u64;
        limits.max_pixels = 1_200;
        limits.max_side = 40;
    });
    assert!(decode(&file, &exact, None).is_ok());
}

#[test]
fn memory_and_time_are_checked_by_decode() {
    for format in LOSSLESS {
        let file = write_rgb(&picture(40, 30), format);

        let limit = 40 * 30 * 3 - 1;
        let too_little = limits(|limits| limits.max_alloc_bytes = limit);
        let error = decode(&file, &too_little, None).unwrap_err();
        assert_eq!(error, DecodeError::OutOfMemoryBudget { limit }, "{format}");

        let no_time = limits(|limits| limits.max_time = Duration::ZERO);
        let error = decode(&file, &no_time, None).unwrap_err();
        assert_eq!(error.code(), "decode_timed_out", "{format}");
    }
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    // A PNG that says 30,000 × 30,000: never inflated.
    let mut file = write_rgb(&picture(4, 4), ImageFormat::Png);
    file[16..20].copy_from_slice(&30_000_u32.to_be_bytes());
    file[20..24].copy_from_slice(&30_000_u32.to_be_bytes());

    assert_eq!(decode_default(&file).unwrap_err().code(), "too_many_pixels");
}

#[test]
fn a_picture_without_pixels_is_corrupt() {
    let mut file = write_rgb(&picture(4, 4), ImageFormat::Bmp);
    file[18..22].copy_from_slice(&0_u32.to_le_bytes());

    assert_eq!(decode_default(&file).unwrap_err().code(), "corrupt_image");
}

#[test]
fn an_unsupported_variant_is_named() {
    let mut file = write(&[1, 2, 3], 3, 1, ExtendedColorType::L8, ImageFormat::Tiff);
    // Photometric interpretation 3: a palette.
    let tag = [0x06, 0x01, 3, 0, 1, 0, 0, 0];
    let at = file
        .windows(tag.len())
        .position(|bytes| bytes == tag)
        .unwrap();
    file[at + tag.len()] = 3;

    let error = decode_default(&file).unwrap_err();

    assert_eq!(error.code(), "unsupported_format");
    assert!(error.to_string().contains("tiff"), "{error}");
}
