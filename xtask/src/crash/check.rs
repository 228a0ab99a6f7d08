//! What must hold after all kills.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::corrections::{self, Corrected};
use super::erasures::{self, Erased};
use super::partners;
use super::stream::Decided;
use super::workload::Workload;
use crate::process::{Server, ServerOptions};
use crate::report::Checks;

const LIMIT: Duration = Duration::from_secs(60);

/// What was read earlier is still there, word for word, but for what is erased.
pub(crate) fn history(earlier: &[Decided], now: &[Decided], erased: &Erased, checks: &mut Checks) {
    let by_offset: HashMap<u64, &Decided> = now
        .iter()
        .map(|decided| (decided.offset, decided))
        .collect();
    for decided in earlier {
        if erased.contains_key(&decided.id) {
            continue;
        }
        let found = by_offset.get(&decided.offset);
        checks.that(
            found.is_some_and(|found| found.body == decided.body),
            || {
                format!(
                    "the decision at {} was {} and is {:?}",
                    decided.offset,
                    decided.body,
                    found.map(|found| &found.body)
                )
            },
        );
    }
}

/// What was taken back of what was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// Erased images: told no more.
    pub(crate) erased: &'a Erased,
    /// Images that were given up, since their embedding never came: rejected.
    pub(crate) dropped: &'a BTreeSet<String>,
}

/// Every acknowledged image is decided once, nothing else is, and the order is whole. What is erased is told no more.
pub(crate) fn decisions(
    workload: &Workload,
    acknowledged: &[bool],
    decisions: &[Decided],
    expected: &Expected<'_>,
    checks: &mut Checks,
) {
    let Expected { erased, dropped } = *expected;
    let mut times: HashMap<&str, usize> = HashMap::new();
    for decided in decisions {
        *times.entry(&decided.id).or_default() += 1;
        let index = workload.index(&decided.id);
        checks.that(index.is_some(), || {
            format!("`{}` was decided and never sent", decided.id)
        });
        let must_be_rejected =
            index.is_some_and(|index| workload.is_broken(index) || dropped.contains(&decided.id));
        checks.that((decided.kind == "rejected") == must_be_rejected, || {
            format!("`{}` is {}", decided.id, decided.kind)
        });
    }
    for (index, &is_acknowledged) in acknowledged.iter().enumerate() {
        let id = Workload::id(index);
        let count = times.get(id.as_str()).copied().unwrap_or(0);
        let expected = usize::from(!erased.contains_key(&id));
        checks.that(is_acknowledged && count == expected, || {
            format!("`{id}` (acknowledged: {is_acknowledged}) was decided {count} times")
        });
    }
    checks.that(
        decisions
            .windows(2)
            .all(|pair| pair[0].offset < pair[1].offset),
        || "offsets do not grow".to_owned(),
    );
    let told: Vec<u64> = decisions
        .iter()
        .filter_map(|decided| decided.number)
        .collect();
    checks.that(told.is_sorted(), || "numbers do not grow".to_owned());
    let mut numbers = told;
    numbers.extend(erased.values());
    numbers.sort_unstable();
    let first = numbers.first().copied().unwrap_or(0);
    let is_dense = numbers
        .iter()
        .enumerate()
        .all(|(place, &number)| number == first + place as u64);
    checks.that(is_dense, || {
        "internal numbers have gaps or repeats".to_owned()
    });
}

/// Images, files, clusters and counts agree. Returns the clusters.
///
/// # Errors
/// If the server does not answer.
pub(crate) fn store(
    server: &Server,
    workload: &Workload,
    decisions: &[Decided],
    checks: &mut Checks,
) -> anyhow::Result<Clusters> {
    let client = server.client(LIMIT);
    let mut expected = BTreeMap::<String, BTreeSet<String>>::new();
    for decided in decisions {
        let view = client.get_json(&format!("/v1/images/{}", decided.id))?;
        let status = if decided.kind == "rejected" {
            "rejected"
        } else {
            "decided"
        };
        checks.that(view["status"] == status, || {
            format!(
                "`{}` is {view}, the stream says {}",
                decided.id, decided.body
            )
        });
        if let Some(canonical) = view["decision"]["canonical_id"].as_str() {
            let members = expected.entry(canonical.to_owned()).or_default();
            members.insert(decided.id.clone());
        }
        let file = client.get(&format!("/v1/images/{}/file", decided.id))?;
        let index = workload.index(&decided.id).context("an unknown image")?;
        checks.that(
            file.status == 200 && file.body == workload.bytes(index),
            || format!("the file of `{}` is not what was sent", decided.id),
        );
    }
    let listed = listed_clusters(server)?;
    let members: BTreeMap<_, _> = listed
        .iter()
        .map(|(id, cluster)| (id.clone(), cluster.members.clone()))
        .collect();
    checks.that(members == expected, || {
        let missing = expected
            .iter()
            .find(|entry| members.get(entry.0) != Some(entry.1));
        let extra = members
            .iter()
            .find(|entry| expected.get(entry.0) != Some(entry.1));
        format!("clusters differ: images say {missing:?}, listed {extra:?}")
    });
    Ok(listed)
}

/// A cluster, as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// What is compared with, if a correction chose it.
    shown: Option<String>,
    members: BTreeSet<String>,
}

/// Canonical id → cluster.
pub(crate) type Clusters = BTreeMap<String, Cluster>;

/// Two servers that were told the same have the same clusters.
pub(crate) fn same_clusters(disturbed: &Clusters, undisturbed: &Clusters, checks: &mut Checks) {
    for (id, cluster) in disturbed {
        checks.that(undisturbed.get(id) == Some(cluster), || {
            format!(
                "cluster `{id}`: disturbed {cluster:?}, undisturbed {:?}",
                undisturbed.get(id)
            )
        });
    }
    checks.that(disturbed.len() == undisturbed.len(), || {
        format!(
            "{} clusters disturbed, {} undisturbed",
            disturbed.len(),
            undisturbed.len()
        )
    });
}

/// Pages through the list of clusters and through the members of each.
fn listed_clusters(server: &Server) -> anyhow::Result<Clusters> {
    let client = server.client(LIMIT);
    let mut clusters = Clusters::new();
    let mut path = "/v1/clusters?min_size=1&limit=50".to_owned();
    loop {
        let page = client.get_json(&path)?;
        for cluster in page["items"].as_array().context("a page without items")? {
            let head = cluster["head"].as_str().context("a cluster without head")?;
            let members = members(server, head)?;
            if cluster["size"].as_u64() != Some(members.len() as u64) {
                bail!(
                    "cluster `{head}` has {} members and says {}",
                    members.len(),
                    cluster["size"]
                );
            }
            let shown = cluster["shown"].as_str().map(str::to_owned);
            let cluster = Cluster { shown, members };
            if clusters.insert(head.to_owned(), cluster).is_some() {
                bail!("cluster `{head}` is listed twice");
            }
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/clusters?min_size=1&limit=50&cursor={next}"),
            None => return Ok(clusters),
        }
    }
}

fn members(server: &Server, head: &str) -> anyhow::Result<BTreeSet<String>> {
    let client = server.client(LIMIT);
    let mut members = BTreeSet::new();
    let mut path = format!("/v1/clusters/{head}?limit=3");
    loop {
        let page = client.get_json(&path)?;
        for member in page["members"]
            .as_array()
            .context("a page without members")?
        {
            let id = member["id"].as_str().context("a member without id")?;
            if !members.insert(id.to_owned()) {
                bail!("`{id}` is twice in cluster `{head}`");
            }
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/clusters/{head}?limit=3&cursor={next}"),
            None => return Ok(members),
        }
    }
}

/// Gives images and corrections, one at a time in the order in which they were dealt with, to a fresh
/// server that nobody disturbs, and compares. Returns its clusters.
///
/// # Errors
/// If that server fails.
pub(crate) fn replay(
    options: &ServerOptions,
    workload: &Workload,
    decisions: &[Decided],
    corrected: &[Corrected],
    erased: &Erased,
    checks: &mut Checks,
) -> anyhow::Result<Clusters> {
    let has_partners = !options.environment.is_empty();
    let server = Server::start(options)?;
    let client = server.client(LIMIT);
    let mut corrected = corrected.iter().peekable();
    // What was decided of an erased image is known to nobody, but it was there.
    let mut images: BTreeMap<u64, (&str, Option<&Decided>)> = erased
        .iter()
        .map(|(id, number)| (*number, (id.as_str(), None)))
        .collect();
    for decided in decisions {
        if let Some(number) = decided.number {
            images.insert(number, (&decided.id, Some(decided)));
        }
    }
    for (count, (id, decided)) in images.into_values().enumerate() {
        while let Some(one) = corrected.next_if(|one| one.images <= count as u64) {
            correct_again(&client, one, checks)?;
        }
        let index = workload.index(id).context("an unknown image")?;
        let bytes = workload.bytes(index);
        if has_partners {
            partners::push(&client, id)?;
        }
        let answer = client.upload(id, &format!("{id}.png"), &bytes, true)?;
        let decision = answer.json()?["decision"].clone();
        let Some(decided) = decided else { continue };
        checks.that(
            decision["canonical_id"] == decided.canonical_id && decision["kind"] == decided.kind,
            || {
                format!(
                    "`{}`: disturbed {}, undisturbed {} {decision}",
                    decided.id, decided.body, answer.status
                )
            },
        );
    }
    for one in corrected {
        correct_again(&client, one, checks)?;
    }
    let clusters = listed_clusters(&server)?;
    server.stop()?;
    Ok(clusters)
}

fn correct_again(
    client: &crate::http::Client,
    corrected: &Corrected,
    checks: &mut Checks,
) -> anyhow::Result<()> {
    if corrected.is_erasure() {
        let image = corrected.command["image"].as_str().unwrap_or_default();
        let view = erasures::repeat(client, image)?;
        checks.that(view["correction"] == corrected.sequence, || {
            format!("{corrected:?} disturbed, {view} undisturbed")
        });
        return Ok(());
    }
    let view = corrections::repeat(client, corrected)?;
    checks.that(
        view["sequence"] == corrected.sequence && view["outcome"] == corrected.outcome,
        || format!("{corrected:?} disturbed, {view} undisturbed"),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decided(offset: u64, index: usize, number: u64) -> Decided {
        let id = Workload::id(index);
        Decided {
            offset,
            kind: "new_cluster".to_owned(),
            canonical_id: id.clone(),
            number: Some(number),
            body: json!({"id": id, "number": number}),
            id,
        }
    }

    /// Runs [`decisions`] on three acknowledged images, none of them broken.
    #[track_caller]
    fn check_decisions(stream: &[Decided], is_fine: bool) {
        let workload = Workload::new(1, 40);
        let whole: Vec<usize> = (0..40).filter(|&i| !workload.is_broken(i)).collect();
        assert_eq!(whole[..3], [0, 1, 2], "the test names the first three");
        let mut checks = Checks::default();
        let expected = Expected {
            erased: &Erased::new(),
            dropped: &BTreeSet::new(),
        };
        decisions(&workload, &[true; 3], stream, &expected, &mut checks);
        assert_eq!(checks.failed() == 0, is_fine);
    }

    #[test]
    fn a_whole_stream_passes_and_every_breach_is_seen() {
        let whole = [decided(0, 0, 0), decided(2, 1, 1), decided(5, 2, 2)];
        check_decisions(&whole, true);
        // Lost.
        check_decisions(&whole[..2], false);
        // Doubled.
        let mut doubled = whole.to_vec();
        doubled.push(decided(6, 2, 3));
        check_decisions(&doubled, false);
        // A number left out.
        check_decisions(
            &[decided(0, 0, 0), decided(2, 1, 1), decided(5, 2, 3)],
            false,
        );
        // Out of order.
        check_decisions(
            &[decided(2, 0, 0), decided(0, 1, 1), decided(5, 2, 2)],
            false,
        );
        // Never sent.
        let mut stranger = whole.to_vec();
        stranger[1].id = "stranger".to_owned();
        check_decisions(&stranger, false);
    }

    #[test]
    fn a_decision_that_was_read_must_stay_as_it_was() {
        let earlier = [decided(0, 0, 0), decided(2, 1, 1)];
        let run = |now: &[Decided]| {
            let mut checks = Checks::default();
            history(&earlier, now, &Erased::new(), &mut checks);
            checks.failed()
        };
        assert_eq!(
            run(&[decided(0, 0, 0), decided(2, 1, 1), decided(3, 2, 2)]),
            0
        );
        assert_eq!(run(&[decided(0, 0, 0)]), 1);
        assert_eq!(run(&[decided(0, 0, 0), decided(2, 1, 7)]), 1);
    }

    #[test]
    fn clusters_of_two_servers_must_agree_in_members_and_heads() {
        let cluster = |shown: Option<&str>, members: &[&str]| Cluster {
            shown: shown.map(str::to_owned),
            members: members.iter().map(|&id| id.to_owned()).collect(),
        };
        let clusters = |cluster| Clusters::from([("a".to_owned(), cluster)]);
        let failed = |one: &Clusters, other: &Clusters| {
            let mut checks = Checks::default();
            same_clusters(one, other, &mut checks);
            checks.failed()
        };
        let whole = clusters(cluster(None, &["a", "b"]));
        assert_eq!(failed(&whole, &whole), 0);
        assert_eq!(failed(&whole, &clusters(cluster(None, &["a"]))), 1);
        assert_eq!(
            failed(&whole, &clusters(cluster(Some("b"), &["a", "b"]))),
            1
        );
        assert_eq!(failed(&Clusters::new(), &whole), 1);
    }
}
