//! SQL by whoever asks, and queries with a name.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Form, FromRequest, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Json};
use futures::StreamExt;
use futures::stream::unfold;
use likeness_core::query::{ExportFormat, QueryBytes, QueryProgress, QueryTable, Report};
use likeness_engine::EngineError;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::body::{content_length, read_body};
use crate::error::{ApiError, ErrorBody};
use crate::query::{NoQuery, StrictQuery};

/// Longest body: far more than a person writes.
const MAX_BODY_BYTES: u64 = 512 << 10;
/// Most rows of an answer in JSON: a whole answer is for the other forms.
const MAX_ROWS: usize = 10_000;
const DEFAULT_ROWS: usize = 1_000;

/// A query.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewQuery {
    /// One statement that reads.
    #[schema(example = "SELECT category, count(*) AS pins FROM pins GROUP BY 1 ORDER BY 2 DESC")]
    sql: String,
    /// Most rows of an answer in JSON. The other forms have all.
    #[schema(minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<usize>,
}

/// A query as a form of a page sends it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryForm {
    /// One statement that reads.
    sql: String,
    /// Form of the answer; JSON if it is missing.
    #[schema(inline)]
    format: Option<AnswerFormat>,
}

/// A form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AnswerFormat {
    /// The first rows.
    Json,
    /// All rows, as RFC 4180 says, with a line of names.
    Csv,
    /// All rows, one JSON object a line.
    Ndjson,
    /// All rows, as Apache Parquet.
    Parquet,
}

impl AnswerFormat {
    /// Returns how all rows are written; nothing for the first ones.
    fn export(self) -> Option<ExportFormat> {
        match self {
            Self::Json => None,
            Self::Csv => Some(ExportFormat::Csv),
            Self::Ndjson => Some(ExportFormat::Ndjson),
            Self::Parquet => Some(ExportFormat::Parquet),
        }
    }

    /// Returns the first form that `Accept` names, else JSON. Weights are not looked at: who wants one form names one.
    fn accepted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).into_iter();
        let mut names = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|name| name.split(';').next().unwrap_or_default().trim());
        let known = names.find_map(|name| match name.to_ascii_lowercase().as_str() {
            "application/json" => Some(Self::Json),
            "text/csv" => Some(Self::Csv),
            "application/x-ndjson" => Some(Self::Ndjson),
            "application/vnd.apache.parquet" => Some(Self::Parquet),
            _ => None,
        });
        known.unwrap_or(Self::Json)
    }
}

/// Which form an answer has.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FormatQuery {
    /// Form of the answer; wins over `Accept`.
    #[param(inline)]
    format: Option<AnswerFormat>,
}

/// How a report is answered.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReportQuery {
    /// Form of the answer; wins over `Accept`.
    #[param(inline)]
    format: Option<AnswerFormat>,
    /// Most rows of an answer in JSON. The other forms have all.
    #[param(minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<usize>,
}

/// A column of an answer, or of a table.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes columns in the OpenAPI document")]
pub(crate) struct ColumnBody {
    name: String,
    /// Type, in the words of Apache Arrow.
    #[schema(example = "Int64")]
    r#type: String,
    nullable: bool,
}

/// The first rows of an answer.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes answers in the OpenAPI document")]
pub(crate) struct RowsBody {
    columns: Vec<ColumnBody>,
    /// Rows, each with a value for each column. Times are in RFC 3339; whole numbers that JSON's readers would round are
    /// text.
    rows: Vec<Vec<serde_json::Value>>,
    /// Whether there are more.
    is_truncated: bool,
}

/// A table that can be queried.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes tables in the OpenAPI document")]
pub(crate) struct TableBody {
    /// Name as it stands in a query.
    #[schema(example = "pins")]
    name: String,
    /// What it holds.
    about: String,
    /// Rows, where they are known without counting.
    rows: Option<u64>,
    /// Bytes of its files.
    bytes: Option<u64>,
    columns: Vec<ColumnBody>,
}

/// Tables that can be queried.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TableList {
    /// By their names.
    #[schema(value_type = Vec<TableBody>)]
    items: Vec<QueryTable>,
}

/// A query with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportView {
    /// Name.
    #[schema(example = "top-category-by-year")]
    pub name: String,
    /// What it answers, in a sentence.
    pub about: String,
    /// The query.
    pub sql: String,
    /// Number of the column whose values are labels of a chart, from 0.
    pub label: usize,
    /// Number of the column whose values are its bars, from 0.
    pub value: usize,
}

impl From<&Report> for ReportView {
    fn from(report: &Report) -> Self {
        Self {
            name: report.name.to_owned(),
            about: report.about.to_owned(),
            sql: report.sql.to_owned(),
            label: report.label,
            value: report.value,
        }
    }
}

/// Queries with names.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportList {
    /// In an order for people.
    items: Vec<ReportView>,
}

/// Answers a query over rows of pins, raw events and live numbers.
///
/// One statement that reads: nothing is stored, and no file of the machine is read; so the scope is `read`, the one that
/// sees everything. In JSON the first rows come; CSV, NDJSON and Parquet have all of them, and are sent while they are
/// computed: an answer that could not be computed to its end breaks its connection off, so it never looks whole.
/// A query ends when its caller goes away.
#[utoipa::path(
    post, path = "/v1/sql", tag = "sql",
    params(
        FormatQuery,
        ("Accept" = Option<String>, Header,
         description = "`application/json`, `text/csv`, `application/x-ndjson` or `application/vnd.apache.parquet`: the first that it names counts"),
    ),
    request_body(
        description = "The query.",
        content(
            (NewQuery = "application/json"),
            (QueryForm = "application/x-www-form-urlencoded"),
        ),
    ),
    responses(
        (status = 200, description = "The answer", content(
            (RowsBody = "application/json"),
            (String = "text/csv"),
            (Object = "application/x-ndjson"),
            (String = "application/vnd.apache.parquet"),
        )),
        (status = 400, description = "`malformed_body`, `invalid_query`: the reason", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 422, description = "`query_failed`: its data cannot be computed with; `query_too_large`: ask for less", body = ErrorBody),
        (status = 429, description = "`too_many_queries`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `store_failed`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 504, description = "`query_timed_out`: ask for less", body = ErrorBody),
    ),
)]
pub(crate) async fn sql(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<FormatQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let accepted = AnswerFormat::accepted(request.headers());
    let (wanted, form_format) = read_query(&app, request).await?;
    let answer = Answer {
        sql: &wanted.sql,
        limit: wanted.limit,
        format: query.format.or(form_format).unwrap_or(accepted),
        file: "query",
    };
    answer.respond(&app).await
}

/// Reads a query from either form of body, with what the form says of its answer.
async fn read_query(
    app: &App,
    request: Request,
) -> Result<(NewQuery, Option<AnswerFormat>), ApiError> {
    let malformed = |reason: String| ApiError::MalformedBody(reason);
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next();
    let is_form = match essence.unwrap_or_default().trim() {
        it if it.eq_ignore_ascii_case("application/json") => false,
        it if it.eq_ignore_ascii_case("application/x-www-form-urlencoded") => true,
        _ => return Err(malformed("send it as `application/json`".to_owned())),
    };
    let announced = content_length(request.headers())?;
    let (parts, body) = request.into_parts();
    let body = read_body(body, MAX_BODY_BYTES, announced, app.config.body_timeout).await?;
    let body = body.ok_or_else(|| malformed(format!("longer than {MAX_BODY_BYTES} bytes")))?;
    if !is_form {
        let query = serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
        return Ok((query, None));
    }
    let form = Request::from_parts(parts, Body::from(body));
    let Form(QueryForm { sql, format }) = Form::from_request(form, &())
        .await
        .map_err(|rejection| malformed(rejection.body_text()))?;
    Ok((NewQuery { sql, limit: None }, format))
}

/// Lists the tables that can be queried, with their columns.
#[utoipa::path(
    get, path = "/v1/sql/tables", tag = "sql",
    responses(
        (status = 200, description = "The tables, by their names", body = TableList),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 503, description = "`store_failed`; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn sql_tables(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<TableList>, ApiError> {
    let items = app.sql.tables().await?;
    Ok(Json(TableList { items }))
}

/// Lists the reports: queries of pins that have a name.
#[utoipa::path(
    get, path = "/v1/pins/reports", tag = "sql",
    responses(
        (status = 200, description = "The reports", body = ReportList),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn pin_reports(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Json<ReportList> {
    let items = app.sql.reports().iter().map(ReportView::from).collect();
    Json(ReportList { items })
}

/// Answers a report.
///
/// As `POST /v1/sql` answers its query.
#[utoipa::path(
    get, path = "/v1/pins/reports/{name}", tag = "sql",
    params(
        ("name" = String, Path, description = "Name of the report"),
        ReportQuery,
        ("Accept" = Option<String>, Header,
         description = "`application/json`, `text/csv`, `application/x-ndjson` or `application/vnd.apache.parquet`: the first that it names counts"),
    ),
    responses(
        (status = 200, description = "The answer", content(
            (RowsBody = "application/json"),
            (String = "text/csv"),
            (Object = "application/x-ndjson"),
            (String = "application/vnd.apache.parquet"),
        )),
        (status = 400, description = "`invalid_query`, `invalid_path`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`report_not_found`: names those that there are", body = ErrorBody),
        (status = 422, description = "`query_failed`, `query_too_large`", body = ErrorBody),
        (status = 429, description = "`too_many_queries`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `store_failed`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 504, description = "`query_timed_out`", body = ErrorBody),
    ),
)]
pub(crate) async fn pin_report(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    StrictQuery(query): StrictQuery<ReportQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(name) = path.map_err(|rejection| ApiError::Path(rejection.body_text()))?;
    let report = find_report(&app, &name)?;
    let answer = Answer {
        sql: report.sql,
        limit: query.limit,
        format: query
            .format
            .unwrap_or_else(|| AnswerFormat::accepted(&headers)),
        file: report.name,
    };
    answer.respond(&app).await
}

/// Returns the report of a name.
///
/// # Errors
/// [`ApiError::ReportNotFound`] names those that there are.
pub(crate) fn find_report(app: &App, name: &str) -> Result<&'static Report, ApiError> {
    let reports = app.sql.reports();
    let found = reports.iter().find(|report| report.name == name);
    found.ok_or_else(|| ApiError::ReportNotFound {
        name: name.to_owned(),
        names: reports.iter().map(|report| report.name).collect(),
    })
}

/// What is asked, and in which form it is answered.
struct Answer<'a> {
    sql: &'a str,
    limit: Option<usize>,
    format: AnswerFormat,
    /// Name of the file that a browser saves, without its ending.
    file: &'a str,
}

impl Answer<'_> {
    /// Asks. The server does not wait for queries when it stops: they change nothing, and can be asked again.
    async fn respond(&self, app: &App) -> Result<Response, ApiError> {
        tokio::select! {
            biased;
            () = app.shutdown.cancelled() => Err(EngineError::ShuttingDown.into()),
            answer = self.ask(app) => answer,
        }
    }

    async fn ask(&self, app: &App) -> Result<Response, ApiError> {
        let progress = Arc::new(QueryProgress::default());
        let Some(format) = self.format.export() else {
            let limit = self.limit.unwrap_or(DEFAULT_ROWS);
            if !(1..=MAX_ROWS).contains(&limit) {
                let reason = format!("limit: must be 1 to {MAX_ROWS}; CSV has all rows");
                return Err(ApiError::Query(reason));
            }
            let rows = app.sql.query(self.sql, limit, progress).await?;
            return Ok(Json(rows).into_response());
        };
        if self.limit.is_some() {
            let reason = "limit: is for JSON; write LIMIT in the query".to_owned();
            return Err(ApiError::Query(reason));
        }
        let bytes = app.sql.export(self.sql, format, progress).await?;
        let (file, extension) = (self.file, format.extension());
        let disposition = format!("attachment; filename=\"likeness-{file}.{extension}\"");
        // Names of reports are letters, digits and `-`.
        let disposition =
            HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment"));
        let headers = [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static(format.media_type()),
            ),
            (header::CONTENT_DISPOSITION, disposition),
        ];
        Ok((headers, send(bytes, app.shutdown.clone())).into_response())
    }
}

/// Sends pieces as they come. An error, or a server that stops, breaks the connection off, so that a client knows that
/// this is not all.
fn send(bytes: QueryBytes, stop: CancellationToken) -> Body {
    let pieces = unfold(Some((bytes, stop)), |open| async move {
        let (mut bytes, stop) = open?;
        let piece = tokio::select! {
            biased;
            () = stop.cancelled() => Err(BoxError::from("the server stops")),
            piece = bytes.next() => piece?.map_err(BoxError::from),
        };
        match piece {
            Ok(piece) => Some((Ok(piece), Some((bytes, stop)))),
            Err(error) => {
                warn!(%error, "an answer broke off");
                Some((Err(error), None))
            }
        }
    });
    Body::from_stream(pieces)
}
