//! Where tests find real models.

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use likeness_vision::models::catalogue::DEFAULT_COPY_DETECTION;
use likeness_vision::models::store::ModelStore;
use likeness_vision::runtime::onnx::{OnnxEmbedder, OnnxRuntime};

/// The folder of a model store that holds the default models.
const MODELS: &str = "LIKENESS_MODELS";
/// If `1`, a missing store is a failure: set where tests must not pass for want of models.
const REQUIRE_MODELS: &str = "LIKENESS_REQUIRE_MODELS";

/// Returns the store, or `None` after saying why the test can show nothing here.
///
/// # Panics
/// If there is none though `LIKENESS_REQUIRE_MODELS=1` asks for it.
pub(crate) fn store() -> Option<ModelStore> {
    if let Some(root) = env::var_os(MODELS) {
        return Some(ModelStore::new(PathBuf::from(root)));
    }
    let required = env::var(REQUIRE_MODELS).is_ok_and(|value| value == "1");
    assert!(!required, "{REQUIRE_MODELS}=1, but {MODELS} is not set");
    let notice = format!("no models to test with: {MODELS} is not set\n");
    std::io::stderr()
        .write_all(notice.as_bytes())
        .expect("stderr can be written");
    None
}

/// Returns the default copy-detection model with `n_sessions` sessions, or `None` as [`store`] does.
pub(crate) fn copy_detector(n_sessions: usize) -> Option<Arc<OnnxEmbedder>> {
    let store = store()?;
    let library = store
        .resolve("onnxruntime")
        .expect("no library in the store");
    let model = store
        .resolve(DEFAULT_COPY_DETECTION)
        .expect("no copy-detection model in the store");
    let runtime = OnnxRuntime::load(&library.path).expect("the library loads");
    let embedder = OnnxEmbedder::open(&runtime, &model.path, &model.manifest, n_sessions)
        .expect("the model opens");
    Some(Arc::new(embedder))
}
