//! Keys and values as bytes; the layout stands in the header of the module above.

use std::ops::Bound;

use bytes::Bytes;
use likeness_core::log::{NewRecord, Offset, Partition, Record, Topic};
use likeness_core::state::{Key, Scan, Table};
use likeness_core::step::Consumer;
use likeness_core::{StoreError, StoreResult};

use super::STORE;

pub(super) fn log_key(topic: Topic, partition: Partition, offset: Offset) -> Vec<u8> {
    let mut key = log_prefix(topic, partition);
    key.extend_from_slice(&offset.0.to_be_bytes());
    key
}

/// What all log keys of a partition begin with.
pub(super) fn log_prefix(topic: Topic, partition: Partition) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(topic.0.len() + 1 + 4 + 8);
    prefix.extend_from_slice(topic.0.as_bytes());
    prefix.push(0);
    prefix.extend_from_slice(&partition.0.to_be_bytes());
    prefix
}

/// Returns the topic and the partition in a log key.
pub(super) fn log_place(key: &[u8]) -> StoreResult<(String, Partition)> {
    let damaged = || corrupt(key, "not the key of a log record");
    let (prefix, _) = key.split_last_chunk::<8>().ok_or_else(damaged)?;
    let (topic, partition) = prefix.split_last_chunk::<4>().ok_or_else(damaged)?;
    let topic = topic.strip_suffix(&[0]).ok_or_else(damaged)?;
    let topic = String::from_utf8(topic.to_vec()).map_err(|_| damaged())?;
    Ok((topic, Partition(u32::from_be_bytes(*partition))))
}

/// Returns the table, the partition key and the sort key in a key of the state.
pub(super) fn read_state_key(key: &[u8]) -> StoreResult<(String, Bytes, Bytes)> {
    let damaged = || corrupt(key, "not the key of a row");
    let end = key.iter().position(|&byte| byte == 0).ok_or_else(damaged)?;
    let table = String::from_utf8(key[..end].to_vec()).map_err(|_| damaged())?;
    let (len, rest) = key[end + 1..].split_first_chunk().ok_or_else(damaged)?;
    let len = usize::from(u16::from_be_bytes(*len));
    let (partition, sort) = rest.split_at_checked(len).ok_or_else(damaged)?;
    let copy = Bytes::copy_from_slice;
    Ok((table, copy(partition), copy(sort)))
}

/// Returns the offset in a log key.
pub(super) fn log_offset(key: &[u8]) -> StoreResult<Offset> {
    match key.last_chunk() {
        Some(offset) => Ok(Offset(u64::from_be_bytes(*offset))),
        None => Err(corrupt(key, "a log key is too short")),
    }
}

pub(super) fn log_value(record: &NewRecord) -> StoreResult<Vec<u8>> {
    let key_len = u32::try_from(record.key.len())
        .map_err(|_| StoreError::invalid(STORE, "a record's key has 4 GiB or more"))?;
    let mut value = Vec::with_capacity(4 + record.key.len() + record.payload.len());
    value.extend_from_slice(&key_len.to_be_bytes());
    value.extend_from_slice(&record.key);
    value.extend_from_slice(&record.payload);
    Ok(value)
}

pub(super) fn read_record(log_key: &[u8], value: &[u8]) -> StoreResult<Record> {
    let too_short = || corrupt(log_key, "a log record is too short");
    let (key_len, rest) = value.split_first_chunk().ok_or_else(too_short)?;
    let key_len = usize::try_from(u32::from_be_bytes(*key_len)).map_err(|_| too_short())?;
    if rest.len() < key_len {
        return Err(too_short());
    }
    let mut key = Bytes::copy_from_slice(rest);
    let payload = key.split_off(key_len);
    Ok(Record {
        offset: log_offset(log_key)?,
        key,
        payload,
    })
}

pub(super) fn state_key(key: &Key) -> Vec<u8> {
    let mut bytes = state_prefix(key.table, &key.partition, key.sort.len());
    bytes.extend_from_slice(&key.sort);
    bytes
}

/// Returns the range of database keys that a scan covers: the first key, and the first after it.
pub(super) fn scan_range(scan: &Scan) -> (Vec<u8>, Vec<u8>) {
    let prefix = state_prefix(scan.table, &scan.partition, 0);
    let at = |sort: &Bytes| [&prefix[..], &sort[..]].concat();
    // The next key after `sort`: no byte string lies between it and itself with a zero appended.
    let after = |sort: &Bytes| [&prefix[..], &sort[..], &[0]].concat();
    let lower = match &scan.lower {
        Bound::Included(sort) => at(sort),
        Bound::Excluded(sort) => after(sort),
        Bound::Unbounded => prefix.clone(),
    };
    let upper = match &scan.upper {
        Bound::Included(sort) => after(sort),
        Bound::Excluded(sort) => at(sort),
        Bound::Unbounded => after_prefix(&prefix),
    };
    (lower, upper)
}

/// Returns how many bytes of a database key of the scanned partition come before the sort key.
pub(super) fn scan_prefix_len(scan: &Scan) -> usize {
    scan.table.0.len() + 1 + 2 + scan.partition.len()
}

/// What all keys of a state partition begin with, with room for a sort key. The length before
/// the partition key keeps partitions apart whatever their bytes; rows of one lie together in the
/// order of their sort keys.
fn state_prefix(table: Table, partition: &[u8], sort_len: usize) -> Vec<u8> {
    let partition_len =
        u16::try_from(partition.len()).expect("a validated partition key has at most 1024 bytes");
    let mut prefix = Vec::with_capacity(table.0.len() + 3 + partition.len() + sort_len + 1);
    prefix.extend_from_slice(table.0.as_bytes());
    prefix.push(0);
    prefix.extend_from_slice(&partition_len.to_be_bytes());
    prefix.extend_from_slice(partition);
    prefix
}

/// Returns the smallest key that is greater than every key that begins with `prefix`.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut key = prefix.to_vec();
    while let Some(byte) = key.pop() {
        if let Some(next) = byte.checked_add(1) {
            key.push(next);
            break;
        }
    }
    debug_assert!(!key.is_empty(), "a prefix begins with a table's name");
    key
}

pub(super) fn position_key(consumer: Consumer, topic: Topic, partition: Partition) -> Vec<u8> {
    let mut key = Vec::with_capacity(consumer.0.len() + topic.0.len() + 6);
    key.extend_from_slice(consumer.0.as_bytes());
    key.push(0);
    key.extend_from_slice(topic.0.as_bytes());
    key.push(0);
    key.extend_from_slice(&partition.0.to_be_bytes());
    key
}

pub(super) fn position_value(next: Offset) -> [u8; 8] {
    next.0.to_be_bytes()
}

pub(super) fn read_position(key: &[u8], value: &[u8]) -> StoreResult<Offset> {
    match value.try_into() {
        Ok(next) => Ok(Offset(u64::from_be_bytes(next))),
        Err(_) => Err(corrupt(key, "a position does not have 8 bytes")),
    }
}

fn corrupt(key: &[u8], reason: &str) -> StoreError {
    StoreError::corrupt(STORE, key.escape_ascii().to_string(), reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOPIC: Topic = Topic("events");

    fn key(table: &'static str, partition: &[u8], sort: &[u8]) -> Key {
        Key::new(Table(table), partition.to_vec(), sort.to_vec())
    }

    #[test]
    fn keys_read_back() {
        let partition = Partition(7);
        let key = log_key(TOPIC, partition, Offset(u64::MAX));
        assert_eq!(log_place(&key).unwrap(), ("events".to_owned(), partition));
        assert!(log_place(b"short").is_err());
        for (partition, sort) in [(&b"p"[..], &b""[..]), (b"\0", b"\0\xff"), (b"ab", b"c")] {
            let found = read_state_key(&state_key(&super::tests::key("table", partition, sort)));
            let (table, found_partition, found_sort) = found.unwrap();
            assert_eq!(table, "table");
            assert_eq!((&found_partition[..], &found_sort[..]), (partition, sort));
        }
        assert!(read_state_key(b"table\0\0\x09p").is_err());
    }

    #[test]
    fn layout_is_the_documented_one() {
        let record = NewRecord {
            key: Bytes::from("k"),
            payload: Bytes::from("payload"),
        };
        assert_eq!(
            log_key(TOPIC, Partition(1), Offset(2)),
            b"events\0\0\0\0\x01\0\0\0\0\0\0\0\x02"
        );
        assert_eq!(
            log_value(&record).expect("a short key"),
            b"\0\0\0\x01kpayload"
        );
        assert_eq!(state_key(&key("t", b"part", b"sort")), b"t\0\0\x04partsort");
        assert_eq!(
            position_key(Consumer("c"), TOPIC, Partition(3)),
            b"c\0events\0\0\0\0\x03"
        );
        assert_eq!(position_value(Offset(258)), [0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn damaged_values_are_corrupt_and_do_not_panic() {
        let log_key = log_key(TOPIC, Partition(0), Offset(0));
        for value in [&b""[..], b"\0\0\0", b"\0\0\0\x02a", b"\xff\xff\xff\xffab"] {
            let read = read_record(&log_key, value);
            assert!(
                matches!(read, Err(StoreError::Corrupt { .. })),
                "{value:?}: {read:?}"
            );
        }
        assert!(read_record(b"short", b"\0\0\0\0").is_err());
        assert!(read_position(b"key", b"1234567").is_err());
    }

    #[test]
    fn the_range_after_a_prefix_of_high_bytes_is_closed() {
        assert_eq!(after_prefix(b"t\0\xff\xff"), b"t\x01");
        assert_eq!(after_prefix(b"ta"), b"tb");
    }

    /// Few letters, so that generated keys are often each other's prefixes.
    fn part(min_len: usize) -> impl Strategy<Value = Vec<u8>> {
        let byte = prop::sample::select(vec![0u8, 1, b'a', 0xfe, 0xff]);
        prop::collection::vec(byte, min_len..5)
    }

    proptest! {
        #[test]
        fn log_records_read_back(key: Vec<u8>, payload: Vec<u8>, offset: u64) {
            let record = NewRecord { key: key.into(), payload: payload.into() };
            let log_key = log_key(TOPIC, Partition(7), Offset(offset));
            let value = log_value(&record).expect("a short key");
            let read = read_record(&log_key, &value).expect("just written");
            prop_assert_eq!(read.offset, Offset(offset));
            prop_assert_eq!(read.key, record.key);
            prop_assert_eq!(read.payload, record.payload);
        }

        #[test]
        fn state_keys_are_unambiguous_and_sort_by_sort_key(
            tables in (prop::sample::select(vec!["t", "t_", "u"]), prop::sample::select(vec!["t", "t_", "u"])),
            partitions in (part(1), part(1)),
            sorts in (part(0), part(0)),
        ) {
            let first = key(tables.0, &partitions.0, &sorts.0);
            let second = key(tables.1, &partitions.1, &sorts.1);
            let (first_key, second_key) = (state_key(&first), state_key(&second));
            prop_assert_eq!(first_key == second_key, first == second);
            if (first.table, &first.partition) == (second.table, &second.partition) {
                prop_assert_eq!(first_key.cmp(&second_key), first.sort.cmp(&second.sort));
            }
        }

        #[test]
        fn a_scan_covers_the_rows_of_its_partition_and_no_other(
            scanned in part(1), other in (part(1), part(0)),
        ) {
            let scan = Scan::all(Table("t"), scanned.clone(), 1);
            let (lower, upper) = scan_range(&scan);
            let row = state_key(&key("t", &other.0, &other.1));
            prop_assert_eq!(lower <= row && row < upper, scanned == other.0);
            if scanned == other.0 {
                prop_assert_eq!(&row[scan_prefix_len(&scan)..], &other.1[..]);
            }
        }
    }
}
