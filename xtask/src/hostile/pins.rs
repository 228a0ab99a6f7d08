//! Hostile requests to the doors of pins, which keep whatever has a key: each with its answer.

use serde_json::json;

use super::requests::Request;

const DOORS: [&str; 4] = ["/pin/", "/v1/pins", "/v1/geolocations", "/v1/users"];

/// Requests whose answers are fixed.
pub(super) fn requests() -> Vec<Request> {
    DOORS
        .into_iter()
        .flat_map(of_door)
        .chain(lines())
        .chain(questions())
        .collect()
}

fn of_door(path: &str) -> Vec<Request> {
    let post = |name: &str, body: String, status: u16, code: &'static str| Request {
        name: format!("{path} with {name}"),
        method: "POST",
        path: path.to_owned(),
        content_type: "application/json".to_owned(),
        body: body.into_bytes(),
        status,
        code,
    };
    let malformed = |name: &str, body: String| post(name, body, 400, "malformed_body");
    let refused = |name: &str, body: String| post(name, body, 422, "invalid_event");
    let stored = |name: &str, body: String| post(name, body, 202, "");
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    vec![
        malformed("nothing", String::new()),
        malformed("an event that ends early", "{\"ind\": 1".to_owned()),
        malformed("two events", "{\"ind\": 1} {\"ind\": 2}".to_owned()),
        malformed("brackets only", "[".repeat(100_000)),
        refused("a number", "17".to_owned()),
        refused("a text", "\"unique_id\"".to_owned()),
        refused("nothing in an object", "{}".to_owned()),
        refused(
            "keys that are lists",
            json!({"unique_id": [], "ind": {}}).to_string(),
        ),
        refused(
            "keys that are empty",
            json!({"unique_id": " ", "ind": " "}).to_string(),
        ),
        refused(
            "keys that are too great",
            json!({"unique_id": "x".repeat(10_000), "ind": u64::MAX}).to_string(),
        ),
        refused(
            "keys that steer terminals",
            json!({"unique_id": "\u{1b}[2J", "ind": "\u{1b}[2J"}).to_string(),
        ),
        refused(
            "an event that is too long",
            json!({"unique_id": "a", "ind": 1, "title": "x".repeat(100_000)}).to_string(),
        ),
        refused(
            "an event that is nested deep",
            format!("{{\"unique_id\": \"a\", \"ind\": 1, \"title\": {deep}}}"),
        ),
        refused(
            "a number beyond floats",
            "{\"unique_id\": \"a\", \"ind\": 1, \"latitude\": 1e999}".to_owned(),
        ),
        stored(
            "markup, quotes and nothing that can be cleaned",
            json!({
                "unique_id": "'; drop table pins; --", "ind": "007",
                "title": "<script>alert(1)</script>", "follower_count": "\u{0}", "timestamp": [],
            })
            .to_string(),
        ),
    ]
}

/// Questions about the numbers.
fn questions() -> Vec<Request> {
    let ask = |query: String, status: u16, code: &'static str| Request {
        name: format!("asked for {query:.80}"),
        method: "GET",
        path: format!("/v1/pins/{query}"),
        content_type: "application/json".to_owned(),
        body: Vec::new(),
        status,
        code,
    };
    let query = |text: &str| ask(text.to_owned(), 400, "invalid_query");
    let parameter = |text: &str| ask(text.to_owned(), 400, "invalid_parameter");
    vec![
        query("popular-profiles?by=%27%3B%20drop%20table%20profiles"),
        query("popular-profiles?limit=18446744073709551615"),
        query("popular-profiles?limit=-1"),
        query("trending-categories?window=9999999999999999999years"),
        query("trending-categories?window=-1h"),
        parameter("trending-categories?window=0s"),
        query("trending-categories?until=99999-01-01"),
        query("series?from=0000-00-00"),
        query("series?until=9223372036854775807"),
        parameter("series?from=0001-01-01&until=9999-12-31&step=1min"),
        parameter("series?from=9999-12-31&until=0001-01-01"),
        parameter("series?category=%00"),
        ask(
            format!("series?category={}", "x".repeat(1_000)),
            400,
            "invalid_parameter",
        ),
        ask(
            "series?category=%27%20or%20%271%27%3D%271".to_owned(),
            200,
            "",
        ),
        parameter("rejected?cursor=%00"),
        parameter("rejected?cursor=-9223372036854775808.pin.0.0"),
        parameter("rejected?cursor=0.pin.0.0.0"),
        ask("rejected?cursor=0.pin.-1.-1".to_owned(), 200, ""),
        query("live?limit=0"),
        query("status?status=status"),
    ]
}

fn lines() -> Vec<Request> {
    let post = |name: &str, body: Vec<u8>, status: u16, code: &'static str| Request {
        name: format!("/v1/users with {name}"),
        method: "POST",
        path: "/v1/users".to_owned(),
        content_type: "application/x-ndjson".to_owned(),
        body,
        status,
        code,
    };
    vec![
        post(
            "lines that are not UTF-8",
            vec![b'"', 0xff, b'"'],
            400,
            "malformed_body",
        ),
        post(
            "a line that ends early",
            b"{\"ind\": 1}\n{".to_vec(),
            400,
            "malformed_body",
        ),
        post(
            "too many lines",
            b"{\"ind\": 1}\n".repeat(1_001),
            400,
            "malformed_body",
        ),
        post(
            "lines of which none can be stored",
            b"1\n[]\nnull\n{}\n".to_vec(),
            200,
            "",
        ),
        post("empty lines", b"\n\r\n \n".to_vec(), 200, ""),
    ]
}
