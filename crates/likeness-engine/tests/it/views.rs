//! Pictures on pages, in collages, and inverted ones, through the whole pipeline.

use bytes::Bytes;
use likeness_engine::dedup::compare::ViewsMode;
use likeness_engine::dedup::view::{DecisionKind, MatchedPicture, ViewContent};
use likeness_engine::dedup::{Dedup, DedupConfig};
use likeness_vision::pixels::RgbImage;

use crate::support::{decide, id, memory_ports, start_with};

/// Columns and rows of a [`photo`].
const WIDTH: u32 = 360;
const HEIGHT: u32 = 240;

fn config(views: ViewsMode) -> DedupConfig {
    DedupConfig {
        views,
        ..DedupConfig::default()
    }
}

/// Soft spots of colour with some grain; other seeds give unlike pictures.
fn photo(seed: u64) -> RgbImage {
    let mut state = seed;
    let mut between = |low: f32, high: f32| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let share = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40;
        low + (high - low) * share as f32 / (1 << 24) as f32
    };
    let ground: [f32; 3] = std::array::from_fn(|_| between(60.0, 160.0));
    let spots: [_; 24] = std::array::from_fn(|_| {
        let colour: [f32; 3] = std::array::from_fn(|_| between(-90.0, 90.0));
        let centre = [between(0.0, 1.0), between(0.0, 1.0)];
        (centre, between(0.05, 0.3), colour)
    });
    let image = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let grain = between(-12.0, 12.0);
        let mut levels = ground.map(|level| level + grain);
        let at = [x as f32 / WIDTH as f32, y as f32 / HEIGHT as f32];
        for (centre, radius, colour) in &spots {
            let (across, down) = (at[0] - centre[0], at[1] - centre[1]);
            let near = (1.0 - (across * across + down * down) / (radius * radius)).max(0.0);
            for (level, colour) in levels.iter_mut().zip(colour) {
                *level += near * colour;
            }
        }
        // Darker than paper everywhere.
        levels.map(|level| level.clamp(0.0, 210.0) as u8)
    });
    image.expect("no side is zero")
}

/// White paper with photos at given places.
fn page(width: u32, height: u32, photos: &[(u32, u32, u64)]) -> RgbImage {
    let photos: Vec<_> = photos
        .iter()
        .map(|&(left, top, seed)| (left, top, photo(seed)))
        .collect();
    let image = RgbImage::from_fn(width, height, |x, y| {
        let shown = photos.iter().find_map(|(left, top, photo)| {
            let (x, y) = (x.checked_sub(*left)?, y.checked_sub(*top)?);
            photo.pixel(x, y)
        });
        shown.unwrap_or([255; 3])
    });
    image.expect("no side is zero")
}

fn inverted(image: &RgbImage) -> RgbImage {
    let pixel = |x, y| {
        let pixel = image.pixel(x, y).expect("within the picture");
        pixel.map(|level| 255 - level)
    };
    RgbImage::from_fn(image.width(), image.height(), pixel).expect("no side is zero")
}

fn jpeg(image: &RgbImage) -> Bytes {
    image.encode_jpeg(90).into()
}

/// Returns what the best candidate of an image was compared by.
async fn matched(dedup: &Dedup, name: &str) -> Option<(MatchedPicture, ViewContent)> {
    let explain = dedup.explain(&id(name)).await.expect("it was decided");
    let best = explain.candidates.first()?;
    best.view.map(|view| (view.of, view.content))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_on_a_page_joins_the_picture_and_a_picture_the_page_it_is_on() {
    let dedup = start_with(&memory_ports(), config(ViewsMode::Regions)).await;
    decide(&dedup, "photo", jpeg(&photo(1))).await;
    let on_page = decide(&dedup, "page", jpeg(&page(480, 340, &[(60, 50, 1)]))).await;
    let explain = dedup.explain(&id("page")).await.expect("it was decided");
    assert_eq!(
        on_page.canonical_id.as_deref(),
        Some("photo"),
        "{explain:?}"
    );
    assert_eq!(
        matched(&dedup, "page").await,
        Some((MatchedPicture::Image, ViewContent::Region))
    );
    let view = explain.candidates[0].view.expect("a region");
    for (found, expected) in [
        (view.x, 60),
        (view.y, 50),
        (view.width, WIDTH),
        (view.height, HEIGHT),
    ] {
        assert!(found.abs_diff(expected) <= 12, "{view:?}");
    }

    let first_page = decide(&dedup, "first page", jpeg(&page(480, 340, &[(70, 40, 2)]))).await;
    assert_eq!(first_page.kind, DecisionKind::NewCluster);
    let shown = decide(&dedup, "shown", jpeg(&photo(2))).await;
    assert_eq!(shown.canonical_id.as_deref(), Some("first page"));
    assert_eq!(
        matched(&dedup, "shown").await,
        Some((MatchedPicture::Candidate, ViewContent::Region))
    );
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inverted_pictures_meet_whichever_comes_first() {
    let dedup = start_with(&memory_ports(), config(ViewsMode::RegionsAndInverted)).await;
    for seed in 1..=6 {
        let (first, second) = match seed % 2 {
            0 => (photo(seed), inverted(&photo(seed))),
            _ => (inverted(&photo(seed)), photo(seed)),
        };
        let name = format!("first-{seed}");
        let founded = decide(&dedup, &name, jpeg(&first)).await;
        assert_eq!(founded.kind, DecisionKind::NewCluster, "{seed}");
        let second = decide(&dedup, &format!("second-{seed}"), jpeg(&second)).await;
        assert_eq!(second.canonical_id, Some(name), "{seed}");
    }
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collage_joins_one_of_its_pictures_before_and_after_a_restart() {
    let collage = jpeg(&page(
        1_000,
        800,
        &[(100, 80, 3), (540, 80, 4), (100, 480, 5)],
    ));
    let ports = memory_ports();
    let dedup = start_with(&ports, config(ViewsMode::Regions)).await;
    for seed in [3, 4] {
        let alone = decide(&dedup, &format!("photo-{seed}"), jpeg(&photo(seed))).await;
        assert_eq!(alone.kind, DecisionKind::NewCluster);
    }
    let joined = decide(&dedup, "collage", collage).await;
    let head = joined.canonical_id.expect("it is in a cluster");
    assert!(["photo-3", "photo-4"].contains(&head.as_str()), "{head}");
    let founded = decide(&dedup, "other", jpeg(&page(480, 340, &[(60, 50, 6)]))).await;
    assert_eq!(founded.kind, DecisionKind::NewCluster);
    dedup.shutdown().await;

    // Views of stored images are read again. The collage is no head, so its third picture finds it and does
    // not join; a picture of a page that is a head does.
    let dedup = start_with(&ports, config(ViewsMode::Regions)).await;
    let third = decide(&dedup, "photo-5", jpeg(&photo(5))).await;
    assert_eq!(third.kind, DecisionKind::NewCluster);
    let explain = dedup.explain(&id("photo-5")).await.expect("it was decided");
    assert_eq!(explain.candidates[0].id, "collage");
    assert!(explain.candidates[0].score >= explain.threshold);
    let shown = decide(&dedup, "photo-6", jpeg(&photo(6))).await;
    assert_eq!(shown.canonical_id.as_deref(), Some("other"));
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_views_wholes_alone_are_compared_whatever_was_stored() {
    let ports = memory_ports();
    let dedup = start_with(&ports, config(ViewsMode::Regions)).await;
    decide(&dedup, "page", jpeg(&page(480, 340, &[(60, 50, 1)]))).await;
    dedup.shutdown().await;

    let dedup = start_with(&ports, config(ViewsMode::Off)).await;
    let photo = decide(&dedup, "photo", jpeg(&photo(1))).await;
    assert_eq!(photo.kind, DecisionKind::NewCluster);
    assert_eq!(matched(&dedup, "photo").await, None);
    dedup.shutdown().await;
}
