use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use likeness_server::{Lines, MetricsFn, ServerConfig};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::error::Refusal;
use crate::{instance, output, wire};

/// Upper bounds of the buckets of durations, in seconds: each about 2.5 times the one before.
const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// Upper bounds of the buckets of counts.
const IMAGES: [f64; 12] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0,
];

/// Arguments of `likeness serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Other `likeness` commands find the server through the data directory and talk to it.
Ctrl-C or SIGTERM ends it in good order; a second one at once, losing nothing that was acknowledged.

Examples:
  likeness serve
  likeness serve --port 0 --data-dir ./data
  LIKENESS_CONFIG=likeness.toml likeness serve --bind 0.0.0.0     (needs server.keys)")]
pub(crate) struct ServeArgs {
    /// Address to listen on [default: server.bind]
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Port to listen on; 0 takes any that is free [default: that of server.bind]
    #[arg(long)]
    port: Option<u16>,
}

pub(crate) async fn run(args: ServeArgs, context: Context) -> anyhow::Result<()> {
    let door = Door::open(&context, args.bind, args.port).await?;
    let render_metrics = start_metrics(&context.stop)?;
    let lines = wire::open_lines(&context).await?;
    output::note(format_args!("serving at {}", door.url));
    let outcome = door.serve(&context, lines.clone(), render_metrics).await;
    wire::close_lines(lines).await;
    outcome
}

/// A listening socket, and what the server on it is told.
#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    config: ServerConfig,
    /// Address for browsers and clients on this machine.
    pub(crate) url: String,
}

impl Door {
    /// Binds the socket. Done before the stores are opened: a port that is taken is told at once.
    ///
    /// # Errors
    /// If the address is taken, or needs keys.
    pub(crate) async fn open(
        context: &Context,
        address: Option<IpAddr>,
        port: Option<u16>,
    ) -> anyhow::Result<Self> {
        let mut config = context.config.server.clone();
        config.bind.set_ip(address.unwrap_or(config.bind.ip()));
        config.bind.set_port(port.unwrap_or(config.bind.port()));
        config
            .validate()
            .map_err(|error| Refusal::Input.because(error.to_string()))?;
        let listener = TcpListener::bind(config.bind).await.map_err(|error| {
            Refusal::Unavailable.because(format!(
                "cannot listen on {}: {error}; `--port 0` takes any port that is free",
                config.bind
            ))
        })?;
        let url = url_of(listener.local_addr()?);
        Ok(Self {
            listener,
            config,
            url,
        })
    }

    /// Serves until a signal to stop, telling other commands where.
    pub(crate) async fn serve(
        self,
        context: &Context,
        lines: Lines,
        render_metrics: MetricsFn,
    ) -> anyhow::Result<()> {
        let _announcement = instance::announce(&context.data_dir, &self.url)
            .context("cannot write the server's address to the data directory")?;
        let stop = context.stop.clone();
        likeness_server::serve(self.listener, lines, self.config, render_metrics, stop).await?;
        Ok(())
    }
}

/// Returns the address under which this machine reaches the server.
fn url_of(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        let loopback: IpAddr = match address {
            SocketAddr::V4(_) => [127, 0, 0, 1].into(),
            SocketAddr::V6(_) => [0, 0, 0, 0, 0, 0, 0, 1].into(),
        };
        address.set_ip(loopback);
    }
    format!("http://{address}")
}

/// Starts collecting metrics. Must come before the engine, which describes its own.
///
/// # Errors
/// If the process collects them already.
pub(crate) fn start_metrics(stop: &CancellationToken) -> anyhow::Result<MetricsFn> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets(&IMAGES)?
        .install_recorder()
        .context("cannot collect metrics")?;
    likeness_engine::metrics::describe();
    likeness_adapters::metrics::describe();
    likeness_server::describe_metrics();
    // Histograms keep every value until they are looked at; nobody may ever ask.
    let (upkeep, stop) = (handle.clone(), stop.clone());
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(std::time::Duration::from_secs(5));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => upkeep.run_upkeep(),
            }
        }
    });
    Ok(Arc::new(move || handle.render()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_reached_by_loopback() {
        assert_eq!(url_of("0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(url_of("[::]:80".parse().unwrap()), "http://[::1]:80");
        assert_eq!(url_of("10.0.0.1:80".parse().unwrap()), "http://10.0.0.1:80");
    }
}
