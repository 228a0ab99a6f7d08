//! An embedder for unit tests. Not a model: never use it on real data.

use super::{Embedder, EmbedderSpec, Embedding, ModelError, check_input};
use crate::pixels::{Filter, RgbImage};
use crate::random::Random;

/// Side of the thumbnail that the descriptor is made of.
const THUMBNAIL_SIDE: u32 = 16;
/// One brightness and two colour differences per pixel.
const N_FEATURES: usize = (THUMBNAIL_SIDE * THUMBNAIL_SIDE * 3) as usize;
/// As many components as the real default model has.
const DIM: usize = 512;
/// Added to every feature vector, so that flat pictures have a direction too.
const FLAT: f32 = 1.0;

/// Returns a logistic regression as an ONNX file, for tests: `sigmoid(row · weights + bias)`, from an input
/// `rows: f32[-1, weights.len()]` to an output `scores: f32[-1, 1]`. Fields and their numbers are those of
/// `onnx.proto`, ONNX 1.14.
pub fn logistic_onnx(weights: &[f32], bias: f32) -> Vec<u8> {
    let size = weights.len() as u64;
    let node = |operator: &str, inputs: &[&str], output: &str| {
        let mut node: Vec<u8> = inputs.iter().flat_map(|input| text(1, input)).collect();
        node.extend(text(2, output));
        node.extend(text(4, operator));
        field(1, &node)
    };
    let tensor = |name: &str, shape: &[u64], values: &[f32]| {
        let mut tensor: Vec<u8> = shape.iter().flat_map(|&size| number(1, size)).collect();
        tensor.extend(number(2, 1));
        tensor.extend(text(8, name));
        let raw: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        tensor.extend(field(9, &raw));
        field(5, &tensor)
    };
    // Any number of rows.
    let outlet = |place: u64, name: &str, columns: u64| {
        let dims = [field(1, &text(2, "n")), field(1, &number(1, columns))].concat();
        let tensor_type = [number(1, 1), field(2, &dims)].concat();
        let outlet = [text(1, name), field(2, &field(1, &tensor_type))].concat();
        field(place, &outlet)
    };
    let graph = [
        node("MatMul", &["rows", "weights"], "dot"),
        node("Add", &["dot", "bias"], "sum"),
        node("Sigmoid", &["sum"], "scores"),
        text(2, "logistic"),
        tensor("weights", &[size, 1], weights),
        tensor("bias", &[1], &[bias]),
        outlet(11, "rows", size),
        outlet(12, "scores", 1),
    ]
    .concat();
    // Version 8 of the file's form, with the operators of version 13.
    [number(1, 8), field(7, &graph), field(8, &number(2, 13))].concat()
}

/// A number of protocol buffers.
fn number(place: u64, value: u64) -> Vec<u8> {
    [varint(place << 3), varint(value)].concat()
}

/// Bytes of protocol buffers, or a message.
fn field(place: u64, bytes: &[u8]) -> Vec<u8> {
    let mut field = varint(place << 3 | 2);
    field.extend(varint(bytes.len() as u64));
    field.extend_from_slice(bytes);
    field
}

fn text(place: u64, text: &str) -> Vec<u8> {
    field(place, text.as_bytes())
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// An [`Embedder`] for unit tests: cheap, deterministic, no files.
///
/// It projects a 16×16 thumbnail (mean removed, with two colour differences) onto fixed random
/// directions. Resized or recompressed copies land above a cosine of 0.9, unrelated noise near
/// zero; crops, turns and mirrors are not recognised.
#[derive(Debug)]
pub struct TestEmbedder {
    spec: EmbedderSpec,
    /// `DIM × N_FEATURES`, row-major.
    projection: Vec<f32>,
}

impl TestEmbedder {
    /// Makes the embedder; two with the same seed are the same model.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Signs are as good as normals for a projection (Achlioptas 2003), and exact.
        let projection = (0..DIM * N_FEATURES)
            .map(|_| {
                if random.next_u64() >> 63 == 0 {
                    1.0
                } else {
                    -1.0
                }
            })
            .collect();
        Self {
            spec: EmbedderSpec {
                model: "test".to_owned(),
                version: seed.to_string(),
                digest: format!("{seed:064x}"),
                dim: DIM,
                input_side: 64,
            },
            projection,
        }
    }

    fn embed_one(&self, image: &RgbImage) -> Result<Embedding, ModelError> {
        check_input(image, &self.spec)?;
        let features = features(image);
        let values = self
            .projection
            .chunks_exact(N_FEATURES)
            .map(|row| row.iter().zip(&features).map(|(a, b)| a * b).sum())
            .collect();
        Embedding::normalised(values)
    }
}

impl Default for TestEmbedder {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Embedder for TestEmbedder {
    fn spec(&self) -> &EmbedderSpec {
        &self.spec
    }

    fn embed(&self, batch: &[RgbImage]) -> Result<Vec<Embedding>, ModelError> {
        batch.iter().map(|image| self.embed_one(image)).collect()
    }
}

/// Brightness without its mean, and the differences red − green and blue − green.
fn features(image: &RgbImage) -> Vec<f32> {
    let thumbnail = image.resize_exact(THUMBNAIL_SIDE, THUMBNAIL_SIDE, Filter::Box);
    let mut features = Vec::with_capacity(N_FEATURES);
    for pixel in thumbnail.data().chunks_exact(3) {
        let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
        features.extend([
            0.299 * red + 0.587 * green + 0.114 * blue,
            (red - green) / 2.0,
            (blue - green) / 2.0,
        ]);
    }
    let n_pixels = (N_FEATURES / 3) as f32;
    let mean = features.iter().step_by(3).sum::<f32>() / n_pixels;
    for value in features.iter_mut().step_by(3) {
        *value += FLAT - mean;
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::prepare;

    /// Blocks of random colour, 8 pixels wide, so that a resize keeps them.
    fn picture(seed: u64) -> RgbImage {
        const SIDE: u32 = 128;
        let mut random = Random::new(seed);
        let blocks: Vec<[u8; 3]> = (0..256)
            .map(|_| std::array::from_fn(|_| random.below(256) as u8))
            .collect();
        let data = (0..SIDE * SIDE)
            .flat_map(|pixel| {
                let (x, y) = (pixel % SIDE / 8, pixel / SIDE / 8);
                blocks[(y * 16 + x) as usize]
            })
            .collect();
        RgbImage::new(SIDE, SIDE, data).unwrap()
    }

    fn embed(image: &RgbImage) -> Embedding {
        let embedder = TestEmbedder::default();
        let prepared = prepare(image, embedder.spec());
        embedder.embed(&[prepared]).unwrap().remove(0)
    }

    #[test]
    fn copies_are_close_and_other_pictures_far() {
        let original = embed(&picture(1));
        let smaller = embed(&picture(1).resize_exact(40, 40, Filter::Lanczos3));
        assert!(original.dot(&smaller) > 0.9, "{}", original.dot(&smaller));
        for seed in 2..10 {
            let other = original.dot(&embed(&picture(seed)));
            assert!(other.abs() < 0.4, "{other}");
        }
    }

    #[test]
    fn flat_pictures_have_a_descriptor() {
        let flat = RgbImage::filled(64, 64, [0; 3]).unwrap();
        assert!((embed(&flat).dot(&embed(&flat)) - 1.0).abs() < 1e-5);
    }
}
