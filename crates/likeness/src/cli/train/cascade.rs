//! Fits a scorer of two stages: makes and signs all pictures, pairs them, fits the first stage, looks closely at
//! the pairs that it is in doubt about, fits the second.

mod made;

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use likeness_engine::dedup::Signer;
use likeness_engine::dedup::compare::{Comparison, ViewsMode};
use likeness_engine::dedup::scorer::{
    CascadeOptions, Grey, N_KINDS, PairFeatures, Sample, SampleKind, Scorer, finish, fit_first,
    fit_second,
};
use likeness_engine::dedup::view::MatchedPicture;
use likeness_index::inner_product;
use likeness_vision::DecodeLimits;
use likeness_vision::edits::Edit;
use likeness_vision::runtime::queue::ModelPool;

use self::made::{copies, drawn_pairs, judged_pairs, strangers};
use super::drawn::Drawn;
use super::labels::Labels;
use super::pairs::{Gallery, Original, Picture, mix};
use super::report::{Trained, describe};
use super::{PictureKind, ScorerArgs, Sources, soft, variants};
use crate::cli::Context;
use crate::corpus::{self, Signed};
use crate::error::Refusal;
use crate::files;
use crate::output::{count, moment, note};
use crate::progress::Progress;

/// Most strangers that are looked at closely; beyond it a part is drawn, and each counts for more.
const MAX_LOOKS: u64 = 12_000;
/// Scores of the first stage between which a look is worth its time.
///
/// Chosen on held-out pairs (docs/adr/016): one pair of strangers in 60,000 is in doubt, so that of a million images
/// a few are in doubt with a new one. A lower bound finds more small crops among few images; among many, the looks
/// would go to strangers. No drawn stranger is above.
const GREY: Grey = Grey {
    low: 0.15,
    high: 0.98,
};
/// Share of the groups that are held out: of few pictures, more are for learning.
const HELD_OUT: f64 = 0.3;
/// Share of strangers with a soft picture among them that may reach the threshold. Blots of a few colours are alike:
/// their copies tell how few that is, not the rate of photos.
const SOFT_FPR: f64 = 1e-5;
/// Share of drawn strangers that may reach the threshold.
const DRAWN_FPR: f64 = 1e-3;
/// Share of pairs that people have judged different that may reach the threshold.
const JUDGED_FPR: f64 = 1e-2;

/// A sample with the numbers of its pictures, for a look.
struct Pair {
    sample: Sample,
    pictures: (usize, usize),
}

pub(super) async fn run(
    args: Arc<ScorerArgs>,
    sources: Sources,
    models: &Arc<ModelPool>,
    limits: &DecodeLimits,
    context: &Context,
) -> anyhow::Result<()> {
    let signer = corpus::signer(models, limits, ViewsMode::RegionsAndInverted);
    let labels = match &args.labels {
        Some(file) => Labels::read(file)?,
        None => Labels::default(),
    };
    let gallery = sign_gallery(&args, &sources, &signer).await?;
    let drawn = Drawn::all(args.drawn, args.seed);
    let seed = args.seed;
    let signed_drawn = sign_bytes(&drawn, "drawn pictures", &signer, limits, move |drawn| {
        Ok(drawn.bytes(seed))
    })
    .await?;
    let max_bytes = limits.max_bytes;
    let signed_labels = sign_bytes(&labels.files, "judged pictures", &signer, limits, {
        move |path| {
            files::read_image(path, max_bytes)
                .map_err(|error| Refusal::Input.because(format!("`{}`: {error}", path.display())))
        }
    })
    .await?;
    let data = sources.describe(&args, &models.spec().model);
    let trained = tokio::task::spawn_blocking(move || {
        let lab = Lab {
            gallery,
            drawn,
            signed_drawn,
            labels,
            signed_labels,
        };
        train(&args, data, &lab)
    })
    .await??;
    let (trained, min_recall) = trained;
    context.output.show(&trained, describe)?;
    let photos = trained.manifest.figures.iter();
    let recall = photos
        .filter(|figures| figures.kind == SampleKind::Photo.name())
        .map(|figures| figures.held_out.recall)
        .next();
    match (min_recall, recall) {
        (Some(wanted), Some(recall)) if recall < wanted => Err(Refusal::Input.because(format!(
            "{recall:.4} of the held-out copies of photos are found, {wanted} are wanted"
        ))),
        _ => Ok(()),
    }
}

async fn sign_gallery(
    args: &ScorerArgs,
    sources: &Sources,
    signer: &Signer,
) -> anyhow::Result<Gallery> {
    let mut gallery = Gallery {
        originals: Vec::new(),
        pictures: Vec::new(),
    };
    let lists = args.lists();
    for (kind, corpus) in sources.corpora() {
        let mut variants = variants(corpus, &lists);
        let every = match kind {
            PictureKind::Sticker => args.sticker_copies_every,
            PictureKind::Photo => 1,
        };
        let (mut place, mut of_photo) = (0_u64, None);
        variants.retain(|variant| {
            // Counted anew for each photo, and shifted by one from one photo that is copied to the next: all edits are learnt from.
            place = if of_photo == Some(variant.photo) {
                place + 1
            } else {
                0
            };
            of_photo = Some(variant.photo);
            let photo = variant.photo as u64;
            // A soft collage shows copies of photos that are not of its family.
            let is_of_many = variant.edit == Some(Edit::Collage)
                && corpus.name(variant.photo).starts_with(soft::PREFIX);
            variant.edit.is_none()
                || !is_of_many
                    && photo.is_multiple_of(every)
                    && (place + photo / every).is_multiple_of(args.copies_every)
        });
        let signed = corpus::sign_all(corpus, &variants, args.seed, signer).await?;
        let first = gallery.originals.len();
        gallery
            .originals
            .extend((0..corpus.len()).map(|photo| Original {
                name: corpus.name(photo).to_owned(),
                kind,
                families: sources.families_of(corpus.name(photo)),
            }));
        let pictures = variants.iter().zip(signed);
        gallery.pictures.extend(pictures.map(|(variant, signed)| {
            Picture {
                original: first + variant.photo,
                edit: variant.edit_name(),
                shows: corpus
                    .shown_by(variant)
                    .map(|other| first + other)
                    .collect(),
                signed,
            }
        }));
    }
    Ok(gallery)
}

/// Makes and signs pictures; the answer is in their order.
async fn sign_bytes<T: Clone + Send + 'static>(
    items: &[T],
    what: &'static str,
    signer: &Signer,
    limits: &DecodeLimits,
    make: impl Fn(&T) -> anyhow::Result<Bytes> + Clone + Send + 'static,
) -> anyhow::Result<Vec<Signed>> {
    let progress = Progress::start(what, items.len() as u64);
    let at_once = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let signed = stream::iter(items.iter().cloned())
        .map(|item| {
            let make = make.clone();
            let progress = &progress;
            async move {
                let made = tokio::task::spawn_blocking(move || make(&item));
                let signed = corpus::sign(signer, made.await??, limits).await?;
                progress.advance(1);
                anyhow::Ok(signed)
            }
        })
        .buffered(at_once)
        .try_collect()
        .await?;
    progress.finish();
    Ok(signed)
}

/// All pictures. Their numbers run through the gallery, the drawn ones, and the judged ones.
struct Lab {
    gallery: Gallery,
    drawn: Vec<Drawn>,
    signed_drawn: Vec<Signed>,
    labels: Labels,
    signed_labels: Vec<Signed>,
}

impl Lab {
    fn signed(&self, number: usize) -> &Signed {
        let n_pictures = self.gallery.pictures.len();
        let n_drawn = self.signed_drawn.len();
        if number < n_pictures {
            &self.gallery.pictures[number].signed
        } else if number < n_pictures + n_drawn {
            &self.signed_drawn[number - n_pictures]
        } else {
            &self.signed_labels[number - n_pictures - n_drawn]
        }
    }

    /// Returns what is compared of two pictures by rows. The regression of earlier versions says which
    /// comparison is the best.
    fn features(
        &self,
        reference: &Reference,
        first: usize,
        second: usize,
    ) -> (PairFeatures, Comparison) {
        let (one, other) = (self.signed(first), self.signed(second));
        let compared = one.compare(other, &reference.scorer);
        let background = |picture: &Signed, of: MatchedPicture| {
            let view = compared.view.filter(|view| view.of == of);
            let view = view.and_then(|view| {
                picture.descriptors.views.iter().find(|own| {
                    (own.rect.x, own.rect.y, own.rect.width, own.rect.height)
                        == (view.x, view.y, view.width, view.height)
                })
            });
            let vector = view.map_or(&picture.descriptors.vector, |view| &view.vector);
            inner_product(vector, &reference.background)
        };
        let features = PairFeatures {
            background: f32::midpoint(
                background(one, MatchedPicture::Image),
                background(other, MatchedPicture::Candidate),
            ),
            is_view: compared.view.is_some(),
            look: None,
            ..compared.features
        };
        (features, compared)
    }

    /// Returns the mean embedding of originals that are not held out.
    fn background(&self, options: &CascadeOptions) -> Vec<f32> {
        let mut sum: Vec<f64> = Vec::new();
        let mut n_summed = 0_u32;
        for picture in &self.gallery.pictures {
            if picture.edit.is_some() || options.holds_out(self.gallery.group(picture.original)) {
                continue;
            }
            let vector = &picture.signed.descriptors.vector;
            sum.resize(vector.len(), 0.0);
            for (sum, value) in sum.iter_mut().zip(vector) {
                *sum += f64::from(*value);
            }
            n_summed += 1;
        }
        let mean = |sum: f64| (sum / f64::from(n_summed.max(1))) as f32;
        sum.into_iter().map(mean).collect()
    }
}

/// What pairs are compared with before there is a scorer.
struct Reference {
    scorer: Scorer,
    background: Vec<f32>,
}

fn train(args: &ScorerArgs, data: String, lab: &Lab) -> anyhow::Result<(Trained, Option<f64>)> {
    let mut options = CascadeOptions {
        name: args.name.clone(),
        version: args.revision,
        date: moment(likeness_core::Timestamp::now().0)[..10].to_owned(),
        data: format!(
            "{data}; {} drawn pictures; {} judged pairs",
            lab.drawn.len(),
            lab.labels.pairs.len()
        ),
        seed: args.seed,
        held_out: HELD_OUT,
        // Of the candidates of an upload, at most 2,000, one or two are copies.
        prior: 1e-3,
        min_cosine: args.min_cosine,
        grey: GREY,
        background: Vec::new(),
        fpr_targets: [args.fpr, args.sticker_fpr, SOFT_FPR, DRAWN_FPR, JUDGED_FPR],
        precision: args.precision,
        num_far: [0.0; N_KINDS],
    };
    options.background = lab.background(&options);
    let reference = Reference {
        scorer: Scorer::regression(),
        background: options.background.clone(),
    };
    let mut pairs = copies(lab, &reference);
    strangers(lab, &reference, &mut options, &mut pairs);
    drawn_pairs(lab, &reference, &mut pairs);
    judged_pairs(lab, &reference, &mut pairs);
    note(format_args!(
        "fitting on {} pairs",
        count(pairs.len() as u64)
    ));
    let samples =
        |pairs: &[Pair]| -> Vec<Sample> { pairs.iter().map(|pair| pair.sample).collect() };
    // Most pairs of drawn pictures are in doubt, and a look tells: the first stage is not to rule them out with
    // all that is flat.
    let mut for_first = samples(&pairs);
    for sample in &mut for_first {
        if sample.kind == SampleKind::Drawn {
            sample.weight = 1.0;
        }
    }
    let first = fit_first(&for_first, &options)?;
    let one_stage = finish(first.clone(), None, &samples(&pairs), &options)?;
    let n_looks = look(lab, &reference, &one_stage, &mut pairs, args.seed);
    let second = fit_second(&samples(&pairs), &options)?;
    let scorer = finish(first, second, &samples(&pairs), &options)?;
    std::fs::write(&args.out, scorer.to_json())
        .with_context(|| format!("cannot write `{}`", args.out.display()))?;
    let spec = scorer.cascade().context("a cascade was fitted")?;
    let trained = Trained {
        file: args.out.display().to_string(),
        scorer: scorer.id(),
        threshold: scorer.threshold(),
        pictures: lab.gallery.pictures.len() + lab.drawn.len() + lab.labels.files.len(),
        looks: n_looks,
        manifest: spec.manifest.clone(),
        hardest: lab.gallery.hardest(&scorer, args.hardest),
    };
    Ok((trained, args.min_recall))
}

/// Looks closely at pairs that the first stage is in doubt about; returns at how many. Of strangers in doubt beyond
/// [`MAX_LOOKS`] a part is drawn: the others go, and those that stay stand for them.
fn look(
    lab: &Lab,
    reference: &Reference,
    first: &Scorer,
    pairs: &mut Vec<Pair>,
    seed: u64,
) -> usize {
    let is_grey = |pair: &Pair| {
        let score = first.score(&pair.sample.features);
        (GREY.low..=GREY.high).contains(&score)
    };
    // Drawn pictures and judged pairs are few, and are what is to be learnt.
    let is_many = |kind: SampleKind| !matches!(kind, SampleKind::Drawn | SampleKind::Judged);
    for kind in SampleKind::ALL {
        let in_doubt = |pair: &Pair| {
            !pair.sample.label && pair.sample.kind == kind && is_many(kind) && is_grey(pair)
        };
        let n_in_doubt = pairs.iter().filter(|pair| in_doubt(pair)).count() as u64;
        if n_in_doubt <= MAX_LOOKS {
            continue;
        }
        let mut place = 0;
        let mut n_kept = 0_u64;
        pairs.retain(|pair| {
            if !in_doubt(pair) {
                return true;
            }
            place += 1;
            let is_kept = mix(seed, place) % n_in_doubt < MAX_LOOKS;
            n_kept += u64::from(is_kept);
            is_kept
        });
        for pair in pairs.iter_mut().filter(|pair| in_doubt(pair)) {
            pair.sample.weight *= n_in_doubt as f64 / n_kept as f64;
        }
    }
    let grey: Vec<usize> = (0..pairs.len())
        .filter(|&idx| is_grey(&pairs[idx]))
        .collect();
    let progress = Progress::start("looks", grey.len() as u64);
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let all: &[Pair] = pairs;
    let look = |&idx: &usize| {
        let (one, other) = all[idx].pictures;
        let (_, compared) = lab.features(reference, one, other);
        progress.advance(1);
        (idx, lab.signed(one).look(lab.signed(other), &compared))
    };
    let looks: Vec<_> = std::thread::scope(|scope| {
        let parts = grey.chunks(grey.len().div_ceil(n_threads).max(1));
        let running: Vec<_> = parts
            .map(|part| scope.spawn(move || part.iter().map(look).collect::<Vec<_>>()))
            .collect();
        let looked = running.into_iter();
        looked
            .flat_map(|part| part.join().expect("a look does not panic"))
            .collect()
    });
    progress.finish();
    let mut n_looks = 0;
    for (idx, look) in looks {
        pairs[idx].sample.features.look = look;
        n_looks += usize::from(look.is_some());
    }
    n_looks
}
