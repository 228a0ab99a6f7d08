use axum::body::Body;
use axum::http::Request;
use futures::StreamExt;
use likeness_engine::dedup::DedupConfig;
use likeness_server::ServerConfig;
use serde_json::Value;

use crate::support::{Server, picture, png};

/// One server-sent event.
#[derive(Debug)]
struct Event {
    id: u64,
    name: String,
    data: Value,
}

fn parse(text: &str) -> Vec<Event> {
    text.split("\n\n")
        .filter(|block| block.contains("data:"))
        .map(|block| {
            let field = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_else(|| panic!("no {name} in {block:?}"))
                    .trim()
                    .to_owned()
            };
            Event {
                id: field("id:").parse().unwrap(),
                name: field("event:"),
                data: serde_json::from_str(&field("data:")).unwrap(),
            }
        })
        .collect()
}

async fn read(server: &Server, path: &str, last_event_id: Option<u64>) -> Vec<Event> {
    let mut request = Request::get(path);
    if let Some(last) = last_event_id {
        request = request.header("last-event-id", last.to_string());
    }
    let answer = server.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "text/event-stream");
    parse(&answer.text())
}

fn ids(events: &[Event]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event.data["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_that_was_seen() {
    let server = Server::start().await;
    for seed in 0..4 {
        server
            .store(&format!("image-{seed}"), png(&picture(seed)))
            .await;
    }
    let first = read(&server, "/v1/events?from=beginning&limit=2", None).await;
    assert_eq!(ids(&first), ["image-0", "image-1"]);
    assert!(first.iter().all(|event| event.name == "decision"));
    assert!(first.iter().all(|event| event.data["offset"] == event.id));

    let rest = read(
        &server,
        "/v1/events?from=beginning&limit=2",
        Some(first[1].id),
    )
    .await;
    assert_eq!(ids(&rest), ["image-2", "image-3"]);
    let path = format!("/v1/events?limit=1&from={}", rest[1].id);
    assert_eq!(ids(&read(&server, &path, None).await), ["image-3"]);
}

#[tokio::test]
async fn a_stream_from_latest_shows_what_is_decided_after_it_began() {
    let server = Server::start().await;
    server.store("before", png(&picture(1))).await;
    let request = Request::get("/v1/events?limit=1")
        .body(Body::empty())
        .unwrap();
    let response = server.send(request).await;
    server.store("after", png(&picture(2))).await;
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    assert_eq!(ids(&parse(std::str::from_utf8(&body).unwrap())), ["after"]);
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let server = Server::start().await;
    let request = Request::get("/v1/events").body(Body::empty()).unwrap();
    let response = server.send(request).await;
    let mut chunks = response.into_body().into_data_stream();
    server.shutdown.cancel();
    assert!(chunks.next().await.is_none());
}

#[tokio::test]
async fn only_so_many_streams_are_open_at_once() {
    let config = ServerConfig {
        max_event_streams: 1,
        ..ServerConfig::default()
    };
    let server = Server::with(DedupConfig::default(), config).await;
    let request = || Request::get("/v1/events").body(Body::empty()).unwrap();
    let open = server.send(request()).await;
    assert_eq!(open.status(), 200);
    let refused = server.answer(request()).await;
    refused.check_error(503, "busy");
    assert_eq!(refused.header("retry-after"), "1");
    drop(open);
    assert_eq!(server.send(request()).await.status(), 200);
}

#[tokio::test]
async fn places_that_are_none_are_refused() {
    let server = Server::start().await;
    for path in [
        "/v1/events?from=yesterday",
        "/v1/events?from=-1",
        "/v1/events?limit=0",
    ] {
        server.get(path).await.check_error(400, "invalid_query");
    }
    for last in ["x", "-1", "18446744073709551615"] {
        let request = Request::get("/v1/events").header("last-event-id", last);
        let answer = server.answer(request.body(Body::empty()).unwrap()).await;
        answer.check_error(400, "invalid_header");
    }
}

#[tokio::test]
async fn other_topics_are_streamed_by_name() {
    let server = Server::start().await;
    server.store("a-head", png(&picture(1))).await;
    let body = r#"{"author": "ann", "reason": "it attracts", "act": "begin"}"#;
    let path = "/v1/clusters/a-head/quarantine";
    server.post(path, "application/json", body.into()).await;
    let path = "/v1/events?topic=corrections&from=beginning&limit=1";
    let events = read(&server, path, None).await;
    assert_eq!(events[0].name, "correction");
    assert_eq!(events[0].data["command"]["act"], "quarantine");
    let unknown = server.get("/v1/events?topic=secrets").await;
    unknown.check_error(400, "invalid_query");
}
