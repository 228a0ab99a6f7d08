//! A table of the lake with all its versions of rows: the files that one list names.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray as _, Date32Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{DFSchema, Result, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use likeness_core::lake::LakeFile;
use likeness_core::query::QueryProgress;
use likeness_core::table::TableSpec;

use crate::rows;

/// Name of the column that says in which day a row was received.
pub(super) const DATE: &str = "date";
/// Where DataFusion finds the objects.
pub(super) const URL: &str = "lake://objects";

/// All versions of the rows of a table.
#[derive(Debug)]
pub(super) struct Versions {
    schema: TableSchema,
    files: Vec<Arc<LakeFile>>,
    progress: Arc<QueryProgress>,
    /// Whether filters are computed before other columns are read.
    is_filtered_first: bool,
}

impl Versions {
    pub(super) fn new(
        spec: &TableSpec,
        files: Vec<Arc<LakeFile>>,
        progress: Arc<QueryProgress>,
    ) -> Self {
        let date = Arc::new(Field::new(DATE, DataType::Date32, false));
        Self {
            // Texts are copied out of the pages that they are read from. Views would be read in half the time, but some rows of
            // many then hold all pages, and a sort or a join of them asks for memory that is not there.
            schema: TableSchema::builder(rows::schema(spec))
                .with_table_partition_cols(vec![date])
                .build(),
            files,
            progress,
            is_filtered_first: false,
        }
    }

    /// Returns the same for a filter that lets few rows through: their other columns are read after it.
    pub(super) fn filtered_first(&self) -> Self {
        Self {
            schema: self.schema.clone(),
            files: self.files.clone(),
            progress: Arc::clone(&self.progress),
            is_filtered_first: true,
        }
    }

    /// Returns how many rows there are.
    pub(super) fn num_rows(&self) -> u64 {
        self.files.iter().map(|file| file.num_rows).sum()
    }

    /// Returns the columns, `date` at the end.
    pub(super) fn columns(&self) -> &SchemaRef {
        self.schema.table_schema()
    }

    /// Returns what is known of some files without opening them.
    fn statistics_of(&self, num_rows: u64, num_bytes: u64) -> Statistics {
        let mut statistics = Statistics::new_unknown(self.schema.table_schema());
        statistics.num_rows = Precision::Exact(usize::try_from(num_rows).unwrap_or(usize::MAX));
        statistics.total_byte_size =
            Precision::Inexact(usize::try_from(num_bytes).unwrap_or(usize::MAX));
        statistics
    }

    /// Returns the files of the days that all of some filters let through.
    fn files_of(&self, state: &dyn Session, filters: Vec<Expr>) -> Result<Vec<Arc<LakeFile>>> {
        let Some(filter) = conjunction(filters) else {
            return Ok(self.files.clone());
        };
        let schema = Arc::new(Schema::new(vec![Field::new(DATE, DataType::Date32, false)]));
        let columns = DFSchema::try_from(Arc::clone(&schema))?;
        let filter = state.create_physical_expr(filter, &columns)?;
        let days = Date32Array::from_iter_values(self.files.iter().map(|file| day_of(file)));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(days)])?;
        let wanted = filter.evaluate(&batch)?.into_array(batch.num_rows())?;
        let wanted = wanted.as_boolean().iter();
        let files = self.files.iter().zip(wanted);
        let files = files.filter(|(_, is_wanted)| *is_wanted == Some(true));
        Ok(files.map(|(file, _)| Arc::clone(file)).collect())
    }

    fn file(&self, file: &LakeFile) -> PartitionedFile {
        PartitionedFile::new(file.path.clone(), file.num_bytes)
            .with_partition_values(vec![ScalarValue::Date32(Some(day_of(file)))])
    }
}

fn day_of(file: &LakeFile) -> i32 {
    i32::try_from(file.day.number()).unwrap_or(i32::MAX)
}

/// Returns whether a filter can be computed from the columns of a row alone, always to the same.
pub(super) fn is_plain(filter: &Expr) -> bool {
    let is_query = |expr: &Expr| {
        Ok(matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
        ))
    };
    // Of what cannot be looked through nothing is known.
    !filter.is_volatile() && !filter.contains_outer() && !filter.exists(is_query).unwrap_or(true)
}

fn is_of_date(filter: &Expr) -> bool {
    let columns = filter.column_refs();
    is_plain(filter) && columns.len() == 1 && columns.iter().all(|column| column.name == DATE)
}

#[async_trait]
impl TableProvider for Versions {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        let num_rows = self.num_rows();
        let num_bytes = self.files.iter().map(|file| file.num_bytes).sum();
        Some(self.statistics_of(num_rows, num_bytes))
    }

    /// A filter of the day alone chooses files, exactly. By others only files and groups of rows are passed over that cannot match, and
    /// the rows of the rest are filtered again.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match filter {
            filter if !is_plain(filter) => TableProviderFilterPushDown::Unsupported,
            filter if is_of_date(filter) => TableProviderFilterPushDown::Exact,
            _ => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (of_date, others): (Vec<Expr>, Vec<Expr>) =
            filters.iter().cloned().partition(is_of_date);
        let mut files = self.files_of(state, of_date)?;
        let num_bytes: u64 = files.iter().map(|file| file.num_bytes).sum();
        let num_rows = files.iter().map(|file| file.num_rows).sum();
        self.progress
            .bytes_in_all
            .fetch_add(num_bytes, Ordering::Relaxed);
        let mut source =
            ParquetSource::new(self.schema.clone()).with_pushdown_filters(self.is_filtered_first);
        if let Some(filter) = conjunction(others) {
            let schema = DFSchema::try_from(self.schema())?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        // Large files first, each to the group that has least.
        let num_groups = state.config().target_partitions().max(1);
        let mut groups = vec![(0, Vec::new()); num_groups.min(files.len()).max(1)];
        files.sort_by_key(|file| (Reverse(file.num_bytes), file.path.clone()));
        for file in files {
            if let Some(group) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
                group.0 += file.num_bytes;
                group.1.push(self.file(&file));
            }
        }
        let groups = groups.into_iter().map(|(_, files)| FileGroup::new(files));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(URL)?, Arc::new(source))
            .with_file_groups(groups.collect())
            .with_statistics(self.statistics_of(num_rows, num_bytes))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
