//! Absurd metadata, and files that are no pictures at all.

use super::{Corpus, FOREIGN, VALID, picture, refused};
use crate::formats::{jpeg, png, tiff};
use crate::rng::Rng;

pub(super) fn add_exif(corpus: &mut Corpus) {
    const LONG: u16 = 4;
    const SHORT: u16 = 3;
    const ORIENTATION: u16 = 0x0112;
    const EXIF_DIRECTORY: u16 = 0x8769;
    let blocks: [(&str, Vec<u8>); 6] = [
        (
            "next-directory-is-itself",
            tiff::exif(&[(ORIENTATION, SHORT, 1, 6)], 8),
        ),
        (
            "sub-directory-is-its-parent",
            tiff::exif(&[(EXIF_DIRECTORY, LONG, 1, 8)], 0),
        ),
        (
            "offset-of-four-gigabytes",
            tiff::exif(&[(0x010f, 2, 400, 0xffff_fff0)], 0xffff_ffff),
        ),
        (
            "count-of-four-billion",
            tiff::exif(&[(ORIENTATION, SHORT, u32::MAX, 8)], 0),
        ),
        (
            "orientation-65535",
            tiff::exif(&[(ORIENTATION, SHORT, 1, 65_535)], 0),
        ),
        ("random-bytes", Rng::new(7).bytes(4_000)),
    ];
    for (index, (name, exif)) in blocks.iter().enumerate() {
        let seed = 50 + 2 * index as u64;
        let file = jpeg::with_exif(&picture(seed), exif);
        corpus.add(&format!("jpeg-exif-{name}"), "jpg", file, VALID);
        let file = png::with_exif(&picture(seed + 1), exif);
        corpus.add(&format!("png-exif-{name}"), "png", file, VALID);
    }
}

pub(super) fn add_foreign(corpus: &mut Corpus) {
    corpus.add(
        "empty",
        "jpg",
        Vec::new(),
        refused(&["empty_image", "malformed_body"]),
    );
    corpus.add("one-byte", "png", vec![0x89], FOREIGN);
    corpus.add("zeros", "jpg", vec![0; 4_096], FOREIGN);
    corpus.add("random", "png", Rng::new(3).bytes(100_000), FOREIGN);
    let svg = b"<?xml version=\"1.0\"?><svg xmlns=\"x\"><script>alert(1)</script></svg>";
    corpus.add("svg", "png", svg.to_vec(), FOREIGN);
    let entities = b"<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY a \"aaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><svg>&b;</svg>";
    corpus.add("svg-with-entities", "svg", entities.to_vec(), FOREIGN);
    corpus.add(
        "html",
        "jpg",
        b"<!DOCTYPE html><img src=x onerror=alert(1)>".to_vec(),
        FOREIGN,
    );
    corpus.add(
        "pdf",
        "jpg",
        b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj".to_vec(),
        FOREIGN,
    );
    corpus.add(
        "zip",
        "png",
        b"PK\x03\x04\x14\0\0\0\x08\0".repeat(30),
        FOREIGN,
    );
    corpus.add(
        "gzip",
        "png",
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03".repeat(30),
        FOREIGN,
    );
    corpus.add(
        "program",
        "jpg",
        b"\x7fELF\x02\x01\x01\0".repeat(100),
        FOREIGN,
    );
    corpus.add(
        "shell-script",
        "jpg",
        b"#!/bin/sh\nrm -rf /\n".to_vec(),
        FOREIGN,
    );
    corpus.add(
        "avif",
        "avif",
        b"\0\0\0\x20ftypavif\0\0\0\0avifmif1".to_vec(),
        FOREIGN,
    );
    corpus.add(
        "heic",
        "heic",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec(),
        FOREIGN,
    );
    corpus.add(
        "video",
        "mp4",
        b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2".to_vec(),
        FOREIGN,
    );
    corpus.add("jpeg-xl", "jxl", vec![0xff, 0x0a, 0, 0, 0, 0], FOREIGN);
    corpus.add("icon", "ico", vec![0, 0, 1, 0, 1, 0, 16, 16], FOREIGN);
    corpus.add(
        "words-that-begin-like-a-bitmap",
        "bmp",
        b"BMW makes cars, not bitmaps.".to_vec(),
        FOREIGN,
    );
}
