//! What becomes of a log: which clusters, by which terms and views, and always the same.

use super::*;

#[test]
fn the_log_of_these_tests_is_one_where_the_index_misses_copies() {
    block_on(async {
        let mut outcomes = Vec::new();
        let cells = IndexScheme::Cells;
        for (scheme, exact_below) in [(cells, 8), (FEW_PLANES, 8), (cells, u64::MAX)] {
            let mut fixture = Fixture::with(scheme, exact_below, ViewsMode::Off).await;
            fixture.run(1, &mut Random(1)).await;
            outcomes.push(fixture.outcome().await);
        }
        let [cells, planes, exact] = outcomes.try_into().expect("three of them");
        let heads = |outcome: &[(Decision, u32, Vec<_>)]| {
            let is_head = |(decision, ..): &&(Decision, u32, Vec<_>)| {
                decision.kind == DecisionKind::NewCluster
            };
            outcome.iter().filter(is_head).count()
        };
        let few = heads(&exact);
        for many in [heads(&cells), heads(&planes)] {
            assert!(few < 400 && many > few + 20, "{few} and {many} clusters");
        }
    });
}

#[test]
fn views_of_images_before_and_after_join_what_they_show() {
    block_on(async {
        let mut n_heads = Vec::new();
        for views in [
            ViewsMode::Off,
            ViewsMode::Regions,
            ViewsMode::RegionsAndInverted,
        ] {
            let mut fixture = Fixture::with(IndexScheme::Cells, u64::MAX, views).await;
            fixture.run(1, &mut Random(1)).await;
            let mut by_own = 0;
            let mut by_other = 0;
            let mut heads = 0;
            for idx in 0..N_IMAGES {
                let id = ImageId::new(format!("i{idx}")).expect("a good id");
                let row = fixture.store.get(&explain_key(&id)).await.expect("reads");
                let explain: ExplainRecord =
                    decode("explain", &row.expect("explained")).expect("a record");
                let best = explain.candidates.first();
                match best.filter(|best| best.score >= explain.threshold) {
                    None => heads += 1,
                    Some(best) => match best.view.map(|view| view.of) {
                        Some(MatchedPicture::Image) => by_own += 1,
                        Some(MatchedPicture::Candidate) => by_other += 1,
                        None => {}
                    },
                }
            }
            let is_on = views != ViewsMode::Off;
            assert_eq!((by_own > 10, by_other > 10), (is_on, is_on), "{views:?}");
            n_heads.push(heads);
        }
        assert!(
            n_heads.is_sorted_by(|more, fewer| more > fewer),
            "{n_heads:?}"
        );
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_same_log_gives_the_same_clusters_to_the_bit(
        seed in 0u64..1 << 20,
        accidents in proptest::collection::vec(any::<u64>(), 3),
        (scheme, exact_below, views) in prop_oneof![
            Just((IndexScheme::Cells, 8, ViewsMode::Off)),
            Just((FEW_PLANES, 8, ViewsMode::Off)),
            Just((IndexScheme::Cells, 8, ViewsMode::RegionsAndInverted)),
            Just((IndexScheme::Cells, 300, ViewsMode::RegionsAndInverted)),
        ],
    ) {
        block_on(async {
            let mut expected = None;
            for accident in accidents {
                let mut fixture = Fixture::with(scheme, exact_below, views).await;
                fixture.run(seed, &mut Random(accident)).await;
                let outcome = fixture.outcome().await;
                match &expected {
                    None => expected = Some(outcome),
                    Some(expected) => prop_assert_eq!(expected, &outcome),
                }
            }
            Ok(())
        })?;
    }
}
