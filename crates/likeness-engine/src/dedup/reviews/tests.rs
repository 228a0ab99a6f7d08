use likeness_adapters::MemoryStore;
use likeness_core::log::Record;
use proptest::prelude::*;

use super::forget::forget_image;
use super::*;
use crate::dedup::assign_stage::tests::{Fixture, MAX_OPEN, Random, block_on};
use crate::dedup::assign_stage::totals;
use crate::dedup::view::CandidateSource;

/// An image, and its rows in `review_pairs` and in `labels_by_image`.
type Led = (ImageId, Vec<Bytes>, Vec<Bytes>);

/// Queue and labels, as the rows say.
#[derive(Debug, PartialEq)]
pub(in crate::dedup) struct Reviews {
    /// In the order of the queue.
    pub(in crate::dedup) pairs: Vec<(ImageId, ImageId)>,
    records: Vec<ReviewRecord>,
    labels: Vec<LabelRecord>,
    /// Rows of each image that lead to a pair or a label.
    led: Vec<Led>,
}

async fn rows(store: &dyn StateStore, table: Table, partition: &[u8]) -> Vec<Bytes> {
    let scan = Scan::all(table, Bytes::copy_from_slice(partition), 10_000);
    let rows = store.scan(scan).await.expect("reads");
    rows.into_iter().map(|row| row.value).collect()
}

pub(in crate::dedup) async fn reviews(store: &dyn StateStore) -> Reviews {
    let records: Vec<ReviewRecord> = rows(store, REVIEWS, SHARD)
        .await
        .iter()
        .map(|row| decode("reviews", row).expect("a record"))
        .collect();
    let labels: Vec<LabelRecord> = rows(store, LABELS, SHARD)
        .await
        .iter()
        .map(|row| decode("labels", row).expect("a label"))
        .collect();
    let pairs: Vec<_> = records
        .iter()
        .map(|record| (record.head.clone(), record.image.clone()))
        .collect();
    let labelled = labels.iter().map(|label| (&label.a, &label.b));
    let mut images: Vec<ImageId> = pairs
        .iter()
        .map(|(a, b)| (a, b))
        .chain(labelled)
        .flat_map(|(a, b)| [a.clone(), b.clone()])
        .collect();
    images.sort();
    images.dedup();
    let mut led = Vec::new();
    for image in images {
        let open = rows(store, REVIEW_PAIRS, image.as_bytes()).await;
        let labelled = rows(store, LABELS_BY_IMAGE, image.as_bytes()).await;
        led.push((image, open, labelled));
    }
    Reviews {
        pairs,
        records,
        labels,
        led,
    }
}

impl Reviews {
    /// Leaves the labels alone.
    pub(in crate::dedup) fn forget_queue(&mut self) {
        self.pairs.clear();
        self.records.clear();
        for (_, open, _) in &mut self.led {
            open.clear();
        }
        self.led.retain(|(_, _, labels)| !labels.is_empty());
    }

    pub(in crate::dedup) fn check(&self, totals: &Totals) {
        assert_eq!(self.records.len() as u64, totals.open_reviews);
        assert_eq!(self.labels.len() as u64, totals.labels);
        let open: usize = self.led.iter().map(|(_, open, _)| open.len()).sum();
        let labelled: usize = self.led.iter().map(|(_, _, labels)| labels.len()).sum();
        assert_eq!(open, 2 * self.records.len());
        assert_eq!(labelled, 2 * self.labels.len());
        assert!(self.records.is_sorted_by_key(|record| record.uncertainty));
    }
}

fn record(number: u64, head: u64, score: f32) -> ReviewRecord {
    let id = |number: u64| ImageId::new(format!("i{number}")).expect("a good id");
    ReviewRecord {
        image: id(number),
        number: ImageNumber(number),
        head: id(head),
        candidate: ScoredCandidate {
            number: ImageNumber(head),
            // As they are read: candidates are stored by their numbers.
            id: ImageId::new("?").expect("a good id"),
            head: ImageId::new("?").expect("a good id"),
            head_number: None,
            cluster: None,
            uploaded: Timestamp(0),
            source: CandidateSource::Index,
            cosine: score,
            pdq_distance: 0,
            pdq_quality: 100,
            flat_percent: 0,
            exact_copy: false,
            score,
            view: None,
            first_score: None,
            look: None,
        },
        joined: score >= 0.5,
        threshold: 0.5,
        scorer: "test/1".to_owned(),
        uncertainty: distance(score, 0.5),
        uploaded: Timestamp(number),
    }
}

#[test]
fn the_default_grey_zone_is_a_tenth_to_ten_times_the_odds_of_the_threshold() {
    let grey = GreyZone::of(&ReviewConfig::default(), 0.5);
    assert_eq!(grey.uncertainty(0.5), Some(0));
    assert!(grey.uncertainty(0.092).is_some() && grey.uncertainty(0.09).is_none());
    assert!(grey.uncertainty(0.908).is_some() && grey.uncertainty(0.91).is_none());
    assert!(grey.uncertainty(0.6) < grey.uncertainty(0.7));
    // Odds of 99 to 1: from 9.9 to 1 up to 990 to 1.
    let grey = GreyZone::of(&ReviewConfig::default(), 0.99);
    assert!(grey.uncertainty(0.909).is_some() && grey.uncertainty(0.907).is_none());
    assert!(grey.uncertainty(0.9989).is_some() && grey.uncertainty(1.0).is_none());
    let off = ReviewConfig {
        max_open: 0,
        ..ReviewConfig::default()
    };
    assert_eq!(GreyZone::of(&off, 0.5).uncertainty(0.5), None);
}

#[test]
fn pairs_are_two_numbers_in_either_order() {
    let pair: Pair = "57-12".parse().unwrap();
    assert_eq!(pair.to_string(), "12-57");
    for bad in [
        "",
        "-",
        "1",
        "1-1",
        "a-b",
        "1-2-3",
        "+1-2",
        "1-",
        "99999999999999999999-1",
    ] {
        assert!(bad.parse::<Pair>().is_err(), "{bad:?}");
    }
}

/// Queues `records` in batches of up to `most`.
async fn queue(records: &[ReviewRecord], most: u64, max_open: u64) -> (Totals, Reviews) {
    let store = MemoryStore::default();
    let mut totals = Totals::default();
    let mut random = Random(most);
    let mut left = records;
    while !left.is_empty() {
        let count = (1 + random.below(most) as usize).min(left.len());
        let new = left[..count].to_vec();
        let writes = enqueue(&store, &mut totals, new, max_open).await.unwrap();
        store.write(writes).await.unwrap();
        left = &left[count..];
    }
    (totals, reviews(&store).await)
}

proptest! {
    #[test]
    fn the_most_uncertain_stay_however_images_were_batched(
        scores in proptest::collection::vec(0u8..20, 1..60),
        most in 1u64..20,
        max_open in 1u64..30,
    ) {
        let records: Vec<_> = scores
            .iter()
            .zip(100..)
            .map(|(&score, number)| record(number, number % 7, 0.3 + f32::from(score) / 50.0))
            .collect();
        block_on(async {
            let (one_totals, one) = queue(&records, 1, max_open).await;
            let (totals, batched) = queue(&records, most, max_open).await;
            prop_assert_eq!(&one, &batched);
            prop_assert_eq!(one_totals, totals);
            one.check(&totals);
            let mut expected = records.clone();
            expected.sort_by_key(|record| (record.uncertainty, std::cmp::Reverse(record.number)));
            expected.truncate(usize::try_from(max_open).expect("small"));
            prop_assert_eq!(&one.records, &expected);
            let dropped = records.len() - expected.len();
            prop_assert_eq!(totals.dropped_reviews, dropped as u64);
            Ok(())
        })?;
    }
}

#[test]
fn forgetting_an_image_leaves_no_pair_and_no_label_of_it() {
    block_on(async {
        let store = MemoryStore::default();
        let mut totals = Totals::default();
        let new = vec![record(9, 1, 0.5), record(8, 1, 0.6), record(7, 2, 0.6)];
        let mut writes = enqueue(&store, &mut totals, new, 10).await.unwrap();
        let label = LabelRecord {
            a: ImageId::new("i1").unwrap(),
            b: ImageId::new("i7").unwrap(),
            numbers: (ImageNumber(1), ImageNumber(7)),
            same: true,
            score: 0.9,
            correction: 0,
        };
        writes.extend(label.put());
        totals.labels = 1;
        store.write(writes).await.unwrap();
        let gone = ImageId::new("i1").unwrap();
        let writes = forget_image(&store, &mut totals, &gone).await.unwrap();
        store.write(writes).await.unwrap();
        let left = reviews(&store).await;
        left.check(&totals);
        assert_eq!(left.records, [record(7, 2, 0.6)]);
        assert!(left.labels.is_empty());
        for table in [REVIEW_PAIRS, LABELS_BY_IMAGE] {
            assert!(rows(&store, table, gone.as_bytes()).await.is_empty());
        }
    });
}

#[test]
fn what_is_decided_in_the_grey_zone_is_queued_and_no_more_than_may_be() {
    block_on(async {
        let mut fixture = Fixture::new(8).await;
        fixture.families = 12;
        for idx in 0..300 {
            let event: Record = fixture.event(11, idx).await;
            fixture.commit(&[event]).await.expect("commits");
        }
        let found = reviews(fixture.store.as_ref()).await;
        let totals = totals(fixture.store.as_ref()).await.unwrap();
        found.check(&totals);
        assert_eq!(totals.open_reviews, MAX_OPEN);
        assert!(totals.dropped_reviews > 0);
        for record in &found.records {
            assert_eq!(record.joined, record.candidate.score >= record.threshold);
            assert!(record.candidate.number < record.number);
        }
    });
}
