mod latency;
pub(crate) mod share;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use futures::future::try_join_all;
use likeness_core::Timestamp;
use likeness_engine::pins::clean::time::EventTime;
use likeness_engine::pins::emulate::{Emulator, EmulatorOptions};
use likeness_engine::pins::{EventKind, RawObject};
use serde::Serialize;

use self::latency::Latencies;
use self::share::Share;
use super::Context;
use crate::client::{Client, Ingested};
use crate::output::count;
use crate::progress::Progress;
use crate::session::retry_after;

/// Batches per second, where the rate allows it: at a lesser one a batch is one pin.
const BATCHES_PER_SECOND: u32 = 10;
/// Most pins of a batch.
const MAX_BATCH: u32 = 500;

/// Arguments of `likeness emulate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each pin is posted with its geolocation and its user. The same seed posts the same, but for the
times, which are those of now. Without `--count` or `--seconds` it goes on until Ctrl-C. It needs a
running server: the one that has the data directory open, or the one that `--server` names.

Examples:
  likeness emulate --rate 100 --seconds 60
  likeness emulate --rate 2000 --count 100000 --dirty 20% --late 10% --seed 7 --json
  likeness emulate --server http://pins.example:7878 --rate 10")]
pub(crate) struct EmulateArgs {
    /// Pins per second
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    rate: u32,
    /// Any number; another one posts other pins
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Share of events that lack something or say it in an odd way; a few of them cannot be cleaned
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    dirty: Share,
    /// Share of geolocations whose time lies hours back
    #[arg(long, value_name = "SHARE", default_value = "2%")]
    late: Share,
    /// Stop after so many pins
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "seconds",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    count: Option<u32>,
    /// Stop after so many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=31_536_000))]
    seconds: Option<u32>,
    /// Connections that post at once
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    connections: u32,
}

/// What was posted, and how quickly.
#[derive(Debug, Serialize)]
struct Summary {
    /// Pins posted, each with its companions.
    pins: u64,
    /// Events posted, of all kinds.
    sent: u64,
    /// Events that the server has made durable.
    accepted: u64,
    /// Events that the server has refused.
    refused: u64,
    /// Requests that were sent again, since the server was busy.
    retries: u64,
    seconds: f64,
    /// Pins per second.
    rate: f64,
    /// Pins per second that were asked for.
    wanted_rate: u32,
    /// Time of a request that half of them did not exceed, in milliseconds.
    p50_ms: f64,
    /// The same for 99 of 100.
    p99_ms: f64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pins with their companions in {:.1} s: {:.0} per second of {} wanted\n\
             {} events: {} accepted, {} refused; {} requests sent again\n\
             a request took {:.1} ms (median), {:.1} ms (99 of 100)",
            count(self.pins),
            self.seconds,
            self.rate,
            count(self.wanted_rate),
            count(self.sent),
            count(self.accepted),
            count(self.refused),
            count(self.retries),
            self.p50_ms,
            self.p99_ms
        )
    }
}

/// What one connection has done.
#[derive(Debug, Default)]
struct Tally {
    pins: u64,
    sent: u64,
    accepted: u64,
    refused: u64,
    retries: u64,
    latencies: Latencies,
}

pub(crate) async fn run(args: EmulateArgs, context: Context) -> anyhow::Result<()> {
    let load = Load {
        client: Client::find(&context).await?,
        emulator: Emulator::new(EmulatorOptions {
            seed: args.seed,
            dirty: args.dirty.0,
            late: args.late.0,
        }),
        schedule: Schedule::new(args.rate, args.count, args.seconds),
        next_batch: AtomicU64::new(0),
        progress: Progress::start("pins", args.total().unwrap_or(0)),
    };
    let connections = (0..args.connections).map(|_| load.post_all(&context));
    let tallies = try_join_all(connections).await?;
    let seconds = load.progress.finish().as_secs_f64();
    let mut all = Tally::default();
    for tally in tallies {
        all.pins += tally.pins;
        all.sent += tally.sent;
        all.accepted += tally.accepted;
        all.refused += tally.refused;
        all.retries += tally.retries;
        all.latencies.add_all(&tally.latencies);
    }
    let summary = Summary {
        pins: all.pins,
        sent: all.sent,
        accepted: all.accepted,
        refused: all.refused,
        retries: all.retries,
        seconds,
        rate: all.pins as f64 / seconds.max(f64::MIN_POSITIVE),
        wanted_rate: args.rate,
        p50_ms: all.latencies.quantile_ms(0.5),
        p99_ms: all.latencies.quantile_ms(0.99),
    };
    context.output.show(&summary, ToString::to_string)
}

impl EmulateArgs {
    /// Returns how many pins are to be posted, if that is known.
    fn total(&self) -> Option<u64> {
        let by_time = self
            .seconds
            .map(|seconds| u64::from(seconds) * u64::from(self.rate));
        self.count.map(u64::from).or(by_time)
    }
}

/// Which pins are posted when.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    rate: u32,
    batch: u32,
    /// Pins in all; those of `u32` at most, which number them.
    total: u32,
    /// When to stop even if pins are left.
    limit: Option<Duration>,
}

impl Schedule {
    fn new(rate: u32, count: Option<u32>, seconds: Option<u32>) -> Self {
        let by_time = seconds.map(|seconds| seconds.saturating_mul(rate));
        Self {
            rate,
            batch: (rate / BATCHES_PER_SECOND).clamp(1, MAX_BATCH),
            total: count.or(by_time).unwrap_or(u32::MAX),
            limit: seconds.map(|seconds| Duration::from_secs(seconds.into())),
        }
    }

    /// Returns the first pin of a batch, how many it has, and when it is due; nothing past the end.
    fn batch(&self, idx: u64) -> Option<(u32, u32, Duration)> {
        let first = u32::try_from(idx.checked_mul(self.batch.into())?).ok()?;
        let len = self.batch.min(self.total.checked_sub(first)?);
        let due = Duration::from_secs_f64(f64::from(first) / f64::from(self.rate));
        (len > 0).then_some((first, len, due))
    }
}

/// What the connections share.
#[derive(Debug)]
struct Load {
    client: Client,
    emulator: Emulator,
    schedule: Schedule,
    next_batch: AtomicU64,
    progress: Progress,
}

impl Load {
    /// Posts batch after batch, each when it is due, until all are posted or it is told to stop. A batch that
    /// is late is posted at once.
    async fn post_all(&self, context: &Context) -> anyhow::Result<Tally> {
        let started = Instant::now();
        let mut tally = Tally::default();
        loop {
            let idx = self.next_batch.fetch_add(1, Ordering::Relaxed);
            let Some((first, len, due)) = self.schedule.batch(idx) else {
                return Ok(tally);
            };
            tokio::select! {
                biased;
                () = context.stop.cancelled() => return Ok(tally),
                () = tokio::time::sleep(due.saturating_sub(started.elapsed())) => {}
            }
            let limit = self.schedule.limit;
            if limit.is_some_and(|limit| started.elapsed() >= limit) {
                return Ok(tally);
            }
            self.post(first, len, &mut tally)
                .await
                .with_context(|| format!("at pin {first}"))?;
            tally.pins += u64::from(len);
            self.progress.advance(len.into());
        }
    }

    async fn post(&self, first: u32, len: u32, tally: &mut Tally) -> anyhow::Result<()> {
        let now = EventTime::from(Timestamp::now());
        let posts = (first..first + len).map(|number| self.emulator.post(number, now));
        let mut events = EventKind::ALL.map(|kind| (kind, Vec::with_capacity(len as usize)));
        for post in posts {
            let [(_, pins), (_, geolocations), (_, users)] = &mut events;
            pins.push(post.pin);
            geolocations.push(post.geolocation);
            users.push(post.user);
        }
        for (kind, events) in &events {
            let ingested = self.send(*kind, events, tally).await?;
            tally.sent += events.len() as u64;
            tally.accepted += ingested.accepted;
            tally.refused += ingested.refused;
        }
        Ok(())
    }

    /// Sends events of one kind, again while the server is busy.
    async fn send(
        &self,
        kind: EventKind,
        events: &[RawObject],
        tally: &mut Tally,
    ) -> anyhow::Result<Ingested> {
        loop {
            let sent = Instant::now();
            let error = match self.client.push_events(kind, events).await {
                Ok(ingested) => {
                    tally.latencies.add(sent.elapsed());
                    return Ok(ingested);
                }
                Err(error) => error,
            };
            let Some(delay) = retry_after(&error) else {
                return Err(error);
            };
            tally.retries += 1;
            tokio::time::sleep(delay).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_posts_every_pin_once_when_it_is_due() {
        for (rate, total) in [(1, 3), (7, 20), (250, 1_001), (100_000, 12_345)] {
            let schedule = Schedule::new(rate, Some(total), None);
            let mut next = 0;
            for idx in 0.. {
                let Some((first, len, due)) = schedule.batch(idx) else {
                    break;
                };
                assert_eq!(first, next);
                assert!((1..=MAX_BATCH).contains(&len));
                let wanted = f64::from(first) / f64::from(rate);
                assert!((due.as_secs_f64() - wanted).abs() < 1e-6);
                next += len;
            }
            assert_eq!(next, total);
        }
    }

    #[test]
    fn a_schedule_without_an_end_goes_as_far_as_pins_have_numbers() {
        let schedule = Schedule::new(100_000, None, Some(31_536_000));
        assert_eq!(schedule.total, u32::MAX);
        assert_eq!(schedule.batch(u64::MAX), None);
        let last = u64::from(u32::MAX / schedule.batch);
        assert!(schedule.batch(last).is_some());
        assert_eq!(schedule.batch(last + 1), None);
    }
}
