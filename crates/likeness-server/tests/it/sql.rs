//! Queries and reports: their doors and their page, over an engine that answers by what it is asked.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::Request;
use futures::StreamExt;
use futures::stream;
use likeness_core::StoreError;
use likeness_core::query::{
    ExportFormat, QueryBytes, QueryColumn, QueryError, QueryProgress, QueryRows, QueryTable,
    Report, SqlEngine,
};
use likeness_engine::dedup::DedupConfig;
use likeness_server::{ApiKey, Scope, ServerConfig, serve};
use serde_json::{Value, json};
use sha2::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{Answer, Server, encode, lines, no_metrics, post, start_dedup};

const REPORTS: &[Report] = &[Report {
    name: "pins-by-category",
    about: "Pins of each category.",
    sql: "SELECT category, pins FROM \"<b>\"",
    label: 0,
    value: 1,
}];

/// Answers with `rows` rows, whatever is asked; but for the words `invalid`, `fails`, `large`, `slow`, `busy`, `away`,
/// `hangs` and `breaks`, which are what becomes of the query.
#[derive(Debug, Default)]
pub(crate) struct FakeSql {
    pub(crate) is_away: bool,
}

impl FakeSql {
    async fn outcome(&self, sql: &str) -> Result<(), QueryError> {
        match sql {
            "invalid" => Err(QueryError::Invalid("no column `<i>x`".to_owned())),
            "fails" => Err(QueryError::Failed("division by zero".to_owned())),
            "large" => Err(QueryError::TooLarge("a sort".to_owned())),
            "slow" => Err(QueryError::TimedOut(Duration::from_secs(300))),
            "busy" => Err(QueryError::Busy(4)),
            "away" => Err(StoreError::invalid("lake (fake)", "secret detail").into()),
            "hangs" => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl SqlEngine for FakeSql {
    async fn tables(&self) -> Result<Vec<QueryTable>, QueryError> {
        if self.is_away {
            return Err(StoreError::invalid("lake (fake)", "secret detail").into());
        }
        Ok(vec![QueryTable {
            name: "pins".to_owned(),
            about: "Clean pins.".to_owned(),
            rows: Some(0),
            bytes: Some(0),
            columns: columns(),
        }])
    }

    fn reports(&self) -> &'static [Report] {
        REPORTS
    }

    async fn query(
        &self,
        sql: &str,
        limit: usize,
        _progress: Arc<QueryProgress>,
    ) -> Result<QueryRows, QueryError> {
        self.outcome(sql).await?;
        let all = [json!(["art", 2]), json!(["<b>food</b>", 1])];
        let rows: Vec<Vec<Value>> = all
            .iter()
            .take(limit)
            .map(|row| row.as_array().unwrap().clone())
            .collect();
        Ok(QueryRows {
            columns: columns(),
            is_truncated: rows.len() < all.len(),
            rows,
        })
    }

    async fn export(
        &self,
        sql: &str,
        format: ExportFormat,
        _progress: Arc<QueryProgress>,
    ) -> Result<QueryBytes, QueryError> {
        if sql == "trickles" {
            let first = stream::once(async { Ok(Bytes::from_static(b"first\n")) });
            return Ok(Box::pin(first.chain(stream::pending())));
        }
        self.outcome(sql).await?;
        let pieces = stream::iter([
            Ok(Bytes::from(format!("{format:?}\n"))),
            Ok(Bytes::from_static(b"art,2\n")),
        ]);
        if sql == "breaks" {
            // Late enough for what came before to be on its way.
            let error = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(QueryError::Failed("half way".to_owned()))
            });
            return Ok(Box::pin(pieces.chain(error)));
        }
        Ok(Box::pin(pieces))
    }
}

fn columns() -> Vec<QueryColumn> {
    [("category", "Utf8", true), ("pins", "Int64", false)]
        .map(|(name, kind, nullable)| QueryColumn {
            name: name.to_owned(),
            kind: kind.to_owned(),
            nullable,
        })
        .to_vec()
}

async fn ask(server: &Server, body: Value) -> Answer {
    let body = body.to_string().into_bytes();
    server.post("/v1/sql", "application/json", body).await
}

async fn ask_as(server: &Server, path: &str, accept: &str) -> Answer {
    let mut request = post(path, "application/json", br#"{"sql": "SELECT 1"}"#.to_vec());
    let accept = accept.parse().unwrap();
    request.headers_mut().insert("accept", accept);
    server.answer(request).await
}

#[tokio::test]
async fn the_first_rows_come_as_json() {
    let server = Server::start().await;
    let whole = ask(&server, json!({"sql": "SELECT 1"})).await;
    assert_eq!(whole.status, 200, "{}", whole.text());
    assert_eq!(
        whole.json(),
        json!({
            "columns": [
                {"name": "category", "type": "Utf8", "nullable": true},
                {"name": "pins", "type": "Int64", "nullable": false},
            ],
            "rows": [["art", 2], ["<b>food</b>", 1]],
            "is_truncated": false,
        })
    );
    let first = ask(&server, json!({"sql": "SELECT 1", "limit": 1})).await;
    assert_eq!(
        (&first.json()["rows"], &first.json()["is_truncated"]),
        (&json!([["art", 2]]), &json!(true))
    );
    for limit in [0, 10_001] {
        let refused = ask(&server, json!({"sql": "SELECT 1", "limit": limit})).await;
        refused.check_error(400, "invalid_query");
    }
}

#[tokio::test]
async fn each_failure_has_its_status_and_says_what_to_do() {
    let server = Server::start().await;
    for (sql, status, code) in [
        ("invalid", 400, "invalid_query"),
        ("fails", 422, "query_failed"),
        ("large", 422, "query_too_large"),
        ("slow", 504, "query_timed_out"),
        ("busy", 429, "too_many_queries"),
        ("away", 500, "store_failed"),
    ] {
        ask(&server, json!({"sql": sql}))
            .await
            .check_error(status, code);
        // Before the first byte it is an answer like any other.
        let body = json!({"sql": sql}).to_string().into_bytes();
        let export = server.post("/v1/sql?format=csv", "application/json", body);
        export.await.check_error(status, code);
    }
    let busy = ask(&server, json!({"sql": "busy"})).await;
    assert_eq!(busy.header("retry-after"), "1");
    let away = ask(&server, json!({"sql": "away"})).await;
    assert!(!away.text().contains("secret"), "{}", away.text());
}

#[tokio::test]
async fn bodies_that_are_no_query_are_refused() {
    let server = Server::start().await;
    for body in ["", "{}", "{\"sql\": 1}", "{\"sql\": \"a\", \"x\": 1}"] {
        let answer = server.post("/v1/sql", "application/json", body.into());
        answer.await.check_error(400, "malformed_body");
    }
    let long = json!({"sql": "x".repeat(600_000)});
    ask(&server, long).await.check_error(400, "malformed_body");
    let text = server.post("/v1/sql", "text/plain", b"SELECT 1".to_vec());
    text.await.check_error(400, "malformed_body");
    let unknown = server.post("/v1/sql?form=csv", "application/json", b"{}".to_vec());
    unknown.await.check_error(400, "invalid_query");
    let limited = br#"{"sql": "SELECT 1", "limit": 5}"#.to_vec();
    let limited = server.post("/v1/sql?format=csv", "application/json", limited);
    limited.await.check_error(400, "invalid_query");
}

#[tokio::test]
async fn whole_answers_come_in_the_form_that_was_asked_for() {
    let server = Server::start().await;
    for (format, media_type, word) in [
        ("csv", "text/csv", "Csv"),
        ("ndjson", "application/x-ndjson", "Ndjson"),
        ("parquet", "application/vnd.apache.parquet", "Parquet"),
    ] {
        let path = format!("/v1/sql?format={format}");
        let by_query = ask_as(&server, &path, "application/json").await;
        let by_header = ask_as(
            &server,
            "/v1/sql",
            &format!("image/png, {media_type};q=0.5"),
        )
        .await;
        let form = format!("sql=SELECT+1&format={format}").into_bytes();
        let by_form = server.post("/v1/sql", "application/x-www-form-urlencoded", form);
        for answer in [by_query, by_header, by_form.await] {
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.header("content-type").starts_with(media_type));
            let wanted = format!("attachment; filename=\"likeness-query.{format}\"");
            assert_eq!(answer.header("content-disposition"), wanted);
            assert_eq!(answer.text(), format!("{word}\nart,2\n"));
        }
    }
    for accept in ["*/*", "text/html", "application/json, text/csv"] {
        let answer = ask_as(&server, "/v1/sql", accept).await;
        assert_eq!(answer.json()["is_truncated"], false, "{accept}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let server = Server::start().await;
    let body = br#"{"sql": "breaks"}"#.to_vec();
    let request = post("/v1/sql?format=csv", "application/json", body);
    let response = server.send(request).await;
    assert_eq!(response.status(), 200);
    to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap_err();

    // On a connection: the pieces that there were, and not the chunk that ends a body.
    for (sql, is_whole) in [("SELECT 1", true), ("breaks", false)] {
        let answer = exchange(sql).await;
        assert!(answer.contains("art,2"), "{answer}");
        assert_eq!(answer.ends_with("0\r\n\r\n"), is_whole, "{answer}");
    }
}

/// Sends a query over a socket, and returns all that comes back.
async fn exchange(sql: &str) -> String {
    let dedup = start_dedup(DedupConfig::default(), None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let config = ServerConfig::default();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(
        listener,
        lines(&dedup),
        config,
        no_metrics(),
        stop.clone(),
    ));
    let body = json!({"sql": sql}).to_string();
    let request = format!(
        "POST /v1/sql?format=csv HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    stop.cancel();
    server.await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_server_that_stops_does_not_wait_for_queries() {
    let server = Server::start().await;
    let body = br#"{"sql": "trickles"}"#.to_vec();
    let open = server.send(post("/v1/sql?format=csv", "application/json", body));
    let mut open = open.await.into_body().into_data_stream();
    assert_eq!(open.next().await.unwrap().unwrap(), "first\n");
    let mut waiting = pin!(ask(&server, json!({"sql": "hangs"})));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    server.shutdown.cancel();
    waiting.await.check_error(503, "shutting_down");
    open.next().await.unwrap().unwrap_err();
}

#[tokio::test]
async fn tables_and_reports_are_listed_and_reports_answered() {
    let server = Server::start().await;
    let tables = server.get("/v1/sql/tables").await.json();
    assert_eq!(tables["items"][0]["name"], "pins");
    assert_eq!(tables["items"][0]["columns"][1]["type"], "Int64");
    let reports = server.get("/v1/pins/reports").await.json();
    assert_eq!(reports["items"][0]["name"], "pins-by-category");
    assert_eq!(reports["items"][0]["value"], 1);
    let report = "/v1/pins/reports/pins-by-category";
    let rows = server.get(&format!("{report}?limit=1")).await.json();
    assert_eq!(
        (&rows["rows"], &rows["is_truncated"]),
        (&json!([["art", 2]]), &json!(true))
    );
    let csv = server.get(&format!("{report}?format=csv")).await;
    assert_eq!(csv.text(), "Csv\nart,2\n");
    let disposition = csv.header("content-disposition");
    assert!(
        disposition.contains("likeness-pins-by-category.csv"),
        "{disposition}"
    );
    let unknown = server.get("/v1/pins/reports/pins").await;
    unknown.check_error(404, "report_not_found");
    assert!(unknown.text().contains("there are: pins-by-category"));
}

#[tokio::test]
async fn who_may_read_may_query_and_other_pages_may_not() {
    let key = |text: &str, scope| ApiKey {
        name: text.to_owned(),
        sha256: likeness_core::Sha256(sha2::Sha256::digest(text).into()),
        scopes: vec![scope],
    };
    let config = ServerConfig {
        keys: vec![key("reader", Scope::Read), key("writer", Scope::Write)],
        ..ServerConfig::default()
    };
    let server = Server::with(DedupConfig::default(), config).await;
    let ask = async |headers: &[(&'static str, &str)]| {
        let body = br#"{"sql": "SELECT 1"}"#.to_vec();
        let mut request = post("/v1/sql", "application/json", body);
        for (name, value) in headers {
            let value = value.parse().unwrap();
            request.headers_mut().insert(*name, value);
        }
        server.answer(request).await
    };
    ask(&[]).await.check_error(401, "unauthorized");
    let reader = ("authorization", "Bearer reader");
    assert_eq!(ask(&[reader]).await.status, 200);
    ask(&[("authorization", "Bearer writer")])
        .await
        .check_error(403, "missing_scope");
    ask(&[reader, ("origin", "http://evil.example")])
        .await
        .check_error(403, "cross_origin");
    let page = Request::get("/sql").body(Body::empty()).unwrap();
    assert_eq!(server.answer(page).await.status, 303);
}

#[tokio::test]
async fn the_page_has_the_query_of_its_address_and_hostile_text_as_text() {
    let server = Server::start().await;
    let page = server.get("/sql").await.text();
    for part in [
        "SELECT category, count(*)",
        "Nothing is there yet",
        "data-insert=\"pins\"",
        "/sql?report=pins-by-category",
        "aria-current=\"page\">SQL",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains(" data-run"), "{page}");

    let hostile = "</textarea><script>alert(1)</script>";
    let page = server.get(&format!("/sql?q={}", encode(hostile))).await;
    let page = page.text();
    assert!(
        page.contains("&lt;/textarea&gt;&lt;script&gt;alert(1)") && !page.contains("<script>alert"),
        "{page}"
    );
    assert!(!page.contains(" data-run"), "a link makes no work: {page}");

    let report = server.get("/sql?report=pins-by-category").await.text();
    for part in [
        " data-run",
        "data-label=\"0\"",
        "data-value=\"1\"",
        "&lt;b&gt;",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let unknown = server.get("/sql?report=%3Cb%3E").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("pins-by-category"));
}

#[tokio::test]
async fn the_page_stands_when_tables_cannot_be_listed() {
    let sql = FakeSql { is_away: true };
    let server = Server::asking(sql).await;
    server
        .get("/v1/sql/tables")
        .await
        .check_error(500, "store_failed");
    let page = server.get("/sql").await;
    assert_eq!(page.status, 200);
    let page = page.text();
    assert!(
        page.contains("They cannot be listed") && !page.contains("secret"),
        "{page}"
    );
}
