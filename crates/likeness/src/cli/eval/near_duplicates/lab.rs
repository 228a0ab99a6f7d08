//! The pictures of an evaluation: photos, copies of them, hard negatives.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use likeness_core::ImageId;
use likeness_engine::dedup::{NewImage, Signer};
use likeness_vision::DecodeLimits;
use likeness_vision::edits::{EditList, Negative};
use tokio::runtime::Handle;

use crate::corpus::{self, Corpus, Signed, Variant};
use crate::files::Unusable;
use crate::intake::Source;

/// Families of each kind of hard negatives, and members of each.
const FAMILIES: u32 = 20;
const MEMBERS: u32 = 8;

/// A picture of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Picture {
    /// A photo, or a copy of it.
    Variant(Variant),
    /// A drawn hard negative.
    Drawn {
        kind: Negative,
        family: u32,
        member: u32,
    },
    /// A photo of a scene that others show as well.
    Scene(usize),
}

/// What a hard negative is hard for: pairs of one family look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Family {
    pub(super) kind: &'static str,
    pub(super) family: u32,
}

/// Name of the kind of photos that show one scene.
pub(super) const SAME_SCENE: &str = "scene";

impl Picture {
    /// Returns all pictures, photos with their copies first.
    pub(super) fn all(
        corpus: &Corpus,
        list: EditList,
        with_negatives: bool,
        num_scenes: usize,
    ) -> Vec<Self> {
        let mut pictures: Vec<Self> = corpus
            .variants(list)
            .into_iter()
            .map(Self::Variant)
            .collect();
        if with_negatives {
            for kind in Negative::ALL {
                for family in 0..FAMILIES {
                    pictures.extend((0..MEMBERS).map(|member| Self::Drawn {
                        kind,
                        family,
                        member,
                    }));
                }
            }
        }
        pictures.extend((0..num_scenes).map(Self::Scene));
        pictures
    }

    /// Returns the photo that it is or is a copy of.
    pub(super) fn variant(&self) -> Option<&Variant> {
        match self {
            Self::Variant(variant) => Some(variant),
            _ => None,
        }
    }

    /// Returns the family of a hard negative.
    pub(super) fn family(&self) -> Option<Family> {
        match *self {
            Self::Variant(_) => None,
            Self::Drawn { kind, family, .. } => Some(Family {
                kind: kind.name(),
                family,
            }),
            Self::Scene(_) => Some(Family {
                kind: SAME_SCENE,
                family: 0,
            }),
        }
    }
}

/// Makes pictures, and signs each on its way into the pipeline.
pub(super) struct Lab {
    pub(super) corpus: Arc<Corpus>,
    /// Photos of scenes.
    pub(super) scenes: Option<Corpus>,
    signer: Signer,
    limits: DecodeLimits,
    runtime: Handle,
    seed: u64,
    signed: Mutex<HashMap<usize, Signed>>,
}

impl Lab {
    pub(super) fn new(
        corpus: Arc<Corpus>,
        scenes: Option<Corpus>,
        signer: Signer,
        limits: DecodeLimits,
        seed: u64,
    ) -> Self {
        Self {
            corpus,
            scenes,
            signer,
            limits,
            runtime: Handle::current(),
            seed,
            signed: Mutex::default(),
        }
    }

    /// Returns what a picture is called in reports.
    pub(super) fn name_of(&self, picture: &Picture) -> String {
        match *picture {
            Picture::Variant(variant) => {
                let photo = self.corpus.name(variant.photo);
                match variant.edit_name() {
                    None => photo.to_owned(),
                    Some(edit) => format!("{photo} {edit}"),
                }
            }
            Picture::Drawn {
                kind,
                family,
                member,
            } => format!("{} {family}-{member}", kind.name()),
            Picture::Scene(scene) => {
                let scenes = self.scenes.as_ref();
                scenes.map_or_else(String::new, |scenes| scenes.name(scene).to_owned())
            }
        }
    }

    /// Returns the file of a picture. Blocks.
    ///
    /// # Errors
    /// If a photo cannot be read any more.
    fn bytes(&self, picture: &Picture) -> anyhow::Result<Bytes> {
        match *picture {
            Picture::Variant(variant) => self.corpus.bytes(variant, self.seed),
            Picture::Drawn {
                kind,
                family,
                member,
            } => Ok(kind.file(family, member, self.seed).into()),
            Picture::Scene(photo) => self
                .scenes
                .as_ref()
                .context("there are no photos of scenes")?
                .bytes(Variant { photo, edit: None }, self.seed),
        }
    }

    /// Writes all pictures to `folder`, for others to be tried on. Blocks.
    ///
    /// # Errors
    /// If a picture cannot be made or written.
    pub(super) fn write_all(&self, pictures: &[Picture], folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        for (idx, picture) in pictures.iter().enumerate() {
            let path = folder.join(lab_id(idx));
            std::fs::write(&path, self.bytes(picture)?)
                .with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        Ok(())
    }

    /// Returns the signatures by number.
    ///
    /// # Errors
    /// If a picture was not brought in.
    pub(super) fn take_signed(&self, count: usize) -> anyhow::Result<Vec<Signed>> {
        let mut all = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        (0..count)
            .map(|idx| all.remove(&idx).context("a picture was not signed"))
            .collect()
    }
}

impl Source for Lab {
    type Item = (usize, Picture);

    fn name(&self, (_, picture): &Self::Item) -> String {
        self.name_of(picture)
    }

    fn load(&self, (idx, picture): &Self::Item) -> Result<NewImage, Unusable> {
        let unusable = |error: anyhow::Error| Unusable::Unreadable(format!("{error:#}"));
        let bytes = self.bytes(picture).map_err(unusable)?;
        let signing = corpus::sign(&self.signer, bytes.clone(), &self.limits);
        // Called on a thread that may block.
        let signed = self.runtime.block_on(signing).map_err(unusable)?;
        let mut all = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(*idx, signed);
        Ok(NewImage {
            id: ImageId::new(lab_id(*idx)).ok(),
            name: Some(self.name_of(picture)),
            bytes,
        })
    }
}

/// Id of a picture in the store, and name of its file.
pub(super) fn lab_id(idx: usize) -> String {
    format!("picture-{idx}")
}
