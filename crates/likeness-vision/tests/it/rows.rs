//! Models of rows in the real runtime.

use std::path::PathBuf;

use likeness_vision::runtime::ModelError;
use likeness_vision::runtime::fake::logistic_onnx;
use likeness_vision::runtime::onnx::OnnxRuntime;
use likeness_vision::runtime::rows::OnnxRows;

use crate::models;

const WEIGHTS: [f32; 3] = [2.0, -1.0, 0.5];
const BIAS: f32 = -0.25;

/// Returns the runtime, and a file with the model; `None` as [`models::store`] does.
fn model() -> Option<(OnnxRuntime, tempfile::TempDir, PathBuf)> {
    let library = models::store()?.resolve("onnxruntime").expect("a library");
    let runtime = OnnxRuntime::load(&library.path).expect("the library loads");
    let folder = tempfile::tempdir().expect("a folder is made");
    let file = folder.path().join("logistic.onnx");
    std::fs::write(&file, logistic_onnx(&WEIGHTS, BIAS)).expect("it is written");
    Some((runtime, folder, file))
}

#[test]
fn a_row_gets_its_number_whatever_is_beside_it() {
    let Some((runtime, _folder, file)) = model() else {
        return;
    };
    let model = OnnxRows::open(&runtime, &file, 3).unwrap();
    let rows: Vec<f32> = (0..3 * 150)
        .map(|place| (place as f32 * 0.37).sin())
        .collect();
    let all = model.run(&rows).unwrap();
    assert_eq!(all.len(), 150);
    for (row, found) in rows.chunks(3).zip(&all) {
        let sum: f32 = row
            .iter()
            .zip(WEIGHTS)
            .map(|(value, weight)| value * weight)
            .sum();
        let wanted = 1.0 / (1.0 + (-(sum + BIAS)).exp());
        assert!((found - wanted).abs() < 1e-6, "{found}, not {wanted}");
        assert_eq!(model.run(row).unwrap(), [*found], "to the bit");
    }
    assert_eq!(model.run(&[]).unwrap(), []);
}

#[test]
fn what_is_no_such_model_is_refused_and_says_what_it_is() {
    let Some((runtime, folder, file)) = model() else {
        return;
    };
    let refused = |file: &std::path::Path, n_features| {
        let error = OnnxRows::open(&runtime, file, n_features).unwrap_err();
        assert!(matches!(error, ModelError::Form { .. }), "{error:?}");
        error.to_string()
    };
    let error = refused(&file, 4);
    assert!(error.contains("f32[-1, 4] was expected"), "{error}");
    let other = folder.path().join("other.onnx");
    std::fs::write(&other, b"not a model").unwrap();
    refused(&other, 3);
    refused(&folder.path().join("missing.onnx"), 3);
}
