use proptest::prelude::*;

use super::*;
use crate::bf16;
use crate::hyperplanes::{Hyperplanes, HyperplanesParams, HyperplanesSearch};

struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f32 {
        (split_mix_64(&mut self.0) >> 40) as f32 / (1u64 << 24) as f32
    }

    fn unit(&mut self, dim: usize) -> Vec<f32> {
        let vector = (0..dim)
            .map(|_| (0..4).map(|_| self.uniform()).sum::<f32>() - 2.0)
            .collect();
        crate::exact::normalise(vector).unwrap().0
    }

    /// A unit vector at this cosine to `first`.
    fn near(&mut self, first: &[f32], cosine: f32) -> Vec<f32> {
        let other = self.unit(first.len());
        let along: f32 = first.iter().zip(&other).map(|(a, b)| a * b).sum();
        let across: Vec<f32> = first
            .iter()
            .zip(&other)
            .map(|(a, b)| b - along * a)
            .collect();
        let (across, _) = crate::exact::normalise(across).unwrap();
        let sine = (1.0 - cosine * cosine).sqrt();
        first
            .iter()
            .zip(&across)
            .map(|(a, b)| cosine * a + sine * b)
            .collect()
    }
}

/// Share of pairs at this cosine that an index of `setting` finds; a standard error of less than half a point.
fn measure(setting: &Setting, dim: usize, cosine: f32, seed: u64) -> f64 {
    const N_PAIRS: u64 = 8_000;
    let mut random = Random(seed);
    let params = HyperplanesParams {
        seed,
        ..HyperplanesParams::new(dim, setting.terms, setting.bits)
    };
    let mut index = Hyperplanes::new(params);
    let mut queries = Vec::new();
    for number in 0..N_PAIRS {
        let vector = random.unit(dim);
        queries.push(random.near(&vector, cosine));
        index.insert(number, &bf16::encode(&vector)).unwrap();
    }
    let mut found = 0;
    for (number, query) in (0..).zip(&queries) {
        let answer = index
            .candidates(query, 2_000, setting.probes, None)
            .unwrap();
        found += usize::from(answer.iter().any(|candidate| candidate.number == number));
    }
    found as f64 / N_PAIRS as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn the_predicted_recall_is_within_two_points_of_the_measured_one(
        recall in 0.80f64..0.995,
        similarity in 0.6f64..0.95,
        log_images in 3.0f64..8.0,
        dim in prop_oneof![Just(128usize), Just(256)],
        seed: u64,
    ) {
        let images = 10f64.powf(log_images) as u64;
        let request = PlanRequest { similarity, ..PlanRequest::new(images, recall, dim) };
        match plan(&request) {
            Ok(Plan { chosen, .. }) => {
                prop_assert!(chosen.recall >= recall);
                // Where candidates are cut off, recall depends on how many there are: see below.
                if chosen.least_terms == 1 {
                    let measured = measure(&chosen, dim, similarity as f32, seed);
                    prop_assert!((measured - chosen.recall).abs() < 0.02, "{:?}: measured {}", chosen, measured);
                }
            }
            Err(error) => prop_assert!(matches!(error, PlanError::OutOfReach { .. }), "{}", error),
        }
    }
}

#[test]
fn the_cut_at_the_limit_costs_what_was_predicted() {
    // So few candidates are allowed that one matching term is not enough.
    const DIM: usize = 128;
    let request = PlanRequest {
        max_candidates: 60,
        ..PlanRequest::new(2_000, 0.9, DIM)
    };
    let (classes, _) = uniform_classes(DIM);
    let classes: Vec<Class> = classes
        .into_iter()
        .map(|class| Class {
            weight: class.weight / DEFAULT_EXCESS,
            ..class
        })
        .collect();
    let setting = Model::new(&request, &classes, 8).setting(24, 4);
    assert!(setting.least_terms > 1, "{setting:?}");
    let params = HyperplanesParams::new(DIM, 24, 8);
    let mut index = Hyperplanes::new(params);
    let mut random = Random(1);
    let mut queries = Vec::new();
    for number in 0..2_000 {
        let vector = random.unit(DIM);
        queries.push(random.near(&vector, 0.8));
        index.insert(number, &bf16::encode(&vector)).unwrap();
    }
    let mut found = 0;
    for (number, query) in (0..).zip(&queries) {
        let answer = index.candidates(query, 60, 4, None).unwrap();
        found += usize::from(answer.iter().any(|candidate| candidate.number == number));
    }
    let measured = f64::from(u32::try_from(found).unwrap()) / 2_000.0;
    assert!(
        (measured - setting.recall).abs() < 0.03,
        "{setting:?}: {measured}"
    );
}

#[test]
fn expected_counts_are_those_of_an_index() {
    const DIM: usize = 128;
    const N: u64 = 4_000;
    let mut random = Random(5);
    // Half of the vectors are in 40 groups: a sample tells what random pairs do not.
    let centres: Vec<Vec<f32>> = (0..40).map(|_| random.unit(DIM)).collect();
    let vectors: Vec<Vec<f32>> = (0..N as usize)
        .map(|idx| match idx % 2 {
            0 => random.unit(DIM),
            _ => random.near(&centres[idx / 2 % 40], 0.8),
        })
        .collect();
    let sample: Vec<f32> = vectors.iter().take(2_000).flatten().copied().collect();
    let request = PlanRequest {
        sample: Some(&sample),
        ..PlanRequest::new(N, 0.95, DIM)
    };
    let plan = plan(&request).unwrap();
    let setting = plan.chosen;
    let mut index = Hyperplanes::new(HyperplanesParams::new(DIM, setting.terms, setting.bits));
    for (number, vector) in (0..).zip(&vectors) {
        index.insert(number, &bf16::encode(vector)).unwrap();
    }
    let mut candidates = 0;
    for vector in vectors.iter().take(1_000) {
        // The query finds itself, which the model does not count.
        candidates += index
            .candidates(vector, usize::MAX, setting.probes, None)
            .unwrap()
            .len()
            - 1;
    }
    let measured = candidates as f64 / 1_000.0;
    assert!(
        (measured / setting.candidates - 1.0).abs() < 0.15,
        "{setting:?}: {measured}"
    );
    let Spread::Sample { rows, mean, .. } = plan.spread else {
        panic!("a sample was given");
    };
    assert_eq!(rows, 2_000);
    assert!(mean.abs() < 0.05);
    let search = HyperplanesSearch {
        probes: setting.probes,
        ..HyperplanesSearch::default()
    };
    assert_eq!(
        index.search(&vectors[9], 1, &search, None).unwrap()[0].number,
        9
    );
}

#[test]
fn bytes_are_those_of_an_index() {
    const DIM: usize = 64;
    for (n, bits) in [(100_000u64, 8), (100_000, 12), (50_000, 16), (50_000, 20)] {
        let mut index = Hyperplanes::new(HyperplanesParams::new(DIM, 4, bits));
        let mut random = Random(9);
        for number in 0..n {
            index
                .insert(number, &bf16::encode(&random.unit(DIM)))
                .unwrap();
        }
        let measured = index.stats().list_bytes as f64 / n as f64;
        let expected = 4.0 * list_bytes(n as f64, bits);
        assert!(
            (measured / expected - 1.0).abs() < 0.25,
            "{bits}: {measured} {expected}"
        );
    }
}

#[test]
fn more_recall_costs_more() {
    let price_at = |recall| {
        price(
            &plan(&PlanRequest::new(1_000_000, recall, 512))
                .unwrap()
                .chosen,
        )
    };
    let prices: Vec<f64> = [0.8, 0.9, 0.95, 0.99].into_iter().map(price_at).collect();
    assert!(
        prices.windows(2).all(|pair| pair[0] < pair[1]),
        "{prices:?}"
    );
}

#[test]
fn alternatives_reach_the_recall_and_are_not_cheaper() {
    let plan = plan(&PlanRequest::new(1_000_000, 0.95, 512)).unwrap();
    assert!(plan.chosen.recall >= 0.95);
    assert!(!plan.alternatives.is_empty());
    for other in &plan.alternatives {
        assert!(other.recall >= 0.95);
        assert!(other.probes != plan.chosen.probes);
        assert!(price(other) >= price(&plan.chosen));
    }
}

#[test]
fn the_same_request_gives_the_same_plan() {
    let request = PlanRequest::new(10_000_000, 0.9, 256);
    assert_eq!(plan(&request), plan(&request));
}

#[test]
fn wishes_that_make_no_sense_are_refused() {
    let good = PlanRequest::new(1_000, 0.9, 64);
    let field = |request: PlanRequest<'_>| match plan(&request) {
        Err(PlanError::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(PlanRequest { images: 0, ..good }), "images");
    assert_eq!(
        field(PlanRequest {
            recall: 1.0,
            ..good
        }),
        "recall"
    );
    assert_eq!(
        field(PlanRequest {
            recall: f64::NAN,
            ..good
        }),
        "recall"
    );
    assert_eq!(
        field(PlanRequest {
            similarity: 0.0,
            ..good
        }),
        "similarity"
    );
    assert_eq!(
        field(PlanRequest {
            sample: Some(&[1.0; 100]),
            ..good
        }),
        "sample"
    );
    assert_eq!(
        plan(&PlanRequest {
            sample: Some(&[0.0; 128]),
            ..good
        }),
        Err(PlanError::Sample(IndexError::NoDirection))
    );
    let hopeless = PlanRequest {
        similarity: 0.1,
        ..PlanRequest::new(1_000_000, 0.999, 512)
    };
    assert!(matches!(plan(&hopeless), Err(PlanError::OutOfReach { .. })));
    let too_many = PlanRequest::new(100_000_000_000, 0.9, 512);
    assert_eq!(plan(&too_many), Err(PlanError::TooMany { max_list: 4_096 }));
}
