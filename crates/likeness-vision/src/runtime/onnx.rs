//! ONNX models in this process, through ONNX Runtime loaded at run time.
//!
//! The library is a file like a model: its path is given, never searched for (no environment
//! variable, no loader path). A process holds one library and one environment for good, which is
//! how ONNX Runtime is made; a second, different path is refused.
//!
//! Threads: the runtime starts none. An operator runs on the thread that calls, and several
//! pictures at once are several sessions on several threads (see [`super::queue`]): `ort` wants
//! `&mut` to run a session, because parts of the runtime are not thread-safe, and the weights of
//! the default model are small. Their packed form is shared between the sessions of one model.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights};
use ort::value::{Tensor, TensorElementType, ValueType};

use super::{Embedder, EmbedderSpec, Embedding, ModelError, check_input, denormals};
use crate::models::digest::verify_file;
use crate::models::manifest::{InputSpec, Layout, Manifest};
use crate::pixels::RgbImage;

/// The library that this process has loaded, and the environment kept alive with it.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// ONNX Runtime, loaded.
#[derive(Debug, Clone)]
pub struct OnnxRuntime {
    environment: Environment,
}

impl OnnxRuntime {
    /// Loads the library at `path`, or returns the one that was loaded from there before.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let refuse = |reason: String| ModelError::Runtime {
            path: path.display().to_string(),
            reason,
        };
        // A relative path would be looked up beside the executable and then by the loader.
        let library = path
            .canonicalize()
            .map_err(|error| refuse(error.to_string()))?;
        let mut loaded = lock(&LOADED);
        if let Some((loaded_path, environment)) = loaded.as_ref() {
            if *loaded_path != library {
                return Err(refuse(format!(
                    "this process has already loaded `{}`",
                    loaded_path.display()
                )));
            }
            return Ok(Self {
                environment: environment.clone(),
            });
        }
        let environment = ort::init_from(&library)
            .map_err(|error| refuse(error.to_string()))?
            .with_name("likeness")
            .with_telemetry(false)
            .with_logger(Arc::new(forward_log))
            .build()
            .map_err(|error| refuse(error.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        *loaded = Some((library, environment.clone()));
        Ok(Self { environment })
    }
}

/// Hands a message of the runtime to `tracing`.
fn forward_log(level: LogLevel, category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::error!(category, location, "{message}"),
        LogLevel::Warning => tracing::warn!(category, location, "{message}"),
        _ => tracing::debug!(category, location, "{message}"),
    }
}

/// An embedder that runs an ONNX model in this process.
///
/// Holds `n_sessions` sessions; at most so many calls of [`Embedder::embed`] compute at once, the
/// others wait. Give it as many as the pool has threads.
#[derive(Debug)]
pub struct OnnxEmbedder {
    spec: EmbedderSpec,
    input: InputSpec,
    /// Whether the model was exported for a batch of one and takes no other.
    one_at_a_time: bool,
    idle: Mutex<Vec<Session>>,
    returned: Condvar,
    /// Shared by the sessions; must outlive them, hence declared after them.
    _packed: PrepackedWeights,
}

impl OnnxEmbedder {
    /// Opens the model at `file`, after checking the file against `manifest`.
    pub fn open(
        runtime: &OnnxRuntime,
        file: &Path,
        manifest: &Manifest,
        n_sessions: usize,
    ) -> Result<Self, ModelError> {
        let refuse = |reason: String| ModelError::Load {
            model: manifest.name.clone(),
            reason,
        };
        let (Some(input), Some(output)) = (&manifest.input, &manifest.output) else {
            return Err(refuse(
                "its manifest has no `input` or no `output`".to_owned(),
            ));
        };
        verify_file(file, &manifest.sha256, manifest.bytes)
            .map_err(|error| refuse(error.to_string()))?;
        let packed = PrepackedWeights::new();
        let sessions = (0..n_sessions.max(1))
            .map(|_| open_session(runtime, file, &packed))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| refuse(error.to_string()))?;
        let batch_size = check_shapes(&sessions[0], input, output.dim).map_err(refuse)?;
        Ok(Self {
            spec: EmbedderSpec {
                model: manifest.name.clone(),
                version: manifest.version.clone(),
                digest: manifest.sha256.to_string(),
                dim: output.dim,
                input_side: input.side,
            },
            input: input.clone(),
            one_at_a_time: batch_size == BatchSize::One,
            idle: Mutex::new(sessions),
            returned: Condvar::new(),
            _packed: packed,
        })
    }

    /// Takes a session that nobody uses, waiting for one if need be.
    fn borrow_session(&self) -> Borrowed<'_> {
        let mut idle = lock(&self.idle);
        loop {
            if let Some(session) = idle.pop() {
                return Borrowed {
                    owner: self,
                    session: Some(session),
                };
            }
            idle = self
                .returned
                .wait(idle)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs the model once, and appends a descriptor per image.
    fn run(
        &self,
        session: &mut Session,
        batch: &[RgbImage],
        embeddings: &mut Vec<Embedding>,
    ) -> Result<(), ModelError> {
        let side = self.input.side as usize;
        let outputs = match self.input.layout {
            Layout::NhwcU8 => {
                let shape = [batch.len(), side, side, 3];
                let tensor = Tensor::from_array((shape, nhwc_u8(batch)))
                    .map_err(|error| self.failed(error))?;
                denormals::flushed(|| session.run(ort::inputs![tensor]))
            }
            Layout::NchwF32 => {
                let shape = [batch.len(), 3, side, side];
                let tensor = Tensor::from_array((shape, nchw_f32(batch, &self.input)))
                    .map_err(|error| self.failed(error))?;
                denormals::flushed(|| session.run(ort::inputs![tensor]))
            }
        }
        .map_err(|error| self.failed(error))?;
        let (shape, values) = outputs[0]
            .try_extract_tensor::<f32>()
            .map_err(|error| self.failed(error))?;
        if values.len() != batch.len() * self.spec.dim {
            return Err(ModelError::BadOutput {
                reason: format!(
                    "expected shape `[{}, {}]`, got `{shape:?}`",
                    batch.len(),
                    self.spec.dim
                ),
            });
        }
        for row in values.chunks_exact(self.spec.dim) {
            embeddings.push(Embedding::normalised(row.to_vec())?);
        }
        Ok(())
    }

    fn failed(&self, reason: impl ToString) -> ModelError {
        ModelError::Failed {
            model: self.spec.model.clone(),
            reason: reason.to_string(),
        }
    }
}

impl Embedder for OnnxEmbedder {
    fn spec(&self) -> &EmbedderSpec {
        &self.spec
    }

    fn embed(&self, batch: &[RgbImage]) -> Result<Vec<Embedding>, ModelError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        for image in batch {
            check_input(image, &self.spec)?;
        }
        let mut borrowed = self.borrow_session();
        let session = borrowed
            .session
            .as_mut()
            .expect("it is taken out on drop only");
        let n_at_once = if self.one_at_a_time { 1 } else { batch.len() };
        let mut embeddings = Vec::with_capacity(batch.len());
        for part in batch.chunks(n_at_once) {
            self.run(session, part, &mut embeddings)?;
        }
        Ok(embeddings)
    }
}

/// A session on loan; goes back when dropped, so that a panic does not lose it.
struct Borrowed<'a> {
    owner: &'a OnnxEmbedder,
    session: Option<Session>,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            lock(&self.owner.idle).push(session);
            self.owner.returned.notify_one();
        }
    }
}

pub(super) fn open_session(
    runtime: &OnnxRuntime,
    file: &Path,
    packed: &PrepackedWeights,
) -> Result<Session, ort::Error> {
    Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        // Plans made for one batch size are useless for the next.
        .with_memory_pattern(false)?
        .with_prepacked_weights(packed)?
        .commit_from_file(file)
}

/// How many images a model takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchSize {
    Any,
    One,
}

/// Compares what the model says of its first input and output with what the manifest says.
fn check_shapes(session: &Session, input: &InputSpec, dim: usize) -> Result<BatchSize, String> {
    let side = i64::from(input.side);
    let (wanted_type, wanted_shape) = match input.layout {
        Layout::NhwcU8 => (TensorElementType::Uint8, [-1, side, side, 3]),
        Layout::NchwF32 => (TensorElementType::Float32, [-1, 3, side, side]),
    };
    let [first_input] = session.inputs() else {
        return Err(format!(
            "expected one input, it has `{}`",
            session.inputs().len()
        ));
    };
    let first_output = session
        .outputs()
        .first()
        .ok_or_else(|| "it has no output".to_owned())?;
    let shape = check_outlet("input", first_input.dtype(), wanted_type, &wanted_shape)?;
    let batch_size = match shape[0] {
        -1 => BatchSize::Any,
        1 => BatchSize::One,
        fixed => return Err(format!("it takes batches of exactly `{fixed}` images")),
    };
    let wanted_output = [-1, i64::try_from(dim).map_err(|error| error.to_string())?];
    check_outlet(
        "output",
        first_output.dtype(),
        TensorElementType::Float32,
        &wanted_output,
    )?;
    Ok(batch_size)
}

/// Compares one outlet, and returns its shape; -1 on either side stands for any size.
fn check_outlet<'a>(
    what: &str,
    found: &'a ValueType,
    wanted_type: TensorElementType,
    wanted_shape: &[i64],
) -> Result<&'a [i64], String> {
    let ValueType::Tensor { ty, shape, .. } = found else {
        return Err(format!("its {what} is no tensor but `{found}`"));
    };
    let sizes_agree = shape.len() == wanted_shape.len()
        && shape
            .iter()
            .zip(wanted_shape)
            .all(|(&found, &wanted)| found == wanted || found == -1 || wanted == -1);
    if *ty != wanted_type || !sizes_agree {
        return Err(format!(
            "its manifest promises an {what} of `{wanted_type}` {wanted_shape:?}, the file has `{ty}` {shape:?}"
        ));
    }
    Ok(shape)
}

/// Lays pictures one after another: batch, row, column, channel.
fn nhwc_u8(batch: &[RgbImage]) -> Vec<u8> {
    batch.iter().flat_map(RgbImage::data).copied().collect()
}

/// Lays pictures out by channel and normalises: `(value / 255 - mean) / std` per channel.
fn nchw_f32(batch: &[RgbImage], input: &InputSpec) -> Vec<f32> {
    let mut values = Vec::with_capacity(batch.iter().map(|image| image.data().len()).sum());
    for image in batch {
        for channel in 0..3 {
            let (mean, std) = (input.mean[channel], input.std[channel]);
            values.extend(
                image
                    .data()
                    .iter()
                    .skip(channel)
                    .step_by(3)
                    .map(|&value| (f32::from(value) / 255.0 - mean) / std),
            );
        }
    }
    values
}

/// Locks, ignoring poison: what these mutexes guard is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_pixels() -> RgbImage {
        RgbImage::new(2, 1, vec![0, 51, 102, 153, 204, 255]).unwrap()
    }

    #[test]
    fn a_missing_library_names_the_command_that_obtains_it() {
        let error = OnnxRuntime::load(Path::new("no/such/libonnxruntime.so")).unwrap_err();
        assert!(matches!(error, ModelError::Runtime { .. }));
        assert!(
            error.to_string().contains("likeness models pull"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_no_library_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libonnxruntime.so");
        std::fs::write(&path, b"not a library").unwrap();
        let error = OnnxRuntime::load(&path).unwrap_err();
        assert!(
            error.to_string().contains("likeness models pull"),
            "{error}"
        );
    }

    #[test]
    fn interleaved_layout_keeps_the_bytes() {
        let batch = [two_pixels(), two_pixels()];
        let once = [0, 51, 102, 153, 204, 255];
        assert_eq!(nhwc_u8(&batch), [once, once].concat());
    }

    #[test]
    fn planar_layout_separates_channels_and_normalises() {
        let input = InputSpec {
            layout: Layout::NchwF32,
            side: 1,
            mean: [0.0, 0.2, 0.0],
            std: [1.0, 0.5, 1.0],
        };
        let values = nchw_f32(&[two_pixels()], &input);
        let wanted = [0.0, 0.6, 0.0, 1.2, 0.4, 1.0];
        for (value, wanted) in values.iter().zip(wanted) {
            assert!((value - wanted).abs() < 1e-6, "{values:?}");
        }
    }
}
