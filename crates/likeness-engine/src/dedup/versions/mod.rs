//! Versions of the scorer: files that wait to be looked at, and what would change with one of them.
//!
//! A version is kept as an object, `scorers/NAME/VERSION.json`, so that every process and every place sees
//! the same. Nothing is promoted by keeping or comparing one: that takes `dedup.scorer` and a new start, which
//! opens a new generation (docs/adr/018-review-and-labels.md).

mod compare;
mod measure;
mod tally;
#[cfg(test)]
mod tests;
mod view;

use bytes::Bytes;
use likeness_core::StoreError;
use likeness_core::objects::{ObjectPath, PutOutcome};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Dedup;
use super::scorer::Scorer;
use crate::EngineError;

pub use compare::MAX_SAMPLE;
pub use measure::{Agreement, ComparisonVerdict};
pub use view::{ChangeKind, ChangedDecision, CompareOptions, ScorerComparison, ScorerSide};

/// Longest file of a scorer; a longer one is refused.
pub const MAX_SCORER_BYTES: usize = 8 << 20;
/// Most versions that are kept; another one is refused.
pub const MAX_SCORERS: usize = 100;

const FOLDER: &str = "scorers/";

/// A version of the scorer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScorerVersion {
    /// Name and version, as in `pairs/3`.
    pub id: String,
    /// Score that a pair needs.
    pub threshold: f32,
    /// Whether it decides now.
    pub is_live: bool,
    /// Whether it is kept as a file; the one that decides and the built-in one need not be.
    pub is_kept: bool,
}

impl Dedup {
    /// Keeps a version of the scorer, so that it can be compared. The same file again changes nothing.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] if it is no scorer, is too long, has a name that no path can have, or
    /// another file has its name and version; if a store fails.
    pub async fn add_scorer(&self, json: &str) -> Result<ScorerVersion, EngineError> {
        if json.len() > MAX_SCORER_BYTES {
            return Err(invalid(format!("has more than {MAX_SCORER_BYTES} bytes")));
        }
        let scorer = Scorer::from_json(json).map_err(|error| invalid(error.to_string()))?;
        let id = scorer.id();
        if self.kept_scorers().await?.len() >= MAX_SCORERS {
            return Err(invalid(format!(
                "{MAX_SCORERS} versions are kept already; remove files under `{FOLDER}`"
            )));
        }
        let path = path_of(&id)?;
        let bytes = Bytes::copy_from_slice(json.as_bytes());
        let outcome = self.ports.objects.put_new(&path, bytes.clone()).await?;
        if outcome == PutOutcome::Exists && self.ports.objects.get(&path).await? != Some(bytes) {
            return Err(invalid(format!(
                "another file is kept as `{id}`; give this one another version"
            )));
        }
        Ok(self.version(&scorer, true))
    }

    /// Lists the versions that can be compared: the one that decides, the built-in ones, and those kept.
    ///
    /// # Errors
    /// If a store fails.
    pub async fn scorers(&self) -> Result<Vec<ScorerVersion>, EngineError> {
        let mut found = vec![ScorerVersion {
            id: self.scorer.id(),
            threshold: self.scorer.threshold(),
            is_live: true,
            is_kept: false,
        }];
        let builtins = Scorer::builtins().map(|scorer| self.version(&scorer, false));
        let live = self.scorer.id();
        found.extend(builtins.filter(|builtin| builtin.id != live));
        for id in self.kept_scorers().await? {
            // Read one by one: a file of another format, or one that is gone since, is left out.
            let Ok(scorer) = self.kept_scorer(&id).await else {
                continue;
            };
            match found.iter_mut().find(|version| version.id == id) {
                Some(version) => version.is_kept = true,
                None => found.push(self.version(&scorer, true)),
            }
        }
        Ok(found)
    }

    /// Returns a version by its name.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] if there is none, its file is no scorer, or it is served elsewhere; if a
    /// store fails.
    pub(super) async fn scorer_version(&self, id: &str) -> Result<Scorer, EngineError> {
        if self.scorer.id() == id {
            let live = self.scorer.scorer().cloned();
            return live.ok_or_else(|| {
                invalid(format!(
                    "`{id}` is served elsewhere, and only scorers in this process are compared; name another \
                     version to compare with"
                ))
            });
        }
        if let Some(builtin) = Scorer::builtins().find(|builtin| builtin.id() == id) {
            return Ok(builtin);
        }
        self.kept_scorer(id).await
    }

    async fn kept_scorer(&self, id: &str) -> Result<Scorer, EngineError> {
        let bytes = self.ports.objects.get(&path_of(id)?).await?;
        let bytes = bytes.ok_or_else(|| {
            invalid(format!(
                "there is no version `{id}`; `likeness scorer add FILE` keeps one"
            ))
        })?;
        let json = String::from_utf8_lossy(&bytes);
        Scorer::from_json(&json).map_err(|error| invalid(format!("version `{id}`: {error}")))
    }

    async fn kept_scorers(&self) -> Result<Vec<String>, StoreError> {
        let listed = self.ports.objects.list(FOLDER, None, MAX_SCORERS).await?;
        let ids = listed.iter().filter_map(|object| {
            let path = object.path.as_str().strip_prefix(FOLDER)?;
            Some(path.strip_suffix(".json")?.to_owned())
        });
        Ok(ids.collect())
    }

    fn version(&self, scorer: &Scorer, is_kept: bool) -> ScorerVersion {
        ScorerVersion {
            id: scorer.id(),
            threshold: self.threshold_of(scorer),
            is_live: scorer.id() == self.scorer.id(),
            is_kept,
        }
    }

    /// Returns the threshold that a scorer would decide with here, where nothing is looked at.
    pub(super) fn threshold_of(&self, scorer: &Scorer) -> f32 {
        let own = || scorer.threshold_unlooked();
        self.config.threshold.unwrap_or_else(own)
    }
}

fn path_of(id: &str) -> Result<ObjectPath, EngineError> {
    let is_name = matches!(id.split_once('/'), Some((name, version)) if !name.is_empty() && !version.is_empty() && !version.contains('/'));
    ObjectPath::new(format!("{FOLDER}{id}.json"))
        .ok()
        .filter(|_| is_name)
        .ok_or_else(|| {
            invalid(format!(
                "`{id}` is no name and version, as in `pairs/4`, of letters, digits, `.`, `_` and `-`"
            ))
        })
}

fn invalid(reason: String) -> EngineError {
    EngineError::InvalidParameter {
        name: "scorer",
        reason,
    }
}
