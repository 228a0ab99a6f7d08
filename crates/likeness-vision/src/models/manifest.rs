//! What is known of a model file: a small TOML text beside it.
//!
//! ```toml
//! name = "my-model"
//! version = "3"
//! kind = "copy-detection"
//! file = "model.onnx"
//! sha256 = "…64 hex digits…"
//! bytes = 3514854
//! licence = "MIT"
//! [input]                      # models that see pictures
//! layout = "nchw-f32"          # or "nhwc-u8"
//! side = 224
//! mean = [0.485, 0.456, 0.406] # nchw-f32 only; of values in 0..1
//! std = [0.229, 0.224, 0.225]
//! [output]
//! dim = 512
//! normalised = true
//! ```
//! A key that is not known is an error. Names become folder names, so they are checked here, once.

use serde::{Deserialize, Serialize};

use super::digest::FileDigest;
use super::packages::Artifact;

/// Longest name or version, in bytes.
const MAX_NAME_BYTES: usize = 100;
/// Largest side that an input may have: a picture of it takes 48 MiB.
const MAX_SIDE: u32 = 4_096;
/// Largest descriptor.
const MAX_DIM: usize = 16_384;

/// A model file and how to use it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name in the store: letters, digits, `.`, `_`, `-`; begins with a letter or digit.
    pub name: String,
    /// Version in the store, of the same form.
    pub version: String,
    /// What the file is for.
    pub kind: ModelKind,
    /// Name of the file in its folder of the store.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: FileDigest,
    /// Size of the file.
    pub bytes: u64,
    /// The licence as its owner states it.
    pub licence: String,
    /// The machine that the file is for, as `ARCHITECTURE-SYSTEM`; any if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What a model that sees pictures takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputSpec>,
    /// What an embedding model gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputSpec>,
    /// The package that carries the file; absent for files added by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// Picture → descriptor that copies of the picture share.
    CopyDetection,
    /// Picture → boxes of faces.
    FaceDetector,
    /// Box of a face → points of the face.
    FaceLandmarks,
    /// Aligned face → descriptor of the person.
    FaceEmbedding,
    /// Text → descriptor.
    Text,
    /// Picture → descriptor in one space with [`ModelKind::Text`] of the same pair.
    Image,
    /// The words of a text model.
    Tokenizer,
    /// No model: the library that runs them.
    Runtime,
}

/// What a model that sees pictures takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Order and type of the numbers.
    pub layout: Layout,
    /// Width and height of the square, in pixels.
    pub side: u32,
    /// Subtracted per channel from values in 0..1; [`Layout::NchwF32`] only.
    #[serde(default = "zeros", skip_serializing_if = "is_zeros")]
    pub mean: [f32; 3],
    /// Divided by per channel, after `mean`; [`Layout::NchwF32`] only.
    #[serde(default = "ones", skip_serializing_if = "is_ones")]
    pub std: [f32; 3],
}

/// Order and type of the numbers in a picture tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Batch, row, column, RGB as bytes: the model normalises.
    NhwcU8,
    /// Batch, RGB, row, column as floats: normalised with mean and deviation here.
    NchwF32,
}

/// What an embedding model gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// Components of a descriptor.
    pub dim: usize,
    /// Whether the model already gives unit length. For the record: descriptors are always
    /// normalised again.
    pub normalised: bool,
}

/// Where in which package a file is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The package.
    pub artifact: Artifact,
    /// Path of the file inside the package.
    pub member: String,
}

impl Manifest {
    /// Reads a manifest and checks it.
    pub fn from_toml(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(Box::new)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// Writes the manifest.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a manifest has no map keys that are not strings")
    }

    /// Checks what the types cannot say.
    pub fn validate(&self) -> Result<(), ManifestError> {
        let invalid = |field: &'static str, reason: String| {
            Err(ManifestError::Invalid {
                model: self.name.clone(),
                field,
                reason,
            })
        };
        for (field, value) in [
            ("name", &self.name),
            ("version", &self.version),
            ("file", &self.file),
        ] {
            if !is_plain_name(value) {
                return invalid(
                    field,
                    format!("`{value}` is not made of letters, digits, `.`, `_` and `-`"),
                );
            }
        }
        if self.file == MANIFEST_FILE {
            return invalid(
                "file",
                format!("`{MANIFEST_FILE}` is the manifest's own name"),
            );
        }
        if let Some(input) = &self.input {
            if input.side == 0 || input.side > MAX_SIDE {
                return invalid(
                    "input.side",
                    format!("`{}` is not in 1..={MAX_SIDE}", input.side),
                );
            }
            let usable = |value: &f32| value.is_finite();
            if !input.mean.iter().all(usable)
                || !input.std.iter().all(|value| usable(value) && *value > 0.0)
            {
                return invalid(
                    "input",
                    "`mean` must be finite and `std` positive".to_owned(),
                );
            }
            let normalises = !is_zeros(&input.mean) || !is_ones(&input.std);
            if input.layout == Layout::NhwcU8 && normalises {
                return invalid("input", "`nhwc-u8` models normalise themselves".to_owned());
            }
        }
        if let Some(output) = &self.output
            && (output.dim == 0 || output.dim > MAX_DIM)
        {
            return invalid(
                "output.dim",
                format!("`{}` is not in 1..={MAX_DIM}", output.dim),
            );
        }
        Ok(())
    }

    /// Tells whether the file is of use on this machine.
    pub fn fits_host(&self) -> bool {
        let host = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        self.target.as_ref().is_none_or(|target| *target == host)
    }
}

/// Name of the manifest in a model's folder.
pub(crate) const MANIFEST_FILE: &str = "manifest.toml";

/// Tells whether `text` can be a file name anywhere: no separators, no leading dot, ASCII.
pub(crate) fn is_plain_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.len() <= MAX_NAME_BYTES
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(is_allowed)
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no TOML, or not of this form.
    #[error("cannot read the manifest: {0}")]
    Syntax(#[from] Box<toml::de::Error>),
    /// A value makes no sense.
    #[error("manifest of `{model}`: {field}: {reason}")]
    Invalid {
        /// Name of the model.
        model: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

fn zeros() -> [f32; 3] {
    [0.0; 3]
}

fn ones() -> [f32; 3] {
    [1.0; 3]
}

fn is_zeros(values: &[f32; 3]) -> bool {
    *values == zeros()
}

fn is_ones(values: &[f32; 3]) -> bool {
    *values == ones()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"
        name = "my-model"
        version = "3"
        kind = "copy-detection"
        file = "model.onnx"
        sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        bytes = 3
        licence = "MIT"
        [input]
        layout = "nchw-f32"
        side = 224
        mean = [0.485, 0.456, 0.406]
        std = [0.229, 0.224, 0.225]
        [output]
        dim = 512
        normalised = true
    "#;

    #[track_caller]
    fn check_refused(from: &str, to: &str, reason: &str) {
        assert!(SAMPLE.contains(from));
        let error = Manifest::from_toml(&SAMPLE.replace(from, to)).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }

    #[test]
    fn a_manifest_survives_writing_and_reading() {
        let manifest = Manifest::from_toml(SAMPLE).unwrap();
        assert_eq!(Manifest::from_toml(&manifest.to_toml()).unwrap(), manifest);
    }

    #[test]
    fn unknown_keys_are_refused() {
        check_refused("bytes = 3", "bytes = 3\nsize = 3", "size");
        check_refused("side = 224", "side = 224\nwidth = 224", "width");
    }

    #[test]
    fn names_that_would_leave_the_store_are_refused() {
        for bad in ["../x", "a/b", "", ".hidden", "-flag", "a b", "a\\\\b"] {
            check_refused("\"my-model\"", &format!("\"{bad}\""), "name");
        }
        check_refused("\"model.onnx\"", "\"/etc/passwd\"", "file");
        check_refused("\"model.onnx\"", "\"manifest.toml\"", "own name");
    }

    #[test]
    fn sizes_out_of_bounds_are_refused() {
        check_refused("side = 224", "side = 0", "input.side");
        check_refused("side = 224", "side = 100000", "input.side");
        check_refused("dim = 512", "dim = 0", "output.dim");
        check_refused("0.229", "0.0", "std");
        check_refused("nchw-f32", "nhwc-u8", "normalise themselves");
    }

    #[test]
    fn a_target_is_compared_with_this_machine() {
        let mut manifest = Manifest::from_toml(SAMPLE).unwrap();
        assert!(manifest.fits_host());
        manifest.target = Some("pdp11-unix".to_owned());
        assert!(!manifest.fits_host());
    }
}
