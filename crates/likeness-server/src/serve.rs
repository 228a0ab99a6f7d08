//! Connections, and how the server stops.
//!
//! A loop of our own instead of `axum::serve`, since that one offers no bound on connections, on
//! heads of requests or on the time they take.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics::counter;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::app::{Lines, MetricsFn, router};
use crate::config::ServerConfig;
use crate::error::ServerError;
use crate::metrics::HTTP_SHED_TOTAL;

/// Most bytes of a request's head; beyond it hyper answers 431.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Most headers of a request; beyond it hyper answers 431.
const MAX_HEADERS: usize = 64;

const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-type: application/json\r\ncontent-length: 66\r\n\r\n\
    {\"error\":{\"code\":\"busy\",\"message\":\"too many connections at once\"}}";

/// Serves `lines` on `listener` until `shutdown` is cancelled.
///
/// Then, in this order: `/readyz` turns false and event streams end; after
/// [`stop_delay`](ServerConfig::stop_delay) no further connection is accepted; requests in progress
/// are answered, for at most [`drain_timeout`](ServerConfig::drain_timeout). The engine and
/// the stream are left running: stop them afterwards.
///
/// # Errors
/// [`ServerError::KeysNeeded`] or [`ServerError::Config`] before anything is served,
/// [`ServerError::DrainTimeout`] if requests had to be cut off at the end.
pub async fn serve(
    listener: TcpListener,
    lines: Lines,
    config: ServerConfig,
    render_metrics: MetricsFn,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    let address = listener.local_addr().map_err(ServerError::Listener)?;
    config.check_exposure(address)?;
    let connections = Arc::new(Semaphore::new(config.max_connections));
    let (stop_delay, drain_timeout) = (config.stop_delay, config.drain_timeout);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS);
    let router = router(lines, config, render_metrics, shutdown.clone())?;
    info!(%address, "serving");

    let tasks = TaskTracker::new();
    let stop_accepting = CancellationToken::new();
    let cut_off = CancellationToken::new();
    let delayed_stop = async {
        shutdown.cancelled().await;
        tokio::time::sleep(stop_delay).await;
    };
    tokio::pin!(delayed_stop);
    loop {
        let stream = tokio::select! {
            biased;
            () = &mut delayed_stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, or a client that went away: neither is worth dying
                    // for, and the pause keeps a lasting cause from filling the log.
                    warn!(%error, "failed to accept a connection, will retry");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            counter!(HTTP_SHED_TOTAL, "bound" => "connections").increment(1);
            refuse(&stream);
            continue;
        };
        let connection = run_connection(
            http.clone(),
            stream,
            router.clone(),
            stop_accepting.clone(),
            cut_off.clone(),
        );
        tasks.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    drop(listener);
    info!(connections = tasks.len(), "stopping");
    stop_accepting.cancel();
    tasks.close();
    if tokio::time::timeout(drain_timeout, tasks.wait())
        .await
        .is_ok()
    {
        return Ok(());
    }
    let connections = tasks.len();
    cut_off.cancel();
    tasks.wait().await;
    Err(ServerError::DrainTimeout {
        connections,
        timeout: drain_timeout,
    })
}

async fn run_connection(
    http: http1::Builder,
    stream: TcpStream,
    router: Router,
    stop: CancellationToken,
    cut_off: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "failed to set TCP_NODELAY");
    }
    let service = TowerToHyperService::new(router);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut is_stopping = false;
    loop {
        tokio::select! {
            result = &mut connection => {
                if let Err(error) = result {
                    // The client's doing: a head too slow or too long, or a connection dropped.
                    debug!(%error, "connection ended");
                }
                return;
            }
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = cut_off.cancelled() => return,
        }
    }
}

/// Tells a client that there is no room. A fresh socket's send buffer takes these few bytes at
/// once; should it not, closing the connection says the same.
fn refuse(stream: &TcpStream) {
    if let Err(error) = stream.try_write(REFUSAL) {
        debug!(%error, "failed to tell a client that there is no room");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_states_its_own_length() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
