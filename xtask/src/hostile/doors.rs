//! Hostile requests to the doors that change what is decided: each with its answer.

use serde_json::{Value, json};

use super::requests::Request;
use crate::http::Client;
use crate::report::Checks;

/// Requests whose answers are fixed.
pub(super) fn requests() -> Vec<Request> {
    let mut requests = corrections();
    requests.extend(lists());
    requests.extend(bodies());
    requests.extend(embeddings());
    requests
}

fn post(
    name: &str,
    path: &str,
    body: impl Into<Vec<u8>>,
    status: u16,
    code: &'static str,
) -> Request {
    Request {
        name: name.to_owned(),
        method: "POST",
        path: path.to_owned(),
        content_type: "application/json".to_owned(),
        body: body.into(),
        status,
        code,
    }
}

fn corrections() -> Vec<Request> {
    let path = "/v1/corrections";
    let merge = || json!({"kind": "merge", "into": "nobody-1", "from": "nobody-2"});
    let correction = |author: &str, command: Value| {
        json!({"author": author, "reason": "hostile", "command": command}).to_string()
    };
    let malformed = |name: &str, body: String| post(name, path, body, 400, "malformed_body");
    let refused = |name: &str, body: String| post(name, path, body, 400, "invalid_parameter");
    let many: Vec<String> = (0..1_001).map(|member| format!("m{member}")).collect();
    let split = json!({"kind": "split", "cluster": "nobody", "members": many});
    vec![
        malformed("correction that ends early", "{\"author\": \"".to_owned()),
        malformed("correction that is a list", "[]".to_owned()),
        malformed("correction nested deep", "[".repeat(100_000)),
        malformed(
            "correction without a command",
            json!({"author": "a", "reason": "b"}).to_string(),
        ),
        malformed(
            "correction of an unknown kind",
            correction("a", json!({"kind": "explode"})),
        ),
        malformed(
            "correction with an unknown key",
            json!({"author": "a", "reason": "b", "command": merge(), "force": true}).to_string(),
        ),
        malformed(
            "correction of an id that climbs",
            correction(
                "a",
                json!({"kind": "merge", "into": "../../x", "from": "b"}),
            ),
        ),
        malformed(
            "undo of a negative number",
            correction("a", json!({"kind": "undo", "correction": -1})),
        ),
        refused("correction by nobody", correction("", merge())),
        refused(
            "author of ten thousand bytes",
            correction(&"a".repeat(10_000), merge()),
        ),
        refused(
            "author with an escape sequence",
            correction("a\u{1b}[2J", merge()),
        ),
        refused("split of 1,001 members", correction("a", split)),
        post(
            "undo without a number",
            "/v1/corrections/x/undo",
            "{}",
            400,
            "invalid_path",
        ),
        post(
            "undo of a huge number",
            "/v1/corrections/99999999999999999999/undo",
            "{}",
            400,
            "invalid_path",
        ),
        // Refused by the assign stage: an answer, not an error.
        post("merge of nobody", path, correction("a", merge()), 200, ""),
        post(
            "undo of what never was",
            path,
            correction("a", json!({"kind": "undo", "correction": u64::MAX})),
            200,
            "",
        ),
        post(
            "merge with itself",
            path,
            correction(
                "a",
                json!({"kind": "merge", "into": "nobody", "from": "nobody"}),
            ),
            200,
            "",
        ),
    ]
}

/// Every door that takes JSON is sent what is none of its own.
fn bodies() -> Vec<Request> {
    let doors = [
        ("POST", "/v1/banks"),
        ("PATCH", "/v1/banks/nobody"),
        ("POST", "/v1/banks/nobody/images"),
        ("POST", "/v1/clusters/nobody/quarantine"),
        ("POST", "/v1/alarms/0/acknowledge"),
        ("POST", "/v1/orphans/nobody/drop"),
        ("POST", "/v1/orphans/nobody/retry"),
        ("POST", "/v1/reviews/0-1"),
        ("POST", "/v1/recluster"),
        ("POST", "/v1/embeddings"),
        ("DELETE", "/v1/images/nobody"),
    ];
    let bodies = [
        ("that ends early", "{\"author\": \"".to_owned()),
        ("nested deep", "[".repeat(100_000)),
        ("that is a number", "17".to_owned()),
        (
            "that is not UTF-8's",
            "{\"author\": \"\\ud800\"}".to_owned(),
        ),
        (
            "with an unknown key",
            json!({"author": "a", "reason": "b", "force": true}).to_string(),
        ),
        (
            "whose texts are lists",
            json!({"author": [], "reason": {}}).to_string(),
        ),
    ];
    let mut requests = vec![
        post(
            "scan of no bank",
            "/v1/banks/nobody/scan",
            "17",
            404,
            "bank_not_found",
        ),
        post(
            "scorer that is none",
            "/v1/scorers",
            "17",
            400,
            "invalid_parameter",
        ),
        post(
            "scorer nested deep",
            "/v1/scorers",
            "[".repeat(100_000),
            400,
            "invalid_parameter",
        ),
        Request {
            method: "DELETE",
            ..post(
                "bank deleted by nobody",
                "/v1/banks/nobody",
                "{}",
                400,
                "invalid_query",
            )
        },
    ];
    for (method, path) in doors {
        for (name, body) in &bodies {
            let name = format!("{method} {path} with a body {name}");
            requests.push(Request {
                method,
                ..post(&name, path, body.clone(), 400, "malformed_body")
            });
        }
    }
    requests
}

/// No embeddings are taken by this server, so whatever is sent is refused, and nothing of it is kept.
fn embeddings() -> Vec<Request> {
    let path = "/v1/embeddings";
    let embedding = |vector: Value| {
        json!({"image": "nobody", "kind": "copy", "model": "m", "vector": vector}).to_string()
    };
    let refused = |name: &str, body: String| post(name, path, body, 400, "invalid_parameter");
    vec![
        refused("embedding of an unknown kind", embedding(json!([1.0]))),
        post(
            "embedding of an id that climbs",
            path,
            json!({"image": "../x", "kind": "copy", "model": "m", "vector": [1.0]}).to_string(),
            400,
            "invalid_id",
        ),
        post(
            "embedding whose vector is half of base64",
            path,
            embedding(json!("AAA")),
            400,
            "invalid_parameter",
        ),
        post(
            "embedding with a component beyond floats",
            path,
            embedding(json!([1e300])),
            400,
            "invalid_parameter",
        ),
    ]
}

fn lists() -> Vec<Request> {
    let get = |path: &str, status: u16, code: &'static str| Request {
        name: format!("GET {path}"),
        method: "GET",
        path: path.to_owned(),
        content_type: "text/plain".to_owned(),
        body: Vec::new(),
        status,
        code,
    };
    vec![
        get("/v1/corrections?limit=0", 400, "invalid_query"),
        get("/v1/corrections?cursor=sideways", 400, "invalid_parameter"),
        get("/v1/corrections?cursor=-1", 400, "invalid_parameter"),
        get("/v1/images/nobody/corrections", 404, "image_not_found"),
        get("/v1/images/%00/corrections", 400, "invalid_id"),
        get("/v1/images/%00/erasure", 400, "invalid_id"),
        get("/v1/images/nobody/erasure?sha256=zz", 400, "invalid_query"),
        get("/v1/reviews?limit=0", 400, "invalid_query"),
        get("/v1/reviews?cursor=sideways", 400, "invalid_parameter"),
        get("/v1/labels?limit=1000000", 400, "invalid_query"),
        get("/v1/banks/nobody", 404, "bank_not_found"),
        get("/v1/banks/..%2F..%2Fx", 404, "bank_not_found"),
        get("/v1/banks/nobody/matches?limit=-1", 400, "invalid_query"),
        get("/v1/alarms?cursor=sideways", 400, "invalid_parameter"),
        get("/v1/clusters/nobody/held?limit=0", 400, "invalid_query"),
        get("/v1/orphans?day=20260231", 400, "invalid_parameter"),
        get("/v1/orphans?side=both", 400, "invalid_query"),
        get("/v1/orphans/journal?from=-1", 400, "invalid_query"),
        get("/v1/scorers/compare?a=..%2Fx", 400, "invalid_query"),
    ]
}

/// What people write beside a correction is text, and never shows up as markup.
///
/// # Errors
/// If the server does not answer.
pub(super) fn texts(client: &Client, checks: &mut Checks) -> anyhow::Result<usize> {
    let odd = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
    ];
    for text in odd {
        let body = json!({
            "author": text, "reason": text,
            "command": {"kind": "merge", "into": "nobody-1", "from": "nobody-2"},
        });
        let headers = [("content-type", "application/json")];
        let body = body.to_string().into_bytes();
        let answer = client.send("POST", "/v1/corrections", &headers, body)?;
        let page = client.get("/corrections")?;
        let html = String::from_utf8_lossy(&page.body);
        let is_text = !html.contains("<script>alert") && !html.contains("<img src=x");
        checks.that(
            answer.status == 200 && page.status == 200 && is_text,
            || {
                format!(
                    "{text:?} as an author: {}, page {}",
                    answer.status, page.status
                )
            },
        );
    }
    Ok(odd.len())
}
