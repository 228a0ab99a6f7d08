//! What the clients know: what was acknowledged, where it lies in the log, and what got no answer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::workload::{Event, Kind};
use crate::report::Checks;

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) partition: u64,
    pub(super) offset: u64,
}

/// An event as something holds it: a table, a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) version: u64,
}

impl Found {
    fn is(&self, event: &Event) -> bool {
        self.place.kind == event.kind && self.key == event.key && self.version == event.version
    }
}

/// Which events something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    All,
    Clean,
    Rejected,
}

impl Which {
    fn has(self, event: &Event) -> bool {
        match self {
            Self::All => true,
            Self::Clean => event.is_clean,
            Self::Rejected => !event.is_clean,
        }
    }
}

/// What one client knows, or all of them together.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    acknowledged: BTreeMap<Place, Arc<Event>>,
    /// By kind, key and version: how often it was sent without an answer.
    unanswered: HashMap<(Kind, String, u64), (Arc<Event>, usize)>,
    /// The latest clean version of each key that was acknowledged.
    latest: HashMap<(Kind, String), (Place, Arc<Event>)>,
    /// Answers that must not be.
    breaches: Vec<String>,
}

impl Ledger {
    /// Notes an acknowledged event. Events of one key must be noted in the order in which they were sent.
    pub(super) fn acknowledge(&mut self, place: Place, event: &Arc<Event>) {
        if let Some(before) = self.acknowledged.insert(place, Arc::clone(event)) {
            self.breach(format!(
                "{place:?} was given to {before:?} and to {event:?}"
            ));
        }
        if !event.is_clean {
            return;
        }
        let of = (event.kind, event.key.clone());
        let before = self.latest.insert(of, (place, Arc::clone(event)));
        if let Some((before, _)) = before
            && (before.partition != place.partition || before.offset >= place.offset)
        {
            self.breach(format!(
                "{event:?} is at {place:?}, an earlier one at {before:?}"
            ));
        }
    }

    /// Notes that nobody knows whether an event is stored.
    pub(super) fn no_answer(&mut self, event: &Arc<Event>) {
        let of = (event.kind, event.key.clone(), event.version);
        let entry = self.unanswered.entry(of);
        entry.or_insert_with(|| (Arc::clone(event), 0)).1 += 1;
    }

    /// Notes an answer that must not be.
    pub(super) fn breach(&mut self, what: String) {
        self.breaches.push(what);
    }

    /// Adds what a client with other keys knows.
    pub(super) fn absorb(&mut self, other: Self) {
        for (place, event) in other.acknowledged {
            if let Some(before) = self.acknowledged.insert(place, Arc::clone(&event)) {
                self.breach(format!(
                    "{place:?} was given to {before:?} and to {event:?}"
                ));
            }
        }
        self.unanswered.extend(other.unanswered);
        self.latest.extend(other.latest);
        self.breaches.extend(other.breaches);
    }

    /// Returns the answers that must not be.
    pub(super) fn breaches(&self) -> &[String] {
        &self.breaches
    }

    /// Returns how many events were acknowledged.
    pub(super) fn num_acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Returns how often an event got no answer.
    pub(super) fn num_unanswered(&self) -> usize {
        self.unanswered.values().map(|(_, times)| times).sum()
    }

    /// Returns how many keys have a row.
    pub(super) fn num_rows(&self, kind: Kind) -> usize {
        self.latest.keys().filter(|(one, _)| *one == kind).count()
    }

    /// Returns the latest clean version of a key.
    pub(super) fn latest(&self, kind: Kind, key: &str) -> Option<&Event> {
        let (_, event) = self.latest.get(&(kind, key.to_owned()))?;
        Some(event)
    }

    /// Returns the place after the last acknowledged one of each partition.
    pub(super) fn ends(&self) -> BTreeMap<(Kind, u64), u64> {
        let mut ends = BTreeMap::new();
        for place in self.acknowledged.keys() {
            // They come in the order of their offsets.
            ends.insert((place.kind, place.partition), place.offset + 1);
        }
        ends
    }

    /// Checks that something holds every acknowledged event once, by its place, and besides those only such as got no
    /// answer, no more often than they were sent.
    pub(super) fn check_versions(
        &self,
        what: &str,
        which: Which,
        found: &[Found],
        checks: &mut Checks,
    ) {
        let mut seen = HashSet::new();
        let mut unanswered: HashMap<_, usize> = HashMap::new();
        for one in found {
            checks.that(seen.insert(one.place), || {
                format!("{what}: {one:?} is there twice")
            });
            if let Some(event) = self.acknowledged.get(&one.place) {
                checks.that(one.is(event) && which.has(event), || {
                    format!("{what}: {one:?} was acknowledged as {event:?}")
                });
                continue;
            }
            let of = (one.place.kind, one.key.clone(), one.version);
            let sent = self.unanswered.get(&of);
            let times = unanswered.entry(of).or_default();
            *times += 1;
            checks.that(
                sent.is_some_and(|(event, most)| *times <= *most && which.has(event)),
                || format!("{what}: {one:?} was never sent, or is no event for it"),
            );
        }
        for (place, event) in &self.acknowledged {
            if which.has(event) {
                checks.that(seen.contains(place), || {
                    format!("{what}: {event:?}, acknowledged at {place:?}, is missing")
                });
            }
        }
    }

    /// Checks that the rows of a kind are the latest clean versions of their keys, each once.
    pub(super) fn check_rows(&self, what: &str, kind: Kind, found: &[Found], checks: &mut Checks) {
        let mut seen = HashSet::new();
        for one in found {
            checks.that(seen.insert(one.key.as_str()), || {
                format!("{what}: the key of {one:?} is there twice")
            });
            let latest = self.latest.get(&(kind, one.key.clone()));
            checks.that(
                latest.is_some_and(|(place, event)| *place == one.place && one.is(event)),
                || format!("{what}: {one:?} should be {latest:?}"),
            );
        }
        for (of, key) in self.latest.keys() {
            if *of == kind {
                checks.that(seen.contains(key.as_str()), || {
                    format!("{what}: `{key}` is missing")
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn event(key: &str, version: u64, is_clean: bool) -> Arc<Event> {
        Arc::new(Event {
            kind: Kind::Pin,
            key: key.to_owned(),
            version,
            is_clean,
            ind: None,
            time: None,
            body: Value::Null,
        })
    }

    fn place(offset: u64) -> Place {
        Place {
            kind: Kind::Pin,
            partition: 0,
            offset,
        }
    }

    fn found(offset: u64, key: &str, version: u64) -> Found {
        Found {
            place: place(offset),
            key: key.to_owned(),
            version,
        }
    }

    /// `a` in versions 1, 2 (rejected) and 3, of which 3 got no answer at first; `b` in version 1.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.acknowledge(place(0), &event("a", 1, true));
        ledger.acknowledge(place(1), &event("a", 2, false));
        ledger.no_answer(&event("a", 3, true));
        ledger.acknowledge(place(3), &event("a", 3, true));
        ledger.acknowledge(place(4), &event("b", 1, true));
        assert!(ledger.breaches().is_empty());
        ledger
    }

    fn failed_versions(which: Which, found: &[Found]) -> usize {
        let mut checks = Checks::default();
        ledger().check_versions("test", which, found, &mut checks);
        checks.failed()
    }

    #[test]
    fn whole_versions_pass_and_every_breach_is_seen() {
        let whole = [found(0, "a", 1), found(3, "a", 3), found(4, "b", 1)];
        assert_eq!(failed_versions(Which::Clean, &whole), 0);
        // What got no answer may be there too, but not twice.
        let mut more = whole.to_vec();
        more.push(found(2, "a", 3));
        assert_eq!(failed_versions(Which::Clean, &more), 0);
        more.push(found(5, "a", 3));
        assert_eq!(failed_versions(Which::Clean, &more), 1);
        // Lost, doubled, changed, of the wrong kind.
        assert_eq!(failed_versions(Which::Clean, &whole[..2]), 1);
        let mut doubled = whole.to_vec();
        doubled.push(whole[0].clone());
        assert_eq!(failed_versions(Which::Clean, &doubled), 1);
        let changed = [found(0, "a", 1), found(3, "a", 1), found(4, "b", 1)];
        assert_eq!(failed_versions(Which::Clean, &changed), 1);
        assert_eq!(failed_versions(Which::Rejected, &[found(1, "a", 2)]), 0);
        assert_eq!(failed_versions(Which::Rejected, &[found(0, "a", 1)]), 2);
        assert_eq!(failed_versions(Which::All, &whole), 1);
    }

    #[test]
    fn rows_are_the_latest_clean_versions() {
        let failed = |rows: &[Found]| {
            let mut checks = Checks::default();
            ledger().check_rows("test", Kind::Pin, rows, &mut checks);
            checks.failed()
        };
        let whole = [found(3, "a", 3), found(4, "b", 1)];
        assert_eq!(failed(&whole), 0);
        assert_eq!(failed(&whole[..1]), 1, "lost");
        assert_eq!(failed(&[found(0, "a", 1), found(4, "b", 1)]), 1, "old");
        let doubled = [found(3, "a", 3), found(4, "b", 1), found(4, "b", 1)];
        assert_eq!(failed(&doubled), 1);
        let stranger = [found(3, "a", 3), found(4, "b", 1), found(7, "c", 1)];
        assert_eq!(failed(&stranger), 1);
    }

    #[test]
    fn a_place_that_is_given_twice_or_goes_back_is_a_breach() {
        let mut one = ledger();
        one.acknowledge(place(3), &event("c", 1, true));
        assert_eq!(one.breaches().len(), 1);
        let mut two = ledger();
        two.acknowledge(place(2), &event("b", 2, true));
        assert_eq!(two.breaches().len(), 1);
        let mut three = ledger();
        three.absorb(ledger());
        assert_eq!(three.breaches().len(), 4);
        assert_eq!(ledger().ends()[&(Kind::Pin, 0)], 5);
    }
}
