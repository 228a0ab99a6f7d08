//! The index behind a C interface, as a shared library: what `cargo xtask bench index` calls, so that
//! likeness is measured through the same kind of call as its peers.
//!
//! ```text
//! cargo build --release -p likeness-index --example capi     # target/release/examples/libcapi.so
//! ```
//!
//! Handles are not synchronised: one thread at a time. Vectors are `dim` floats, copied. Functions that
//! return a count or a status return a negative number on failure: -1 refused vector, -2 number taken,
//! -3 null pointer.

#![expect(unsafe_code, reason = "a C interface takes pointers")]

use std::ffi::{CStr, c_char};

use likeness_index::{Answer, Cells, CellsParams, IndexError, Metric, SearchParams, bf16};

/// An index and a buffer for the vector at hand.
#[derive(Debug)]
pub struct Handle {
    index: Cells,
    stored: Vec<u16>,
}

const REFUSED: i32 = -1;
const TAKEN: i32 = -2;
const NULL: i32 = -3;

fn status(error: &IndexError) -> i32 {
    match error {
        IndexError::Duplicate { .. } => TAKEN,
        _ => REFUSED,
    }
}

/// Makes an index. `metric`: 0 cosine, 1 squared Euclidean. `options`: null, or `key=value` pairs
/// separated by commas; the one key is `max_list`.
///
/// # Safety
/// `options` is null or a string that ends in zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn likeness_new(
    dim: u32,
    metric: u32,
    seed: u64,
    options: *const c_char,
) -> *mut Handle {
    let mut params = CellsParams {
        metric: if metric == 1 {
            Metric::Euclidean
        } else {
            Metric::Cosine
        },
        rotation_seed: seed,
        ..CellsParams::new(dim as usize)
    };
    if !options.is_null() {
        // SAFETY: the caller promises a string that ends in zero.
        let options = unsafe { CStr::from_ptr(options) }.to_string_lossy();
        for (key, value) in options.split(',').filter_map(|pair| pair.split_once('=')) {
            match (key.trim(), value.trim().parse()) {
                ("max_list", Ok(value)) => params.max_list = value,
                _ => return std::ptr::null_mut(),
            }
        }
    }
    Box::into_raw(Box::new(Handle {
        index: Cells::new(params),
        stored: vec![0; dim as usize],
    }))
}

/// Frees an index.
///
/// # Safety
/// `handle` comes from `likeness_new` and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn likeness_free(handle: *mut Handle) {
    if !handle.is_null() {
        // SAFETY: it was made by `Box::into_raw`, and the caller gives it up.
        drop(unsafe { Box::from_raw(handle) });
    }
}

/// Adds a vector; 0 or a negative status.
///
/// # Safety
/// `handle` is live; `vector` points to `dim` floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn likeness_insert(
    handle: *mut Handle,
    number: u64,
    vector: *const f32,
) -> i32 {
    // SAFETY: the caller promises a live handle, or null.
    let Some(handle) = (unsafe { handle.as_mut() }) else {
        return NULL;
    };
    // SAFETY: the caller promises `dim` floats.
    let vector = unsafe { std::slice::from_raw_parts(vector, handle.stored.len()) };
    store(&mut handle.stored, vector);
    match handle.index.insert(number, &handle.stored) {
        Ok(()) => 0,
        Err(error) => status(&error),
    }
}

/// Adds `count` vectors, or none; 0 or a negative status.
///
/// # Safety
/// `handle` is live; `numbers` points to `count` numbers, `vectors` to `count` rows of `dim` floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn likeness_insert_batch(
    handle: *mut Handle,
    numbers: *const u64,
    vectors: *const f32,
    count: u64,
) -> i32 {
    // SAFETY: the caller promises a live handle, or null.
    let Some(handle) = (unsafe { handle.as_mut() }) else {
        return NULL;
    };
    let count = count as usize;
    // SAFETY: the caller promises `count` numbers.
    let numbers = unsafe { std::slice::from_raw_parts(numbers, count) };
    // SAFETY: the caller promises `count` rows.
    let vectors = unsafe { std::slice::from_raw_parts(vectors, count * handle.stored.len()) };
    match handle.index.insert_batch(numbers, &bf16::encode(vectors)) {
        Ok(()) => 0,
        Err(error) => status(&error),
    }
}

/// Removes a vector; 1 if it was there, else 0.
///
/// # Safety
/// `handle` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn likeness_remove(handle: *mut Handle, number: u64) -> i32 {
    // SAFETY: the caller promises a live handle, or null.
    match unsafe { handle.as_mut() } {
        Some(handle) => i32::from(handle.index.remove(number)),
        None => NULL,
    }
}

/// Makes the next `cells` cells better; returns how many vectors changed their cell, or a negative status.
///
/// # Safety
/// `handle` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn likeness_refine(handle: *mut Handle, cells: u32) -> i64 {
    // SAFETY: the caller promises a live handle, or null.
    match unsafe { handle.as_mut() } {
        Some(handle) => handle.index.refine(cells as usize) as i64,
        None => i64::from(NULL),
    }
}

/// How many cells there are.
///
/// # Safety
/// `handle` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn likeness_num_cells(handle: *const Handle) -> u32 {
    // SAFETY: the caller promises a live handle, or null.
    unsafe { handle.as_ref() }.map_or(0, |handle| handle.index.num_cells() as u32)
}

/// Searches; returns how many of `k` were found, best first.
///
/// # Safety
/// `handle` is live; `query` points to `dim` floats, `numbers` and `similarities` to room for `k`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn likeness_search(
    handle: *const Handle,
    query: *const f32,
    k: u32,
    probes: u32,
    epsilon: f32,
    rerank: u32,
    numbers: *mut u64,
    similarities: *mut f32,
) -> i32 {
    // SAFETY: the caller promises a live handle, or null.
    let Some(handle) = (unsafe { handle.as_ref() }) else {
        return NULL;
    };
    // SAFETY: the caller promises `dim` floats.
    let query = unsafe { std::slice::from_raw_parts(query, handle.stored.len()) };
    let params = params(probes, epsilon, rerank);
    match handle.index.search(query, k as usize, &params, None) {
        // SAFETY: the caller promises room for `k`.
        Ok(answer) => unsafe { give(&answer, numbers, similarities) },
        Err(error) => status(&error),
    }
}

/// Searches, then adds the query; returns how many were found.
///
/// # Safety
/// As [`likeness_search`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn likeness_insert_search(
    handle: *mut Handle,
    number: u64,
    vector: *const f32,
    k: u32,
    probes: u32,
    epsilon: f32,
    rerank: u32,
    numbers: *mut u64,
    similarities: *mut f32,
) -> i32 {
    // SAFETY: the caller promises a live handle, or null.
    let Some(handle) = (unsafe { handle.as_mut() }) else {
        return NULL;
    };
    // SAFETY: the caller promises `dim` floats.
    let vector = unsafe { std::slice::from_raw_parts(vector, handle.stored.len()) };
    store(&mut handle.stored, vector);
    let params = params(probes, epsilon, rerank);
    match handle
        .index
        .insert_search(number, &handle.stored, k as usize, &params)
    {
        // SAFETY: the caller promises room for `k`.
        Ok(answer) => unsafe { give(&answer, numbers, similarities) },
        Err(error) => status(&error),
    }
}

/// Bytes held, exact vectors included.
///
/// # Safety
/// `handle` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn likeness_memory_bytes(handle: *const Handle) -> u64 {
    // SAFETY: the caller promises a live handle, or null.
    unsafe { handle.as_ref() }.map_or(0, |handle| handle.index.memory_bytes() as u64)
}

/// How many vectors there are.
///
/// # Safety
/// `handle` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn likeness_len(handle: *const Handle) -> u64 {
    // SAFETY: the caller promises a live handle, or null.
    unsafe { handle.as_ref() }.map_or(0, |handle| handle.index.len() as u64)
}

fn params(probes: u32, epsilon: f32, rerank: u32) -> SearchParams {
    SearchParams {
        probes: probes as usize,
        epsilon,
        rerank: rerank as usize,
        stop_early: true,
        ..SearchParams::default()
    }
}

fn store(stored: &mut [u16], vector: &[f32]) {
    for (stored, &component) in stored.iter_mut().zip(vector) {
        *stored = bf16::encode_one(component);
    }
}

/// # Safety
/// Both pointers have room for the neighbours of `answer`.
unsafe fn give(answer: &Answer, numbers: *mut u64, similarities: *mut f32) -> i32 {
    for (idx, neighbor) in answer.neighbors.iter().enumerate() {
        // SAFETY: the caller promises room.
        unsafe {
            numbers.add(idx).write(neighbor.number);
            similarities.add(idx).write(neighbor.similarity);
        }
    }
    answer.neighbors.len() as i32
}
