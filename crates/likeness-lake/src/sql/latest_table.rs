//! A table of the lake with the latest row of each key.
//!
//! Nearly every key has one row. So the keys are read first, for those that may have several; all other rows are the latest of their
//! keys and go straight through, and only rows of the few are brought together and ordered:
//! ```text
//!  keys ─▶ seen before? ─▶ repeated
//!  rows ─┬─ key not repeated ──────────────────────────────▶ ┐
//!        └─ key repeated ─▶ number by offset ─▶ the last one ▶ ┴ rows
//! ```
//! Where memory does not suffice for the first step, or many keys are repeated, all rows are numbered: that spills to disk. So are those of
//! keys that the query names.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt as _, LogicalPlan, LogicalPlanBuilder, Operator,
    TableProviderFilterPushDown, ident, lit,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use likeness_core::table::TableSpec;
use tokio::sync::OnceCell;

use super::OFFSET;
use super::repeated::Repeated;
use super::versions::{Versions, is_plain};

/// Name of the table of all versions in plans that are made here.
const VERSIONS: &str = "versions";
/// Column that numbers the rows of a key, the latest first.
const NTH: &str = "nth version";

/// The latest row of each key of a table.
#[derive(Debug)]
pub(super) struct Latest {
    spec: &'static TableSpec,
    versions: Arc<Versions>,
    /// Which keys are repeated; found out when it is first asked, and the same for all of a query.
    repeated: OnceCell<Option<Arc<Repeated>>>,
}

impl Latest {
    pub(super) fn new(spec: &'static TableSpec, versions: Arc<Versions>) -> Self {
        Self {
            spec,
            versions,
            repeated: OnceCell::new(),
        }
    }

    fn key(&self) -> Vec<Expr> {
        let columns = self.spec.key().iter();
        columns.map(|column| ident(column.name)).collect()
    }

    /// Returns whether the key of a row may be repeated.
    fn is_repeated(&self, keys: &Arc<Repeated>) -> Result<Expr> {
        let columns = self.spec.key().iter();
        let types: Result<Vec<_>, _> = columns
            .map(|column| self.versions.columns().field_with_name(column.name))
            .map(|field| Ok::<_, DataFusionError>(field?.data_type().clone()))
            .collect();
        Ok(keys.function(types?).call(self.key()))
    }

    /// Returns whether a filter lets through all rows of a key or none.
    fn is_of_key(&self, filter: &Expr) -> bool {
        let is_key = |name: &str| self.spec.key().iter().any(|column| column.name == name);
        let columns = filter.column_refs();
        is_plain(filter) && columns.iter().all(|column| is_key(&column.name))
    }

    /// Returns the repeated keys among those that all of some filters let through; `None`: there may be too many.
    async fn repeated(
        &self,
        state: &dyn Session,
        of_key: &[Expr],
    ) -> Result<Option<Arc<Repeated>>> {
        let find = || async {
            let columns: Result<Vec<usize>> = self
                .spec
                .key()
                .iter()
                .map(|column| Ok(self.versions.columns().index_of(column.name)?))
                .collect();
            let columns = columns?;
            let keys = self.versions.scan(state, Some(&columns), of_key, None);
            let found = Repeated::find(state, keys.await?, self.versions.num_rows()).await?;
            Ok::<_, DataFusionError>(found.map(Arc::new))
        };
        match of_key {
            [] => Ok(self.repeated.get_or_try_init(find).await?.clone()),
            _ => find().await,
        }
    }

    /// Returns the rows of keys that are not repeated.
    fn single(&self, repeated: &Arc<Repeated>, filters: &[Expr]) -> Result<LogicalPlanBuilder> {
        let source = provider_as_source(Arc::clone(&self.versions) as Arc<dyn TableProvider>);
        let is_repeated = self.is_repeated(repeated)?;
        let filters = filters.iter().cloned().chain([!is_repeated]);
        filters.fold(
            LogicalPlanBuilder::scan(VERSIONS, source, None),
            |plan, filter| plan?.filter(filter),
        )
    }

    /// Returns the latest rows of repeated keys, or of all.
    fn numbered(
        &self,
        repeated: Option<&Arc<Repeated>>,
        of_key: &[Expr],
    ) -> Result<LogicalPlanBuilder> {
        let versions = match repeated {
            // Few rows are wanted: their other columns are read once the keys are known.
            Some(_) => Arc::new(self.versions.filtered_first()),
            None => Arc::clone(&self.versions),
        };
        let source = provider_as_source(versions as Arc<dyn TableProvider>);
        let is_repeated = repeated.map(|keys| self.is_repeated(keys)).transpose()?;
        let mut plan = LogicalPlanBuilder::scan(VERSIONS, source, None)?;
        if let Some(filter) = conjunction(of_key.iter().cloned().chain(is_repeated)) {
            plan = plan.filter(filter)?;
        }
        let nth = row_number()
            .partition_by(self.key())
            .order_by(vec![ident(OFFSET).sort(false, false)])
            .build()?
            .alias(NTH);
        plan.window([nth])?.filter(ident(NTH).eq(lit(1_u64)))
    }

    /// Returns the plan of some columns of all rows that some filters may let through.
    async fn plan(
        &self,
        state: &dyn Session,
        columns: &[Expr],
        filters: &[Expr],
    ) -> Result<LogicalPlan> {
        let of_key: Vec<Expr> = filters
            .iter()
            .filter(|filter| self.is_of_key(filter))
            .cloned()
            .collect();
        // Rows of few keys are quicker numbered than their keys read twice.
        let repeated = match of_key.iter().any(names_keys) {
            true => None,
            false => self.repeated(state, &of_key).await?,
        };
        let Some(repeated) = repeated else {
            let all = self.numbered(None, &of_key)?;
            return all.project(columns.to_vec())?.build();
        };
        let single = self.single(&repeated, filters)?.project(columns.to_vec())?;
        if repeated.is_empty() {
            return single.build();
        }
        let numbered = self.numbered(Some(&repeated), &of_key)?;
        single
            .union(numbered.project(columns.to_vec())?.build()?)?
            .build()
    }
}

/// Tells whether a filter says which keys are wanted.
fn names_keys(filter: &Expr) -> bool {
    match filter {
        Expr::BinaryExpr(binary) => binary.op == Operator::Eq,
        Expr::InList(list) => !list.negated,
        _ => false,
    }
}

#[async_trait]
impl TableProvider for Latest {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.versions.columns())
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    /// What passes a filter here is filtered again: of repeated keys the latest row must be found among all.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match is_plain(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let fields = self.versions.columns().fields();
        let all: Vec<usize> = (0..fields.len()).collect();
        let wanted = projection.unwrap_or(&all);
        let columns: Vec<Expr> = wanted.iter().map(|at| ident(fields[*at].name())).collect();
        if !columns.is_empty() {
            let plan = self.plan(state, &columns, filters).await?;
            return state.create_physical_plan(&plan).await;
        }
        // A query that only counts wants rows without columns, which no plan of text has.
        let plan = self.plan(state, &self.key(), filters).await?;
        let keys = state.create_physical_plan(&plan).await?;
        let nothing: Vec<ProjectionExpr> = Vec::new();
        Ok(Arc::new(ProjectionExec::try_new(nothing, keys)?))
    }
}
