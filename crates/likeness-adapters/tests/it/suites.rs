use std::sync::Arc;

use likeness_adapters::{
    FolderConfig, MemoryCatalog, MemoryJobs, MemoryObjectStore, MemoryStore, SqliteConfig,
    open_folder, open_sqlite,
};
use likeness_core::catalog::Catalog;
use likeness_core::jobs::JobStore;
use likeness_core::log::EventLog;
use likeness_core::objects::ObjectStore;
use likeness_core::state::StateStore;
use likeness_core::step::{SequencedStepStore, StepStore};
use likeness_core::testsuite::{
    Repeats, StepParts, check_catalog, check_catalog_reopen, check_jobs, check_jobs_reopen,
    check_log, check_log_reopen, check_objects, check_objects_reopen, check_state,
    check_state_reopen, check_step, check_step_reopen,
};
use tempfile::TempDir;

use crate::support::open_small;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn memory_parts() -> StepParts {
    let store = Arc::new(MemoryStore::new());
    StepParts {
        steps: store.clone(),
        log: store.clone(),
        state: store,
    }
}

fn embedded_parts(folder: &TempDir) -> StepParts {
    let store = open_small(folder.path());
    StepParts {
        steps: store.clone(),
        log: store.clone(),
        state: store,
    }
}

fn sequenced(parts: StepParts) -> StepParts {
    let steps = SequencedStepStore::new(parts.log.clone(), parts.state.clone());
    StepParts {
        steps: Arc::new(steps) as Arc<dyn StepStore>,
        ..parts
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_store_keeps_the_contract_of_a_log() {
    check_log(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_store_keeps_the_contract_of_a_state_store() {
    check_state(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_store_keeps_the_contract_of_a_step_store() {
    check_step(memory_parts(), Repeats::Detected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sequenced_steps_over_memory_keep_the_contract_of_a_step_store() {
    check_step(sequenced(memory_parts()), Repeats::Possible).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_objects_keep_the_contract_of_an_object_store() {
    check_objects(Arc::new(MemoryObjectStore::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_catalog_keeps_the_contract_of_a_catalog() {
    check_catalog(Arc::new(MemoryCatalog::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_store_keeps_the_contract_of_a_log() {
    let folder = folder();
    check_log(open_small(folder.path())).await;
    check_log_reopen(async || open_small(folder.path()) as Arc<dyn EventLog>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_store_keeps_the_contract_of_a_state_store() {
    let folder = folder();
    check_state(open_small(folder.path())).await;
    check_state_reopen(async || open_small(folder.path()) as Arc<dyn StateStore>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_store_keeps_the_contract_of_a_step_store() {
    let folder = folder();
    check_step(embedded_parts(&folder), Repeats::Detected).await;
    check_step_reopen(async || embedded_parts(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sequenced_steps_over_the_embedded_store_keep_the_contract_of_a_step_store() {
    let folder = folder();
    check_step(sequenced(embedded_parts(&folder)), Repeats::Possible).await;
    check_step_reopen(async || sequenced(embedded_parts(&folder))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folder_objects_keep_the_contract_of_an_object_store() {
    let folder = folder();
    let config = FolderConfig {
        path: folder.path().join("objects"),
    };
    let open = || open_folder(&config).expect("opening the folder");
    check_objects(open()).await;
    check_objects_reopen(async || open() as Arc<dyn ObjectStore>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_catalog_keeps_the_contract_of_a_catalog() {
    let folder = folder();
    let config = SqliteConfig {
        path: folder.path().join("below/catalog.db"),
    };
    let open = || open_sqlite(&config).expect("opening the catalog");
    check_catalog(open()).await;
    check_catalog_reopen(async || open() as Arc<dyn Catalog>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_jobs_keep_the_contract_of_jobs() {
    check_jobs(Arc::new(MemoryJobs::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract_of_jobs() {
    let folder = folder();
    let config = SqliteConfig {
        path: folder.path().join("catalog.db"),
    };
    check_jobs(open_sqlite(&config).expect("a catalog")).await;
    check_jobs_reopen(async || open_sqlite(&config).expect("a catalog") as Arc<dyn JobStore>).await;
}
