//! Explanations name images by number; here they get their ids back.

use std::collections::HashMap;

use likeness_core::{ImageId, ImageNumber};

use super::Dedup;
use super::pairs::Known;
use super::records::{ExplainRecord, NumberRecord};
use super::rule::{mentioned, with_names};
use crate::EngineError;

impl Dedup {
    /// Fills in who the candidates of an explanation are. Those that were erased are left out; a head that was
    /// erased is named by the canonical id of the candidate's cluster.
    ///
    /// # Errors
    /// If the store fails, or a number has no record.
    pub(super) async fn look_up(&self, explain: &mut ExplainRecord) -> Result<(), EngineError> {
        let mut numbers: Vec<ImageNumber> = explain
            .candidates
            .iter()
            .flat_map(|candidate| [Some(candidate.number), candidate.head_number])
            .chain([mentioned(&explain.rule)])
            .flatten()
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        let known = Known {
            state: self.ports.state.as_ref(),
            is_corrected: false,
            batch: None,
        };
        let records = known.records(&numbers).await?;
        let known: HashMap<ImageNumber, NumberRecord> = numbers
            .into_iter()
            .zip(records)
            .filter_map(|(number, record)| Some((number, record?)))
            .collect();
        let id = |number: ImageNumber| -> Option<ImageId> { Some(known.get(&number)?.id.clone()) };
        explain.candidates.retain_mut(|candidate| {
            let Some(record) = known.get(&candidate.number) else {
                return false;
            };
            candidate.id = record.id.clone();
            candidate.uploaded = record.uploaded;
            let head = candidate.head_number.and_then(id);
            candidate.head = head.unwrap_or_else(|| record.head.clone());
            true
        });
        explain.rule = with_names(&explain.rule, |number| match id(number) {
            Some(id) => format!("`{id}`"),
            None => "an image that was erased since".to_owned(),
        });
        Ok(())
    }
}
