//! What [`Catalog`] promises.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::join;
use crate::catalog::{Catalog, GenerationRecord, Lease, LeaseOutcome};
use crate::{Generation, Timestamp};

const LENGTH: Duration = Duration::from_secs(10);
const START: Timestamp = Timestamp(1_700_000_000_000);

/// Checks every clause that does not need a restart.
///
/// # Panics
/// If `catalog` breaks its contract.
pub async fn check_catalog(catalog: Arc<dyn Catalog>) {
    generations_are_numbered_once_per_fingerprint(&catalog).await;
    contenders_for_a_fingerprint_get_one_generation(&catalog).await;
    settings_change_only_from_what_is_expected(&*catalog).await;
    one_contender_changes_a_setting(&catalog).await;
    a_lease_has_one_owner_at_a_time(&*catalog).await;
    tokens_grow_with_every_change_of_owner(&*catalog).await;
    a_lost_lease_is_not_renewed(&*catalog).await;
    a_late_release_does_not_take_the_lease_from_its_new_owner(&*catalog).await;
    one_contender_acquires_a_lease(&catalog).await;
}

/// Checks that what was answered survives a restart. `open` opens the same catalog each time.
///
/// # Panics
/// If the catalog breaks its contract.
pub async fn check_catalog_reopen(open: impl AsyncFn() -> Arc<dyn Catalog>) {
    let name = unique("reopen");
    let parameters =
        json!({ "threshold": 0.1 + 0.2, "models": ["a", "b"], "nested": { "x": null } });
    let catalog = open().await;
    let generation = ensure(&*catalog, &name, &parameters, START).await;
    assert!(set(&*catalog, &name, None, Some("kept")).await);
    let lease = acquired(acquire(&*catalog, &name, "me", START).await);
    let all = catalog.generations().await.expect("generations");
    drop(catalog);

    let catalog = open().await;
    assert_eq!(catalog.generations().await.expect("generations"), all);
    let again = ensure(&*catalog, &name, &json!("other"), START).await;
    assert_eq!(again, generation, "a known fingerprint after a restart");
    assert_eq!(again.parameters, parameters);
    assert_eq!(setting(&*catalog, &name).await.as_deref(), Some("kept"));
    let held = acquire(&*catalog, &name, "other", START).await;
    assert_eq!(held, LeaseOutcome::Held(lease.clone()));
    release(&*catalog, &lease).await;
    drop(catalog);

    let catalog = open().await;
    let next = acquired(acquire(&*catalog, &name, "other", START).await);
    assert!(
        next.token > lease.token,
        "token {} after a restart, though {} was given out before",
        next.token,
        lease.token
    );
}

async fn generations_are_numbered_once_per_fingerprint(catalog: &Arc<dyn Catalog>) {
    let before = catalog.generations().await.expect("generations");
    let last = before.last().map_or(0, |record| record.generation.0);
    let (first, second) = (unique("first"), unique("second"));
    // A number that only an exact reader of decimal fractions gets back.
    let parameters = json!({ "threshold": 1.0e-7 / 3.0, "big": u64::MAX, "text": "ü\"\\" });

    let created = ensure(&**catalog, &first, &parameters, START).await;
    let expected = GenerationRecord {
        generation: Generation(last + 1),
        created: START,
        fingerprint: first.clone(),
        parameters: parameters.clone(),
    };
    assert_eq!(created, expected, "the next free number");
    let later = START.plus(LENGTH);
    let again = ensure(&**catalog, &first, &json!({}), later).await;
    assert_eq!(again, expected, "equal fingerprints are one generation");
    let other = ensure(&**catalog, &second, &parameters, later).await;
    assert_eq!(other.generation, Generation(last + 2));
    assert_eq!(other.created, later);

    let mut all = before;
    all.extend([expected, other]);
    let found = catalog.generations().await.expect("generations");
    assert_eq!(found, all, "all of them, oldest first");
}

async fn contenders_for_a_fingerprint_get_one_generation(catalog: &Arc<dyn Catalog>) {
    let before = catalog.generations().await.expect("generations").len();
    let fingerprint = unique("contended");
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (catalog, fingerprint) = (Arc::clone(catalog), fingerprint.clone());
            tokio::spawn(async move { ensure(&*catalog, &fingerprint, &json!(1), START).await })
        })
        .collect();
    let mut records = Vec::new();
    for task in tasks {
        records.push(join(task).await);
    }
    assert!(records.windows(2).all(|pair| pair[0] == pair[1]));
    let after = catalog.generations().await.expect("generations").len();
    assert_eq!(after, before + 1);
}

async fn settings_change_only_from_what_is_expected(catalog: &dyn Catalog) {
    let name = unique("setting");
    // (expected, new, whether it is as expected)
    let steps = [
        (Some("a"), Some("b"), false),
        (Some("a"), None, false),
        (None, None, true),
        (None, Some("a"), true),
        (None, Some("b"), false),
        (None, None, false),
        (Some("b"), Some("c"), false),
        (Some("a"), Some("b"), true),
        (Some("b"), Some("b"), true),
        (Some("a"), None, false),
        (Some("b"), None, true),
        (Some("b"), Some("c"), false),
        (None, Some(""), true),
        (None, Some("c"), false),
        (Some(""), Some("ü'\"--"), true),
    ];
    let mut value: Option<&str> = None;
    for (n, (expected, new, as_expected)) in steps.into_iter().enumerate() {
        let found = set(catalog, &name, expected, new).await;
        assert_eq!(found, as_expected, "step {n}: {expected:?} → {new:?}");
        if as_expected {
            value = new;
        }
        assert_eq!(setting(catalog, &name).await.as_deref(), value, "step {n}");
    }
    let other = setting(catalog, &unique("setting")).await;
    assert_eq!(other, None, "a setting that never was");
}

async fn one_contender_changes_a_setting(catalog: &Arc<dyn Catalog>) {
    let name = unique("contended");
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let (catalog, name) = (Arc::clone(catalog), name.clone());
            tokio::spawn(async move { set(&*catalog, &name, None, Some(&n.to_string())).await })
        })
        .collect();
    let mut winners = Vec::new();
    for (n, task) in tasks.into_iter().enumerate() {
        if join(task).await {
            winners.push(n.to_string());
        }
    }
    assert_eq!(winners.len(), 1, "one of the contenders must win");
    assert_eq!(setting(&**catalog, &name).await.as_ref(), winners.first());
}

async fn a_lease_has_one_owner_at_a_time(catalog: &dyn Catalog) {
    let name = unique("lease");
    let lease = acquired(acquire(catalog, &name, "first", START).await);
    let expected = Lease {
        name: name.clone(),
        owner: "first".to_owned(),
        token: lease.token,
        expires: START.plus(LENGTH),
    };
    assert_eq!(lease, expected);
    let later = START.plus(LENGTH / 2);
    let refused = acquire(catalog, &name, "second", later).await;
    assert_eq!(refused, LeaseOutcome::Held(lease.clone()));
    let other_name = acquire(catalog, &unique("lease"), "second", later).await;
    assert_eq!(acquired(other_name).owner, "second", "leases are separate");

    let again = acquired(acquire(catalog, &name, "first", later).await);
    assert_eq!(again.token, lease.token, "the same owner keeps its token");
    assert_eq!(again.expires, later.plus(LENGTH));
    let renewed = renew(catalog, &again, later.plus(LENGTH / 2)).await;
    let renewed = renewed.expect("a held lease is renewed");
    assert_eq!(renewed.token, lease.token);
    assert_eq!(renewed.expires, later.plus(LENGTH / 2).plus(LENGTH));
    let refused = acquire(catalog, &name, "second", later.plus(LENGTH)).await;
    assert_eq!(refused, LeaseOutcome::Held(renewed), "a renewed lease");
}

async fn tokens_grow_with_every_change_of_owner(catalog: &dyn Catalog) {
    let name = unique("tokens");
    let first = acquired(acquire(catalog, &name, "first", START).await);
    // A lease lapses at its time, not after it.
    let second = acquired(acquire(catalog, &name, "second", first.expires).await);
    assert!(second.token > first.token, "after a lapse");
    release(catalog, &second).await;
    let now = first.expires;
    let third = acquired(acquire(catalog, &name, "first", now).await);
    assert!(third.token > second.token, "after a release");
    release(catalog, &third).await;
    let fourth = acquired(acquire(catalog, &name, "second", now).await);
    assert!(fourth.token > third.token, "after another release");
}

async fn a_lost_lease_is_not_renewed(catalog: &dyn Catalog) {
    let name = unique("lost");
    let first = acquired(acquire(catalog, &name, "first", START).await);
    let lapsed = first.expires.plus(LENGTH);
    let renewed = renew(catalog, &first, lapsed).await;
    let first = renewed.expect("a lapsed lease that nobody took is renewed");

    let second = acquired(acquire(catalog, &name, "second", first.expires).await);
    assert_eq!(renew(catalog, &first, first.expires).await, None);
    let held = acquire(catalog, &name, "third", first.expires).await;
    assert_eq!(held, LeaseOutcome::Held(second.clone()), "still as it was");

    let third = acquired(acquire(catalog, &name, "first", second.expires).await);
    let stale = renew(catalog, &first, second.expires).await;
    assert_eq!(stale, None, "an old token of the present owner");
    release(catalog, &third).await;
    let released = renew(catalog, &third, second.expires).await;
    assert_eq!(released, None, "a lease that was given back");
}

async fn a_late_release_does_not_take_the_lease_from_its_new_owner(catalog: &dyn Catalog) {
    let name = unique("late");
    let first = acquired(acquire(catalog, &name, "first", START).await);
    let second = acquired(acquire(catalog, &name, "second", first.expires).await);
    release(catalog, &first).await;
    let held = acquire(catalog, &name, "third", first.expires).await;
    assert_eq!(held, LeaseOutcome::Held(second));
}

async fn one_contender_acquires_a_lease(catalog: &Arc<dyn Catalog>) {
    let name = unique("contended");
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let (catalog, name) = (Arc::clone(catalog), name.clone());
            tokio::spawn(
                async move { acquire(&*catalog, &name, &format!("owner {n}"), START).await },
            )
        })
        .collect();
    let (mut winners, mut held) = (Vec::new(), Vec::new());
    for task in tasks {
        match join(task).await {
            LeaseOutcome::Acquired(lease) => winners.push(lease),
            LeaseOutcome::Held(lease) => held.push(lease),
        }
    }
    assert_eq!(winners.len(), 1, "one of the contenders must win");
    assert!(held.iter().all(|lease| *lease == winners[0]));
}

fn unique(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::now_v7())
}

#[track_caller]
fn acquired(outcome: LeaseOutcome) -> Lease {
    match outcome {
        LeaseOutcome::Acquired(lease) => lease,
        LeaseOutcome::Held(lease) => panic!("the lease is held: {lease:?}"),
    }
}

async fn ensure(
    catalog: &dyn Catalog,
    fingerprint: &str,
    parameters: &serde_json::Value,
    now: Timestamp,
) -> GenerationRecord {
    catalog
        .ensure_generation(fingerprint, parameters, now)
        .await
        .expect("ensure_generation")
}

async fn setting(catalog: &dyn Catalog, name: &str) -> Option<String> {
    catalog.setting(name).await.expect("setting")
}

async fn set(catalog: &dyn Catalog, name: &str, expected: Option<&str>, new: Option<&str>) -> bool {
    catalog
        .compare_and_set_setting(name, expected, new)
        .await
        .expect("compare_and_set_setting")
}

async fn acquire(catalog: &dyn Catalog, name: &str, owner: &str, now: Timestamp) -> LeaseOutcome {
    catalog
        .acquire_lease(name, owner, LENGTH, now)
        .await
        .expect("acquire_lease")
}

async fn renew(catalog: &dyn Catalog, lease: &Lease, now: Timestamp) -> Option<Lease> {
    catalog
        .renew_lease(lease, LENGTH, now)
        .await
        .expect("renew_lease")
}

async fn release(catalog: &dyn Catalog, lease: &Lease) {
    catalog.release_lease(lease).await.expect("release_lease");
}
