use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::pins::clean::{CleanEvent, clean};
use crate::pins::event::key;

fn now() -> EventTime {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

fn emulator(seed: u64, dirty: f64, late: f64) -> Emulator {
    Emulator::new(EmulatorOptions { seed, dirty, late })
}

fn row(event: &CleanEvent) -> RawObject {
    object(serde_json::to_value(event).unwrap())
}

#[test]
fn the_same_seed_posts_the_same() {
    let posts = |seed| {
        let emulator = emulator(seed, 0.3, 0.3);
        (0..50)
            .map(|number| emulator.post(number, now()))
            .collect::<Vec<_>>()
    };
    assert_eq!(posts(1), posts(1));
    assert_ne!(posts(1), posts(2));
}

#[test]
fn what_is_not_dirty_becomes_a_row_without_nulls() {
    let emulator = emulator(3, 0.0, 0.5);
    for number in 0..500 {
        for kind in EventKind::ALL {
            let event = emulator.post(number, now()).event(kind);
            let row = row(&clean(kind, &event).unwrap());
            let nulls: Vec<_> = row.iter().filter(|(_, value)| value.is_null()).collect();
            assert!(
                matches!(nulls[..], [(name, _)] if name == "extra"),
                "{kind} {number}: {nulls:?}"
            );
        }
    }
}

#[test]
fn as_many_events_are_dirty_as_was_asked_for_and_a_few_cannot_be_cleaned() {
    const POSTS: u32 = 2_000;
    let (dirty, tidy) = (emulator(4, 0.2, 0.0), emulator(4, 0.0, 0.0));
    for kind in EventKind::ALL {
        let (mut changed, mut rejected) = (0, 0);
        let mut reasons = BTreeSet::new();
        for number in 0..POSTS {
            let event = dirty.post(number, now()).event(kind);
            assert!(key(kind, &event).is_ok(), "every event can be stored");
            changed += u32::from(event != tidy.post(number, now()).event(kind));
            if let Err(rejection) = clean(kind, &event) {
                rejected += 1;
                reasons.insert(rejection.field);
            }
        }
        // Expected: 400 and 50. A few dirty pins look as clean ones do.
        assert!((330..=470).contains(&changed), "{kind}: {changed}");
        assert!((20..=80).contains(&rejected), "{kind}: {rejected}");
        assert!(reasons.len() >= 2, "{kind}: {reasons:?}");
    }
}

#[test]
fn late_events_lie_hours_back() {
    let emulator = emulator(5, 0.0, 0.25);
    let mut late = 0;
    for number in 0..1_000 {
        let event = emulator.post(number, now()).geolocation;
        let CleanEvent::Geolocation(row) = clean(EventKind::Geolocation, &event).unwrap() else {
            panic!("a geolocation becomes one");
        };
        let seconds = (now().micros() - row.timestamp.micros()) / 1_000_000;
        let is_late = (3_600..=48 * 3_600).contains(&seconds);
        assert!(is_late || (0..=3).contains(&seconds), "{seconds} s");
        late += u32::from(is_late);
    }
    assert!((200..=300).contains(&late), "{late}");
}

#[test]
fn posters_repeat_and_few_have_many_followers() {
    let emulator = emulator(6, 0.0, 0.0);
    let mut followers: BTreeMap<String, i64> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    for number in 0..3_000 {
        let CleanEvent::Pin(pin) =
            clean(EventKind::Pin, &emulator.post(number, now()).pin).unwrap()
        else {
            panic!("a pin becomes one");
        };
        keys.insert(pin.unique_id);
        followers.insert(pin.poster_name.unwrap(), pin.follower_count.unwrap());
    }
    assert_eq!(keys.len(), 3_000);
    assert!(followers.len() < 1_500, "{} names", followers.len());
    let mut counts: Vec<i64> = followers.into_values().collect();
    counts.sort_unstable();
    let (median, greatest) = (counts[counts.len() / 2], counts[counts.len() - 1]);
    assert!((50..1_000).contains(&median), "{median}");
    assert!(greatest > 100 * median, "{greatest}");
}

#[test]
fn counts_are_shown_with_few_digits() {
    for (count, expected) in [
        (7, "7"),
        (999, "999"),
        (1_000, "1k"),
        (1_550, "1.5k"),
        (15_999, "15k"),
        (2_000_001, "2M"),
    ] {
        assert_eq!(shown(count), expected);
    }
}
