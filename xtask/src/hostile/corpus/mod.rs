//! The hostile files, made the same in every run, each with what must become of it.

mod foreign;
mod size;

use crate::formats::{bmp, gif, jpeg, png, tiff, webp};
use crate::pictures::Picture;
use crate::rng::Rng;

/// A file and what must become of it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// What is wrong with it, in a few words that can name a file.
    pub(crate) name: String,
    /// Ending of the file name, which may lie.
    pub(crate) extension: &'static str,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// What must become of it.
    pub(crate) expected: Expected,
}

/// What must become of a file. Where a decoder may choose, both are allowed, and nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// It may be decided like any picture.
    pub(crate) accepted: bool,
    /// Codes with which it may be refused.
    pub(crate) codes: &'static [&'static str],
}

/// Odd, but a picture: must be accepted.
const VALID: Expected = Expected {
    accepted: true,
    codes: &[],
};
/// Must be refused; which of the two words fits is the decoder's choice.
const BROKEN: Expected = refused(&["truncated_image", "corrupt_image"]);
/// No format that is read here.
const FOREIGN: Expected = refused(&["unsupported_format"]);
/// Sides or pixels beyond the limits.
const OVERSIZED: Expected = refused(&["too_many_pixels", "image_side_too_long"]);
/// Within the limits of pixels; whether it is within that of memory depends on the format.
const WITHIN_LIMITS: Expected = Expected {
    accepted: true,
    codes: &["decode_memory_exceeded"],
};

const fn refused(codes: &'static [&'static str]) -> Expected {
    Expected {
        accepted: false,
        codes,
    }
}

/// Returns the corpus, about a hundred files.
pub(crate) fn build() -> Vec<Case> {
    let mut corpus = Corpus::default();
    add_valid(&mut corpus);
    add_damaged(&mut corpus);
    size::add_oversized(&mut corpus);
    size::add_bombs(&mut corpus);
    foreign::add_exif(&mut corpus);
    foreign::add_foreign(&mut corpus);
    corpus.cases
}

#[derive(Default)]
struct Corpus {
    cases: Vec<Case>,
}

impl Corpus {
    fn add(&mut self, name: &str, extension: &'static str, bytes: Vec<u8>, expected: Expected) {
        self.cases.push(Case {
            name: name.to_owned(),
            extension,
            bytes,
            expected,
        });
    }
}

/// Each case has a picture of its own, so that none is a near-copy of another.
fn picture(seed: u64) -> Picture {
    Picture::draw(0x0bad_cafe + seed, 160, 120)
}

fn add_valid(corpus: &mut Corpus) {
    corpus.add("png-16-bit", "png", png::rgb16(&picture(1)), VALID);
    corpus.add("png-transparent", "png", png::rgba(&picture(2)), VALID);
    corpus.add("png-animated", "png", png::animated(&picture(3), 5), VALID);
    corpus.add("jpeg-cmyk", "jpg", jpeg::cmyk(&picture(4)), VALID);
    corpus.add(
        "jpeg-progressive",
        "jpg",
        jpeg::progressive(&picture(5), 3),
        VALID,
    );
    corpus.add("gif-animated", "gif", gif::animated(&picture(6), 12), VALID);
    corpus.add("webp-lossless", "webp", webp::two_tone(&picture(7)), VALID);
    corpus.add(
        "webp-animated",
        "webp",
        webp::animated(&picture(8), 4),
        VALID,
    );
    corpus.add("tiff-16-bit", "tif", tiff::rgb16(&picture(9)), VALID);
    corpus.add("tiff-cmyk", "tif", tiff::cmyk(&picture(10)), VALID);
    corpus.add("bmp-24-bit", "bmp", bmp::rgb(&picture(11)), VALID);
    corpus.add("png-named-jpg", "jpg", picture(12).png(), VALID);
    corpus.add("jpeg-named-exe", "exe", jpeg::baseline(&picture(13)), VALID);
    corpus.add(
        "flat-one-pixel",
        "png",
        Picture::flat([9, 9, 9], 1, 1).png(),
        VALID,
    );
    corpus.add(
        "flat-one-row",
        "png",
        Picture::flat([1, 2, 3], 2_000, 1).png(),
        VALID,
    );
    let mut trailing = jpeg::baseline(&picture(14));
    trailing.extend_from_slice(b"PK\x03\x04");
    trailing.extend(Rng::new(1).bytes(50_000));
    corpus.add("jpeg-with-a-zip-behind", "jpg", trailing, VALID);
    let script = b"<?php system($_GET['x']); ?><script>alert(1)</script>".to_vec();
    let segments = [(0xfe, script)];
    corpus.add(
        "jpeg-with-a-script-inside",
        "php",
        jpeg::with_segments(&picture(15), &segments),
        VALID,
    );
    corpus.add("gif-900-frames", "gif", gif::many_frames(900), VALID);
}

fn add_damaged(corpus: &mut Corpus) {
    let whole: [(&'static str, Vec<u8>); 7] = [
        ("png", picture(20).png()),
        ("jpg", jpeg::baseline(&picture(21))),
        ("gif", gif::animated(&picture(22), 1)),
        ("webp", webp::two_tone(&picture(23))),
        ("bmp", bmp::rgb(&picture(24))),
        ("tif", tiff::rgb(&picture(25))),
        ("jpg", jpeg::progressive(&picture(26), 6)),
    ];
    for (index, (extension, bytes)) in whole.iter().enumerate() {
        for percent in [12, 50, 90] {
            let name = format!("truncated-{index}-{extension}-{percent}");
            let cut = bytes[..bytes.len() * percent / 100].to_vec();
            corpus.add(&name, extension, cut, BROKEN);
        }
        let name = format!("signature-only-{index}-{extension}");
        corpus.add(
            &name,
            extension,
            bytes[..bytes.len().min(14)].to_vec(),
            SIGNATURE_ONLY,
        );
        let mut noise = bytes.clone();
        let from = noise.len() / 4;
        let random = Rng::new(index as u64).bytes(noise.len() - from);
        noise[from..].copy_from_slice(&random);
        corpus.add(
            &format!("noise-{index}-{extension}"),
            extension,
            noise,
            NOISE,
        );
    }
    corpus.add("png-endless-chunk", "png", png::endless_chunk(), BROKEN);
    corpus.add("webp-endless-chunk", "webp", webp::endless_chunk(), BROKEN);
    corpus.add(
        "tiff-directory-beyond-end",
        "tif",
        tiff::directory_beyond_end(),
        BROKEN,
    );
    corpus.add(
        "gif-impossible-code",
        "gif",
        gif::impossible_code(64, 64),
        BROKEN,
    );
    corpus.add(
        "jpeg-tables-that-no-code-has",
        "jpg",
        jpeg::impossible_tables(&picture(27)),
        BROKEN,
    );
    corpus.add("jpeg-lossless", "jpg", jpeg::lossless(&picture(28)), RARE);
    let mut wrong_sum = picture(29).png();
    // The checksum of the header chunk ends at byte 33.
    wrong_sum[30] ^= 0xff;
    corpus.add("png-wrong-checksum", "png", wrong_sum, BROKEN);
}

/// Fourteen bytes may be too few to tell the format by.
const SIGNATURE_ONLY: Expected =
    refused(&["truncated_image", "corrupt_image", "unsupported_format"]);
/// A process of JPEG that newer libraries know and others do not.
const RARE: Expected = Expected {
    accepted: true,
    codes: &["unsupported_format", "corrupt_image", "truncated_image"],
};
/// Noise behind a whole header: formats without checksums may show it as a picture.
const NOISE: Expected = Expected {
    accepted: true,
    codes: &["truncated_image", "corrupt_image", "unsupported_format"],
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::build;

    #[test]
    fn there_are_enough_files_and_each_has_a_name_of_its_own() {
        let cases = build();
        assert!(cases.len() >= 60, "{}", cases.len());
        let names: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
    }

    #[test]
    fn no_file_may_both_pass_and_fail_unsaid() {
        for case in build() {
            assert!(
                case.expected.accepted || !case.expected.codes.is_empty(),
                "{}",
                case.name
            );
        }
    }
}
