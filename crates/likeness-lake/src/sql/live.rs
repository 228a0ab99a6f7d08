//! Tables of the tables port, read page by page.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream;
use likeness_core::sql::{Select, Tables};
use likeness_core::table::{TableSpec, Value};

use crate::rows;

/// Rows that are asked for at once.
const PAGE: usize = 4_096;

/// A table that is read in the order of its key, all of it.
#[derive(Clone)]
pub(super) struct Live {
    spec: &'static TableSpec,
    schema: SchemaRef,
    tables: Arc<dyn Tables>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&self.spec.name).finish()
    }
}

impl Live {
    pub(super) fn new(spec: &'static TableSpec, tables: Arc<dyn Tables>) -> Self {
        Self {
            spec,
            schema: rows::schema(spec),
            tables,
        }
    }
}

#[async_trait]
impl TableProvider for Live {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let part: Arc<dyn PartitionStream> = Arc::new(self.clone());
        let schema = Arc::clone(&self.schema);
        let plan = StreamingTableExec::try_new(schema, vec![part], projection, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

impl PartitionStream for Live {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        // Where to go on: `None` once all was read.
        let start = Some(None::<Vec<Value>>);
        let pages = stream::try_unfold((self.clone(), start), |(live, at)| async move {
            let Some(after) = at else { return Ok(None) };
            let select = Select {
                after,
                limit: PAGE,
                ..Select::default()
            };
            let failed = |error| DataFusionError::External(Box::new(error));
            let page = live
                .tables
                .select(live.spec, select)
                .await
                .map_err(failed)?;
            let next = match page.last() {
                Some(last) if page.len() == PAGE => Some(Some(last.key(live.spec).to_vec())),
                _ => None,
            };
            let batch = rows::to_batch(live.spec, &page).map_err(failed)?;
            Ok(Some((batch, (live, next))))
        });
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            pages,
        ))
    }
}
