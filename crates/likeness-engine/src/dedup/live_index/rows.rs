//! Rows of the index in the state store: written with a step, read when the data is opened.

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use likeness_core::state::{Direction, Key, Row, Scan, StateStore, Table, Write};
use likeness_core::{ImageNumber, StoreError, StoreResult};
use likeness_index::{IndexError, RowChange, RowKey, TermIndex, TermLoader, TermScheme, Vectors};

use crate::dedup::erasure::ERASED_NUMBERS;
use crate::dedup::records::{NumberRecord, decode_number};
use crate::dedup::tables::{NUMBERS, NUMBERS_PER_BLOCK, SHARD, number_block};

const INDEX: Table = Table("index");
const INDEX_PAGES: Table = Table("index_pages");
const INDEX_CELLS: Table = Table("index_cells");
const POSTINGS: Table = Table("postings");

/// Pages, cells, and lists' postings that share a partition: at most some megabytes each.
const PAGES_PER_BLOCK: u32 = 65_536;
const CELLS_PER_BLOCK: u32 = 1_024;
const LISTS_PER_BLOCK: u32 = 16;
/// Numbers of a page of the index.
const NUMBERS_PER_PAGE: u64 = 64;
/// Rows of one read.
const PAGE: usize = 4_096;
/// Records of one read.
const RECORDS: usize = 1_024;
/// Partitions that are read while the rows of one are taken in.
const BLOCKS_AHEAD: usize = 4;

/// The index over whatever holds its vectors.
pub(super) type Index = TermIndex<Box<dyn Vectors>>;

/// What reading the rows came to.
#[derive(Debug)]
pub(super) enum Loaded {
    /// They make an index.
    Index(Index),
    /// There are none, or they are of no use, and why.
    Nothing(Box<dyn Vectors>, Option<IndexError>),
}

/// Returns the writes that make the stored rows those of the index.
pub(super) fn writes(changes: Vec<RowChange>) -> impl Iterator<Item = Write> {
    changes.into_iter().map(|change| {
        let key = key(change.key);
        match change.value {
            Some(value) => Write::Put(key, value.into()),
            None => Write::Delete(key),
        }
    })
}

fn key(row: RowKey) -> Key {
    match row {
        RowKey::Head => Key::single(INDEX, Bytes::from_static(SHARD)),
        RowKey::Page(page) => Key::new(INDEX_PAGES, number(page / PAGES_PER_BLOCK), number(page)),
        RowKey::Cell(cell) => Key::new(INDEX_CELLS, number(cell / CELLS_PER_BLOCK), number(cell)),
        RowKey::Posting(cell, image) => {
            let mut sort = cell.to_be_bytes().to_vec();
            sort.extend(image.to_be_bytes());
            Key::new(POSTINGS, number(cell / LISTS_PER_BLOCK), sort)
        }
    }
}

fn number(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn read_number(sort: &[u8]) -> Result<u32, IndexError> {
    let bytes = sort.try_into().map_err(|_| IndexError::Corrupt {
        reason: "a row with a key of another length".to_owned(),
    })?;
    Ok(u32::from_be_bytes(bytes))
}

fn read_posting(sort: &[u8]) -> Result<(u32, u64), IndexError> {
    let (cell, image) = sort.split_at_checked(4).unwrap_or((sort, &[]));
    let image = image.try_into().map_err(|_| IndexError::Corrupt {
        reason: "a posting with a key of another length".to_owned(),
    })?;
    Ok((read_number(cell)?, u64::from_be_bytes(image)))
}

/// Reads the numbers of images that were erased. Eight bytes of memory each, and what a tree needs beside.
///
/// # Errors
/// If the store fails.
pub(super) async fn erased(state: &dyn StateStore) -> StoreResult<BTreeSet<u64>> {
    let mut scan = Scan::all(ERASED_NUMBERS, Bytes::from_static(SHARD), PAGE);
    let mut found = BTreeSet::new();
    loop {
        let rows = state.scan(scan.clone()).await?;
        let Some(last) = rows.last() else {
            return Ok(found);
        };
        scan = scan.after(last.sort.clone());
        for row in &rows {
            let number = row.sort.as_ref().try_into().map_err(|_| {
                StoreError::corrupt("state", "erased_numbers", "a key of another length")
            })?;
            found.insert(u64::from_be_bytes(number));
        }
    }
}

/// Reads the index.
///
/// # Errors
/// If the store fails. Rows that are no index are not an error: it is made anew.
pub(super) async fn load(
    state: &dyn StateStore,
    scheme: TermScheme,
    vectors: Box<dyn Vectors>,
) -> StoreResult<Loaded> {
    let Some(head) = state.get(&key(RowKey::Head)).await? else {
        return Ok(Loaded::Nothing(vectors, None));
    };
    let mut loader = match TermLoader::new(scheme, vectors, &head) {
        Ok(loader) => loader,
        Err((vectors, error)) => return Ok(Loaded::Nothing(vectors, Some(error))),
    };
    let outcome = load_rows(state, &mut loader).await?;
    Ok(match outcome.and_then(|()| loader.check()) {
        Ok(()) => Loaded::Index(loader.finish()),
        Err(error) => Loaded::Nothing(loader.into_vectors(), Some(error)),
    })
}

async fn load_rows(
    state: &dyn StateStore,
    loader: &mut TermLoader<Box<dyn Vectors>>,
) -> StoreResult<Result<(), IndexError>> {
    let blocks = |count: u32, per_block: u32| count.div_ceil(per_block);
    let (num_pages, num_cells) = (loader.num_pages(), loader.num_cells());
    let num_groups = loader.num_groups();
    let pages = each_row(
        state,
        INDEX_PAGES,
        blocks(num_pages, PAGES_PER_BLOCK),
        |row| loader.page(read_number(&row.sort)?, &row.value),
    );
    if let Err(error) = pages.await? {
        return Ok(Err(error));
    }
    let cells = each_row(
        state,
        INDEX_CELLS,
        blocks(num_cells, CELLS_PER_BLOCK),
        |row| loader.cell(read_number(&row.sort)?, &row.value),
    );
    if let Err(error) = cells.await? {
        return Ok(Err(error));
    }
    let postings = each_row(
        state,
        POSTINGS,
        blocks(num_groups, LISTS_PER_BLOCK),
        |row| {
            let (group, image) = read_posting(&row.sort)?;
            loader.posting(group, image, &row.value)
        },
    );
    postings.await
}

/// Calls `take` for every row of the first `num_blocks` partitions, in order; reads the next ones meanwhile.
async fn each_row(
    state: &dyn StateStore,
    table: Table,
    num_blocks: u32,
    mut take: impl FnMut(&Row) -> Result<(), IndexError>,
) -> StoreResult<Result<(), IndexError>> {
    let mut blocks = stream::iter(0..num_blocks)
        .map(|block| read_block(state, table, block))
        .buffered(BLOCKS_AHEAD);
    while let Some(rows) = blocks.try_next().await? {
        for row in &rows {
            if let Err(error) = take(row) {
                return Ok(Err(error));
            }
        }
    }
    Ok(Ok(()))
}

/// All rows of a partition, which is some megabytes at most.
async fn read_block(state: &dyn StateStore, table: Table, block: u32) -> StoreResult<Vec<Row>> {
    let mut scan = Scan::all(table, number(block), PAGE);
    let mut rows = state.scan(scan.clone()).await?;
    loop {
        let Some(last) = rows.last().filter(|_| rows.len().is_multiple_of(PAGE)) else {
            return Ok(rows);
        };
        scan.lower = Bound::Excluded(last.sort.clone());
        let more = state.scan(scan.clone()).await?;
        if more.is_empty() {
            return Ok(rows);
        }
        rows.extend(more);
    }
}

/// Deletes what is stored, before other rows are written: of an index of either scheme, of `num_images` or not
/// many more.
///
/// # Errors
/// If the store fails.
pub(super) async fn clear(state: &dyn StateStore, num_images: u64) -> StoreResult<()> {
    // The head first: without it the other rows are none.
    state.write(vec![Write::Delete(key(RowKey::Head))]).await?;
    // Pages, and the groups of postings that are named after them, may leave long gaps where images were erased.
    let num_pages = u32::try_from(num_images.div_ceil(NUMBERS_PER_PAGE)).unwrap_or(u32::MAX);
    for (table, num_blocks) in [
        (INDEX_PAGES, num_pages.div_ceil(PAGES_PER_BLOCK)),
        (INDEX_CELLS, 0),
        (POSTINGS, num_pages.div_ceil(LISTS_PER_BLOCK)),
    ] {
        let mut block = 0;
        // Blocks are used from the first one on; one that is empty may be followed by others that are not.
        let mut empty = 0;
        while empty < EMPTY_BLOCKS || block < num_blocks {
            let rows = state.scan(Scan::all(table, number(block), PAGE)).await?;
            if rows.is_empty() {
                empty += 1;
                block += 1;
                continue;
            }
            empty = 0;
            let deletes = rows
                .iter()
                .map(|row| Write::Delete(Key::new(table, number(block), row.sort.clone())));
            state.write(deletes.collect()).await?;
        }
    }
    Ok(())
}

/// Blocks without a row after which there are no more of cells: 16 times 64 cells without a vector do not occur,
/// since cells are named from the least free name up.
const EMPTY_BLOCKS: u32 = 64;

/// Writes all rows of an index that was made anew, the head last.
///
/// # Errors
/// If the store fails.
pub(in crate::dedup) async fn write_all(
    state: &dyn StateStore,
    changes: Vec<RowChange>,
) -> StoreResult<()> {
    let (head, rows): (Vec<_>, Vec<_>) = changes
        .into_iter()
        .partition(|change| change.key == RowKey::Head);
    let mut rows = writes(rows);
    loop {
        let chunk: Vec<Write> = rows.by_ref().take(PAGE).collect();
        if chunk.is_empty() {
            break;
        }
        state.write(chunk).await?;
    }
    state.write(writes(head).collect()).await
}

/// An index error as an error of the store that the index is in.
pub(in crate::dedup) fn corrupt(error: &IndexError) -> StoreError {
    match error {
        IndexError::Storage { .. } => {
            StoreError::unavailable("index", std::io::Error::other(error.to_string()))
        }
        _ => StoreError::corrupt("index", "embedding", error.to_string()),
    }
}

/// Calls `take` for the records of `numbers`, in order; without one where the image was erased.
pub(super) async fn each_record(
    state: &dyn StateStore,
    numbers: std::ops::Range<u64>,
    mut take: impl FnMut(ImageNumber, Option<&NumberRecord>) -> StoreResult<()>,
) -> StoreResult<()> {
    let mut next = numbers.start;
    while next < numbers.end {
        let rows = state
            .scan(Scan {
                table: NUMBERS,
                partition: number_block(next / NUMBERS_PER_BLOCK),
                lower: Bound::Included(Bytes::copy_from_slice(&next.to_be_bytes())),
                upper: Bound::Excluded(Bytes::copy_from_slice(&numbers.end.to_be_bytes())),
                direction: Direction::Ascending,
                limit: RECORDS,
            })
            .await?;
        if rows.is_empty() {
            return Err(missing(next));
        }
        for row in &rows {
            if row.sort.as_ref() != next.to_be_bytes() {
                return Err(missing(next));
            }
            let record = decode_number(&row.value)?;
            let record = record.as_ref().filter(|it| !it.is_placeholder());
            take(ImageNumber(next), record)?;
            next += 1;
        }
    }
    Ok(())
}

fn missing(number: u64) -> StoreError {
    StoreError::corrupt(
        "state",
        format!("numbers/{number}"),
        "missing, though the totals count it",
    )
}
