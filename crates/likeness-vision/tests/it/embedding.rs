//! The real copy-detection model, through the real library.

use std::sync::Arc;
use std::time::Duration;

use likeness_vision::RgbImage;
use likeness_vision::decode::{DecodeLimits, decode};
use likeness_vision::edits::Edit;
use likeness_vision::models::manifest::{InputSpec, Layout};
use likeness_vision::runtime::onnx::{OnnxEmbedder, OnnxRuntime};
use likeness_vision::runtime::queue::{ModelPool, PoolConfig};
use likeness_vision::runtime::{Embedder, Embedding, ModelError, prepare};

use crate::{drawings, models};

fn embed(embedder: &OnnxEmbedder, images: &[RgbImage]) -> Vec<Embedding> {
    let prepared: Vec<_> = images
        .iter()
        .map(|image| prepare(image, embedder.spec()))
        .collect();
    embedder.embed(&prepared).expect("the model runs")
}

#[test]
fn copies_score_above_the_threshold_and_other_pictures_below() {
    // Above the largest cosine of two different photographs (evaluation of the model: .499).
    const THRESHOLD: f32 = 0.5;
    let Some(embedder) = models::copy_detector(1) else {
        return;
    };
    let drawings = drawings::all();
    let originals = embed(&embedder, &drawings);
    for (drawing_idx, drawing) in drawings.iter().enumerate() {
        for edit in [Edit::Jpeg20, Edit::Resize25, Edit::Squash, Edit::Mirror] {
            let file = edit.apply(drawing, &[], 1);
            let copy = decode(&file, &DecodeLimits::default(), None).expect("our own file");
            let copy = embed(&embedder, &[copy.image]).remove(0);
            for (original_idx, original) in originals.iter().enumerate() {
                let cosine = original.dot(&copy);
                assert_eq!(
                    cosine > THRESHOLD,
                    original_idx == drawing_idx,
                    "{} of {drawing_idx} with {original_idx}: {cosine}",
                    edit.name()
                );
            }
        }
    }
}

#[test]
fn outputs_are_unit_vectors_that_do_not_depend_on_the_batch() {
    let Some(embedder) = models::copy_detector(1) else {
        return;
    };
    let drawings = drawings::all();
    let together = embed(&embedder, &drawings);
    assert_eq!(together.len(), drawings.len());
    for (drawing, in_batch) in drawings.iter().zip(&together) {
        assert_eq!(in_batch.as_slice().len(), 512);
        assert!((in_batch.dot(in_batch) - 1.0).abs() < 1e-5);
        let alone = embed(&embedder, std::slice::from_ref(drawing)).remove(0);
        assert!(alone.dot(in_batch) > 0.999_99);
    }
    assert_eq!(embedder.embed(&[]).expect("nothing to do"), []);
}

#[test]
fn images_of_the_wrong_size_are_refused() {
    let Some(embedder) = models::copy_detector(1) else {
        return;
    };
    let error = embedder
        .embed(&drawings::all()[..1])
        .expect_err("it is 400×300");
    assert!(
        matches!(error, ModelError::WrongInput { expected: 224, .. }),
        "{error}"
    );
}

#[test]
fn a_pool_gives_every_caller_its_own_answer() {
    let Some(embedder) = models::copy_detector(2) else {
        return;
    };
    let drawings = drawings::all();
    let expected = embed(&embedder, &drawings);
    // More requests than the queue holds, so that callers wait for room.
    let requests: Vec<usize> = (0..24).map(|number| number % drawings.len()).collect();
    let config = PoolConfig {
        n_threads: 2,
        capacity: 8,
        max_batch: 4,
        max_wait: Duration::from_millis(1),
    };
    let spec = embedder.spec().clone();
    let pool = Arc::new(ModelPool::start(embedder, &config).expect("threads start"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime starts");
    let answers: Vec<_> = requests
        .iter()
        .map(|&drawing_idx| {
            let pool = Arc::clone(&pool);
            let image = prepare(&drawings[drawing_idx], &spec);
            runtime.spawn(async move { pool.embed(image).await })
        })
        .collect();
    for (answer, drawing_idx) in answers.into_iter().zip(requests) {
        let answer = runtime
            .block_on(answer)
            .expect("no panic")
            .expect("an answer");
        assert!(answer.dot(&expected[drawing_idx]) > 0.999_99);
    }
    assert_eq!(pool.stats().n_images, 24);
}

#[test]
fn a_manifest_that_does_not_fit_the_file_is_refused_before_the_first_image() {
    let Some(store) = models::store() else {
        return;
    };
    let library = store.resolve("onnxruntime").expect("no library");
    let model = store.resolve("sscd-distilled").expect("no model");
    let runtime = OnnxRuntime::load(&library.path).expect("the library loads");
    let mut wrong_layout = model.manifest.clone();
    wrong_layout.input = Some(InputSpec {
        layout: Layout::NchwF32,
        side: 224,
        mean: [0.0; 3],
        std: [1.0; 3],
    });
    let mut wrong_dim = model.manifest.clone();
    wrong_dim.output.as_mut().expect("it has one").dim = 128;
    let mut wrong_size = model.manifest.clone();
    wrong_size.bytes += 1;
    for (manifest, reason) in [
        (wrong_layout, "promises an input"),
        (wrong_dim, "promises an output"),
        (wrong_size, "wrong size"),
    ] {
        let error = OnnxEmbedder::open(&runtime, &model.path, &manifest, 1).expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
    }
    let another = OnnxRuntime::load(&model.path).expect_err("one library a process");
    assert!(another.to_string().contains("already loaded"), "{another}");
}
