//! `cargo xtask crash --pins`: kill -9 at every point that events pass and at random, while they are posted.
//!
//! One data directory lives through all kills. In each round a server starts on it, several clients post pins,
//! geolocations and users, one by one and many at once, and it is killed. What got no answer is posted again in the next
//! round, and now and then something that did. In the end:
//!
//! - the tables hold the latest clean version of each key, once, from the place that was acknowledged, with the time of
//!   its geolocation; every other acknowledged event is listed as rejected, once; nothing is there that was not sent;
//! - numbers follow from the rows: minutes, profiles, totals;
//! - the lake holds every acknowledged event once, by its place in the log, raw and as a row, and its latest rows are
//!   those of the tables;
//! - nothing is unread.

mod clients;
mod lake;
mod ledger;
mod tables;
mod workload;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use self::clients::Client;
use self::ledger::Ledger;
use super::{Arguments, died_at_point, is_of_pins, recovery_figures};
use crate::http;
use crate::process::{Server, ServerOptions};
use crate::report::{self, Checks};
use crate::rng::Rng;

const NUM_CLIENTS: usize = 4;
/// Calls that each round adds to what each client is still to post.
const POSTS_PER_ROUND: usize = 24;
/// A random kill comes within so many milliseconds: while most of these are under way.
const RANDOM_KILL_MS: usize = 120;
/// With so many kills some of them must have cut off a call.
const MIN_KILLS_OF_CALLS: usize = 12;
/// How long a round may take before a fail point that is not reached counts as such.
const ROUND_LIMIT: Duration = Duration::from_secs(10);
/// How long a server may take to read what is in the log.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Points that a server passes once in a round, if at all.
const RARE: &str = "merge";

/// Returns whether events come by a point. Rows are made again on request only.
fn is_passed(name: &str) -> bool {
    let is_of_lake = name.starts_with("pins.lake.") || name.starts_with("objects.");
    match is_of_lake {
        true => !name.contains("rebuild"),
        false => is_of_pins(name) || name.starts_with("step."),
    }
}

/// Runs the harness with a binary that has fail points, and returns its figures.
///
/// # Errors
/// If anything acknowledged was lost, doubled or changed.
pub(super) fn run(
    arguments: &Arguments,
    mut options: ServerOptions,
    points: Vec<String>,
) -> anyhow::Result<Value> {
    let started = Instant::now();
    let mut points: Vec<String> = points.into_iter().filter(|name| is_passed(name)).collect();
    // Those that images pass too are the last ones to be tried.
    points.sort_by_key(|name| !is_of_pins(name));
    if points.is_empty() {
        bail!("the binary has no fail points that pins pass");
    }
    report::line(&format!(
        "pins, seed {}: {} kills, at {} fail points in turn and at random",
        arguments.seed,
        arguments.kills,
        points.len()
    ));
    options.environment.extend(lake::environment());
    let mut checks = Checks::default();
    let mut disturbed = Disturbed::new(arguments, options, points)?;
    disturbed.run(&mut checks)?;
    report::line("the last events are posted; waiting until they are read");
    let server = Server::start(&disturbed.options)?;
    disturbed.recoveries.push(server.recovery());
    let (ledger, num_posts) = disturbed.post_all(&server.client(LIMIT))?;
    for breach in ledger.breaches() {
        checks.fail(breach.clone());
    }
    check(&disturbed.options.data, server, &ledger, &mut checks)?;
    disturbed.check_points(&mut checks);
    checks.that(
        ledger.num_unanswered() > 0 || arguments.kills < MIN_KILLS_OF_CALLS,
        || "no call was ever cut off".to_owned(),
    );
    for (name, kills) in &disturbed.kills_by_point {
        report::line(&format!("{kills:>5} kills at {name}"));
    }
    checks.verdict(&format!("crash of pins, seed {}", arguments.seed))?;
    Ok(json!({
        "seed": arguments.seed,
        "kills": disturbed.kills_by_point.values().sum::<usize>(),
        "kills_by_point": disturbed.kills_by_point,
        "posts": num_posts,
        "acknowledged": ledger.num_acknowledged(),
        "unanswered": ledger.num_unanswered(),
        "rows": workload::Kind::ALL.map(|kind| ledger.num_rows(kind)),
        "recovery_ms": recovery_figures(&disturbed.recoveries),
        "checks_passed": checks.passed(),
        "checks_failed": checks.failed(),
        "seconds": started.elapsed().as_secs(),
    }))
}

/// Waits until everything is read, then compares with what was acknowledged.
fn check(data: &Path, server: Server, ledger: &Ledger, checks: &mut Checks) -> anyhow::Result<()> {
    let client = server.client(LIMIT);
    let started = Instant::now();
    while !is_read(&client) {
        if started.elapsed() > CATCH_UP_LIMIT {
            let seconds = CATCH_UP_LIMIT.as_secs();
            bail!(
                "something is unread after {seconds} s\n{}",
                server.log_tail()
            );
        }
        thread::sleep(POLL);
    }
    tables::check_server(&client, ledger, checks)?;
    lake::check_server(&client, ledger, checks)?;
    checks.step("a clean stop at the end", server.stop());
    tables::check_file(&data.join("pins.sqlite3"), ledger, checks)?;
    lake::check_raw(&data.join("objects"), ledger, checks)
}

/// Returns whether both ways have read all of the log.
fn is_read(client: &http::Client) -> bool {
    tables::unread(client) == Some(0) && lake::unread(client) == Some(0)
}

/// The run that is disturbed.
struct Disturbed {
    options: ServerOptions,
    points: Vec<String>,
    num_kills: usize,
    rng: Rng,
    clients: Vec<Client>,
    kills_by_point: BTreeMap<String, usize>,
    not_reached: HashMap<String, usize>,
    recoveries: Vec<Duration>,
}

impl Disturbed {
    fn new(
        arguments: &Arguments,
        options: ServerOptions,
        points: Vec<String>,
    ) -> anyhow::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let clients = (0..NUM_CLIENTS).map(|number| Client::new(arguments.seed, number, now));
        Ok(Self {
            options,
            num_kills: arguments.kills,
            rng: Rng::new(arguments.seed),
            clients: clients.collect(),
            kills_by_point: points.iter().map(|name| (name.clone(), 0)).collect(),
            points,
            not_reached: HashMap::new(),
            recoveries: Vec::new(),
        })
    }

    fn run(&mut self, checks: &mut Checks) -> anyhow::Result<()> {
        for kill in 0..self.num_kills {
            // Every third kill is at a random moment, the others at each fail point in turn.
            let turn = kill - kill / 3;
            let target = (kill % 3 != 2).then(|| self.points[turn % self.points.len()].clone());
            self.round(kill, target.as_deref(), checks)
                .with_context(|| {
                    format!("kill {kill}, at {}", target.as_deref().unwrap_or("random"))
                })?;
            if (kill + 1) % 20 == 0 || kill + 1 == self.num_kills {
                report::line(&format!("{} kills", kill + 1));
            }
        }
        Ok(())
    }

    /// Starts a server, posts, kills it.
    fn round(
        &mut self,
        kill: usize,
        target: Option<&str>,
        checks: &mut Checks,
    ) -> anyhow::Result<()> {
        let mut options = self.options.clone();
        if let Some(name) = target {
            let at = format!("{name}:{}", self.count(name));
            let environment = &mut options.environment;
            environment.push(("LIKENESS_KILL_AT".to_owned(), at));
        }
        for client in &mut self.clients {
            client.plan(POSTS_PER_ROUND);
        }
        // What is left from the round before may lead the server to its point before it is ready.
        let mut server = match (Server::start(&options), target) {
            (Ok(server), _) => server,
            (Err(error), Some(name)) if died_at_point(&error) => {
                *self.kills_by_point.entry(name.to_owned()).or_default() += 1;
                return Ok(());
            }
            (Err(error), _) => return Err(error),
        };
        self.recoveries.push(server.recovery());
        let client = server.client(LIMIT);
        let delay = Duration::from_millis(self.rng.below(RANDOM_KILL_MS) as u64);
        let threads: Vec<_> = std::mem::take(&mut self.clients)
            .into_iter()
            .map(|one| one.start(&client))
            .collect();
        let started = Instant::now();
        let mut has_died = false;
        loop {
            if let Some(status) = server.ended()? {
                use std::os::unix::process::ExitStatusExt as _;
                has_died = true;
                checks.that(target.is_some() && status.signal() == Some(9), || {
                    let log = server.log_tail();
                    format!("kill {kill}: the server ended by itself: {status}\n{log}")
                });
                break;
            }
            let is_over = match target {
                None => started.elapsed() >= delay,
                Some(_) => {
                    let is_posted = threads.iter().all(JoinHandle::is_finished);
                    started.elapsed() >= ROUND_LIMIT || is_posted && is_read(&client)
                }
            };
            if is_over {
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
        server.kill();
        for thread in threads {
            let Ok(client) = thread.join() else {
                bail!("a client panicked");
            };
            self.clients.push(client);
        }
        let label = match target {
            Some(name) if has_died => name,
            Some(name) => {
                *self.not_reached.entry(name.to_owned()).or_default() += 1;
                "random"
            }
            None => "random",
        };
        *self.kills_by_point.entry(label.to_owned()).or_default() += 1;
        Ok(())
    }

    /// Returns at which pass to kill: the first to the third, or the first if the point was missed before.
    fn count(&mut self, name: &str) -> usize {
        let missed = self.not_reached.get(name).copied().unwrap_or(0);
        let kills = self.kills_by_point.get(name).copied().unwrap_or(0);
        match missed > kills || name.contains(RARE) {
            true => 1,
            false => self.rng.below(3) + 1,
        }
    }

    /// Posts what is left, and returns what all clients know, and how many calls they made.
    fn post_all(&mut self, client: &http::Client) -> anyhow::Result<(Ledger, usize)> {
        let (mut all, mut num_posts) = (Ledger::default(), 0);
        for mut one in std::mem::take(&mut self.clients) {
            one.post_all(client)?;
            let (ledger, posts) = one.into_ledger();
            all.absorb(ledger);
            num_posts += posts;
        }
        Ok((all, num_posts))
    }

    /// Every point was reached, if there were kills enough.
    fn check_points(&self, checks: &mut Checks) {
        if self.num_kills < 2 * self.points.len() {
            return;
        }
        for name in &self.points {
            let kills = self.kills_by_point.get(name).copied().unwrap_or(0);
            let missed = self.not_reached.get(name).copied().unwrap_or(0);
            checks.that(kills > 0, || {
                format!("fail point `{name}` was never reached in {missed} rounds")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_passed;

    #[test]
    fn points_of_images_and_of_requests_are_left_out() {
        for name in ["pins.ingest.before_commit", "pins.stream.after_commit"] {
            assert!(is_passed(name), "{name}");
        }
        assert!(is_passed("tables.before_commit") && is_passed("step.after_sync"));
        for name in [
            "erase.finished",
            "assign.after_index",
            "pins.lake.before_rebuild_commit",
        ] {
            assert!(!is_passed(name), "{name}");
        }
    }
}
