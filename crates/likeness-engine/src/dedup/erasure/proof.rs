//! The proof that nothing is left of an erased image: looks at every row, every event, every object and the index.
//!
//! It knows nothing of how an erasure is made. Every value is taken apart, whatever table or topic it is in, and
//! whatever names the image and is none of the things that are kept on purpose is left. So what a later version
//! begins to keep, and forgets to erase, makes the proof fail.

mod tree;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use likeness_core::log::SweptRecord;
use likeness_core::objects::ObjectPath;
use likeness_core::state::SweptRow;
use likeness_core::{ImageId, ImageNumber, Sha256, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::finish::sharing;
use super::{CLAIM_OF_ERASED, ERASED_NUMBERS, ErasureView, Tombstone, is_tombstone};
use crate::EngineError;
use crate::dedup::Dedup;
use crate::dedup::objects::{image_path, thumbnail_path};
use tree::{Mention, mentions};

/// Rows, events and objects of one read.
const PAGE: usize = 1_024;
/// Most remains that are shown; all are counted.
pub const MAX_REMAINS_SHOWN: usize = 100;
/// Most objects that can be held against the images that they belong to, at some 16 bytes each. With more of
/// them, give the digest.
const MAX_OBJECTS: usize = 20_000_000;

/// What was looked at for an erased image, and what is left of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasureProof {
    /// The image.
    pub id: String,
    /// Its tombstone; absent if it was never erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasure: Option<ErasureView>,
    /// Rows looked at, by table.
    pub rows: BTreeMap<String, u64>,
    /// Events looked at, by topic.
    pub events: BTreeMap<String, u64>,
    /// Objects looked at.
    pub objects: u64,
    /// Numbers in the index, those of erased images included; it was asked for this one.
    pub indexed: u64,
    /// Rows and events that say that it was erased: kept on purpose.
    pub tombstones: u64,
    /// Mentions of its id as a name, of a cluster that others are in or in a correction by hand: kept on purpose.
    pub names: u64,
    /// Other images that have the same bytes, if the digest was given: then the bytes stay.
    pub shares_bytes_with: Vec<String>,
    /// Whether the image was erased and nothing else is left of it.
    pub is_proved: bool,
    /// What else is left, which must be nothing.
    pub num_left: u64,
    /// The first of it.
    pub left: Vec<Remains>,
}

/// Something that is left of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Remains {
    /// Where: a table and key, a topic and offset, an object's path, or `index`.
    pub place: String,
    /// What it is.
    pub what: String,
}

impl ErasureProof {
    fn add(&mut self, found: Found, place: impl FnOnce() -> String) {
        match found {
            Found::Nothing => {}
            Found::Tombstone => self.tombstones += 1,
            Found::Names(count) => self.names += count,
            Found::Left(what) => {
                self.num_left += 1;
                if self.left.len() < MAX_REMAINS_SHOWN {
                    self.left.push(Remains {
                        place: place(),
                        what,
                    });
                }
            }
        }
    }
}

/// What a row or an event holds of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Tombstone,
    Names(u64),
    Left(String),
}

/// What is looked for.
#[derive(Debug, Clone)]
pub(super) struct Needle {
    pub(super) id: ImageId,
    pub(super) number: Option<ImageNumber>,
    /// Given, and no other image has the same bytes.
    pub(super) sha256: Option<Sha256>,
}

impl Dedup {
    /// Looks for what is left of an image. Reads everything there is; one at a time. Without the digest of its
    /// bytes, which the tombstone does not have, every object must belong to an image: one that a crash has left
    /// behind makes the proof fail, too.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] while another one is made; [`EngineError::InvalidParameter`] if there are more
    /// objects than can be held against the images; if a store fails.
    pub async fn prove_erasure(
        &self,
        id: &ImageId,
        sha256: Option<Sha256>,
    ) -> Result<ErasureProof, EngineError> {
        let _turn = self
            .proving
            .try_acquire()
            .map_err(|_| EngineError::Overloaded {
                reason: "another proof is being made",
                retry_after: std::time::Duration::from_secs(5),
            })?;
        let erasure = self.erasure(id).await?;
        let number = erasure.as_ref().and_then(|erasure| erasure.number);
        let number = number.map(ImageNumber);
        let mut proof = ErasureProof {
            id: id.to_string(),
            erasure,
            indexed: self.index.size().0,
            ..ErasureProof::default()
        };
        if let Some(sha256) = &sha256 {
            let mut sharing = sharing(self.ports.state.as_ref(), sha256, PAGE).await?;
            sharing.retain(|other| other.as_str() != id.as_str());
            proof.shares_bytes_with = sharing;
        }
        let is_shared = !proof.shares_bytes_with.is_empty();
        let needle = Needle {
            id: id.clone(),
            number,
            sha256: sha256.filter(|_| !is_shared),
        };
        // Objects first: one that is put meanwhile has a row by the time rows are read.
        let mut unclaimed = match sha256 {
            Some(sha256) => {
                self.look_for_bytes(&sha256, is_shared, &mut proof).await?;
                None
            }
            None => Some(self.all_objects(&mut proof).await?),
        };
        self.sweep_rows(&needle, unclaimed.as_mut(), &mut proof)
            .await?;
        self.sweep_events(&needle, &mut proof).await?;
        if let Some(number) = number
            && self.index.holds(number)
        {
            let found = Found::Left("a search can return it".to_owned());
            proof.add(found, || "index".to_owned());
        }
        for digest in unclaimed.into_iter().flatten() {
            self.look_at_unclaimed(&digest, &mut proof).await?;
        }
        proof.is_proved = proof.erasure.is_some() && proof.num_left == 0;
        Ok(proof)
    }

    async fn look_for_bytes(
        &self,
        sha256: &Sha256,
        is_shared: bool,
        proof: &mut ErasureProof,
    ) -> Result<(), EngineError> {
        for path in [
            image_path(sha256)?,
            thumbnail_path(sha256, Self::THUMBNAIL_SIDE)?,
        ] {
            proof.objects += 1;
            if !is_shared && self.ports.objects.head(&path).await?.is_some() {
                let found = Found::Left("its bytes, or a picture made of them".to_owned());
                proof.add(found, || path.to_string());
            }
        }
        Ok(())
    }

    /// Lists all objects, and returns the digests in their paths.
    async fn all_objects(&self, proof: &mut ErasureProof) -> Result<HashSet<Digest>, EngineError> {
        let (mut digests, mut after): (_, Option<ObjectPath>) = (HashSet::new(), None);
        loop {
            let page = self.ports.objects.list("", after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(digests);
            };
            after = Some(last.path.clone());
            proof.objects += page.len() as u64;
            for object in page {
                let name = object.path.as_str().rsplit('/').next().unwrap_or_default();
                match name.parse::<Sha256>() {
                    Ok(sha256) => {
                        digests.insert(sha256.0);
                    }
                    Err(_) => {
                        let found = Found::Left("not an object of an image".to_owned());
                        proof.add(found, || object.path.to_string());
                    }
                }
            }
            if digests.len() > MAX_OBJECTS {
                return Err(EngineError::InvalidParameter {
                    name: "sha256",
                    reason: format!(
                        "there are more than {MAX_OBJECTS} objects: give the digest of the image's bytes"
                    ),
                });
            }
        }
    }

    async fn sweep_rows(
        &self,
        needle: &Needle,
        mut unclaimed: Option<&mut HashSet<Digest>>,
        proof: &mut ErasureProof,
    ) -> Result<(), EngineError> {
        let mut after = None;
        loop {
            let page = self.ports.state.sweep(after, PAGE).await?;
            let needle = needle.clone();
            let looked_at = move || {
                let found = |row: SweptRow| (in_row(&needle, &row), row);
                page.rows.into_iter().map(found).collect::<Vec<_>>()
            };
            for (found, row) in self.look(looked_at).await? {
                *proof.rows.entry(row.table.clone()).or_default() += 1;
                if row.table == super::SAME_BYTES.0
                    && let Some(unclaimed) = &mut unclaimed
                {
                    unclaimed.remove(row.partition.as_ref());
                }
                proof.add(found, || {
                    let key = |bytes: &Bytes| bytes.escape_ascii().to_string();
                    format!("{}/{}/{}", row.table, key(&row.partition), key(&row.sort))
                });
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn sweep_events(
        &self,
        needle: &Needle,
        proof: &mut ErasureProof,
    ) -> Result<(), EngineError> {
        let mut after = None;
        loop {
            let page = self.ports.log.sweep(after, PAGE).await?;
            let needle = needle.clone();
            let looked_at = move || {
                let found = |event: SweptRecord| (in_event(&needle, &event), event);
                page.records.into_iter().map(found).collect::<Vec<_>>()
            };
            for (found, event) in self.look(looked_at).await? {
                *proof.events.entry(event.topic.clone()).or_default() += 1;
                proof.add(found, || format!("{}/{}", event.topic, event.record.offset));
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let outcome = self.cpu.run(work).await;
        Ok(outcome.map_err(|panic| StoreError::corrupt("state", "proof", panic.to_string()))?)
    }

    /// Looks at an object that had no row: unless it got one, or is gone, it belongs to no image.
    async fn look_at_unclaimed(
        &self,
        digest: &Digest,
        proof: &mut ErasureProof,
    ) -> Result<(), EngineError> {
        let sha256 = Sha256(*digest);
        // Waits for an upload that is between its object and its row.
        let _alone = self.object_locks.alone(&sha256).await;
        if !sharing(self.ports.state.as_ref(), &sha256, 1)
            .await?
            .is_empty()
        {
            return Ok(());
        }
        for path in [
            image_path(&sha256)?,
            thumbnail_path(&sha256, Self::THUMBNAIL_SIDE)?,
        ] {
            if self.ports.objects.head(&path).await?.is_some() {
                let what = "belongs to no image; if an upload was cut off it may be that one's: give the \
                            image's digest to look for its bytes alone";
                proof.add(Found::Left(what.to_owned()), || path.to_string());
            }
        }
        Ok(())
    }
}

/// A SHA-256 digest.
type Digest = [u8; 32];

/// Says what a row holds of the image.
pub(super) fn in_row(needle: &Needle, row: &SweptRow) -> Found {
    let id = needle.id.as_bytes();
    let number = needle.number.map(|number| number.0.to_be_bytes());
    let left = |what: &str| Found::Left(what.to_owned());
    let is_of_number = |sort: &[u8]| number.is_some_and(|number| sort == number);
    let is_empty = row.value.is_empty();
    match row.table.as_str() {
        "erased" if row.partition == id => return Found::Tombstone,
        "claims" if row.partition == id && row.value == CLAIM_OF_ERASED => return Found::Tombstone,
        "numbers" if is_of_number(&row.sort) && is_empty => return Found::Tombstone,
        "numbers" if is_of_number(&row.sort) => return left("the record of its number"),
        table if table == ERASED_NUMBERS.0 && is_of_number(&row.sort) => return Found::Tombstone,
        "members" if is_of_number(&row.sort) => return left("it is a member of a cluster"),
        "constraints" if row.sort.chunks(8).any(is_of_number) => {
            return left("it must be or not be with another image");
        }
        "postings" if row.sort.len() == 12 && is_of_number(&row.sort[4..]) => {
            return left("its code in the index");
        }
        // Other kinds of ids.
        "corrections_by_id" | "correction_claims" => {}
        // The cluster that has its name, its members, and the corrections that name it.
        "clusters" | "members" | "corrections_by_image" | "held" if row.partition == id => {
            return match in_value(needle, &row.value) {
                Found::Left(what) => Found::Left(what),
                Found::Names(count) => Found::Names(count + 1),
                Found::Nothing | Found::Tombstone => Found::Names(1),
            };
        }
        "clusters_by_size" | "clusters_by_time" if row.value == id => return Found::Names(1),
        _ if row.partition == id || row.sort == id || row.value == id => {
            return left("a row of its own");
        }
        _ => {}
    }
    if needle
        .sha256
        .is_some_and(|it| row.partition == it.0[..] || row.value == it.0[..])
    {
        return left("the digest of its bytes");
    }
    in_value(needle, &row.value)
}

/// Says what an event holds of the image.
pub(super) fn in_event(needle: &Needle, event: &SweptRecord) -> Found {
    let record = &event.record;
    if is_tombstone(&record.key) {
        return match Tombstone::of(&record.key, &record.payload) {
            Ok(Some(tombstone)) if tombstone.id == needle.id => Found::Tombstone,
            // Another's may say that it was in a cluster of this name.
            Ok(Some(tombstone)) => match tombstone.decided {
                Some((_, cluster)) if cluster == needle.id => Found::Names(1),
                _ => Found::Nothing,
            },
            _ => Found::Left("a tombstone that cannot be read".to_owned()),
        };
    }
    if record.key == needle.id.as_bytes()
        && !matches!(event.topic.as_str(), "corrections" | "alarms")
    {
        return Found::Left("an event of its own".to_owned());
    }
    in_value(needle, &record.payload)
}

fn in_value(needle: &Needle, value: &[u8]) -> Found {
    let mut names = 0;
    for mention in mentions(value, &needle.id, needle.sha256.as_ref()) {
        match mention {
            Mention::Name => names += 1,
            Mention::Of(what) => return Found::Left(what),
        }
    }
    match names {
        0 => Found::Nothing,
        count => Found::Names(count),
    }
}
