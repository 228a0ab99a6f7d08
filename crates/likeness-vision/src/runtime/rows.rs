//! ONNX models that give each row of numbers one number, such as scorers of pairs.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::session::Session;
use ort::session::builder::PrepackedWeights;
use ort::value::{Tensor, TensorElementType, ValueType};

use super::onnx::{OnnxRuntime, open_session};
use super::{ModelError, denormals};

/// Rows of one run. Always so many, the last ones filled up: with another number of rows the runtime may take another
/// kernel, whose last bits differ, and a row's number would depend on the rows beside it.
const ROWS: usize = 64;

/// A model of one input `f32[-1, n_features]` and an output `f32[-1]` or `f32[-1, 1]`, run in this process on the
/// thread that calls.
pub struct OnnxRows {
    name: String,
    n_features: usize,
    /// Place among the outputs.
    output: usize,
    session: Mutex<Session>,
    /// Must outlive the session, hence declared after it.
    _packed: PrepackedWeights,
}

impl fmt::Debug for OnnxRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxRows")
            .field("name", &self.name)
            .field("n_features", &self.n_features)
            .finish_non_exhaustive()
    }
}

impl OnnxRows {
    /// Opens the model in `file`, which takes `n_features` numbers a row.
    ///
    /// # Errors
    /// [`ModelError::Form`] if the file is no model, or one of another form.
    pub fn open(runtime: &OnnxRuntime, file: &Path, n_features: usize) -> Result<Self, ModelError> {
        let name = file.display().to_string();
        let refuse = |reason: String| ModelError::Form {
            model: name.clone(),
            reason,
        };
        let packed = PrepackedWeights::new();
        let session =
            open_session(runtime, file, &packed).map_err(|error| refuse(error.to_string()))?;
        let output = check_form(&session, n_features).map_err(refuse)?;
        Ok(Self {
            n_features,
            output,
            session: Mutex::new(session),
            _packed: packed,
            name,
        })
    }

    /// Numbers that it takes a row.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Returns a number for each of `rows`, row-major. A row's number does not depend on the others.
    ///
    /// # Errors
    /// [`ModelError::Failed`] if the model fails, [`ModelError::BadOutput`] if it gives another count of numbers.
    ///
    /// # Panics
    /// If `rows` are not whole rows.
    pub fn run(&self, rows: &[f32]) -> Result<Vec<f32>, ModelError> {
        assert!(
            rows.len().is_multiple_of(self.n_features),
            "{} numbers are not rows of {}",
            rows.len(),
            self.n_features
        );
        let failed = |reason: String| ModelError::Failed {
            model: self.name.clone(),
            reason,
        };
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut numbers = Vec::with_capacity(rows.len() / self.n_features);
        for part in rows.chunks(ROWS * self.n_features) {
            let mut filled = part.to_vec();
            filled.resize(ROWS * self.n_features, 0.0);
            let tensor = Tensor::from_array(([ROWS, self.n_features], filled))
                .map_err(|error| failed(error.to_string()))?;
            let outputs = denormals::flushed(|| session.run(ort::inputs![tensor]))
                .map_err(|error| failed(error.to_string()))?;
            let (shape, values) = outputs[self.output]
                .try_extract_tensor::<f32>()
                .map_err(|error| failed(error.to_string()))?;
            if values.len() != ROWS {
                return Err(ModelError::BadOutput {
                    reason: format!("expected `{ROWS}` numbers, got shape `{shape:?}`"),
                });
            }
            numbers.extend_from_slice(&values[..part.len() / self.n_features]);
        }
        Ok(numbers)
    }
}

/// Checks what the model takes and gives; returns which output it is.
fn check_form(session: &Session, n_features: usize) -> Result<usize, String> {
    let float = |outlet: &ValueType| match outlet {
        ValueType::Tensor { ty, shape, .. } if *ty == TensorElementType::Float32 => {
            Some(shape.to_vec())
        }
        _ => None,
    };
    let wanted = i64::try_from(n_features).map_err(|error| error.to_string())?;
    let [input] = session.inputs() else {
        return Err(format!(
            "it has `{}` inputs, and one was expected",
            session.inputs().len()
        ));
    };
    let is_row = |size: i64| size == wanted || size == -1;
    match float(input.dtype()).as_deref() {
        Some([-1, size]) if is_row(*size) => {}
        _ => {
            return Err(format!(
                "its input is `{}`, and f32[-1, {n_features}] was expected",
                input.dtype()
            ));
        }
    }
    let is_one = |shape: &[i64]| matches!(shape, [-1] | [-1, 1 | -1]);
    let outputs = session.outputs();
    let found = outputs
        .iter()
        .position(|output| float(output.dtype()).is_some_and(|shape| is_one(&shape)));
    found.ok_or_else(|| {
        let types: Vec<_> = outputs.iter().map(|it| it.dtype().to_string()).collect();
        format!("its outputs are `{types:?}`, and f32[-1] or f32[-1, 1] was expected among them")
    })
}
