//! SQL over the lake, by DataFusion.
//!
//! ```text
//! text ─▶ guard ─▶ shape ─▶ plan ─▶ batches ─▶ JSON, CSV, lines of JSON, Parquet
//! ```
//! Invariants:
//! - A query runs on threads of this module's own, with large stacks, so that it cannot starve or end what calls it.
//! - Memory and disk are shared by all queries and bounded; so are their number and the time of each.
//! - All tables of a query are of one version of the lake.
//!
//! ```text
//! <table>            the latest row of each key
//! <table>_versions   every row that ever came, and the day of its receipt in the column `date`
//! live.<table>       of the tables port, as they are now
//! ```

mod dialect;
mod export;
mod guard;
mod json;
mod latest;
mod latest_table;
mod live;
mod repeated;
mod run;
mod shape;
mod shim;
mod spill;
#[cfg(test)]
mod tests;
mod versions;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::{MemorySchemaProvider, TableProvider};
use datafusion::common::{Result as PlanResult, TableReference};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};
use likeness_core::lake::{FileKind, LakeFile};
use likeness_core::query::{
    ExportFormat, QueryBytes, QueryColumn, QueryError, QueryProgress, QueryRows, QueryTable,
    Report, SqlEngine,
};
use likeness_core::sql::Tables;
use likeness_core::table::TableSpec;
use likeness_core::{StoreError, StoreResult};

use self::latest_table::Latest;
use self::live::Live;
use self::run::Runner;
use self::shim::ReadOnly;
use self::spill::SpillFolder;
use self::versions::Versions;
use crate::lake::ObjectLake;
use crate::lists::State;
use crate::{STORE, reports};

/// Schema of the live tables.
const LIVE: &str = "live";
/// Column by which rows of one key are ordered.
const OFFSET: &str = "log_offset";
/// Functions that make much of nothing, in one value, where no memory is counted.
const LEFT_OUT: [&str; 7] = [
    "array_repeat",
    "array_resize",
    "generate_series",
    "lpad",
    "range",
    "repeat",
    "rpad",
];

/// Bounds of queries.
#[derive(Debug, Clone)]
pub struct SqlConfig {
    /// Memory of all queries together, in bytes.
    pub memory_bytes: usize,
    /// Disk that queries may spill to, all together, in bytes; 0: none.
    pub spill_bytes: u64,
    /// Where they spill to, each process into a folder of its own. It is made if need be; what killed processes left there is removed.
    pub spill_dir: PathBuf,
    /// Longest time of a query.
    pub timeout: Duration,
    /// Most queries at once.
    pub max_queries: usize,
    /// Threads that compute, at least one.
    pub threads: usize,
}

/// A table of a lake.
#[derive(Debug, Clone, Copy)]
pub struct LakeTable {
    /// Its columns, `log_offset` among them, and its key.
    pub spec: &'static TableSpec,
    /// What it holds, in a sentence.
    pub about: &'static str,
    /// Whether several rows of one key can come. If not, there is no table of versions beside it.
    pub has_versions: bool,
}

/// A table of the tables port.
#[derive(Debug, Clone, Copy)]
pub struct LiveTable {
    /// Its columns and its key.
    pub spec: &'static TableSpec,
    /// What it holds, in a sentence.
    pub about: &'static str,
}

/// Answers queries over a lake, and over live tables.
#[derive(Debug)]
pub struct LakeSql {
    lake: Arc<ObjectLake>,
    tables: Vec<LakeTable>,
    live: Option<(Arc<dyn Tables>, Vec<LiveTable>)>,
    env: Arc<RuntimeEnv>,
    threads: usize,
    runner: Runner,
    _spill: Option<SpillFolder>,
}

impl LakeSql {
    /// Starts the threads that queries run on.
    ///
    /// # Errors
    /// If they cannot be started, or the folder to spill to cannot be used.
    pub fn new(
        lake: Arc<ObjectLake>,
        tables: Vec<LakeTable>,
        live: Option<(Arc<dyn Tables>, Vec<LiveTable>)>,
        config: &SqlConfig,
    ) -> StoreResult<Self> {
        let (env, spill) = run::environment(config)?;
        Ok(Self {
            lake,
            tables,
            live,
            env,
            threads: config.threads.max(1),
            runner: Runner::start(config)?,
            _spill: spill,
        })
    }

    /// Returns a context with all tables at one version of the lake.
    async fn context(&self, progress: &Arc<QueryProgress>) -> Result<SessionContext, QueryError> {
        let state = self.lake.state().await?;
        self.context_at(&state, progress)
            .await
            .map_err(|error| StoreError::unavailable(STORE, error).into())
    }

    async fn context_at(
        &self,
        state: &State,
        progress: &Arc<QueryProgress>,
    ) -> PlanResult<SessionContext> {
        let config = SessionConfig::new()
            .with_target_partitions(self.threads)
            .with_default_catalog_and_schema("likeness", "lake")
            .with_information_schema(true)
            .with_collect_statistics(true)
            // Files are shared out by their sizes already, and DataFusion 55.2 panics over three live tables that are crossed.
            .with_round_robin_repartition(false)
            // What a sort holds when it spills is sorted in place: a merge of its parts asks for memory that is not left then.
            .with_sort_in_place_threshold_bytes(usize::MAX);
        // Memory, disk and what is known of files are shared; where bytes are counted is not.
        let env = run::of_query(&self.env)?;
        let store = ReadOnly {
            objects: Arc::clone(self.lake.objects()),
            progress: Arc::clone(progress),
        };
        let url = ObjectStoreUrl::parse(versions::URL)?;
        env.register_object_store(url.as_ref(), Arc::new(store));
        let context = SessionContext::new_with_config_rt(config, env);
        for function in LEFT_OUT {
            context.deregister_udf(function);
        }
        for table in &self.tables {
            let spec = table.spec;
            let versions = Versions::new(spec, files_of(state, spec.name), Arc::clone(progress));
            if !table.has_versions {
                context.register_table(spec.name, Arc::new(versions))?;
                continue;
            }
            let versions = Arc::new(versions);
            context.register_table(versions_of(spec), Arc::clone(&versions) as _)?;
            context.register_table(spec.name, Arc::new(Latest::new(spec, versions)))?;
        }
        if let (Some((tables, specs)), Some(catalog)) = (&self.live, context.catalog("likeness")) {
            catalog.register_schema(LIVE, Arc::new(MemorySchemaProvider::new()))?;
            for table in specs {
                let live: Arc<dyn TableProvider> =
                    Arc::new(Live::new(table.spec, Arc::clone(tables)));
                let name = TableReference::partial(LIVE, table.spec.name);
                context.register_table(name, live)?;
            }
        }
        Ok(context)
    }
}

fn files_of(state: &State, name: &str) -> Vec<Arc<LakeFile>> {
    let files = state.files.values();
    let of_name = files.filter(|file| file.kind == FileKind::Rows && file.name == name);
    of_name.cloned().collect()
}

fn versions_of(spec: &TableSpec) -> String {
    format!("{}_versions", spec.name)
}

/// Returns names of columns, quoted.
fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names
        .into_iter()
        .map(|name| format!("\"{name}\""))
        .collect();
    names.join(", ")
}

fn columns(schema: &Schema) -> Vec<QueryColumn> {
    let column = |field: &Arc<datafusion::arrow::datatypes::Field>| QueryColumn {
        name: field.name().clone(),
        kind: field.data_type().to_string(),
        nullable: field.is_nullable(),
    };
    schema.fields().iter().map(column).collect()
}

#[async_trait]
impl SqlEngine for LakeSql {
    async fn tables(&self) -> Result<Vec<QueryTable>, QueryError> {
        let state = self.lake.state().await?;
        let mut tables = Vec::new();
        for table in &self.tables {
            let files = files_of(&state, table.spec.name);
            let num_rows: u64 = files.iter().map(|file| file.num_rows).sum();
            let num_bytes: u64 = files.iter().map(|file| file.num_bytes).sum();
            let all = Versions::new(table.spec, files, Arc::default());
            let of = |name, about, rows| QueryTable {
                name,
                about,
                rows,
                bytes: Some(num_bytes),
                columns: columns(all.columns()),
            };
            let (name, about) = (table.spec.name.to_owned(), table.about.to_owned());
            let rows = (!table.has_versions).then_some(num_rows);
            tables.push(of(name, about, rows));
            if table.has_versions {
                let about = format!("{} Every version that came.", table.about);
                tables.push(of(versions_of(table.spec), about, Some(num_rows)));
            }
        }
        for table in self.live.iter().flat_map(|(_, tables)| tables) {
            tables.push(QueryTable {
                name: format!("{LIVE}.{}", table.spec.name),
                about: table.about.to_owned(),
                rows: None,
                bytes: None,
                columns: columns(&crate::rows::schema(table.spec)),
            });
        }
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tables)
    }

    fn reports(&self) -> &'static [Report] {
        reports::REPORTS
    }

    async fn query(
        &self,
        sql: &str,
        limit: usize,
        progress: Arc<QueryProgress>,
    ) -> Result<QueryRows, QueryError> {
        guard::check(sql)?;
        let context = self.context(&progress).await?;
        let mut running = self.runner.run(context, sql.to_owned(), progress).await?;
        let columns = columns(running.schema());
        let mut rows = Vec::new();
        while let Some(batch) = running.next().await {
            json::rows(&batch?, limit + 1 - rows.len(), &mut rows)?;
            if rows.len() > limit {
                break;
            }
        }
        let is_truncated = rows.len() > limit;
        rows.truncate(limit);
        Ok(QueryRows {
            columns,
            rows,
            is_truncated,
        })
    }

    async fn export(
        &self,
        sql: &str,
        format: ExportFormat,
        progress: Arc<QueryProgress>,
    ) -> Result<QueryBytes, QueryError> {
        guard::check(sql)?;
        let context = self.context(&progress).await?;
        let running = self.runner.run(context, sql.to_owned(), progress).await?;
        export::begin(running, format)
    }
}
