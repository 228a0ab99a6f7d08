//! Live numbers of pins: their doors and their page.

use std::time::Duration;

use likeness_engine::dedup::DedupConfig;
use likeness_server::ServerConfig;
use serde_json::{Value, json};

use crate::support::Server;

/// Posts events and waits until the tables have so many rows.
async fn post(server: &Server, path: &str, events: Value, num_rows: u64) {
    let body = events.to_string().into_bytes();
    let answer = server.post(path, "application/json", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut commits = server.stream.changes();
    let all_there = async {
        loop {
            let status = server.stream.status().await.unwrap();
            if status.pins + status.geolocations + status.rejected >= num_rows {
                return;
            }
            commits.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all_there)
        .await
        .expect("rows are there in time");
}

/// Waits until the tables are there.
async fn reached(server: &Server) {
    let reached = async {
        while server.stream.status().await.unwrap().topics[0]
            .records
            .is_none()
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reached)
        .await
        .expect("the tables are reached in time");
}

async fn filled() -> Server {
    let server = Server::start().await;
    let times = json!([
        {"ind": 1, "timestamp": "2018-01-04 00:00:00"},
        {"ind": 2, "timestamp": "2018-01-04 00:59:30"},
    ]);
    post(&server, "/v1/geolocations", times, 2).await;
    let pins = json!([
        {"unique_id": "a", "index": 1, "category": "art", "poster_name": "Anna", "follower_count": "15k"},
        {"unique_id": "b", "index": 2, "category": "<i>food</i>", "poster_name": "Bob"},
        {"unique_id": "c", "index": 2, "follower_count": "<script>many</script>"},
    ]);
    post(&server, "/v1/pins", pins, 5).await;
    server
}

#[tokio::test]
async fn numbers_are_told() {
    let server = filled().await;
    let status = server.get("/v1/pins/status").await.json();
    assert_eq!(
        (&status["pins"], &status["rejected"], &status["watermark"]),
        (&json!(2), &json!(1), &json!("2018-01-04T00:49:30Z"))
    );
    let profiles = "/v1/pins/popular-profiles?by=followers&limit=1";
    let profiles = server.get(profiles).await.json();
    assert_eq!(profiles["items"][0]["poster_name"], "Anna");
    assert_eq!(profiles["items"][0]["followers"], 15_000);
    let trends = server
        .get("/v1/pins/trending-categories?window=30min")
        .await;
    let trends = trends.json();
    assert_eq!(trends["until"], "2018-01-04T01:00:00Z");
    assert_eq!(trends["items"][0]["pins"], 1);
    let series = "/v1/pins/series?category=art&from=2018-01-04&until=2018-01-05&step=1h";
    let series = server.get(series).await.json();
    let points = series["points"].as_array().unwrap();
    assert_eq!(points.len(), 24);
    assert_eq!(points[0]["pins"], 1);
    let rejected = server.get("/v1/pins/rejected").await.json();
    assert_eq!(rejected["items"][0]["field"], "follower_count");
    assert_eq!(rejected["items"][0]["event"]["unique_id"], "c");
    let live = server.get("/v1/pins/live?limit=1").await;
    assert_eq!(live.header("content-type"), "text/event-stream");
    assert!(
        live.text().starts_with("event: status\ndata: {"),
        "{}",
        live.text()
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let server = Server::start().await;
    for (path, code) in [
        ("/v1/pins/popular-profiles?by=age", "invalid_query"),
        ("/v1/pins/popular-profiles?limit=0", "invalid_query"),
        ("/v1/pins/trending-categories?window=soon", "invalid_query"),
        (
            "/v1/pins/trending-categories?window=90s",
            "invalid_parameter",
        ),
        (
            "/v1/pins/trending-categories?window=8days",
            "invalid_parameter",
        ),
        ("/v1/pins/series?from=yesterday", "invalid_query"),
        (
            "/v1/pins/series?from=2018-01-05&until=2018-01-04",
            "invalid_parameter",
        ),
        (
            "/v1/pins/series?from=0001-01-01&until=9999-12-31&step=366days",
            "invalid_parameter",
        ),
        ("/v1/pins/series?step=1ms", "invalid_query"),
        ("/v1/pins/series?category=a%00b", "invalid_parameter"),
        ("/v1/pins/rejected?cursor=1.pin.2", "invalid_parameter"),
        (
            "/v1/pins/rejected?cursor=9223372036854775807.pin.1.1",
            "invalid_parameter",
        ),
        ("/v1/pins/live?limit=0", "invalid_query"),
        ("/v1/pins/status?all=1", "invalid_query"),
    ] {
        server.get(path).await.check_error(400, code);
    }
}

#[tokio::test]
async fn watchers_are_bounded() {
    let config = ServerConfig {
        max_event_streams: 1,
        ..ServerConfig::default()
    };
    let server = Server::with(DedupConfig::default(), config).await;
    let request = || {
        let request = axum::http::Request::get("/v1/pins/live");
        request.body(axum::body::Body::empty()).unwrap()
    };
    let first = server.send(request()).await;
    assert_eq!(first.status(), 200);
    server.answer(request()).await.check_error(503, "busy");
    drop(first);
    assert_eq!(server.send(request()).await.status(), 200);
    // They end with the server.
    let last = server.send(request()).await;
    server.shutdown.cancel();
    drop(last);
}

#[tokio::test]
async fn the_page_shows_numbers_and_hostile_text_as_text() {
    let server = Server::start().await;
    let page = server.get("/pins").await;
    assert_eq!(page.status, 200, "also before the tables are there");
    reached(&server).await;
    let page = server.get("/pins").await.text();
    assert!(page.contains("No pins yet"), "{page}");
    let server = filled().await;
    for query in ["", "?span=day&by=followers", "?span=week&by=pins"] {
        let page = server.get(&format!("/pins{query}")).await;
        assert_eq!(page.status, 200);
        let page = page.text();
        for part in [
            "pins-chart",
            "Anna",
            "15,000",
            "&lt;i&gt;food",
            "follower_count",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script>many") && !page.contains("<i>food"));
    }
}
