use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use likeness_engine::dedup::DedupConfig;
use likeness_server::ServerConfig;
use serde_json::json;

use crate::support::{Gate, Server, form, jpeg, picture, png, post};

#[tokio::test]
async fn a_picture_is_stored_from_each_form_of_body() {
    let server = Server::start().await;

    let (content_type, body) = form(&[("file", Some("one.png"), &png(&picture(1)))]);
    let answer = server.post("/v1/images", &content_type, body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let stored = answer.json();
    let path = format!("/v1/images/{}", stored["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), path);
    assert_eq!(server.get(&path).await.json()["name"], "one.png");

    let body = json!({"id": "two", "name": "second", "data": STANDARD.encode(png(&picture(2)))});
    let answer = server
        .post(
            "/v1/images",
            "application/json",
            body.to_string().into_bytes(),
        )
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(server.get("/v1/images/two").await.json()["name"], "second");

    for content_type in ["image/png", "image/x-whatever", "application/octet-stream"] {
        let path = format!(
            "/v1/images?name=third&id=three-{}",
            content_type.replace('/', ".")
        );
        let answer = server.post(&path, content_type, png(&picture(3))).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!(answer.json()["existed"], false);
    }
    let third = server.get("/v1/images/three-image.png").await.json();
    assert_eq!(third["name"], "third");
}

#[tokio::test]
async fn a_form_may_carry_the_id_and_another_name() {
    let server = Server::start().await;
    let (content_type, body) = form(&[
        ("id", None, b"given id"),
        ("name", None, b"given name"),
        ("file", Some("file.png"), &png(&picture(1))),
    ]);
    let answer = server.post("/v1/images", &content_type, body).await;
    assert_eq!(answer.json()["id"], "given id", "{}", answer.text());
    let stored = server.get("/v1/images/given%20id").await.json();
    assert_eq!(stored["name"], "given name");
}

#[tokio::test]
async fn a_near_copy_joins_and_is_explained() {
    let server = Server::start().await;
    let first = server.store("head", png(&picture(1))).await;
    assert_eq!(first["kind"], "new_cluster");
    assert_eq!(first["canonical_id"], "head");
    let copy = server.store("copy", jpeg(&picture(1))).await;
    assert_eq!(copy["kind"], "joined", "{copy}");
    assert_eq!(copy["canonical_id"], "head");
    let exact = server.store("exact", png(&picture(1))).await;
    assert_eq!(exact["exact_copy"], true, "{exact}");
    let other = server.store("other", png(&picture(2))).await;
    assert_eq!(other["kind"], "new_cluster");

    let view = server.get("/v1/images/copy").await.json();
    assert_eq!(view["status"], "decided");
    assert_eq!(view["cluster_size"], 3);
    assert_eq!(view["signature"]["width"], 256);

    let explained = server.get("/v1/images/copy/explain").await.json();
    assert_eq!(explained["decision"]["canonical_id"], "head");
    assert_eq!(explained["candidates"][0]["id"], "head");

    let clusters = server.get("/v1/clusters?min_size=2").await.json();
    assert_eq!(clusters["items"].as_array().unwrap().len(), 1);
    assert_eq!(clusters["items"][0]["size"], 3);
    assert!(clusters.get("next").is_none());

    let overview = server.get("/v1/overview").await.json();
    assert_eq!(overview["images"], 4);
    assert_eq!(overview["duplicates"], 2);
}

#[tokio::test]
async fn lists_are_paged_by_cursor() {
    let server = Server::start().await;
    for seed in 0..5 {
        server
            .store(&format!("image-{seed}"), png(&picture(seed)))
            .await;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/clusters?limit=2&order=newest".to_owned();
    loop {
        let page = server.get(&path).await.json();
        let items = page["items"].as_array().unwrap();
        seen.extend(
            items
                .iter()
                .map(|item| item["head"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/clusters?limit=2&order=newest&cursor={next}");
    }
    assert_eq!(
        seen,
        ["image-4", "image-3", "image-2", "image-1", "image-0"]
    );

    server.store("copy-a", png(&picture(0))).await;
    server.store("copy-b", png(&picture(0))).await;
    let first = server.get("/v1/clusters/image-0?limit=2").await.json();
    assert_eq!(first["size"], 3);
    assert_eq!(first["members"][0]["id"], "image-0");
    let next = first["next"].as_str().unwrap();
    let second = server
        .get(&format!("/v1/clusters/image-0?limit=2&cursor={next}"))
        .await
        .json();
    assert_eq!(second["members"].as_array().unwrap().len(), 1);
    assert_eq!(second["members"][0]["id"], "copy-b");
}

#[tokio::test]
async fn repeating_an_upload_does_nothing_and_other_bytes_conflict() {
    let server = Server::start().await;
    let path = "/v1/images?id=a";
    assert_eq!(
        server
            .post(path, "image/png", png(&picture(1)))
            .await
            .status,
        202
    );
    let again = server.post(path, "image/png", png(&picture(1))).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["existed"], true);
    let other = server.post(path, "image/png", png(&picture(2))).await;
    other.check_error(409, "id_conflict");
}

#[tokio::test]
async fn an_idempotency_key_stands_for_an_id() {
    let server = Server::start().await;
    let send = async |key: &'static str, path: &str, seed: u64| {
        let mut request = post(path, "image/png", png(&picture(seed)));
        request
            .headers_mut()
            .insert("idempotency-key", key.parse().unwrap());
        server.answer(request).await
    };
    let first = send("order-7", "/v1/images", 1).await;
    assert_eq!(first.status, 202);
    let again = send("order-7", "/v1/images", 1).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["id"], first.json()["id"]);
    assert!(first.json()["id"].as_str().unwrap().starts_with("idem-"));
    send("order-7", "/v1/images", 2)
        .await
        .check_error(409, "id_conflict");
    assert_eq!(
        send("order-7", "/v1/images?id=mine", 1).await.json()["id"],
        "mine"
    );
    send("", "/v1/images", 1)
        .await
        .check_error(400, "invalid_header");
}

#[tokio::test]
async fn bytes_that_are_no_picture_are_refused_with_their_reason() {
    let server = Server::start().await;
    let answer = server
        .post("/v1/images", "image/png", b"plainly text".to_vec())
        .await;
    answer.check_error(415, "unsupported_format");
    server
        .post("/v1/images", "image/png", Vec::new())
        .await
        .check_error(422, "empty_image");

    // The header is whole, the rest is missing: found only when it is decoded.
    let mut cut = png(&picture(1));
    cut.truncate(cut.len() / 2);
    let answer = server
        .post("/v1/images?wait=true&id=cut", "image/png", cut.clone())
        .await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let code = answer.json()["error"]["code"].as_str().unwrap().to_owned();
    let view = server.get("/v1/images/cut").await.json();
    assert_eq!(view["status"], "rejected");
    assert_eq!(view["rejection"]["code"], code.as_str());

    server
        .post("/v1/match", "image/png", b"plainly text".to_vec())
        .await
        .check_error(415, "unsupported_format");
    assert_eq!(server.post("/v1/match", "image/png", cut).await.status, 422);
}

#[tokio::test]
async fn malformed_bodies_are_named() {
    let server = Server::start().await;
    let check = async |content_type: &str, body: &[u8], status: u16, code: &str| {
        for path in ["/v1/images", "/v1/match"] {
            server
                .post(path, content_type, body.to_vec())
                .await
                .check_error(status, code);
        }
    };
    check("text/plain", b"x", 415, "unsupported_media_type").await;
    check("application/json", b"{", 400, "malformed_body").await;
    check(
        "application/json",
        br#"{"data": "???"}"#,
        400,
        "malformed_body",
    )
    .await;
    check(
        "application/json",
        br#"{"data": "", "nmae": "x"}"#,
        400,
        "malformed_body",
    )
    .await;
    check(
        "application/json",
        br#"{"data": "", "id": "a/b"}"#,
        400,
        "invalid_id",
    )
    .await;
    check("multipart/form-data", b"x", 400, "malformed_body").await;
    check(
        "multipart/form-data; boundary=b",
        b"no boundary here",
        400,
        "malformed_body",
    )
    .await;
    let (content_type, body) = form(&[("id", None, b"a")]);
    check(&content_type, &body, 400, "malformed_body").await;
    let (content_type, body) = form(&[("file", Some("a"), b"x"), ("fiel", None, b"a")]);
    check(&content_type, &body, 400, "malformed_body").await;
    let (content_type, body) = form(&[("file", Some("a"), b"x"), ("file", Some("b"), b"y")]);
    check(&content_type, &body, 400, "malformed_body").await;

    let (content_type, body) = form(&[("file", Some("a"), &png(&picture(1))), ("id", None, b"a")]);
    let twice = server.post("/v1/images?id=b", &content_type, body).await;
    twice.check_error(400, "malformed_body");
}

#[tokio::test]
async fn parameters_that_do_not_exist_are_named() {
    let server = Server::start().await;
    for path in [
        "/v1/images/a?x=1",
        "/v1/images/a/file?x=1",
        "/v1/images/a/thumbnail?x=1",
        "/v1/images/a/explain?x=1",
        "/v1/clusters?mni_size=2",
        "/v1/clusters/a?x=1",
        "/v1/events?form=latest",
        "/v1/overview?x=1",
    ] {
        let answer = server.get(path).await;
        answer.check_error(400, "invalid_query");
        let name = path.split(['?', '=']).nth(1).unwrap();
        assert!(answer.text().contains(name), "{path}: {}", answer.text());
    }
    for path in [
        "/v1/clusters?limit=0",
        "/v1/clusters?limit=501",
        "/v1/clusters?order=odd",
        "/v1/clusters/a?limit=x",
    ] {
        server.get(path).await.check_error(400, "invalid_query");
    }
    server
        .get("/v1/clusters?cursor=made-up")
        .await
        .check_error(400, "invalid_parameter");
    for path in [
        "/v1/images?wiat=true",
        "/v1/images?wait=maybe",
        "/v1/match?limit=0",
        "/v1/match?limit=101",
    ] {
        server
            .post(path, "image/png", png(&picture(1)))
            .await
            .check_error(400, "invalid_query");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let server = Server::start().await;
    for path in [
        "/v1/images/none",
        "/v1/images/none/file",
        "/v1/images/none/thumbnail",
        "/v1/images/none/explain",
    ] {
        server.get(path).await.check_error(404, "image_not_found");
    }
    server
        .get("/v1/clusters/none")
        .await
        .check_error(404, "cluster_not_found");
    server
        .get("/v1/images/a%2Fb")
        .await
        .check_error(400, "invalid_id");
    server
        .get("/v1/nothing")
        .await
        .check_error(404, "unknown_path");
    server.get("/v1").await.check_error(404, "unknown_path");
    let request = Request::put("/v1/images/none").body(Body::empty()).unwrap();
    server
        .answer(request)
        .await
        .check_error(405, "method_not_allowed");
    server
        .get("/v1/match")
        .await
        .check_error(405, "method_not_allowed");
}

#[tokio::test]
async fn a_members_cluster_is_that_of_its_head() {
    let server = Server::start().await;
    server.store("head", png(&picture(1))).await;
    server.store("member", jpeg(&picture(1))).await;
    server
        .get("/v1/clusters/member")
        .await
        .check_error(404, "cluster_not_found");
    assert_eq!(server.get("/v1/clusters/head").await.json()["size"], 2);
}

#[tokio::test]
async fn files_come_back_as_they_were_and_harmless() {
    let server = Server::start().await;
    let bytes = png(&picture(1));
    let path = "/v1/images?wait=true&id=a&name=..%2F%22evil%22%0D%0AX%3A%20y.png";
    server.post(path, "image/png", bytes.clone()).await;
    let file = server.get("/v1/images/a/file").await;
    assert_eq!(file.status, 200);
    assert_eq!(file.body, bytes);
    assert_eq!(file.header("content-type"), "image/png");
    assert_eq!(file.header("x-content-type-options"), "nosniff");
    assert!(
        file.header("content-security-policy")
            .starts_with("sandbox")
    );
    let disposition = file.header("content-disposition");
    assert!(
        disposition.starts_with("inline; filename=\""),
        "{disposition}"
    );
    assert_eq!(disposition.matches('"').count(), 2, "{disposition}");
    let sha256 = server.get("/v1/images/a").await.json()["sha256"].clone();
    let etag = file.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", sha256.as_str().unwrap()));

    let request = Request::get("/v1/images/a/file").header("if-none-match", &etag);
    let known = server.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(known.status, 304);
    assert!(known.body.is_empty());

    let thumbnail = server.get("/v1/images/a/thumbnail").await;
    assert_eq!(thumbnail.header("content-type"), "image/jpeg");
    assert!(thumbnail.header("cache-control").contains("immutable"));
    assert!(thumbnail.body.starts_with(&[0xFF, 0xD8]));
    assert_ne!(thumbnail.header("etag"), etag);
}

#[tokio::test]
async fn a_match_answers_and_stores_nothing() {
    let server = Server::start().await;
    server.store("a", png(&picture(1))).await;
    let (content_type, body) = form(&[("file", Some("x.jpg"), &jpeg(&picture(1)))]);
    let found = server.post("/v1/match?limit=3", &content_type, body).await;
    assert_eq!(found.status, 200, "{}", found.text());
    let found = found.json();
    assert_eq!(found["canonical_id"], "a");
    assert_eq!(found["matches"][0]["id"], "a");

    let unlike = server
        .post("/v1/match", "image/png", png(&picture(2)))
        .await
        .json();
    assert!(unlike.get("canonical_id").is_none(), "{unlike}");
    assert_eq!(server.get("/v1/overview").await.json()["images"], 1);
}

#[tokio::test]
async fn a_decision_that_takes_too_long_is_answered_with_202() {
    let gate = Gate::closed();
    let dedup = DedupConfig {
        decision_timeout: Duration::from_millis(50),
        ..DedupConfig::default()
    };
    let server = Server::gated(&gate, dedup, ServerConfig::default()).await;
    let path = "/v1/images?wait=true&id=a";
    let answer = server.post(path, "image/png", png(&picture(1))).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert!(answer.json().get("decision").is_none());
    assert_eq!(server.get("/v1/images/a").await.json()["status"], "pending");
    server
        .get("/v1/images/a/explain")
        .await
        .check_error(409, "not_decided");
    gate.open();
    server.dedup.drain().await.unwrap();
    assert_eq!(
        server
            .post(path, "image/png", png(&picture(1)))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn operators_get_their_answers() {
    let server = Server::start().await;
    assert_eq!(server.get("/healthz").await.text(), "ok\n");
    assert_eq!(server.get("/readyz").await.status, 200);
    let metrics = server.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain"));
    assert!(metrics.text().contains("likeness_test_metric 1"));
    let document = server.get("/openapi.json").await.json();
    assert!(document["paths"]["/v1/images"]["post"].is_object());

    server.shutdown.cancel();
    server.get("/readyz").await.check_error(503, "not_ready");
    assert_eq!(server.get("/healthz").await.status, 200);
}
