//! Running a query: its threads, its bounds, and the errors of both.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::{SQLOptions, SessionState};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreUrl};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{EmptyRecordBatchStream, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use futures::{FutureExt as _, StreamExt as _};
use likeness_core::query::{QueryError, QueryProgress};
use likeness_core::{StoreError, StoreResult};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::dialect::Bounded;
use super::spill::SpillFolder;
use super::{SqlConfig, shape};
use crate::STORE;

/// Stack of a thread: planning recurses as deep as a query is nested. Memory that is not used is not taken.
const STACK_BYTES: usize = 64 << 20;
/// Batches that wait for who reads them.
const AHEAD: usize = 2;
/// Deepest recursion of the parser.
const MAX_RECURSION: usize = 50;
/// Longest message of an error, in bytes.
const MAX_MESSAGE: usize = 2_000;

/// Makes memory and disk that all queries share. What is spilled lies in the folder, as long as that is held.
///
/// # Errors
/// If the folder cannot be used.
pub(super) fn environment(
    config: &SqlConfig,
) -> StoreResult<(Arc<RuntimeEnv>, Option<SpillFolder>)> {
    let failed = |error: DataFusionError| StoreError::unavailable("queries", error);
    let folder = match config.spill_bytes {
        0 => None,
        _ => {
            let folder = SpillFolder::make(&config.spill_dir);
            Some(folder.map_err(|error| StoreError::unavailable("queries", error))?)
        }
    };
    let mode = match &folder {
        None => DiskManagerMode::Disabled,
        Some(folder) => DiskManagerMode::Directories(vec![folder.path().to_owned()]),
    };
    let disk = DiskManagerBuilder::default()
        .with_mode(mode)
        .with_max_temp_directory_size(config.spill_bytes);
    let env = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(config.memory_bytes)))
        .with_disk_manager_builder(disk)
        .build_arc()
        .map_err(failed)?;
    Ok((env, folder))
}

/// Returns the environment of one query: what is shared, with object stores of its own.
///
/// # Errors
/// If DataFusion has one.
pub(super) fn of_query(shared: &RuntimeEnv) -> Result<Arc<RuntimeEnv>, DataFusionError> {
    let env = RuntimeEnvBuilder::from_runtime_env(shared)
        .with_object_store_registry(Arc::new(DefaultObjectStoreRegistry::new()))
        .build_arc()?;
    // It begins with the files of the machine, which no query reads.
    env.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    Ok(env)
}

/// Threads that queries run on.
pub(super) struct Runner {
    runtime: Option<Runtime>,
    permits: Arc<Semaphore>,
    max_queries: usize,
    timeout: Duration,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("max_queries", &self.max_queries)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Waiting for threads is not allowed where this may be dropped.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A query that runs. Dropping it ends the query.
pub(super) struct Running {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch, QueryError>>,
    progress: Arc<QueryProgress>,
    deadline: Option<(Instant, Duration)>,
    _task: AbortOnDrop,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running {
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the next batch; nothing after the last one, or after an error.
    pub(super) async fn next(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        let batch = match self.deadline {
            None => self.batches.recv().await?,
            Some((at, timeout)) => match tokio::time::timeout_at(at, self.batches.recv()).await {
                Ok(batch) => batch?,
                Err(_) => {
                    self.batches.close();
                    Err(QueryError::TimedOut(timeout))
                }
            },
        };
        if let Ok(batch) = &batch {
            let rows = batch.num_rows() as u64;
            self.progress.rows.fetch_add(rows, Ordering::Relaxed);
        }
        Some(batch)
    }
}

impl Runner {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system gives none.
    pub(super) fn start(config: &SqlConfig) -> StoreResult<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // One that plans something hard does not keep the others from running.
            .worker_threads(config.threads.max(1) + config.max_queries.max(1))
            .thread_stack_size(STACK_BYTES)
            .thread_name("query")
            .enable_all()
            .build()
            .map_err(|error| StoreError::unavailable("queries", error))?;
        Ok(Self {
            runtime: Some(runtime),
            permits: Arc::new(Semaphore::new(config.max_queries.max(1))),
            max_queries: config.max_queries.max(1),
            timeout: config.timeout,
        })
    }

    /// Begins a query of whoever asks, within its bounds.
    ///
    /// # Errors
    /// As the query port says.
    pub(super) async fn run(
        &self,
        context: SessionContext,
        sql: String,
        progress: Arc<QueryProgress>,
    ) -> Result<Running, QueryError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| QueryError::Busy(self.max_queries))?;
        let deadline = Some((Instant::now() + self.timeout, self.timeout));
        self.begin(context, sql, progress, Some(permit), deadline)
            .await
    }

    /// Tells whether a query of whoever asks is at work.
    #[cfg(test)]
    pub(super) fn is_busy(&self) -> bool {
        self.permits.available_permits() < self.max_queries
    }

    /// Begins a query of likeness itself, without bounds of number and time.
    ///
    /// # Errors
    /// As the query port says.
    pub(super) async fn run_own(
        &self,
        context: SessionContext,
        sql: String,
    ) -> Result<Running, QueryError> {
        self.begin(context, sql, Arc::default(), None, None).await
    }

    async fn begin(
        &self,
        context: SessionContext,
        sql: String,
        progress: Arc<QueryProgress>,
        permit: Option<OwnedSemaphorePermit>,
        deadline: Option<(Instant, Duration)>,
    ) -> Result<Running, QueryError> {
        let (schemas, schema) = tokio::sync::oneshot::channel();
        let (sender, mut batches) = mpsc::channel(AHEAD);
        let told = sender.clone();
        let work = async move {
            // Held to the end of the work, not of who waits for it; but who learns of the end can ask again.
            let permit = permit;
            let mut query = match Query::begin(&context, &sql).await {
                Ok(query) => query,
                Err(error) => {
                    drop(permit);
                    drop(schemas.send(Err(error)));
                    return;
                }
            };
            if schemas.send(Ok(query.stream.schema())).is_err() {
                return;
            }
            while let Some(batch) = query.next().await {
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(error) => {
                        drop(query);
                        drop(permit);
                        drop(sender.send(Err(query_error(error))).await);
                        return;
                    }
                };
                if sender.send(Ok(batch)).await.is_err() {
                    return;
                }
            }
        };
        let guarded = async move {
            let work = AssertUnwindSafe(work).catch_unwind();
            let ended = match deadline {
                None => Ok(work.await),
                Some((at, timeout)) => {
                    let ended = tokio::time::timeout_at(at, work).await;
                    ended.map_err(|_| QueryError::TimedOut(timeout))
                }
            };
            let error = match ended {
                Ok(Ok(())) => return,
                Ok(Err(_)) => {
                    tracing::error!("a query panicked");
                    failed("the query met a fault of likeness")
                }
                Err(timed_out) => timed_out,
            };
            // An answer that only stopped would pass for a whole one. The permit is free already.
            drop(told.send(Err(error)).await);
        };
        let runtime = self
            .runtime
            .as_ref()
            .ok_or_else(|| failed("the service stops"))?;
        let task = AbortOnDrop(runtime.spawn(guarded).abort_handle());
        let schema = match deadline {
            None => schema.await,
            Some((at, timeout)) => match tokio::time::timeout_at(at, schema).await {
                Ok(schema) => schema,
                Err(_) => return Err(QueryError::TimedOut(timeout)),
            },
        };
        let schema = match schema {
            Ok(schema) => schema?,
            // It ended before there was one, and says why.
            Err(_) => {
                return Err(match batches.recv().await {
                    Some(Err(error)) => error,
                    _ => failed("the query was ended"),
                });
            }
        };
        Ok(Running {
            schema,
            batches,
            progress,
            deadline,
            _task: task,
        })
    }
}

fn failed(reason: &str) -> QueryError {
    QueryError::Failed(reason.to_owned())
}

/// A query at work.
struct Query {
    state: SessionState,
    plan: LogicalPlan,
    stream: SendableRecordBatchStream,
    /// Whether it could begin again in another way: nothing was given yet.
    can_begin_again: bool,
}

impl Query {
    /// Plans a query and begins it.
    async fn begin(context: &SessionContext, sql: &str) -> Result<Self, QueryError> {
        let options = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        let state = context.state();
        let statement = parse(sql)?;
        shape::check(&statement)?;
        let plan = state.statement_to_plan(statement).await;
        let plan = plan.map_err(query_error)?;
        options.verify_plan(&plan).map_err(query_error)?;
        let stream = execute(&state, &plan).await.map_err(query_error)?;
        Ok(Self {
            state,
            plan,
            stream,
            can_begin_again: true,
        })
    }

    /// Returns the next batch.
    ///
    /// A join holds one side in memory, as that is fastest; DataFusion cannot spill it. Where memory does not suffice, both sides are
    /// sorted instead, and sorts spill.
    async fn next(&mut self) -> Option<Result<RecordBatch, DataFusionError>> {
        let batch = self.stream.next().await;
        let can_begin_again = std::mem::take(&mut self.can_begin_again);
        match batch {
            Some(Err(error)) if can_begin_again && is_out_of_memory(&error) => {
                let options = self.state.config_mut().options_mut();
                options.optimizer.prefer_hash_join = false;
                // What it holds is needed.
                self.stream = Box::pin(EmptyRecordBatchStream::new(self.stream.schema()));
                tracing::debug!(%error, "a query begins again with joins that spill");
                match execute(&self.state, &self.plan).await {
                    Ok(stream) => self.stream = stream,
                    Err(error) => return Some(Err(error)),
                }
                self.stream.next().await
            }
            batch => batch,
        }
    }
}

fn is_out_of_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

async fn execute(
    state: &SessionState,
    plan: &LogicalPlan,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    let plan = state.create_physical_plan(plan).await?;
    execute_stream(plan, state.task_ctx())
}

/// Reads one statement, with a bound on depth and on what is read again and again.
fn parse(sql: &str) -> Result<Statement, QueryError> {
    let dialect = Bounded::default();
    let parsed = DFParserBuilder::new(sql)
        .with_dialect(&dialect)
        .with_recursion_limit(MAX_RECURSION)
        .build()
        .and_then(|mut parser| parser.parse_statements());
    let mut statements = parsed.map_err(query_error)?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (None, _) => Err(QueryError::Invalid("there is no query".to_owned())),
        (Some(_), false) => {
            let reason = "there is more than one statement; send them one by one";
            Err(QueryError::Invalid(reason.to_owned()))
        }
    }
}

/// Returns what an error of DataFusion means to who asked.
pub(super) fn query_error(error: DataFusionError) -> QueryError {
    let text = |error: &DataFusionError| cut(&error.strip_backtrace());
    let root = error.find_root();
    match root {
        // DataFusion tells of a full disk to spill to in words alone.
        _ if error.to_string().contains("max_temp_directory_size") => {
            QueryError::TooLarge("what it would write to disk is more than that".to_owned())
        }
        DataFusionError::ResourcesExhausted(_) => QueryError::TooLarge(text(root)),
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::Configuration(_)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Diagnostic(..) => QueryError::Invalid(text(root)),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            StoreError::unavailable(STORE, error).into()
        }
        DataFusionError::External(_) => match error.find_root() {
            DataFusionError::External(source) if source.is::<StoreError>() => {
                StoreError::unavailable("tables", cut(&source.to_string())).into()
            }
            root => QueryError::Failed(text(root)),
        },
        root => QueryError::Failed(text(root)),
    }
}

fn cut(text: &str) -> String {
    let text = text.trim();
    match text.len() > MAX_MESSAGE {
        true => {
            let end = text.floor_char_boundary(MAX_MESSAGE);
            format!("{}…", &text[..end])
        }
        false => text.to_owned(),
    }
}
