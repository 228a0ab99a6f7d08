//! Looking at stored images again for a bank that came later.
//!
//! A scan goes through the numbers in order, a slice at each call, and writes down how far it has come with what
//! it has found. So it may be stopped at any time and goes on where it was. It decides nothing: an image that
//! matches a negative bank now stays where it is. What it finds is an event marked as retroactive.

use std::sync::Arc;

use likeness_core::log::NewRecord;
use likeness_core::state::Write;
use likeness_core::step::{Durability, Emit, Step};
use likeness_core::{ImageNumber, StoreError, StoreResult, Timestamp};

use super::set::BankMatch;
use super::{
    BANK_MATCHES, BankMatchView, ScanRecord, ScanView, encode_match, match_by_image_key, match_key,
    scan_key,
};
use crate::EngineError;
use crate::dedup::Dedup;
use crate::dedup::assign_stage::totals;
use crate::dedup::pairs::Known;
use crate::dedup::tables::{PARTITION, encode};
use crate::metrics::BANK_MATCHES_TOTAL;

/// Images that one call looks at.
pub const SCANNED_AT_ONCE: u64 = 2_000;
/// Images of one commit.
const COMMIT: u64 = 250;

impl Dedup {
    /// Looks at the next [`SCANNED_AT_ONCE`] stored images for a bank, in force or not, and returns how far the
    /// scan is. Call it again until it is done. Begins anew if `anew`, if the last scan is done and there are new
    /// images or references, or if references were added meanwhile. One call at a time works; others wait.
    ///
    /// # Errors
    /// [`EngineError::BankNotFound`], [`EngineError::ShuttingDown`]; if a store fails: then call it again.
    pub async fn scan_bank(&self, name: &str, anew: bool) -> Result<ScanView, EngineError> {
        let _one_at_a_time = self.scanning.lock().await;
        let state = self.ports.state.as_ref();
        let record = self.bank_record(name).await?;
        let totals = totals(state).await?;
        let before: Option<ScanRecord> = self.row("bank_scans", &scan_key(record.serial)).await?;
        let mut scan = match before {
            Some(scan) if !anew && scan.next_reference == record.next_reference => {
                let has_grown = totals.images > scan.end;
                ScanRecord {
                    // What came since was compared when it was decided, unless the bank was not in force.
                    end: if has_grown && is_done(&scan) {
                        totals.images
                    } else {
                        scan.end
                    },
                    ..scan
                }
            }
            _ => ScanRecord {
                next: 0,
                end: totals.images,
                matches: if anew {
                    0
                } else {
                    before.map_or(0, |scan| scan.matches)
                },
                next_reference: record.next_reference,
            },
        };
        let banks = self.banks.current(state, totals.bank_changes).await?;
        let bank = banks
            .bank(name)
            .filter(|bank| bank.record.serial == record.serial)
            .ok_or_else(|| EngineError::BankNotFound(name.to_owned()))?;
        let stop = scan.next.saturating_add(SCANNED_AT_ONCE).min(scan.end);
        while scan.next < stop {
            if self.shutdown.is_cancelled() {
                return Err(EngineError::ShuttingDown);
            }
            let end = (scan.next + COMMIT).min(stop);
            let numbers: Vec<_> = (scan.next..end).map(ImageNumber).collect();
            let known = Known {
                state,
                batch: None,
                is_corrected: false,
            };
            let records = known.records(&numbers).await?;
            let (searched, scorer) = (Arc::clone(bank), Arc::clone(&self.scorer));
            let near = self
                .cpu
                .run(move || -> StoreResult<Vec<_>> {
                    let mut near = Vec::new();
                    for (number, record) in numbers.into_iter().zip(records) {
                        // Erased.
                        let Some(record) = record else { continue };
                        let image = record.descriptors(scorer.views())?;
                        let references = searched.near(&scorer, &record.id, &image)?;
                        if !references.is_empty() {
                            near.push((number, record, image, references));
                        }
                    }
                    Ok(near)
                })
                .await
                .map_err(|panic| StoreError::corrupt("index", "scan", panic.to_string()))??;
            let mut found = Vec::new();
            for (number, record, image, references) in near {
                let matched = bank
                    .matched(
                        &references,
                        &self.scorer,
                        &record.id,
                        &record.sha256,
                        &image,
                    )
                    .await?;
                found.extend(matched.map(|matched| (number, matched)));
            }
            scan.next = end;
            self.keep(&mut scan, record.serial, found).await?;
        }
        // Where nothing was left to look at, this is the first anyone hears of it.
        if scan.end == scan.next {
            self.keep(&mut scan, record.serial, Vec::new()).await?;
        }
        Ok(ScanView {
            scanned: scan.next,
            images: scan.end,
            matches: scan.matches,
            is_done: is_done(&scan),
        })
    }

    /// Commits what was found, with the place that the scan has reached.
    async fn keep(
        &self,
        scan: &mut ScanRecord,
        serial: u64,
        found: Vec<(ImageNumber, BankMatch)>,
    ) -> Result<(), EngineError> {
        let (mut writes, mut records) = (Vec::new(), Vec::new());
        for (number, matched) in found {
            let key = match_key(serial, number.0);
            // Known since it was decided, or since an earlier scan.
            if self.ports.state.get(&key).await?.is_some() {
                continue;
            }
            let view = BankMatchView {
                retroactive: true,
                time_ms: Timestamp::now().0,
                ..matched.view
            };
            metrics::counter!(BANK_MATCHES_TOTAL, "bank" => view.bank.clone(), "when" => "scan")
                .increment(1);
            let payload = encode_match(&view);
            let image = likeness_core::ImageId::new(view.image)?;
            writes.push(Write::Put(key, payload.clone()));
            writes.push(Write::Put(
                match_by_image_key(&image, serial),
                payload.clone(),
            ));
            records.push(NewRecord {
                key: bytes::Bytes::copy_from_slice(image.as_bytes()),
                payload,
            });
            scan.matches += 1;
        }
        writes.push(Write::Put(scan_key(serial), encode(scan)));
        let emits = if records.is_empty() {
            Vec::new()
        } else {
            vec![Emit {
                topic: BANK_MATCHES,
                partition: PARTITION,
                records,
            }]
        };
        let step = Step {
            writes,
            emits,
            ..Step::default()
        };
        self.ports.steps.commit(step, Durability::Process).await?;
        Ok(())
    }
}

pub(super) fn is_done(scan: &ScanRecord) -> bool {
    scan.next >= scan.end
}
