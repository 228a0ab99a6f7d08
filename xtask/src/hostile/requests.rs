//! Hostile requests that are still HTTP: bodies, ids, names and queries, each with its answer.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{doors, pins, sql};
use crate::http::{Client, Form};
use crate::pictures::Picture;
use crate::process::Server;
use crate::report::Checks;

const LIMIT: Duration = Duration::from_secs(60);

/// A request and the answer it must get.
pub(super) struct Request {
    pub(super) name: String,
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
    pub(super) status: u16,
    /// Code of the error; empty if there is to be none.
    pub(super) code: &'static str,
}

/// Sends every hostile request. Returns how many.
///
/// # Errors
/// If the server cannot be reached any more.
pub(crate) fn run(server: &Server, checks: &mut Checks) -> anyhow::Result<usize> {
    let client = server.client(LIMIT);
    let mut requests = bodies();
    requests.extend(ids());
    requests.extend(queries());
    requests.extend(doors::requests());
    requests.extend(pins::requests());
    requests.extend(sql::requests());
    for request in &requests {
        let headers = [("content-type", request.content_type.as_str())];
        let answer = client.send(
            request.method,
            &request.path,
            &headers,
            request.body.clone(),
        );
        let outcome = answer.map(|answer| (answer.status, answer.error_code()));
        checks.that(
            matches!(&outcome, Ok((status, code)) if *status == request.status && code == request.code),
            || {
                format!(
                    "request `{}`: expected {} {}, got {outcome:?}",
                    request.name, request.status, request.code
                )
            },
        );
    }
    let num_names = names(&client, checks)?;
    let num_texts = doors::texts(&client, checks)?;
    Ok(requests.len() + num_names + num_texts)
}

fn bodies() -> Vec<Request> {
    let picture = STANDARD.encode(Picture::draw(900, 32, 32).png());
    let post =
        |name: &str, content_type: &str, body: Vec<u8>, status: u16, code: &'static str| Request {
            name: name.to_owned(),
            method: "POST",
            path: "/v1/images".to_owned(),
            content_type: content_type.to_owned(),
            body,
            status,
            code,
        };
    let json = |name: &str, body: String| {
        post(
            name,
            "application/json",
            body.into_bytes(),
            400,
            "malformed_body",
        )
    };
    let form = |name: &str, body: &str| {
        let content_type = "multipart/form-data; boundary=b";
        post(
            name,
            content_type,
            body.as_bytes().to_vec(),
            400,
            "malformed_body",
        )
    };
    let mut twice = Form::default();
    twice.file("file", "a.png", b"one");
    twice.file("file", "b.png", b"two");
    let (twice_type, twice_body) = twice.finish();
    let mut many = Form::default();
    for index in 0..2_000 {
        many.text(&format!("part{index}"), "x");
    }
    let (many_type, many_body) = many.finish();
    vec![
        json("json that ends early", "{\"data\": \"".to_owned()),
        json("json that is no object", "[1, 2, 3]".to_owned()),
        json("json nested a hundred thousand deep", "[".repeat(100_000)),
        json(
            "json with an unknown key",
            format!("{{\"data\":\"{picture}\",\"x\":1}}"),
        ),
        json("json with a number for data", "{\"data\": 12}".to_owned()),
        json("json without data", "{\"id\": \"a\"}".to_owned()),
        json(
            "json with data twice",
            format!("{{\"data\":\"{picture}\",\"data\":\"\"}}"),
        ),
        json("base64 that is none", "{\"data\": \"%%%%\"}".to_owned()),
        json(
            "base64 without its padding",
            "{\"data\": \"iVBORw0KGgo\"}".to_owned(),
        ),
        json(
            "json with a lone surrogate",
            "{\"id\":\"\\ud800\",\"data\":\"\"}".to_owned(),
        ),
        post(
            "json that is not utf-8",
            "application/json",
            vec![0xff, 0xfe],
            400,
            "malformed_body",
        ),
        form(
            "form without its end",
            "--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nx",
        ),
        form("form without parts", "--b--\r\n"),
        form(
            "form with an unknown part",
            "--b\r\ncontent-disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b--\r\n",
        ),
        form("form without boundaries", "no boundary anywhere"),
        post(
            "form without a boundary parameter",
            "multipart/form-data",
            b"--b--".to_vec(),
            400,
            "malformed_body",
        ),
        post(
            "form with its file twice",
            &twice_type,
            twice_body,
            400,
            "malformed_body",
        ),
        post(
            "form with too many parts",
            &many_type,
            many_body,
            400,
            "malformed_body",
        ),
        post(
            "plain text",
            "text/plain",
            b"hello".to_vec(),
            415,
            "unsupported_media_type",
        ),
        post(
            "no content type",
            "",
            b"hello".to_vec(),
            415,
            "unsupported_media_type",
        ),
        post(
            "xml",
            "application/xml",
            b"<a/>".to_vec(),
            415,
            "unsupported_media_type",
        ),
    ]
}

fn ids() -> Vec<Request> {
    let bytes = STANDARD.encode(Picture::draw(901, 32, 32).png());
    let bad = [
        ("climbs", "../../etc/passwd".to_owned()),
        ("climbs backwards", "..\\..\\windows".to_owned()),
        ("parent", "..".to_owned()),
        ("root", "/etc/passwd".to_owned()),
        ("empty", String::new()),
        ("nul", "a\0b".to_owned()),
        ("line ends", "a\r\nset-cookie: x=1".to_owned()),
        ("escape sequence", "a\u{1b}[2Jb".to_owned()),
        ("line separator", "a\u{2028}b".to_owned()),
        ("spaces around", " a ".to_owned()),
        ("too long", "x".repeat(129)),
        ("ten thousand long", "é".repeat(5_000)),
    ];
    bad.into_iter()
        .map(|(name, id)| Request {
            name: format!("id that {name}"),
            method: "POST",
            path: "/v1/images".to_owned(),
            content_type: "application/json".to_owned(),
            body: serde_json::json!({"id": id, "data": bytes})
                .to_string()
                .into_bytes(),
            status: 400,
            code: "invalid_id",
        })
        .collect()
}

fn queries() -> Vec<Request> {
    let get = |path: &str, status: u16, code: &'static str| Request {
        name: format!("GET {}", path.chars().take(60).collect::<String>()),
        method: "GET",
        path: path.to_owned(),
        content_type: "text/plain".to_owned(),
        body: Vec::new(),
        status,
        code,
    };
    vec![
        get(
            "/v1/images/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            400,
            "invalid_id",
        ),
        get("/v1/images/%00", 400, "invalid_id"),
        get("/v1/images/%ff%fe", 400, "invalid_path"),
        get(
            &format!("/v1/images/{}", "x".repeat(2_000)),
            400,
            "invalid_id",
        ),
        get("/v1/images/nobody", 404, "image_not_found"),
        get("/v1/images/nobody/file", 404, "image_not_found"),
        get("/v1/images/nobody/thumbnail", 404, "image_not_found"),
        get("/v1/images/nobody/explain", 404, "image_not_found"),
        get("/v1/clusters/nobody", 404, "cluster_not_found"),
        get("/v1/clusters?limit=-1", 400, "invalid_query"),
        get("/v1/clusters?limit=0", 400, "invalid_query"),
        get("/v1/clusters?limit=100000000", 400, "invalid_query"),
        get(
            "/v1/clusters?limit=99999999999999999999999",
            400,
            "invalid_query",
        ),
        get(
            "/v1/clusters?cursor=%27%3B%20drop%20table%20x",
            400,
            "invalid_parameter",
        ),
        get(
            &format!("/v1/clusters?cursor={}", "A".repeat(4_000)),
            400,
            "invalid_parameter",
        ),
        get("/v1/clusters?order=sideways", 400, "invalid_query"),
        get("/v1/clusters?nonsense=1", 400, "invalid_query"),
        get("/v1/events?from=sideways", 400, "invalid_query"),
        get("/v1/../../etc/passwd", 404, "unknown_path"),
        get("/v1/nothing", 404, "unknown_path"),
        Request {
            name: "DELETE where nothing is deleted".to_owned(),
            method: "DELETE",
            ..get("/v1/clusters", 405, "method_not_allowed")
        },
    ]
}

/// Names are text, not paths: odd ones are kept as they are, and never show up in a file system or
/// as markup.
fn names(client: &Client, checks: &mut Checks) -> anyhow::Result<usize> {
    // What is sent, and what is kept where that is not the same.
    let odd = [
        ("../../../tmp/outside.png", None),
        ("..\\..\\outside.png", None),
        ("/etc/passwd", None),
        ("C:\\con\\nul.png", None),
        ("a\u{202e}gnp.exe", Some("a\u{fffd}gnp.exe")),
        (
            "a\r\nset-cookie: x=1",
            Some("a\u{fffd}\u{fffd}set-cookie: x=1"),
        ),
        ("nul\0.png", Some("nul\u{fffd}.png")),
        ("<script>alert(1)</script>.png", None),
        ("\"><img src=x onerror=alert(1)>.png", None),
        ("'; drop table images; --.png", None),
        ("%2e%2e%2f.png", None),
        ("${jndi:ldap://x}.png", None),
        ("-rf.png", None),
        ("😀 emoji and spaces .png", None),
    ];
    for (index, (name, kept)) in odd.into_iter().enumerate() {
        let id = format!("odd-name-{index}");
        let picture = STANDARD.encode(Picture::draw(950 + index as u64, 64, 64).png());
        let body = serde_json::json!({"id": id, "name": name, "data": picture}).to_string();
        let headers = [("content-type", "application/json")];
        let answer = client.send("POST", "/v1/images?wait=true", &headers, body.into_bytes())?;
        checks.that(matches!(answer.status, 200 | 201), || {
            format!("name {name:?}: {} {}", answer.status, answer.excerpt())
        });
        let view = client.get_json(&format!("/v1/images/{id}"))?;
        checks.that(view["name"] == kept.unwrap_or(name), || {
            format!("name {name:?} came back as {}", view["name"])
        });
        let page = client.get(&format!("/images/{id}"))?;
        let html = String::from_utf8_lossy(&page.body);
        checks.that(
            page.status == 200 && !html.contains("<script>alert") && !html.contains("<img src=x"),
            || format!("name {name:?} is markup on its page ({})", page.status),
        );
        let file = client.get(&format!("/v1/images/{id}/file"))?;
        let disposition = file.header("content-disposition").unwrap_or_default();
        checks.that(file.status == 200 && !disposition.contains(".."), || {
            format!("name {name:?}: {} `{disposition}`", file.status)
        });
    }
    let long = "x".repeat(10_000);
    let picture = Picture::draw(999, 64, 64).png();
    let answer = client.upload("long-name", &long, &picture, true)?;
    let view = client.get_json("/v1/images/long-name")?;
    let num_kept = view["name"].as_str().map_or(0, str::len);
    checks.that(answer.status == 200 && num_kept <= 512, || {
        format!(
            "a name of 10,000 bytes: {}, {num_kept} bytes kept",
            answer.status
        )
    });
    Ok(odd.len() + 1)
}
