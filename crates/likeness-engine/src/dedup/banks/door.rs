//! What callers ask of banks. Changes are corrections; what is here reads, and takes the bytes of references.

use bytes::Bytes;
use likeness_core::objects::ObjectStore;
use likeness_core::state::{Row, Scan, Write};
use likeness_core::{ImageId, Sha256, StoreError};
use likeness_vision::decode::probe;
use likeness_vision::runtime::ModelError;

use super::scan::is_done;
use super::set::records;
use super::{
    BankMatchView, BankRecord, BankView, MATCHES, MATCHES_BY_IMAGE, NewReference, REFERENCES,
    ReferenceRecord, ReferenceView, ScanRecord, ScanView, SignedReference, bank_key, count_key,
    digest_key, parse_digest, reference_signature_key, scan_key, serial_partition,
};
use crate::EngineError;
use crate::dedup::corrections::{Command, CorrectionEvent};
use crate::dedup::objects::image_path;
use crate::dedup::query::check_limit;
use crate::dedup::signature::{SignatureError, Signer};
use crate::dedup::tables::{decode, encode};
use crate::dedup::upload::{clean_name, digest};
use crate::dedup::view::{Page, Rejection};
use crate::dedup::{BankChange, Dedup, Thumbnail};

/// A file that is to be a reference.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// A name to show.
    pub name: Option<String>,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Dedup {
    /// Keeps the bytes of a file, so that a bank can take it as a reference: returns what to name in
    /// [`BankChange::Add`]. Bytes that no bank takes in the end stay until the store is cleaned.
    ///
    /// # Errors
    /// [`EngineError::Image`] if the header shows that it cannot be decoded;
    /// [`EngineError::InvalidParameter`] if embeddings of pictures are not computed here; if the store fails.
    pub async fn keep_reference(&self, file: NewFile) -> Result<NewReference, EngineError> {
        self.check_askable()?;
        probe(&file.bytes, &self.config.limits)?;
        let sha256 = digest(&file.bytes);
        self.put_bytes(&sha256, file.bytes).await?;
        Ok(NewReference::File {
            sha256: sha256.to_string(),
            name: file.name.map(|name| clean_name(&name)),
        })
    }

    /// Lists all banks by name.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn banks(&self) -> Result<Vec<BankView>, EngineError> {
        let mut views = Vec::new();
        for record in records(self.ports.state.as_ref()).await? {
            views.push(self.bank_view(record).await?);
        }
        Ok(views)
    }

    /// Returns a bank.
    ///
    /// # Errors
    /// [`EngineError::BankNotFound`]; if the store fails.
    pub async fn bank(&self, name: &str) -> Result<BankView, EngineError> {
        let record = self.bank_record(name).await?;
        self.bank_view(record).await
    }

    pub(super) async fn bank_record(&self, name: &str) -> Result<BankRecord, EngineError> {
        let not_found = || EngineError::BankNotFound(name.to_owned());
        if name.is_empty() || name.len() > super::MAX_BANK_NAME_BYTES {
            return Err(not_found());
        }
        self.row("banks", &bank_key(name))
            .await?
            .ok_or_else(not_found)
    }

    async fn bank_view(&self, record: BankRecord) -> Result<BankView, EngineError> {
        let scan: Option<ScanRecord> = self.row("bank_scans", &scan_key(record.serial)).await?;
        let count = self.ports.state.get(&count_key(record.serial)).await?;
        let matches = count.map_or(Ok(0), |row| read_u64(&row))?;
        Ok(BankView {
            name: record.name,
            threshold: record.threshold,
            share: record.share,
            negative: record.negative,
            enabled: record.enabled,
            references: record.references,
            matches,
            created_ms: record.created.0,
            scan: scan.map(|scan| ScanView {
                scanned: scan.next,
                images: scan.end,
                matches: scan.matches,
                is_done: is_done(&scan),
            }),
        })
    }

    /// Lists the references of a bank in the order in which they were added.
    ///
    /// # Errors
    /// [`EngineError::BankNotFound`]; [`EngineError::InvalidParameter`] for a limit or a cursor that is not one.
    pub async fn bank_references(
        &self,
        name: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<ReferenceView>, EngineError> {
        check_limit(limit)?;
        let record = self.bank_record(name).await?;
        let scan = Scan::all(REFERENCES, serial_partition(record.serial), limit + 1);
        let (rows, next) = self.page(scan, cursor, limit).await?;
        let items = rows
            .iter()
            .map(|row| {
                let record: ReferenceRecord = decode("bank_references", &row.value)?;
                Ok(ReferenceView {
                    sha256: record.digest.to_string(),
                    image: record.image.map(|image| image.to_string()),
                    name: record.name,
                    width: record.signature.width,
                    height: record.signature.height,
                    author: record.author,
                    reason: record.reason,
                    added_ms: record.added.0,
                })
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(Page { items, next })
    }

    /// Lists the images that matched a bank, those decided last first.
    ///
    /// # Errors
    /// As [`bank_references`](Self::bank_references).
    pub async fn bank_matches(
        &self,
        name: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<BankMatchView>, EngineError> {
        check_limit(limit)?;
        let record = self.bank_record(name).await?;
        let scan = Scan::all(MATCHES, serial_partition(record.serial), limit + 1);
        let (rows, next) = self.page(scan, cursor, limit).await?;
        let items = rows.iter().map(decode_match).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }

    /// Returns the matches of an image with banks, those that are gone included, in the order in which the banks
    /// were made, at most `limit`.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a limit that is not one; if the store fails.
    pub async fn bank_matches_of(
        &self,
        image: &ImageId,
        limit: usize,
    ) -> Result<Vec<BankMatchView>, EngineError> {
        check_limit(limit)?;
        let partition = Bytes::copy_from_slice(image.as_bytes());
        let scan = Scan::all(MATCHES_BY_IMAGE, partition, limit);
        let rows = self.ports.state.scan(scan).await?;
        rows.iter().map(decode_match).collect()
    }

    /// Returns a thumbnail of a bank's reference.
    ///
    /// # Errors
    /// [`EngineError::BankNotFound`]; [`EngineError::InvalidParameter`] if it has no such reference; if the store
    /// fails.
    pub async fn reference_thumbnail(
        &self,
        name: &str,
        sha256: &str,
    ) -> Result<Thumbnail, EngineError> {
        let record = self.bank_record(name).await?;
        let invalid = |(name, reason)| EngineError::InvalidParameter { name, reason };
        let digest: Sha256 = parse_digest(sha256).map_err(invalid)?;
        let key = digest_key(record.serial, &digest);
        if self.ports.state.get(&key).await?.is_none() {
            return Err(EngineError::InvalidParameter {
                name: "reference",
                reason: format!("the bank `{name}` has no reference `{digest}`"),
            });
        }
        self.thumbnail_of(&digest).await
    }

    /// Returns a page of rows, and the cursor of the next one.
    pub(in crate::dedup) async fn page(
        &self,
        mut scan: Scan,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Row>, Option<String>), EngineError> {
        if let Some(cursor) = cursor {
            let place: u64 = cursor.parse().map_err(|_| EngineError::InvalidParameter {
                name: "cursor",
                reason: "must be the `next` of the page before".to_owned(),
            })?;
            scan = scan.after(Bytes::copy_from_slice(&place.to_be_bytes()));
        }
        let mut rows = self.ports.state.scan(scan).await?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more);
        let next = last.map(|row| read_u64(&row.sort)).transpose()?;
        Ok((rows, next.map(|place| place.to_string())))
    }
}

fn decode_match(row: &Row) -> Result<BankMatchView, EngineError> {
    serde_json::from_slice(&row.value)
        .map_err(|error| StoreError::corrupt("state", "bank_matches", error.to_string()).into())
}

/// Reads an integer of a key.
pub(in crate::dedup) fn read_u64(bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes = bytes
        .try_into()
        .map_err(|_| StoreError::corrupt("state", "key", "not 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Computes the signatures of the files that a correction wants as references, for the assign stage. What
/// cannot be read is written down as such; the correction is refused then.
///
/// # Errors
/// If a store or the model fails; another try may help.
pub(in crate::dedup) async fn sign_references(
    event: &CorrectionEvent,
    signer: &Signer,
    objects: &dyn ObjectStore,
) -> Result<Vec<Write>, EngineError> {
    let Command::Bank(BankChange::Add { references, .. }) = &event.command else {
        return Ok(Vec::new());
    };
    let mut writes = Vec::new();
    for reference in references.iter().take(super::MAX_REFERENCES_AT_ONCE) {
        let NewReference::File { sha256, .. } = reference else {
            continue;
        };
        let Ok(digest) = parse_digest(sha256) else {
            continue;
        };
        let signed = match objects.get(&image_path(&digest)?).await? {
            None => Err(("bytes_missing", "its bytes were not handed over".to_owned())),
            Some(bytes) => match signer.sign(bytes).await {
                Ok(signature) => Ok(signature),
                Err(SignatureError::Decode(error)) => Err((error.code(), error.to_string())),
                Err(SignatureError::Panicked(panic)) => Err(("decoder_failed", panic.to_string())),
                Err(SignatureError::Model(error @ ModelError::BadOutput { .. })) => {
                    Err(("no_embedding", error.to_string()))
                }
                Err(SignatureError::Model(error)) => return Err(error.into()),
            },
        };
        let row = match signed {
            Ok(signature) => SignedReference {
                signature: Some(signature),
                rejection: None,
            },
            Err((code, message)) => SignedReference {
                signature: None,
                rejection: Some(Rejection {
                    code: code.to_owned(),
                    message,
                }),
            },
        };
        let key = reference_signature_key(&event.id, &digest);
        writes.push(Write::Put(key, encode(&row)));
    }
    Ok(writes)
}
