//! Hostile queries: each is answered, or refused with a reason, and harms nobody else.

use serde_json::json;

use super::requests::Request;

/// Requests whose answers are fixed.
pub(super) fn requests() -> Vec<Request> {
    refused()
        .into_iter()
        .chain(fine())
        .chain(bodies())
        .collect()
}

fn request(name: &str, sql: &str, status: u16, code: &'static str) -> Request {
    Request {
        name: format!("SQL: {name}"),
        method: "POST",
        path: "/v1/sql".to_owned(),
        content_type: "application/json".to_owned(),
        body: json!({ "sql": sql }).to_string().into_bytes(),
        status,
        code,
    }
}

/// Queries that are no queries, or none that may be.
fn refused() -> Vec<Request> {
    let refused = |name: &str, sql: String| request(name, &sql, 400, "invalid_query");
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    let mut requests = vec![
        refused("nothing", String::new()),
        refused("white space", " \n\t".to_owned()),
        refused("a comment", "-- SELECT 1".to_owned()),
        refused("a NUL", "SELECT '\0' FROM nowhere".to_owned()),
        refused("a quote that is open", "SELECT 'a".to_owned()),
        refused("a comment that is open", "SELECT 1 /* a".to_owned()),
        refused("two statements", "SELECT 1; SELECT 2".to_owned()),
        refused(
            "a second one that destroys",
            "SELECT 1; DROP TABLE pins".to_owned(),
        ),
        refused(
            "what is too long",
            format!("SELECT '{}'", "x".repeat(200_000)),
        ),
        refused(
            "parentheses",
            format!("SELECT {}", nested("(", "1", ")", 20_000)),
        ),
        refused(
            "parentheses that are open",
            format!("SELECT {}", "(".repeat(30_000)),
        ),
        refused(
            "brackets",
            format!("SELECT {}", nested("[", "1", "]", 20_000)),
        ),
        refused(
            "functions in functions",
            format!("SELECT {}", nested("abs(", "1", ")", 10_000)),
        ),
        refused(
            "queries in queries",
            nested("SELECT * FROM (", "SELECT 1", ")", 4_000),
        ),
        refused(
            "negations",
            format!("SELECT {} true", "NOT ".repeat(15_000)),
        ),
        refused(
            "cases in cases",
            format!(
                "SELECT {}",
                nested("CASE WHEN true THEN ", "1", " END", 2_000)
            ),
        ),
    ];
    let statements = [
        "CREATE TABLE t (a int)",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE VIEW v AS SELECT 1",
        "CREATE SCHEMA s",
        "DROP TABLE pins",
        "DROP VIEW pins",
        "DELETE FROM pins",
        "UPDATE pins SET category = 'x'",
        "INSERT INTO pins SELECT * FROM pins",
        "TRUNCATE TABLE pins",
        "COPY pins TO '/tmp/hostile.csv'",
        "COPY (SELECT 1) TO '/tmp/hostile.parquet' STORED AS PARQUET",
        "SET datafusion.execution.batch_size = 1",
        "PREPARE p AS SELECT 1",
        "BEGIN",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM \"file:///etc/passwd\"",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * INTO t FROM pins",
    ];
    requests.extend(statements.map(|sql| refused(sql, sql.to_owned())));
    requests
}

/// Odd queries that have an answer.
fn fine() -> Vec<Request> {
    [
        ("a semicolon at the end", "SELECT 1;"),
        (
            "markup as a name",
            "SELECT 1 AS \"<script>alert(1)</script>\"",
        ),
        ("an escape sequence", "SELECT '\u{1b}[2J'"),
        ("names from right to left", "SELECT 1 AS \"\u{202e}a\""),
        (
            "a quote that is not injected",
            "SELECT '''; DROP TABLE pins; --'",
        ),
        (
            "a count of nothing",
            "SELECT count(*) FROM pins WHERE false",
        ),
    ]
    .map(|(name, sql)| request(name, sql, 200, ""))
    .into()
}

/// Bodies and paths around queries.
fn bodies() -> Vec<Request> {
    let post = |name: &str, path: &str, content_type: &str, body: String, code| Request {
        name: format!("SQL: {name}"),
        method: "POST",
        path: path.to_owned(),
        content_type: content_type.to_owned(),
        body: body.into_bytes(),
        status: 400,
        code,
    };
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let get = |path: &str, status, code| Request {
        name: format!("asked for {path}"),
        method: "GET",
        path: path.to_owned(),
        content_type: json.to_owned(),
        body: Vec::new(),
        status,
        code,
    };
    vec![
        post("no body", "/v1/sql", json, String::new(), "malformed_body"),
        post(
            "a list",
            "/v1/sql",
            json,
            "[\"SELECT 1\"]".to_owned(),
            "malformed_body",
        ),
        post(
            "nested JSON",
            "/v1/sql",
            json,
            "[".repeat(100_000),
            "malformed_body",
        ),
        post(
            "a long body",
            "/v1/sql",
            json,
            " ".repeat(600_000),
            "malformed_body",
        ),
        post(
            "text",
            "/v1/sql",
            "text/plain",
            "SELECT 1".to_owned(),
            "malformed_body",
        ),
        post(
            "a form without a query",
            "/v1/sql",
            form,
            "format=csv".to_owned(),
            "malformed_body",
        ),
        post(
            "a limit beyond bounds",
            "/v1/sql",
            json,
            json!({"sql": "SELECT 1", "limit": u64::MAX}).to_string(),
            "invalid_query",
        ),
        post(
            "a form of answer that climbs",
            "/v1/sql?format=../../etc/passwd",
            json,
            json!({"sql": "SELECT 1"}).to_string(),
            "invalid_query",
        ),
        get(
            "/v1/pins/reports/..%2F..%2Fetc%2Fpasswd",
            404,
            "report_not_found",
        ),
        get("/v1/pins/reports/%00", 404, "report_not_found"),
        get("/v1/pins/reports/%FF", 400, "invalid_path"),
        get(
            "/v1/pins/reports/top-category-by-year?limit=0",
            400,
            "invalid_query",
        ),
    ]
}
