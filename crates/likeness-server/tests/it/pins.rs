//! The doors for pins, geolocations and users.

use likeness_engine::dedup::DedupConfig;
use likeness_server::ServerConfig;
use serde_json::{Value, json};

use crate::support::{Answer, Server};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

async fn post(server: &Server, path: &str, body: impl ToString) -> Answer {
    let body = body.to_string().into_bytes();
    server.post(path, JSON, body).await
}

#[tokio::test]
async fn one_event_is_accepted_with_its_place_or_refused_with_its_field() {
    let server = Server::start().await;
    for (path, topic, event, key) in [
        ("/pin/", "pins", json!({"unique_id": "a", "index": 1}), "a"),
        ("/v1/pins", "pins", json!({"unique_id": 7}), "7"),
        (
            "/v1/geolocations",
            "geolocations",
            json!({"ind": "012"}),
            "12",
        ),
        ("/v1/users", "users", json!({"ind": 12}), "12"),
    ] {
        let answer = post(&server, path, &event).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let place = answer.json();
        assert_eq!(place["outcome"], "accepted");
        assert_eq!(
            (&place["topic"], &place["key"]),
            (&json!(topic), &json!(key))
        );
        let first = place["offset"].as_u64().unwrap();
        let second = post(&server, path, &event).await.json()["offset"].clone();
        assert!(second.as_u64().unwrap() > first, "sent again, kept again");

        let refused = post(&server, path, json!({"title": "no key"})).await;
        refused.check_error(422, "invalid_event");
        let field = if topic == "pins" {
            "`unique_id`"
        } else {
            "`ind`"
        };
        assert!(refused.text().contains(field), "{}", refused.text());
        post(&server, path, 17)
            .await
            .check_error(422, "invalid_event");
    }
}

#[tokio::test]
async fn of_several_each_has_an_outcome() {
    let server = Server::start().await;
    let events = [
        json!({"ind": 1}),
        json!({"ind": "one"}),
        json!(null),
        json!({"ind": 2}),
    ];
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let lines = format!("\n{}\r\n", lines.join("\n")).into_bytes();
    let array = serde_json::to_vec(&events).unwrap();
    for (content_type, body) in [(JSON, array), (LINES, lines)] {
        let answer = server.post("/v1/users", content_type, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(
            (&answer["accepted"], &answer["refused"]),
            (&json!(2), &json!(2))
        );
        let outcomes = answer["items"].as_array().unwrap();
        let outcomes: Vec<_> = outcomes.iter().map(|item| &item["outcome"]).collect();
        assert_eq!(outcomes, ["accepted", "refused", "refused", "accepted"]);
        assert_eq!(answer["items"][1]["field"], "ind");
        assert_eq!(answer["items"][2].get("field"), None);
    }
    let none = post(&server, "/v1/users", "[]").await;
    assert_eq!(
        none.json(),
        json!({"accepted": 0, "refused": 0, "items": []})
    );
}

#[tokio::test]
async fn what_is_no_json_is_refused_as_a_whole() {
    let server = Server::start().await;
    for (content_type, body) in [
        (JSON, "[{\"ind\": 1}, {]".to_owned()),
        (JSON, String::new()),
        (LINES, "{\"ind\": 1}\n{".to_owned()),
        ("text/plain", "{\"ind\": 1}".to_owned()),
        (JSON, format!("[{}1]", "1,".repeat(1_000))),
        (LINES, "1\n".repeat(1_001)),
        (JSON, "[".repeat(100_000)),
    ] {
        let answer = server.post("/v1/users", content_type, body.into()).await;
        answer.check_error(400, "malformed_body");
    }
    let stored = post(&server, "/v1/users", json!({"ind": 1})).await.json();
    let fresh = Server::start().await;
    let first = post(&fresh, "/v1/users", json!({"ind": 1})).await.json();
    assert_eq!(stored, first, "nothing of a refused call is stored");
    let lines = server
        .post("/pin/", LINES, b"{\"unique_id\": 1}".to_vec())
        .await;
    lines.check_error(400, "malformed_body");
    let long = vec![b' '; 300 << 10];
    server
        .post("/pin/", JSON, long)
        .await
        .check_error(400, "malformed_body");
}

#[tokio::test]
async fn without_a_key_nothing_is_posted_where_keys_are_needed() {
    let config = json!({
        "keys": [{
            "name": "reader",
            "sha256": "3b6ff9a4ac2c8b0e0d4ee7e3e2cbd9ff4a1c5e5c9d1f0d6c5f0b7a9f2d1e3c4b",
            "scopes": ["read"],
        }],
    });
    let config: ServerConfig = serde_json::from_value(config).unwrap();
    let server = Server::with(DedupConfig::default(), config).await;
    for path in ["/pin/", "/v1/pins"] {
        let answer = post(&server, path, json!({"unique_id": 1})).await;
        answer.check_error(401, "unauthorized");
    }
}
