//! Tables against a plain fold over the clean events.

use std::collections::{BTreeMap, HashMap};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::pins::clean::{CleanEvent, CleanGeolocation, CleanPin};
use crate::pins::stream::decay::{HalfLife, score};
use crate::pins::stream::schema::{PROFILE_ACTIVITY, integer};
use crate::pins::tables::{GEOLOCATIONS, Origin, USERS};

/// An event of a small world, in which keys meet.
fn event() -> impl Strategy<Value = (EventKind, Json)> {
    let posters = prop_oneof![
        Just(json!("Anna")),
        Just(json!("Bob")),
        Just(json!("User Info Error")),
        Just(json!("ä".repeat(200))),
    ];
    let categories = ["art", "food", ""];
    let followers = option::weighted(
        0.7,
        prop_oneof![4 => Just("1k"), 2 => Just("7"), 1 => Just("x")],
    );
    let pin = (0..6_u8, option::of(0..4_u8), posters, 0..3_usize, followers).prop_map(
        move |(id, ind, poster, category, followers)| {
            let event = json!({
                "unique_id": id,
                "index": ind,
                "poster_name": poster,
                "category": categories[category],
                "follower_count": followers,
            });
            (EventKind::Pin, event)
        },
    );
    // Within days and years: some spans are far from others.
    let seconds = prop_oneof![-3_000..3_000_i64, -600_000..0_i64, Just(-1_500_000_000_i64)];
    let geolocation = (0..4_u64, seconds)
        .prop_map(|(ind, seconds)| (EventKind::Geolocation, geolocation(ind, seconds)));
    let user = (0..3_u8, 0..200_u8)
        .prop_map(|(ind, age)| (EventKind::User, json!({"ind": ind, "age": age})));
    prop_oneof![5 => pin, 3 => geolocation, 1 => user]
}

/// What tables should hold.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    times: BTreeMap<String, i64>,
    minutes: BTreeMap<(String, i64), i64>,
    /// Followers, pins, score.
    profiles: BTreeMap<String, (Option<i64>, i64, f64)>,
    num_others: [usize; 3],
}

fn fold(events: &[Incoming], half_life: HalfLife) -> Expected {
    let mut pins: BTreeMap<&str, (&CleanPin, Origin)> = BTreeMap::new();
    let mut geolocations: HashMap<i64, (&CleanGeolocation, Origin)> = HashMap::new();
    let mut users: HashMap<i64, ()> = HashMap::new();
    let mut num_rejected = 0;
    // In the order of the log.
    for event in events {
        let origin = event.cleaned.origin;
        match &event.cleaned.outcome {
            Ok(CleanEvent::Pin(pin)) => drop(pins.insert(&pin.unique_id, (pin, origin))),
            Ok(CleanEvent::Geolocation(one)) => drop(geolocations.insert(one.ind, (one, origin))),
            Ok(CleanEvent::User(user)) => drop(users.insert(user.ind, ())),
            Err(_) => num_rejected += 1,
        }
    }
    let mut expected = Expected {
        num_others: [geolocations.len(), users.len(), num_rejected],
        ..Expected::default()
    };
    let mut followers: BTreeMap<String, (i64, &str, i64)> = BTreeMap::new();
    let mut spans: BTreeMap<String, BTreeMap<i64, i64>> = BTreeMap::new();
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for (id, (pin, origin)) in &pins {
        let geolocation = pin.ind.and_then(|ind| geolocations.get(&ind));
        let received = (origin.received.0 * 1_000) as i64;
        let time = geolocation.map_or(received, |(one, _)| one.timestamp.micros());
        expected.times.insert((*id).to_owned(), time);
        let category = pin.category.clone().unwrap_or_default();
        let minute = time.div_euclid(60_000_000) * 60_000_000;
        *expected.minutes.entry((category, minute)).or_default() += 1;
        let Some(poster) = &pin.poster_name else {
            continue;
        };
        let poster: String = poster.chars().take(128).collect();
        *counts.entry(poster.clone()).or_default() += 1;
        let (span, weight) = half_life.weigh(time);
        *spans
            .entry(poster.clone())
            .or_default()
            .entry(span)
            .or_default() += weight;
        if let Some(count) = pin.follower_count {
            let best = followers.entry(poster).or_insert((received, id, count));
            *best = (*best).max((received, id, count));
        }
    }
    for (poster, pins) in counts {
        let spans: Vec<_> = spans[&poster].iter().rev().map(|(s, w)| (*s, *w)).collect();
        let followers = followers.get(&poster).map(|found| found.2);
        let value = (followers, pins, score(&spans).unwrap());
        expected.profiles.insert(poster, value);
    }
    expected
}

async fn found(bench: &Bench) -> Expected {
    let mut found = Expected::default();
    let mut late = BTreeMap::new();
    for row in bench.rows(&EXPERIMENTAL_DATA).await {
        let names = ["unique_id", "event_time", "category", "late"];
        let [id, time, category, is_late] = fields(&EXPERIMENTAL_DATA, &row, names);
        let (Value::Text(id), time) = (id, integer(time)) else {
            panic!("{row:?}");
        };
        found.times.insert(id.clone(), time);
        let category = match category {
            Value::Text(category) => category.clone(),
            _ => String::new(),
        };
        let minute = time.div_euclid(60_000_000) * 60_000_000;
        *late.entry((category, minute)).or_default() += i64::from(*is_late == true.into());
    }
    for row in bench.rows(&PINS_PER_MINUTE).await {
        let [Value::Text(category), minute, pins, late_pins] = &row.0[..] else {
            panic!("{row:?}");
        };
        let key = (category.clone(), integer(minute));
        assert_eq!(late.remove(&key), Some(integer(late_pins)), "{key:?}");
        found.minutes.insert(key, integer(pins));
    }
    for row in bench.rows(&PROFILES).await {
        let [Value::Text(name), followers, pins, Value::Real(score), ..] = &row.0[..] else {
            panic!("{row:?}");
        };
        let followers = match followers {
            Value::Integer(count) => Some(*count),
            _ => None,
        };
        found
            .profiles
            .insert(name.clone(), (followers, integer(pins), *score));
    }
    let spans = bench.rows(&PROFILE_ACTIVITY).await;
    let num_pins: i64 = spans.iter().map(|row| integer(&row.0[2])).sum();
    let counted: i64 = found.profiles.values().map(|(_, pins, _)| pins).sum();
    assert_eq!(num_pins, counted, "in spans of profiles");
    for (place, spec) in [&GEOLOCATIONS, &USERS, &REJECTED].into_iter().enumerate() {
        found.num_others[place] = bench.rows(spec).await.len();
    }
    found
}

/// Changes the order, repeats some, and cuts what comes out into batches.
fn shuffled(events: &[Incoming], seeds: &[u32]) -> Vec<Vec<Incoming>> {
    let mut order: Vec<(u32, &Incoming)> = Vec::new();
    for (idx, event) in events.iter().enumerate() {
        let seed = seeds[idx % seeds.len()].rotate_left(idx as u32);
        order.push((seed, event));
        if seed.is_multiple_of(3) {
            order.push((seed.wrapping_mul(0x9e37_79b1), event));
        }
    }
    order.sort_by_key(|(seed, _)| *seed);
    let mut batches = vec![Vec::new()];
    for (seed, event) in order {
        if seed % 7 < 3 {
            batches.push(Vec::new());
        }
        batches.last_mut().unwrap().push(event.clone());
    }
    batches
}

fn check(events: Vec<(EventKind, Json)>, gaps: &[u64], seeds: &[u32]) {
    let mut received = 0;
    let events: Vec<Incoming> = events
        .iter()
        .enumerate()
        .map(|(offset, (kind, event))| {
            received += gaps[offset % gaps.len()];
            incoming(*kind, event, received, offset as u64)
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut bench = Bench::new().await;
        let expected = fold(&events, bench.config.half_life());
        for batch in shuffled(&events, seeds) {
            bench.apply(batch).await;
        }
        assert_eq!(found(&bench).await, expected);
        assert_eq!(bench.state.pins as usize, expected.times.len());
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn tables_are_a_fold_whatever_the_order_the_repetitions_and_the_batches(
        events in vec(event(), 1..60),
        gaps in vec(0..200_u64, 1..8),
        seeds in vec(any::<u32>(), 1..12),
    ) {
        check(events, &gaps, &seeds);
    }
}
