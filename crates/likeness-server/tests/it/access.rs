use axum::body::Body;
use axum::http::Request;
use likeness_engine::dedup::DedupConfig;
use likeness_server::{ApiKey, Scope, ServerConfig, ServerError, serve};
use sha2::Digest;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::{Answer, Server, form, lines, no_metrics, picture, png, post, start_dedup};

fn key(text: &str, scopes: &[Scope]) -> ApiKey {
    ApiKey {
        name: format!("key {text}"),
        sha256: likeness_core::Sha256(sha2::Sha256::digest(text).into()),
        scopes: scopes.to_vec(),
    }
}

async fn server_with_keys() -> Server {
    let config = ServerConfig {
        keys: vec![
            key("reader", &[Scope::Read]),
            key("writer", &[Scope::Write]),
            key("both", &[Scope::Read, Scope::Write]),
        ],
        ..ServerConfig::default()
    };
    Server::with(DedupConfig::default(), config).await
}

async fn get_with(server: &Server, path: &str, header: &'static str, value: &str) -> Answer {
    let request = Request::get(path).header(header, value);
    server.answer(request.body(Body::empty()).unwrap()).await
}

async fn upload_with(server: &Server, path: &str, header: &'static str, value: &str) -> Answer {
    let mut request = post(path, "image/png", png(&picture(1)));
    request.headers_mut().insert(header, value.parse().unwrap());
    server.answer(request).await
}

#[tokio::test]
async fn a_key_opens_what_its_scopes_say() {
    let server = server_with_keys().await;
    let (read, write) = ("/v1/overview", "/v1/images?wait=true&id=a");
    server.get(read).await.check_error(401, "unauthorized");
    server
        .get("/metrics")
        .await
        .check_error(401, "unauthorized");
    assert_eq!(server.get(read).await.header("www-authenticate"), "Bearer");
    for bad in ["Bearer wrong", "Basic both", "Bearer", "both"] {
        get_with(&server, read, "authorization", bad)
            .await
            .check_error(401, "unauthorized");
    }
    let reader = "Bearer reader";
    assert_eq!(
        get_with(&server, read, "authorization", reader)
            .await
            .status,
        200
    );
    upload_with(&server, write, "authorization", reader)
        .await
        .check_error(403, "missing_scope");
    assert_eq!(
        upload_with(&server, "/v1/match", "authorization", reader)
            .await
            .status,
        200
    );
    let writer = "Bearer writer";
    get_with(&server, read, "authorization", writer)
        .await
        .check_error(403, "missing_scope");
    assert_eq!(
        upload_with(&server, write, "authorization", writer)
            .await
            .status,
        200
    );
    assert_eq!(
        get_with(&server, "/v1/images/a", "authorization", "bearer both")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn probes_and_the_api_document_need_no_key() {
    let server = server_with_keys().await;
    for path in ["/healthz", "/readyz", "/openapi.json", "/login"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn pages_ask_for_the_key_and_keep_a_token_of_it() {
    let server = server_with_keys().await;
    let asked = server.get("/clusters?order=newest").await;
    assert_eq!(asked.status, 303);
    assert_eq!(
        asked.header("location"),
        "/login?next=%2Fclusters%3Forder%3Dnewest"
    );

    let log_in = async |body: &str| {
        let form = post(
            "/login",
            "application/x-www-form-urlencoded",
            body.as_bytes().to_vec(),
        );
        server.answer(form).await
    };
    let wrong = log_in("key=wrong&next=%2Fclusters").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("No such key"));
    assert_eq!(wrong.header("set-cookie"), "");
    let right = log_in("key=reader&next=%2Fclusters").await;
    assert_eq!(right.status, 303);
    assert_eq!(right.header("location"), "/clusters");
    assert_eq!(
        log_in("key=reader&next=https%3A%2F%2Fevil.example")
            .await
            .header("location"),
        "/"
    );
    let cookie = right.header("set-cookie").to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("reader"));
    let cookie = cookie.split(';').next().unwrap().to_owned();

    let page = get_with(&server, "/", "cookie", &cookie).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Log out"));
    let refused = upload_with(&server, "/v1/images", "cookie", &cookie).await;
    refused.check_error(403, "missing_scope");
    let forged = get_with(&server, "/v1/overview", "cookie", "likeness_session=00").await;
    forged.check_error(401, "unauthorized");
}

#[tokio::test]
async fn another_sites_page_cannot_upload() {
    let server = Server::start().await;
    for (header, value) in [
        ("origin", "http://evil.example"),
        ("origin", "http://localhost:9999"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for path in ["/v1/images", "/v1/match", "/login"] {
            upload_with(&server, path, header, value)
                .await
                .check_error(403, "cross_origin");
        }
    }
    // A form of another site, as a browser would send it: a plain content type, no preflight.
    let (content_type, body) = form(&[("file", Some("a.png"), &png(&picture(1)))]);
    let mut request = post("/v1/images", &content_type, body);
    request
        .headers_mut()
        .insert("origin", "http://evil.example".parse().unwrap());
    server
        .answer(request)
        .await
        .check_error(403, "cross_origin");
    assert_eq!(server.get("/v1/overview").await.json()["pending"], 0);

    let own = upload_with(&server, "/v1/images", "origin", "http://localhost:7878").await;
    assert_eq!(own.status, 202);
}

#[tokio::test]
async fn a_name_bound_to_loopback_by_someone_else_is_not_answered_to() {
    let server = Server::start().await;
    for path in ["/", "/v1/overview", "/healthz"] {
        get_with(&server, path, "host", "evil.example:7878")
            .await
            .check_error(403, "unknown_host");
    }
    assert_eq!(
        get_with(&server, "/v1/overview", "host", "127.0.0.1")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn an_address_that_others_reach_is_not_served_without_keys() {
    let dedup = start_dedup(DedupConfig::default(), None).await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    // The configuration names loopback; the socket is what counts.
    let served = serve(
        listener,
        lines(&dedup),
        ServerConfig::default(),
        no_metrics(),
        CancellationToken::new(),
    );
    let error = served.await.unwrap_err();
    assert!(matches!(error, ServerError::KeysNeeded { .. }), "{error}");
}
