//! WebP, lossless, in two colours: one bit a pixel, or none at all.

use super::LowBitWriter;
use crate::pictures::Picture;

/// Returns a picture in two tones.
pub(crate) fn two_tone(picture: &Picture) -> Vec<u8> {
    riff(&[chunk(b"VP8L", &tones(picture))])
}

/// Returns an animation of `num_frames` frames in two tones.
pub(crate) fn animated(picture: &Picture, num_frames: usize) -> Vec<u8> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    let image = chunk(b"VP8L", &tones(picture));
    let mut chunks = vec![extended(0x02, width, height), chunk(b"ANIM", &[0; 6])];
    for _ in 0..num_frames {
        let mut body = vec![0; 6];
        body.extend_from_slice(&(width - 1).to_le_bytes()[..3]);
        body.extend_from_slice(&(height - 1).to_le_bytes()[..3]);
        body.extend_from_slice(&[100, 0, 0, 0]);
        body.extend_from_slice(&image);
        chunks.push(chunk(b"ANMF", &body));
    }
    riff(&chunks)
}

/// Returns a picture of one colour; its pixels take no bits at all, so any size has 40 bytes.
pub(crate) fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut bits = image_header(width, height);
    single(&mut bits, 96);
    rest(&mut bits);
    riff(&[chunk(b"VP8L", &bits.finish())])
}

/// Returns a file whose canvas promises sides (up to 2^24) that its picture does not have.
pub(crate) fn promise(width: u32, height: u32) -> Vec<u8> {
    riff(&[
        extended(0, width, height),
        chunk(b"VP8L", &[0x2f, 0, 0, 0, 0, 0]),
    ])
}

/// Returns a file whose chunk says that it has four gigabytes.
pub(crate) fn endless_chunk() -> Vec<u8> {
    let mut bytes = b"RIFF\xff\xff\xff\xffWEBPVP8L\xf0\xff\xff\xff".to_vec();
    bytes.extend_from_slice(&[0x2f, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

fn tones(picture: &Picture) -> Vec<u8> {
    let mut bits = image_header(picture.width as u32, picture.height as u32);
    // Green: a simple code of two symbols of 8 bits; then one bit a pixel.
    bits.push(1, 1);
    bits.push(1, 1);
    bits.push(1, 1);
    bits.push(40, 8);
    bits.push(210, 8);
    rest(&mut bits);
    for colour in picture.rgb.chunks_exact(3) {
        let sum: u32 = colour.iter().map(|&value| u32::from(value)).sum();
        bits.push(u32::from(sum > 380), 1);
    }
    bits.finish()
}

/// Signature, sides, and neither transform, colour cache nor several groups of codes.
fn image_header(width: u32, height: u32) -> LowBitWriter {
    let mut bits = LowBitWriter::default();
    bits.push(0x2f, 8);
    bits.push(width - 1, 14);
    bits.push(height - 1, 14);
    bits.push(0, 1);
    bits.push(0, 3);
    bits.push(0, 3);
    bits
}

/// A simple code of one symbol, which then takes no bits.
fn single(bits: &mut LowBitWriter, symbol: u32) {
    bits.push(1, 1);
    bits.push(0, 1);
    bits.push(1, 1);
    bits.push(symbol, 8);
}

/// Red, blue, alpha and distance, each always the same.
fn rest(bits: &mut LowBitWriter) {
    single(bits, 90);
    single(bits, 120);
    single(bits, 255);
    single(bits, 0);
}

fn extended(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let mut body = vec![flags, 0, 0, 0];
    body.extend_from_slice(&(width - 1).to_le_bytes()[..3]);
    body.extend_from_slice(&(height - 1).to_le_bytes()[..3]);
    chunk(b"VP8X", &body)
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    body.extend(chunks.iter().flatten());
    let mut bytes = b"RIFF".to_vec();
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_vec();
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(body);
    if body.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}
