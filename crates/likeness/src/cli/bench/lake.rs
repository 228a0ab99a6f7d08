//! `likeness bench lake`: a lake of as many rows as are wanted, made as the daily batch makes them, without their raw events.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use likeness_adapters::{FolderConfig, open_folder};
use likeness_core::Timestamp;
use likeness_core::lake::{Day, Lake, LakeChange, LakeFile, LakeOutcome};
use likeness_core::log::Offset;
use likeness_core::table::{Row, TableSpec};
use likeness_engine::pins::clean::clean;
use likeness_engine::pins::clean::time::EventTime;
use likeness_engine::pins::emulate::{Emulator, EmulatorOptions, Post};
use likeness_engine::pins::tables::{Cleaned, Origin};
use likeness_engine::pins::{EventKind, RawEvent, event, partition_of};
use likeness_lake::ObjectLake;
use serde::Serialize;

use super::super::Context;
use crate::cli::emulate::share::Share;
use crate::error::Refusal;
use crate::output::count;
use crate::progress::Progress;
use crate::random::Random;
use crate::units::ByteSize;

/// Most posts of a file: more of a day are in several.
const POSTS_PER_FILE: u32 = 200_000;
/// Rows of a post: of the pin, its geolocation and its user.
const ROWS_PER_POST: u64 = 3;
/// The last day ends where 2026 begins, at whatever time it is run: the same arguments make the same rows.
const END_MS: u64 = 1_767_225_600_000;
const DAY_MS: u64 = 86_400_000;
/// Shares of posts as `likeness emulate` has them.
const DIRTY: f64 = 0.05;
const LATE: f64 = 0.02;
/// Stream of random numbers that says what comes again.
const AGAIN: u64 = 1 << 61;

/// Arguments of `likeness bench lake`.
#[derive(Debug, Args)]
#[command(after_help = "\
Makes a data directory with nothing in it but a lake: posts as `likeness emulate` draws them,
cleaned and written as the daily batch does it, spread evenly over days. The same arguments make
the same rows. Ask them with `likeness --data-dir DIR sql`. The last line is one JSON object.

Examples:
  likeness bench lake --into /tmp/lake --rows 3000000
  likeness bench lake --into /tmp/lake --rows 100000000 --days 730 --updates 5%")]
pub(crate) struct LakeArgs {
    /// Data directory to make; it must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// How many rows, a third each of pins, geolocations and users
    #[arg(long, value_name = "N", default_value_t = 3_000_000, value_parser = clap::value_parser!(u64).range(3..=12_000_000_000))]
    rows: u64,
    /// Over how many days
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// Share of posts that come a second time, later and in another category
    #[arg(long, value_name = "SHARE", default_value = "1%")]
    updates: Share,
    /// Seed of the posts
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Measured {
    rows: u64,
    days: u32,
    files: usize,
    bytes: u64,
    cores: usize,
    seconds: f64,
    rows_per_second: f64,
}

pub(super) async fn run(args: &LakeArgs, context: &Context) -> anyhow::Result<()> {
    let lake = empty_lake(&args.into)?;
    let making = Making {
        emulator: Emulator::new(EmulatorOptions {
            seed: args.seed,
            dirty: DIRTY,
            late: LATE,
        }),
        seed: args.seed,
        updates: args.updates.0,
        num_posts: u32::try_from(args.rows.div_ceil(ROWS_PER_POST))?,
        num_days: args.days,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let progress = Progress::start("rows", u64::from(making.num_posts) * ROWS_PER_POST);
    let mut parts = stream::iter(making.parts())
        .map(|part| write(&lake, making.clone(), part))
        .buffer_unordered(cores);
    let (mut rows, mut bytes, mut num_files) = (0, 0, 0);
    while let Some(files) = parts.try_next().await? {
        ensure!(!context.stop.is_cancelled(), "interrupted");
        let num_rows: u64 = files.iter().map(|file| file.num_rows).sum();
        rows += num_rows;
        bytes += files.iter().map(|file| file.num_bytes).sum::<u64>();
        num_files += files.len();
        let change = LakeChange {
            add: files,
            ..LakeChange::default()
        };
        match lake.commit(change).await? {
            LakeOutcome::Committed(_) => progress.advance(num_rows),
            LakeOutcome::Conflict => anyhow::bail!("another process writes to this lake"),
        }
    }
    let seconds = progress.finish().as_secs_f64();
    let measured = Measured {
        rows,
        days: args.days,
        files: num_files,
        bytes,
        cores,
        seconds,
        rows_per_second: rows as f64 / seconds.max(f64::MIN_POSITIVE),
    };
    context.output.text(format!(
        "{} rows in {} files, {}: {:.1} s, {} rows per second",
        count(measured.rows),
        count(measured.files as u64),
        ByteSize(measured.bytes).rounded(),
        measured.seconds,
        count(measured.rows_per_second as u64),
    ))?;
    context.output.json_line(&measured)
}

/// Makes the folder with an empty lake.
fn empty_lake(folder: &Path) -> anyhow::Result<Arc<ObjectLake>> {
    let cannot_make = || format!("cannot make `{}`", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot_make)?;
    let mut entries = std::fs::read_dir(folder).with_context(cannot_make)?;
    if entries.next().is_some() {
        let reason = "is not empty; name a folder that does not exist";
        return Err(Refusal::Input.because(format!("`{}` {reason}", folder.display())));
    }
    let path = folder.join("objects");
    let objects = open_folder(&FolderConfig { path }).with_context(cannot_make)?;
    Ok(Arc::new(ObjectLake::new(objects)))
}

async fn write(
    lake: &Arc<ObjectLake>,
    making: Making,
    part: Part,
) -> anyhow::Result<Vec<LakeFile>> {
    let day = part.day;
    let tables = tokio::task::spawn_blocking(move || making.rows(&part)).await?;
    let mut files = Vec::new();
    for (spec, rows) in tables {
        files.push(lake.write_rows(spec, day, rows).await?);
    }
    Ok(files)
}

/// Posts of one day that become one file of each table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    day: Day,
    numbers: Range<u32>,
}

/// What posts are made.
#[derive(Debug, Clone)]
struct Making {
    emulator: Emulator,
    seed: u64,
    updates: f64,
    num_posts: u32,
    num_days: u32,
}

impl Making {
    /// Returns all posts, in order.
    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut first = 0;
        while first < self.num_posts {
            let day = Day::of(self.received(first));
            let same_day = |number: &u32| Day::of(self.received(*number)) == day;
            let end = first.saturating_add(POSTS_PER_FILE).min(self.num_posts);
            // Times grow with numbers, so the posts of a day stand together.
            let end = first + partition_point(first..end, same_day);
            let numbers = first..end;
            parts.push(Part { day, numbers });
            first = end;
        }
        parts
    }

    /// Returns when a post is received.
    fn received(&self, number: u32) -> Timestamp {
        let period = u128::from(self.num_days) * u128::from(DAY_MS);
        let since = period * u128::from(number) / u128::from(self.num_posts.max(1));
        let begin = END_MS - u64::from(self.num_days) * DAY_MS;
        Timestamp(begin + u64::try_from(since).unwrap_or(0))
    }

    /// Returns a post, or an earlier one that comes again.
    fn post(&self, number: u32, now: EventTime) -> Post {
        let post = self.emulator.post(number, now);
        let mut random = Random::new(self.seed, AGAIN | u64::from(number));
        if f64::from(random.unit()) >= self.updates || number == 0 {
            return post;
        }
        let mut again = self.emulator.post(random.below(number), now);
        if let Some(category) = post.pin.get("category") {
            again.pin.insert("category".to_owned(), category.clone());
        }
        again
    }

    /// Returns the rows of some posts, by their tables.
    fn rows(&self, part: &Part) -> Vec<(&'static TableSpec, Vec<Row>)> {
        let mut tables: Vec<(&'static TableSpec, Vec<Row>)> = Vec::new();
        for number in part.numbers.clone() {
            let received = self.received(number);
            let micros = i64::try_from(received.0 * 1_000).ok();
            let now = micros.and_then(EventTime::from_micros);
            let post = self.post(number, now.unwrap_or(EventTime::MIN));
            let events = [post.pin, post.geolocation, post.user];
            for (kind, event) in EventKind::ALL.into_iter().zip(events) {
                let key = event::key(kind, &event).unwrap_or_default();
                let origin = Origin {
                    received,
                    partition: partition_of(&key),
                    offset: Offset(number.into()),
                };
                let cleaned = Cleaned {
                    origin,
                    outcome: clean(kind, &event),
                    raw: RawEvent { received, event },
                };
                let (spec, row) = cleaned.into_row(kind, &key);
                match tables.iter_mut().find(|(of, _)| of.name == spec.name) {
                    Some((_, rows)) => rows.push(row),
                    None => tables.push((spec, vec![row])),
                }
            }
        }
        tables
    }
}

/// Returns for how many numbers, from the first on, something holds that holds for no later one.
fn partition_point(numbers: Range<u32>, holds: impl Fn(&u32) -> bool) -> u32 {
    let (first, mut low, mut high) = (numbers.start, numbers.start, numbers.end);
    while low < high {
        let middle = low + (high - low) / 2;
        match holds(&middle) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low - first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn making(num_posts: u32, num_days: u32) -> Making {
        Making {
            emulator: Emulator::new(EmulatorOptions::default()),
            seed: 1,
            updates: 0.5,
            num_posts,
            num_days,
        }
    }

    #[test]
    fn every_post_is_in_one_part_of_its_day() {
        for (num_posts, num_days) in [(1, 1), (10, 3), (7, 20), (1_000_001, 2)] {
            let making = making(num_posts, num_days);
            let mut next = 0;
            for Part { day, numbers } in making.parts() {
                assert_eq!(numbers.start, next);
                assert!((1..=POSTS_PER_FILE as usize).contains(&numbers.len()));
                assert_eq!(Day::of(making.received(numbers.start)), day);
                assert_eq!(Day::of(making.received(numbers.end - 1)), day);
                next = numbers.end;
            }
            assert_eq!(next, num_posts);
            assert!(making.received(num_posts - 1) < Timestamp(END_MS));
        }
    }

    #[test]
    fn a_post_has_a_row_for_each_event_and_some_come_again() {
        let making = making(300, 1);
        let part = making.parts().remove(0);
        let tables = making.rows(&part);
        let num_rows: usize = tables.iter().map(|(_, rows)| rows.len()).sum();
        assert_eq!(num_rows, 900);
        let (spec, pins) = &tables[0];
        assert_eq!(spec.name, "pins");
        let mut ids: Vec<String> = pins.iter().map(|row| format!("{:?}", row.0[0])).collect();
        ids.sort();
        ids.dedup();
        assert!((100..250).contains(&ids.len()), "{}", ids.len());
        assert_eq!(tables, making.rows(&part), "the same at every call");
    }

    #[tokio::test]
    async fn a_folder_that_holds_something_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine"), "x").unwrap();
        let error = empty_lake(folder.path()).unwrap_err();
        assert!(error.to_string().contains("is not empty"), "{error:#}");
        assert!(empty_lake(&folder.path().join("new")).is_ok());
    }
}
