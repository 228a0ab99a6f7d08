//! Pictures in, numbers out: decoding, perceptual hashes and models of likeness.
//!
//! Pure and synchronous: bytes are given, nothing here opens a file of its own but a model, and
//! nothing knows about storage. Three promises hold for every input:
//!
//! - hostile bytes give a [`DecodeError`], never a panic, and never more memory than the limits say;
//! - a picture that leaves [`decode()`] is upright, opaque, 8-bit sRGB, whatever it was stored as;
//! - the same bytes give the same pixels and the same hash on every run.
//!
//! ```text
//! bytes ─ decode ─▶ RgbImage ─┬─ pdq        256-bit perceptual hash
//!                             ├─ geometry   keypoints, and where one picture lies in another
//!                             ├─ thumbnail  small JPEG for people
//!                             ├─ views      parts of it that are worth a descriptor of their own
//!                             └─ models     embeddings, by the ONNX runtime
//! ```

pub mod decode;
pub mod edits;
pub mod geometry;
pub mod models;
pub mod pdq;
pub mod pixels;
mod random;
pub mod regions;
pub mod runtime;
pub mod thumbnail;
pub mod views;

pub use decode::{
    DecodeError, DecodeLimits, DecodedImage, ImageFormat, ImageInfo, Orientation, decode, probe,
};
pub use pdq::{Pdq, PdqHash};
pub use pixels::RgbImage;
