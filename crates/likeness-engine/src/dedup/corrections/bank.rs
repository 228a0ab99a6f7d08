//! Changes of banks, in their place among uploads.

use bytes::Bytes;
use likeness_core::state::{Scan, Write};
use likeness_core::{ImageId, Sha256};
use serde::{Deserialize, Serialize};

use super::apply::{Applying, Attempt, Refused};
use super::{Command, Effect};
use crate::dedup::banks::{
    BankChange, BankRecord, NewReference, REFERENCES, ReferenceRecord, SignedReference, bank_key,
    digest_key, parse_digest, read_u64, reference_key, reference_signature_key, serial_partition,
};
use crate::dedup::records::Signature;
use crate::dedup::tables::{decode, encode, signature_key};

/// Rows of one read.
const PAGE: usize = 1_024;

/// What a change of a bank changed: what its undoing changes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct BankEffect {
    serial: u64,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum What {
    Created,
    Set {
        before: Settings,
        after: Settings,
    },
    /// Sequence numbers and digests.
    Added(Vec<(u64, Sha256)>),
    Removed(Vec<ReferenceRecord>),
}

impl BankEffect {
    /// Images that references were taken from, of those that went.
    pub(super) fn images(&self) -> impl Iterator<Item = &ImageId> {
        let removed: &[ReferenceRecord] = match &self.what {
            What::Removed(removed) => removed,
            What::Created | What::Set { .. } | What::Added(_) => &[],
        };
        removed.iter().filter_map(|record| record.image.as_ref())
    }

    /// Drops what is kept of an image; says whether there was anything.
    pub(super) fn forget(&mut self, image: &ImageId, digest: Option<&Sha256>) -> bool {
        match &mut self.what {
            What::Created | What::Set { .. } => false,
            What::Added(added) => {
                let before = added.len();
                added.retain(|(_, added)| Some(added) != digest);
                added.len() < before
            }
            What::Removed(removed) => {
                let before = removed.len();
                removed.retain(|record| record.image.as_ref() != Some(image));
                removed.len() < before
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Settings {
    threshold: f32,
    share: f32,
    enabled: bool,
}

impl Settings {
    fn of(bank: &BankRecord) -> Self {
        Self {
            threshold: bank.threshold,
            share: bank.share,
            enabled: bank.enabled,
        }
    }

    fn put(self, bank: &mut BankRecord) {
        (bank.threshold, bank.share, bank.enabled) = (self.threshold, self.share, self.enabled);
    }
}

impl Applying<'_> {
    pub(super) async fn bank(&mut self, change: &BankChange) -> Attempt<Effect> {
        change.check().map_err(|(name, reason)| {
            Refused::because("invalid_parameter", format!("`{name}` {reason}"))
        })?;
        let effect = match change {
            BankChange::Create {
                bank,
                threshold,
                share,
                negative,
            } => {
                self.create_bank(bank, *threshold, *share, *negative)
                    .await?
            }
            BankChange::Set {
                bank,
                threshold,
                share,
                enabled,
            } => {
                let mut record = self.known_bank(bank).await?;
                let before = Settings::of(&record);
                let after = Settings {
                    threshold: threshold.unwrap_or(before.threshold),
                    share: share.unwrap_or(before.share),
                    enabled: enabled.unwrap_or(before.enabled),
                };
                after.put(&mut record);
                self.put_bank(&record);
                Some(BankEffect {
                    serial: record.serial,
                    what: What::Set { before, after },
                })
            }
            BankChange::Delete { bank } => {
                self.delete_bank(bank).await?;
                None
            }
            BankChange::Add { bank, references } => {
                Some(self.add_references(bank, references).await?)
            }
            BankChange::Remove { bank, references } => {
                Some(self.remove_references(bank, references).await?)
            }
        };
        self.totals.bank_changes += 1;
        Ok(Effect {
            bank: effect,
            ..Effect::default()
        })
    }

    async fn create_bank(
        &mut self,
        name: &str,
        threshold: f32,
        share: f32,
        negative: bool,
    ) -> Attempt<Option<BankEffect>> {
        if self.state.get(&bank_key(name)).await?.is_some() {
            return Err(Refused::because(
                "bank_exists",
                format!("there is a bank `{name}`; change its settings, or choose another name"),
            ));
        }
        let max = self.limits.max_banks;
        if self.totals.banks >= max {
            return Err(Refused::because(
                "too_many_banks",
                format!("there are {max} banks, as many as `banks.max_banks` allows; delete one"),
            ));
        }
        let serial = self.totals.next_bank;
        self.totals.next_bank += 1;
        self.totals.banks += 1;
        self.put_bank(&BankRecord {
            name: name.to_owned(),
            serial,
            threshold,
            share,
            negative,
            enabled: true,
            created: self.now,
            references: 0,
            next_reference: 0,
            removals: 0,
        });
        Ok(Some(BankEffect {
            serial,
            what: What::Created,
        }))
    }

    async fn delete_bank(&mut self, name: &str) -> Attempt<()> {
        let bank = self.known_bank(name).await?;
        let mut scan = Scan::all(REFERENCES, serial_partition(bank.serial), PAGE);
        loop {
            let rows = self.state.scan(scan.clone()).await?;
            let Some(last) = rows.last() else { break };
            scan = scan.after(last.sort.clone());
            for row in &rows {
                let reference: ReferenceRecord = decode("bank_references", &row.value)?;
                self.forget_reference(bank.serial, reference.sequence, &reference.digest);
            }
        }
        self.totals.banks -= 1;
        self.writes.push(Write::Delete(bank_key(name)));
        Ok(())
    }

    pub(super) async fn add_references(
        &mut self,
        name: &str,
        references: &[NewReference],
    ) -> Attempt<BankEffect> {
        let mut bank = self.known_bank(name).await?;
        let mut added: Vec<(u64, Sha256)> = Vec::new();
        for reference in references {
            let Some(record) = self.new_reference(reference).await? else {
                bank.next_reference += 1;
                continue;
            };
            let is_known = added.iter().any(|(_, digest)| *digest == record.digest)
                || self.sequence_of(&bank, &record.digest).await?.is_some();
            if is_known {
                continue;
            }
            added.push((bank.next_reference, record.digest));
            self.put_reference(&mut bank, record)?;
        }
        self.put_bank(&bank);
        Ok(BankEffect {
            serial: bank.serial,
            what: What::Added(added),
        })
    }

    /// Returns a reference as it is to be kept, without its place; nothing if its image is erased later in the log.
    async fn new_reference(
        &mut self,
        reference: &NewReference,
    ) -> Attempt<Option<ReferenceRecord>> {
        let (digest, image, name, signature) = match reference {
            NewReference::Image { image } => {
                let placed = self.placed(image).await?;
                if placed.record.is_placeholder() {
                    return Ok(None);
                }
                let key = signature_key(image);
                let signature: Option<Signature> = self.row("signature", &key).await?;
                let signature = signature.ok_or_else(|| {
                    likeness_core::StoreError::corrupt(
                        "state",
                        format!("signature/{image}"),
                        "missing",
                    )
                })?;
                (placed.record.sha256, Some(image.clone()), None, signature)
            }
            NewReference::File { sha256, name } => {
                let digest = parse_digest(sha256)
                    .map_err(|(_, reason)| Refused::because("invalid_parameter", reason))?;
                let key = reference_signature_key(&self.event.id, &digest);
                let signed: Option<SignedReference> =
                    self.row("reference_signatures", &key).await?;
                self.writes.push(Write::Delete(key));
                let signed = signed.unwrap_or(SignedReference {
                    signature: None,
                    rejection: None,
                });
                let Some(signature) = signed.signature else {
                    let why = signed.rejection.map_or_else(
                        || "its bytes were not read".to_owned(),
                        |rejection| rejection.message,
                    );
                    return Err(Refused::because(
                        "unreadable_reference",
                        format!("`{digest}` cannot be a reference: {why}"),
                    ));
                };
                (digest, None, name.clone(), signature)
            }
        };
        Ok(Some(ReferenceRecord {
            sequence: 0,
            digest,
            image,
            name,
            signature,
            author: self.event.author.clone(),
            reason: self.event.reason.clone(),
            added: self.now,
        }))
    }

    async fn remove_references(&mut self, name: &str, digests: &[String]) -> Attempt<BankEffect> {
        let mut bank = self.known_bank(name).await?;
        let mut removed: Vec<ReferenceRecord> = Vec::new();
        for digest in digests {
            let digest = parse_digest(digest)
                .map_err(|(_, reason)| Refused::because("invalid_parameter", reason))?;
            if removed.iter().any(|reference| reference.digest == digest) {
                continue;
            }
            let Some(sequence) = self.sequence_of(&bank, &digest).await? else {
                return Err(Refused::because(
                    "not_a_reference",
                    format!("the bank `{name}` has no reference `{digest}`"),
                ));
            };
            let record: Option<ReferenceRecord> = self
                .row("bank_references", &reference_key(bank.serial, sequence))
                .await?;
            self.forget_reference(bank.serial, sequence, &digest);
            removed.extend(record);
        }
        bank.references -= removed.len() as u64;
        bank.removals += 1;
        self.put_bank(&bank);
        Ok(BankEffect {
            serial: bank.serial,
            what: What::Removed(removed),
        })
    }

    /// Takes a change of a bank back, if the bank is as that change has left it.
    pub(super) async fn undo_bank(
        &mut self,
        command: &Command,
        effect: &BankEffect,
    ) -> Attempt<()> {
        let Command::Bank(change) = command else {
            return Ok(());
        };
        let name = change.bank();
        let mut bank = self.known_bank(name).await?;
        let superseded = |what: &str| {
            Refused::because(
                "superseded",
                format!("{what} since, so this can no longer be undone as it was made"),
            )
        };
        if bank.serial != effect.serial {
            return Err(superseded(&format!("the bank `{name}` was made anew")));
        }
        match &effect.what {
            What::Created => {
                if bank.references > 0 {
                    return Err(superseded(&format!(
                        "the bank `{name}` was given references"
                    )));
                }
                self.totals.banks -= 1;
                self.totals.bank_changes += 1;
                self.writes.push(Write::Delete(bank_key(name)));
                return Ok(());
            }
            What::Set { before, after } => {
                if Settings::of(&bank) != *after {
                    return Err(superseded(&format!(
                        "settings of the bank `{name}` have changed"
                    )));
                }
                before.put(&mut bank);
            }
            What::Added(added) => {
                for (sequence, digest) in added {
                    if self.sequence_of(&bank, digest).await? != Some(*sequence) {
                        return Err(superseded(&format!("the reference `{digest}` has gone")));
                    }
                    self.forget_reference(bank.serial, *sequence, digest);
                }
                bank.references -= added.len() as u64;
                bank.removals += 1;
            }
            What::Removed(removed) => {
                for record in removed {
                    if self.sequence_of(&bank, &record.digest).await?.is_some() {
                        let what = format!("the reference `{}` was added again", record.digest);
                        return Err(superseded(&what));
                    }
                    self.put_reference(&mut bank, record.clone())?;
                }
            }
        }
        self.totals.bank_changes += 1;
        self.put_bank(&bank);
        Ok(())
    }

    pub(super) async fn known_bank(&self, name: &str) -> Attempt<BankRecord> {
        let record: Option<BankRecord> = self.row("banks", &bank_key(name)).await?;
        record
            .ok_or_else(|| Refused::because("bank_not_found", format!("there is no bank `{name}`")))
    }

    pub(super) async fn sequence_of(
        &self,
        bank: &BankRecord,
        digest: &Sha256,
    ) -> Attempt<Option<u64>> {
        let row = self.state.get(&digest_key(bank.serial, digest)).await?;
        Ok(row.map(|row| read_u64(&row)).transpose()?)
    }

    pub(super) fn put_bank(&mut self, bank: &BankRecord) {
        self.writes
            .push(Write::Put(bank_key(&bank.name), encode(bank)));
    }

    /// Gives a reference the next place of a bank.
    fn put_reference(&mut self, bank: &mut BankRecord, record: ReferenceRecord) -> Attempt<()> {
        let max = self.limits.max_references;
        if bank.references >= max {
            return Err(Refused::because(
                "too_many_references",
                format!(
                    "the bank `{}` would have more than {max} references, as many as `banks.max_references` allows; remove some",
                    bank.name
                ),
            ));
        }
        let sequence = bank.next_reference;
        bank.next_reference += 1;
        bank.references += 1;
        let place = Bytes::copy_from_slice(&sequence.to_be_bytes());
        self.writes.extend([
            Write::Put(digest_key(bank.serial, &record.digest), place),
            Write::Put(
                reference_key(bank.serial, sequence),
                encode(&ReferenceRecord { sequence, ..record }),
            ),
        ]);
        Ok(())
    }

    pub(super) fn forget_reference(&mut self, serial: u64, sequence: u64, digest: &Sha256) {
        self.writes.extend([
            Write::Delete(reference_key(serial, sequence)),
            Write::Delete(digest_key(serial, digest)),
        ]);
    }
}
