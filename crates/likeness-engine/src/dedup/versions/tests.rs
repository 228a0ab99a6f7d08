use super::compare::sample;
use super::*;

#[test]
fn a_sample_has_no_number_twice_and_is_the_same_again() {
    for (images, count) in [(0, 5), (3, 5), (5, 5), (1_000, 40)] {
        let drawn = sample(images, count, 7);
        assert_eq!(drawn.len() as u64, images.min(count as u64));
        assert!(drawn.is_sorted_by(|a, b| a < b));
        assert!(drawn.iter().all(|number| number.0 < images));
        assert_eq!(drawn, sample(images, count, 7));
    }
    assert_ne!(sample(1_000, 40, 7), sample(1_000, 40, 8));
}

#[test]
fn names_of_versions_stay_in_their_folder() {
    assert_eq!(path_of("pairs/4").unwrap().as_str(), "scorers/pairs/4.json");
    for bad in ["", "pairs", "a/b/c", "../x", "pairs/", "/4", "a b/1"] {
        assert!(path_of(bad).is_err(), "{bad:?}");
    }
}
