//! Tables, lake and queries of pins.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use likeness_adapters::{FolderConfig, SqliteConfig, open_folder, open_sqlite_tables};
use likeness_core::log::EventLog;
use likeness_core::objects::ObjectStore;
use likeness_core::query::SqlEngine;
use likeness_core::sql::Tables;
use likeness_core::table::TableSpec;
use likeness_core::{StoreError, StoreResult};
use likeness_engine::pins::lake::{DailyConfig, LakeWay, PinsDaily, TablesWay};
use likeness_engine::pins::stream::{EXPERIMENTAL_DATA, PINS_PER_MINUTE, PROFILES};
use likeness_engine::pins::tables::{GEOLOCATIONS, PINS, REJECTED, USERS};
use likeness_lake::{LakeSql, LakeTable, LiveTable, ObjectLake, SqlConfig};

use crate::cli::Context;
use crate::config::or_default;
use crate::error::Refusal;
use crate::pins_section::TablesAddress;

/// Tables of the lake, and what they hold.
const TABLES: [LakeTable; 4] = [
    table(&PINS, "Clean pins, by their ids.", true),
    table(
        &GEOLOCATIONS,
        "Where and when pins were posted, by the number of the pin.",
        true,
    ),
    table(&USERS, "Who posted pins, by the number of the pin.", true),
    table(
        &REJECTED,
        "Events that could not be cleaned, with field and reason.",
        false,
    ),
];

/// Tables of the stream, and what they hold.
const LIVE: [LiveTable; 6] = [
    live(
        &EXPERIMENTAL_DATA,
        "Clean pins with the time at which they were posted, as the stream has them.",
    ),
    live(
        &GEOLOCATIONS,
        "Where and when pins were posted, as the stream has them.",
    ),
    live(&USERS, "Who posted pins, as the stream has them."),
    live(
        &REJECTED,
        "Events that could not be cleaned, as the stream has them.",
    ),
    live(&PINS_PER_MINUTE, "Pins of each category and minute."),
    live(&PROFILES, "Followers, pins and score of each profile."),
];

const fn table(spec: &'static TableSpec, about: &'static str, has_versions: bool) -> LakeTable {
    LakeTable {
        spec,
        about,
        has_versions,
    }
}

const fn live(spec: &'static TableSpec, about: &'static str) -> LiveTable {
    LiveTable { spec, about }
}

/// Where pins are kept.
pub(super) struct PinStores {
    pub(super) tables: Arc<dyn Tables>,
    pub(super) lake: Arc<ObjectLake>,
    pub(super) sql: Arc<LakeSql>,
}

impl PinStores {
    /// Returns the daily batch.
    pub(super) fn daily(&self, log: Arc<dyn EventLog>) -> PinsDaily {
        PinsDaily::new(
            log,
            self.lake.clone(),
            LakeWay::new(self.lake.clone(), self.sql.clone()),
            TablesWay::new(self.tables.clone()),
            DailyConfig::default(),
        )
    }
}

/// Opens tables and lake. A database elsewhere need not be reached yet.
///
/// # Errors
/// If a file cannot be opened, or the product is not built in.
pub(super) async fn open(
    context: &Context,
    objects: Arc<dyn ObjectStore>,
) -> anyhow::Result<PinStores> {
    let tables = open_tables(&context.config.pins.tables, &context.data_dir)
        .await
        .context("cannot open the tables of pins (`pins.tables`)")?;
    let lake = Arc::new(ObjectLake::new(objects));
    let section = &context.config.sql;
    let config = SqlConfig {
        memory_bytes: section.memory.as_usize(),
        spill_bytes: section.spill.0,
        spill_dir: context.data_dir.join("spill"),
        timeout: section.timeout.0,
        max_queries: section.max_queries,
        threads: or_default(
            section.threads,
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        ),
    };
    let live = Some((tables.clone(), LIVE.to_vec()));
    let sql = LakeSql::new(lake.clone(), TABLES.to_vec(), live, &config)
        .context("cannot prepare queries (`[sql]`)")?;
    Ok(PinStores {
        tables,
        lake,
        sql: Arc::new(sql),
    })
}

/// Opens lake and tables of the data directory for queries, in this process. Nothing is written but what queries spill.
///
/// # Errors
/// [`Refusal::Missing`] if there is no data directory: a query is no reason to make one. If stores cannot be opened.
pub(crate) async fn open_sql(context: &Context) -> anyhow::Result<Arc<dyn SqlEngine>> {
    if !context.data_dir.join("objects").is_dir() {
        return Err(Refusal::Missing.because(format!(
            "there is no data in `{}`; `likeness serve` makes it, `--data-dir` names another one",
            context.data_dir.display()
        )));
    }
    let folder = FolderConfig {
        path: context.data_dir.join("objects"),
    };
    let objects = tokio::task::spawn_blocking(move || open_folder(&folder)).await?;
    let objects = objects.with_context(|| {
        format!(
            "cannot open the data directory `{}`",
            context.data_dir.display()
        )
    })?;
    Ok(open(context, objects).await?.sql)
}

async fn open_tables(address: &TablesAddress, data_dir: &Path) -> StoreResult<Arc<dyn Tables>> {
    if address.is_sqlite() {
        let config = SqliteConfig {
            path: data_dir.join("pins.sqlite3"),
        };
        let opened = tokio::task::spawn_blocking(move || open_sqlite_tables(&config)).await;
        return Ok(opened.map_err(|error| StoreError::unavailable("tables", error))??);
    }
    #[cfg(feature = "postgres")]
    return Ok(likeness_adapters::open_postgres(&address.0)?);
    #[cfg(not(feature = "postgres"))]
    Err(StoreError::NotBuilt {
        backend: "postgres",
    })
}
