//! Files that promise or unpack to more than anyone wants.

use super::{Corpus, Expected, OVERSIZED, WITHIN_LIMITS, picture, refused};
use crate::formats::{bmp, gif, jpeg, png, tiff, webp};
use crate::pictures::Picture;

pub(super) fn add_oversized(corpus: &mut Corpus) {
    corpus.add(
        "png-50000-square",
        "png",
        png::promise(50_000, 50_000),
        OVERSIZED,
    );
    corpus.add(
        "png-largest-sides",
        "png",
        png::promise(0x7fff_ffff, 0x7fff_ffff),
        OVERSIZED,
    );
    corpus.add(
        "jpeg-50000-square",
        "jpg",
        jpeg::promise(50_000, 50_000),
        OVERSIZED,
    );
    corpus.add(
        "jpeg-largest-sides",
        "jpg",
        jpeg::promise(65_500, 65_500),
        OVERSIZED,
    );
    corpus.add(
        "gif-50000-square",
        "gif",
        gif::promise(50_000, 50_000),
        OVERSIZED,
    );
    corpus.add(
        "bmp-50000-square",
        "bmp",
        bmp::promise(50_000, 50_000),
        OVERSIZED,
    );
    corpus.add(
        "bmp-largest-negative-height",
        "bmp",
        bmp::promise(8, i32::MIN),
        IMPOSSIBLE,
    );
    corpus.add(
        "tiff-50000-square",
        "tif",
        tiff::promise(50_000, 50_000),
        OVERSIZED,
    );
    corpus.add(
        "tiff-largest-sides",
        "tif",
        tiff::promise(u32::MAX, u32::MAX),
        OVERSIZED,
    );
    corpus.add(
        "webp-50000-square",
        "webp",
        webp::promise(50_000, 50_000),
        OVERSIZED,
    );
    corpus.add(
        "webp-16383-square",
        "webp",
        webp::bomb(16_383, 16_383),
        OVERSIZED,
    );
    corpus.add("png-long-and-thin", "png", png::bomb(200_000, 1), OVERSIZED);
    corpus.add("png-no-columns", "png", png::promise(0, 100), IMPOSSIBLE);
    corpus.add("jpeg-no-columns", "jpg", jpeg::promise(0, 100), IMPOSSIBLE);
    corpus.add("gif-no-rows", "gif", gif::promise(100, 0), IMPOSSIBLE);
    corpus.add("bmp-no-columns", "bmp", bmp::promise(0, 100), IMPOSSIBLE);
    corpus.add("tiff-no-rows", "tif", tiff::promise(100, 0), IMPOSSIBLE);
}

/// Sides that no picture has.
const IMPOSSIBLE: Expected = refused(&[
    "corrupt_image",
    "image_side_too_long",
    "too_many_pixels",
    "truncated_image",
    "unsupported_format",
]);

pub(super) fn add_bombs(corpus: &mut Corpus) {
    // Just within 100 megapixels: black, and legal.
    corpus.add(
        "png-bomb-99-megapixels",
        "png",
        png::bomb(9_999, 9_999),
        WITHIN_LIMITS,
    );
    corpus.add(
        "gif-bomb-99-megapixels",
        "gif",
        gif::bomb(9_999, 9_999),
        WITHIN_LIMITS,
    );
    corpus.add(
        "tiff-bomb-99-megapixels",
        "tif",
        tiff::bomb(9_999, 9_999),
        WITHIN_LIMITS,
    );
    corpus.add(
        "webp-bomb-99-megapixels",
        "webp",
        webp::bomb(9_999, 9_999),
        WITHIN_LIMITS,
    );
    corpus.add(
        "png-bomb-900-megapixels",
        "png",
        png::bomb(30_000, 30_000),
        OVERSIZED,
    );
    corpus.add(
        "gif-bomb-400-megapixels",
        "gif",
        gif::bomb(20_000, 20_000),
        OVERSIZED,
    );
    corpus.add(
        "tiff-bomb-225-megapixels",
        "tif",
        tiff::bomb(15_000, 15_000),
        OVERSIZED,
    );
    let text = png::text_bomb(&picture(40), 1 << 30);
    corpus.add("png-text-unpacks-to-a-gigabyte", "png", text, EXTRA);
    let strip = tiff::overlong_strip(64, 64, 1 << 28);
    corpus.add("tiff-strip-longer-than-its-sides", "tif", strip, EXTRA);
    corpus.add(
        "gif-5000-frames",
        "gif",
        gif::many_frames(5_000),
        refused(&["too_many_frames"]),
    );
    corpus.add(
        "webp-3000-frames",
        "webp",
        webp::animated(&Picture::draw(41, 16, 16), 3_000),
        refused(&["too_many_frames"]),
    );
    corpus.add(
        "png-4000-frames",
        "png",
        png::animated(&Picture::draw(42, 8, 8), 4_000),
        refused(&["too_many_frames"]),
    );
    let scans = jpeg::progressive(&picture(43), 20_000);
    corpus.add(
        "jpeg-20000-scans",
        "jpg",
        scans,
        refused(&["corrupt_image", "decode_timed_out"]),
    );
    corpus.add(
        "tiff-page-names-itself",
        "tif",
        tiff::page_loop(&picture(16)),
        EXTRA,
    );
    corpus.add(
        "bmp-run-length-ends-at-once",
        "bmp",
        bmp::run_length(5_000, 5_000),
        EXTRA,
    );
}

/// A whole picture with something absurd beside it: may be read without it, or refused.
const EXTRA: Expected = Expected {
    accepted: true,
    codes: &[
        "corrupt_image",
        "decode_memory_exceeded",
        "truncated_image",
        "unsupported_format",
    ],
};
