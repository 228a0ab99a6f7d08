use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use likeness_engine::dedup::DedupConfig;
use likeness_server::{ServerConfig, ServerError, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Gate, Server, form, lines, no_metrics, picture, png, start_dedup};

/// A body of unknown length whose chunks come from `chunks`; counts nothing, ends never by itself.
fn endless_body() -> Body {
    let silence = stream::pending::<Result<Bytes, std::io::Error>>();
    let first = stream::once(async { Ok(Bytes::from_static(b"x")) });
    Body::from_stream(first.chain(silence))
}

fn upload(body: Body) -> Request<Body> {
    Request::post("/v1/images")
        .header("content-type", "image/png")
        .body(body)
        .unwrap()
}

fn small_limit(max_bytes: u64) -> DedupConfig {
    let mut config = DedupConfig::default();
    config.limits.max_bytes = max_bytes;
    config
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_whether_it_says_so_or_not() {
    let server = Server::with(small_limit(1_000), ServerConfig::default()).await;
    // Announced: refused before the first byte is read, so a body that never comes does no harm.
    let mut request = upload(endless_body());
    request
        .headers_mut()
        .insert("content-length", "1001".parse().unwrap());
    server
        .answer(request)
        .await
        .check_error(413, "too_many_bytes");
    // Not announced: refused at the byte that is too much.
    let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![0; 100])));
    server
        .answer(upload(Body::from_stream(chunks)))
        .await
        .check_error(413, "too_many_bytes");
    // A form may be longer than its picture, the picture may not.
    let (content_type, body) = form(&[("file", Some("a"), &[0; 1_001])]);
    server
        .post("/v1/images", &content_type, body)
        .await
        .check_error(413, "too_many_bytes");
    let (content_type, body) = form(&[("file", Some("a"), &[0; 1_000])]);
    server
        .post("/v1/images", &content_type, body)
        .await
        .check_error(415, "unsupported_format");
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up() {
    let config = ServerConfig {
        body_timeout: Duration::from_millis(50),
        ..ServerConfig::default()
    };
    let server = Server::with(DedupConfig::default(), config).await;
    server
        .answer(upload(endless_body()))
        .await
        .check_error(408, "body_timeout");
}

#[tokio::test]
async fn uploads_are_refused_before_their_body_when_too_many_bytes_are_on_their_way() {
    let config = DedupConfig {
        max_bytes_in_flight: 64 << 10,
        ..small_limit(48 << 10)
    };
    let server = Server::with(config, ServerConfig::default()).await;
    let held = server.dedup.admit(48 << 10).unwrap();
    // Neither body would ever end: an answer proves that it was not waited for.
    let mut announced = upload(endless_body());
    announced
        .headers_mut()
        .insert("content-length", "40000".parse().unwrap());
    for request in [announced, upload(endless_body())] {
        let refused = server.answer(request).await;
        refused.check_error(429, "overloaded");
        assert!(!refused.header("retry-after").is_empty());
    }
    drop(held);
    let accepted = server
        .post("/v1/images", "image/png", png(&picture(1)))
        .await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
}

#[tokio::test]
async fn uploads_are_refused_while_too_many_wait_for_their_decision() {
    let gate = Gate::closed();
    let config = DedupConfig {
        max_pending: 1,
        ..DedupConfig::default()
    };
    let server = Server::gated(&gate, config, ServerConfig::default()).await;
    let first = server
        .post("/v1/images", "image/png", png(&picture(1)))
        .await;
    assert_eq!(first.status, 202);
    let second = server
        .post("/v1/images", "image/png", png(&picture(2)))
        .await;
    second.check_error(429, "overloaded");
    gate.open();
    server.dedup.drain().await.unwrap();
    assert_eq!(
        server
            .post("/v1/images", "image/png", png(&picture(2)))
            .await
            .status,
        202
    );
}

#[tokio::test]
async fn requests_beyond_the_bound_are_shed_and_probes_are_not() {
    let config = ServerConfig {
        max_requests: 1,
        ..ServerConfig::default()
    };
    let server = Server::with(DedupConfig::default(), config).await;
    let mut held = std::pin::pin!(server.answer(upload(endless_body())));
    assert!(futures::poll!(held.as_mut()).is_pending());
    let shed = server.get("/v1/overview").await;
    shed.check_error(503, "busy");
    assert_eq!(shed.header("retry-after"), "1");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_refused_body_ends_its_connection() {
    let listening = listen(ServerConfig::default()).await;
    // The body is announced and never sent: what comes next on this connection could only be taken for it.
    let refused = listening
        .exchange(
            "POST /v1/images HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 9\r\n\r\n",
        )
        .await;
    assert!(
        refused.contains("415 Unsupported") && refused.contains("connection: close"),
        "{refused}"
    );
    let fine = listening
        .exchange("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await;
    assert!(fine.starts_with("HTTP/1.1 200"), "{fine}");
}

#[tokio::test]
async fn a_uri_that_is_too_long_is_refused() {
    let server = Server::start().await;
    let path = format!("/v1/clusters?cursor={}", "a".repeat(5_000));
    server.get(&path).await.check_error(414, "uri_too_long");
}

/// A server with a socket.
struct Listening {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServerError>>,
}

async fn listen(config: ServerConfig) -> Listening {
    let dedup = start_dedup(DedupConfig::default(), None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(
        listener,
        lines(&dedup),
        config,
        no_metrics(),
        shutdown.clone(),
    ));
    Listening {
        address,
        shutdown,
        task,
    }
}

impl Listening {
    async fn connect(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Sends `text` and returns what comes back until the server closes.
    async fn exchange(&self, text: &str) -> String {
        read_all(self.connect(text).await).await
    }
}

async fn read_all(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    read.await
        .expect("the server closes the connection")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

const OVERVIEW: &str = "GET /v1/overview HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn connections_are_served_and_those_beyond_the_bound_told_so() {
    let server = listen(ServerConfig {
        max_connections: 1,
        ..ServerConfig::default()
    })
    .await;
    // The second answer proves that the first connection was accepted and is held.
    let mut held = server
        .connect("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    let mut first = [0; 12];
    held.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let mut refused = TcpStream::connect(server.address).await.unwrap();
    let mut answer = String::new();
    refused.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("\"busy\""), "{answer}");
    drop(held);
    server.shutdown.cancel();
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn heads_that_are_slow_or_long_end_their_connection() {
    let server = listen(ServerConfig {
        header_timeout: Duration::from_millis(100),
        ..ServerConfig::default()
    })
    .await;
    let slow = server.exchange("GET / HTTP/1.1\r\nhost: loc").await;
    assert!(!slow.starts_with("HTTP/1.1 2"), "{slow}");
    let many = "x: y\r\n".repeat(200);
    let many = server
        .exchange(&format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n"))
        .await;
    assert!(many.starts_with("HTTP/1.1 431"), "{many}");
    assert!(server.exchange(OVERVIEW).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn stopping_answers_what_is_in_progress_and_accepts_nothing_more() {
    let server = listen(ServerConfig::default()).await;
    let bytes = png(&picture(1));
    let head = format!(
        "POST /v1/images?wait=true HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        bytes.len()
    );
    let mut stream = server.connect(&head).await;
    // "100 Continue" is sent when the handler begins to read the body: it is in progress.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100"));
    server.shutdown.cancel();
    stream.write_all(&bytes).await.unwrap();
    let answer = read_all(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn draining_has_a_limit() {
    let server = listen(ServerConfig {
        drain_timeout: Duration::from_millis(50),
        ..ServerConfig::default()
    })
    .await;
    let head = "POST /v1/images HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\n\
         content-length: 10\r\nexpect: 100-continue\r\n\r\n";
    let mut stream = server.connect(head).await;
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    server.shutdown.cancel();
    let error = server.task.await.unwrap().unwrap_err();
    assert!(
        matches!(error, ServerError::DrainTimeout { connections: 1, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn readiness_turns_false_before_the_door_closes() {
    let server = listen(ServerConfig {
        stop_delay: Duration::from_secs(5),
        ..ServerConfig::default()
    })
    .await;
    let ready = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(server.exchange(ready).await.starts_with("HTTP/1.1 200"));
    server.shutdown.cancel();
    assert!(server.exchange(ready).await.starts_with("HTTP/1.1 503"));
    assert!(server.exchange(OVERVIEW).await.starts_with("HTTP/1.1 200"));
    server.task.abort();
}
