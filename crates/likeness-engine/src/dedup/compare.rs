//! Comparing two pictures: their wholes, and the views of each with the whole of the other.
//!
//! A pair scores what its best comparison scores. Views are not compared with views: two pages that show the
//! same small thing are not copies. What is compared brings its own PDQ hash and flatness, so a photograph on
//! a page of paper is judged by the photograph, not by the paper.
//!
//! Strangers reach other cosines with views than with wholes (`docs/adr/012-regions.md`), and a picture with
//! views has more chances to look like a stranger. So a cosine counts less by a margin that depends on the
//! kind of the view.

use likeness_core::StoreResult;
use likeness_index::{bf16, cosine};
use likeness_vision::regions::{Rect, RegionLimits};
use likeness_vision::views::{ViewKind, ViewsConfig};
use serde::{Deserialize, Serialize};

use super::records::{NumberRecord, Signature, ViewRecord};
use super::scorer::{Marks, PairFeatures, Scorer};
use super::view::{MatchedPicture, MatchedView, ViewContent};

/// What the cosine of a region counts less. Strangers reach .471 by regions and .486 by wholes (ADR 012): the
/// margin is for a page being as many chances as it has regions. Part of a generation's parameters.
pub(super) const REGION_MARGIN: f32 = 0.02;
/// What the cosine of an inverted picture counts less: strangers reach .502, .016 more than by wholes
/// (ADR 012). Part of a generation's parameters.
pub(super) const INVERTED_MARGIN: f32 = 0.02;
/// What the cosine of a crop counts less: strangers reach .685, .199 more than by wholes (ADR 012). Part of a
/// generation's parameters.
pub(super) const CROP_MARGIN: f32 = 0.2;

/// Which views of pictures are made and compared. Part of a generation's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ViewsMode {
    /// None: wholes only.
    #[default]
    #[serde(rename = "off")]
    Off,
    /// Regions that may be pictures of their own.
    #[serde(rename = "regions")]
    Regions,
    /// Regions, and negatives as they were before they were inverted.
    #[serde(rename = "regions+inverted")]
    RegionsAndInverted,
}

impl ViewsMode {
    /// Returns which views are made.
    pub fn config(self) -> ViewsConfig {
        let defaults = ViewsConfig::default();
        ViewsConfig {
            regions: match self {
                Self::Off => RegionLimits {
                    max_regions: 0,
                    ..defaults.regions
                },
                Self::Regions | Self::RegionsAndInverted => defaults.regions,
            },
            inverted: self == Self::RegionsAndInverted,
            ..defaults
        }
    }

    /// Whether views of this kind are compared. There may be others, of another generation.
    pub(super) fn takes(self, kind: ViewKind) -> bool {
        match kind {
            ViewKind::Region(_) => self != Self::Off,
            ViewKind::Inverted => self == Self::RegionsAndInverted,
            ViewKind::Crop => false,
        }
    }
}

/// What a picture is compared by.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptors {
    /// Embedding of the whole, rounded to bf16.
    pub vector: Vec<f32>,
    /// What else is known of the whole.
    pub marks: Marks,
    /// The views.
    pub views: Vec<ViewDescriptor>,
}

/// What a view is compared by.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewDescriptor {
    /// What it shows.
    pub kind: ViewKind,
    /// Which part, in upright pixels of the picture at full size.
    pub rect: Rect,
    /// As [`Descriptors::vector`].
    pub vector: Vec<f32>,
    /// As [`Descriptors::marks`].
    pub marks: Marks,
}

impl Signature {
    /// Returns what the picture is compared by.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](likeness_core::StoreError::Corrupt) if an embedding is none.
    pub fn descriptors(&self, mode: ViewsMode) -> StoreResult<Descriptors> {
        Ok(Descriptors {
            vector: self.query()?,
            marks: self.marks(),
            views: views(&self.views, mode)?,
        })
    }
}

impl NumberRecord {
    /// As [`Signature::descriptors`].
    pub(super) fn descriptors(&self, mode: ViewsMode) -> StoreResult<Descriptors> {
        Ok(Descriptors {
            vector: self.vector()?,
            marks: self.marks(),
            views: views(&self.views, mode)?,
        })
    }
}

fn views(records: &[ViewRecord], mode: ViewsMode) -> StoreResult<Vec<ViewDescriptor>> {
    records
        .iter()
        .filter(|record| mode.takes(record.kind))
        .map(|record| {
            Ok(ViewDescriptor {
                kind: record.kind,
                rect: record.rect,
                vector: bf16::decode(&record.bf16()?),
                marks: record.marks(),
            })
        })
        .collect()
}

/// What comparing two pictures gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Cosine of what was compared.
    pub cosine: f32,
    /// What was scored: with the cosine less the view's margin.
    pub features: PairFeatures,
    /// The score, 0 to 1.
    pub score: f32,
    /// The view that was compared, if it was not wholes.
    pub view: Option<MatchedView>,
}

/// Compares two pictures in every way, and returns the best. A function of the two alone: the score does not
/// depend on which comes first. The wholes are preferred, then the first picture's views, in their order.
pub fn compare(scorer: &Scorer, image: &Descriptors, other: &Descriptors) -> Comparison {
    let mut best: Option<Comparison> = None;
    let similarity = |vector: &[f32]| scorer.background(vector);
    let background = Background {
        similarity: &similarity,
        least_cosine: scorer.least_cosine(),
    };
    each_comparison(image, other, &background, &mut |comparison| {
        let score = scorer.score(&comparison.features);
        if best.as_ref().is_none_or(|best| score > best.score) {
            best = Some(Comparison {
                score,
                ..comparison
            });
        }
    });
    best.expect("the wholes are compared in any case")
}

/// What the similarity of embeddings to the background set is, see [`Scorer::background`].
pub(super) struct Background<'a> {
    pub(super) similarity: &'a (dyn Fn(&[f32]) -> f32 + Sync),
    /// Most pairs are below it, and score 0 without more.
    pub(super) least_cosine: f32,
}

impl Background<'_> {
    /// Returns what is scored of two embeddings of this cosine.
    fn features(
        &self,
        cosine: f32,
        one: (&[f32], &Marks),
        other: (&[f32], &Marks),
    ) -> PairFeatures {
        if cosine < self.least_cosine {
            return PairFeatures::upright(cosine, one.1, other.1);
        }
        PairFeatures {
            background: f32::midpoint((self.similarity)(one.0), (self.similarity)(other.0)),
            ..PairFeatures::of(cosine, one.1, other.1)
        }
    }
}

/// Compares two pictures in every way, in the order of preference; scores are to come.
pub(super) fn each_comparison(
    image: &Descriptors,
    other: &Descriptors,
    background: &Background<'_>,
    take: &mut dyn FnMut(Comparison),
) {
    let wholes = cosine(&image.vector, &other.vector);
    take(Comparison {
        cosine: wholes,
        score: 0.0,
        features: background.features(
            wholes,
            (&image.vector, &image.marks),
            (&other.vector, &other.marks),
        ),
        view: None,
    });
    for (of, viewed, whole) in [
        (MatchedPicture::Image, image, other),
        (MatchedPicture::Candidate, other, image),
    ] {
        for view in &viewed.views {
            let cosine = cosine(&view.vector, &whole.vector);
            let counted = cosine - margin(view.kind);
            take(Comparison {
                cosine,
                score: 0.0,
                features: PairFeatures {
                    is_view: true,
                    ..background.features(
                        counted,
                        (&view.vector, &view.marks),
                        (&whole.vector, &whole.marks),
                    )
                },
                view: Some(matched(of, view)),
            });
        }
    }
}

fn margin(kind: ViewKind) -> f32 {
    match kind {
        ViewKind::Region(_) => REGION_MARGIN,
        ViewKind::Inverted => INVERTED_MARGIN,
        ViewKind::Crop => CROP_MARGIN,
    }
}

fn matched(of: MatchedPicture, view: &ViewDescriptor) -> MatchedView {
    let Rect {
        x,
        y,
        width,
        height,
    } = view.rect;
    MatchedView {
        of,
        content: match view.kind {
            ViewKind::Region(_) => ViewContent::Region,
            ViewKind::Inverted => ViewContent::Inverted,
            ViewKind::Crop => ViewContent::Crop,
        },
        x,
        y,
        width,
        height,
    }
}

#[cfg(test)]
mod tests {
    use likeness_vision::PdqHash;
    use likeness_vision::regions::RegionKind;

    use super::*;

    #[test]
    fn a_cosine_is_that_of_the_textbook_for_any_length() {
        for dim in [1, 7, 8, 24, 513] {
            let wave = |seed: f32| -> Vec<f32> {
                (0..dim).map(|i| (seed * (i + 1) as f32).sin()).collect()
            };
            let (a, b) = (wave(0.7), wave(1.3));
            let dot = |x: &[f32], y: &[f32]| -> f64 {
                x.iter()
                    .zip(y)
                    .map(|(&x, &y)| f64::from(x) * f64::from(y))
                    .sum()
            };
            let expected = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
            let got = f64::from(cosine(&a, &b));
            assert!((got - expected).abs() < 1e-6, "{dim}: {got} and {expected}");
        }
    }

    fn marks(flatness: u8) -> Marks {
        Marks {
            pdq: PdqHash([0; 32]),
            pdq_quality: 0,
            flatness,
            aspect: None,
        }
    }

    fn whole(vector: [f32; 3], flatness: u8) -> Descriptors {
        Descriptors {
            vector: vector.to_vec(),
            marks: marks(flatness),
            views: Vec::new(),
        }
    }

    fn with_view(mut picture: Descriptors, kind: ViewKind, vector: [f32; 3]) -> Descriptors {
        picture.views.push(ViewDescriptor {
            kind,
            rect: Rect {
                x: 1,
                y: 2,
                width: 3,
                height: 4,
            },
            vector: vector.to_vec(),
            marks: marks(0),
        });
        picture
    }

    #[test]
    fn a_picture_on_a_page_is_judged_by_the_picture_whichever_comes_first() {
        let scorer = Scorer::builtin();
        let photo = whole([1.0, 0.0, 0.0], 0);
        let page = with_view(
            whole([0.0, 1.0, 0.0], 100),
            ViewKind::Region(RegionKind::Picture),
            [0.99, 0.1, 0.0],
        );
        let found = compare(&scorer, &page, &photo);
        assert!(found.score >= scorer.threshold(), "{found:?}");
        assert_eq!(found.features.flat_min, 0);
        let view = found.view.expect("the region was compared");
        assert_eq!(view.of, MatchedPicture::Image);
        assert_eq!((view.x, view.y, view.width, view.height), (1, 2, 3, 4));

        let turned = compare(&scorer, &photo, &page);
        assert_eq!(turned.score.to_bits(), found.score.to_bits());
        let of = turned.view.map(|view| view.of);
        assert_eq!(of, Some(MatchedPicture::Candidate));
    }

    #[test]
    fn views_need_more_than_wholes_and_are_not_compared_with_views() {
        let scorer = Scorer::builtin();
        let (photo, other) = (whole([1.0, 0.0, 0.0], 0), [0.6, 0.8, 0.0]);
        let wholes = compare(&scorer, &photo, &whole(other, 0));
        assert_eq!(wholes.view, None);
        let kinds = [
            ViewKind::Region(RegionKind::Panel),
            ViewKind::Inverted,
            ViewKind::Crop,
        ];
        for kind in kinds {
            let viewed = with_view(whole([0.0, 0.0, 1.0], 0), kind, other);
            let found = compare(&scorer, &photo, &viewed);
            assert_eq!(found.cosine, wholes.cosine);
            assert!(found.score < wholes.score, "{kind:?}");

            let both = with_view(whole([0.0, 1.0, 0.0], 0), kind, other);
            let found = compare(&scorer, &viewed, &both);
            assert!(found.cosine < 0.9, "{kind:?}: {found:?}");
        }
    }

    #[test]
    fn modes_say_what_is_made_and_what_is_compared() {
        let region = ViewKind::Region(RegionKind::Figure);
        for (mode, max_views, takes) in [
            (ViewsMode::Off, 0, [false, false]),
            (ViewsMode::Regions, 4, [true, false]),
            (ViewsMode::RegionsAndInverted, 5, [true, true]),
        ] {
            assert_eq!(mode.config().max_views(), max_views);
            assert_eq!(
                [region, ViewKind::Inverted].map(|kind| mode.takes(kind)),
                takes
            );
        }
    }
}
