//! How RocksDB is set up.

use ::rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options,
};

use super::{CF_LOG, CF_META, CF_POSITIONS, CF_STATE, EmbeddedConfig};

pub(super) fn database_options(config: &EmbeddedConfig) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Point-in-time recovery would take a lost WAL file for the end of the log. The sizes of
    // synced ones are kept in the manifest, so that a missing one is an error.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_background_jobs(2);
    options.set_db_write_buffer_size(config.write_buffer_bytes);
    options.set_max_total_wal_size(2 * config.write_buffer_bytes as u64);
    options.set_max_open_files(i32::from(config.max_open_files));
    // Lets the system write files out as they grow, instead of all at once at a sync.
    options.set_bytes_per_sync(1 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(8 << 20);
    options
}

pub(super) fn column_families(config: &EmbeddedConfig) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(config.block_cache_bytes);
    let table_options = |filter_bits: Option<f64>| {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&cache);
        table.set_block_size(16 << 10);
        // Inside the cache, so that its size bounds them too.
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        if let Some(bits) = filter_bits {
            table.set_bloom_filter(bits, false);
        }
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(config.write_buffer_bytes / 2);
        options
    };
    // The log is read by ranges only, which a filter does not help.
    [
        (::rocksdb::DEFAULT_COLUMN_FAMILY_NAME, None),
        (CF_META, None),
        (CF_LOG, None),
        (CF_STATE, Some(10.0)),
        (CF_POSITIONS, Some(10.0)),
    ]
    .into_iter()
    .map(|(name, filter_bits)| ColumnFamilyDescriptor::new(name, table_options(filter_bits)))
    .collect()
}
