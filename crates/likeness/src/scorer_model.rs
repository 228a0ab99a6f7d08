//! `dedup.scorer` and `[dedup.scorer_model]` where a model of another kind than ours scores: one that is served
//! elsewhere, or an ONNX file (docs/adr/022-remote-scorer.md).

use std::path::Path;

use likeness_engine::dedup::remote_scorer::columns;
use serde::Deserialize;

use crate::units::Period;

/// What `dedup.scorer` begins with if it is served elsewhere.
const PREFIX: &str = "oip:";
/// What it begins with if it is an ONNX file.
const ONNX: &str = "onnx:";

/// What such a model reads, and how it is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScorerModelSection {
    pub(crate) features: Vec<String>,
    pub(crate) timeout: Period,
    pub(crate) max_pairs: usize,
    pub(crate) cosine_floor: f32,
}

/// Where a model is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    /// Root of the server.
    pub(crate) url: &'a str,
    pub(crate) model: &'a str,
}

/// Whether `dedup.scorer` is such a model, not a file of `likeness train scorer`.
pub(crate) fn is_model(scorer: &str) -> bool {
    scorer.starts_with(PREFIX) || scorer.starts_with(ONNX)
}

/// Returns the ONNX file, if `scorer` is one.
pub(crate) fn onnx_file(scorer: &str) -> Option<&Path> {
    scorer.strip_prefix(ONNX).map(Path::new)
}

/// Returns where the model is; nothing if `scorer` is a file, or none.
///
/// # Errors
/// What an address looks like, if this is none.
pub(crate) fn address(scorer: &str) -> Result<Option<Address<'_>>, String> {
    let Some(address) = scorer.strip_prefix(PREFIX) else {
        return Ok(None);
    };
    address
        .rsplit_once('/')
        .filter(|(url, model)| is_root(url) && is_model_name(model))
        .map(|(url, model)| Some(Address { url, model }))
        .ok_or_else(|| {
            format!(
                "`dedup.scorer` is `{scorer}`, not as `oip:http://host:port/model`, the model of letters, digits, \
                 `.`, `_` and `-`; there is no TLS here, put a proxy next to this process"
            )
        })
}

/// Whether this is the root of a server, maybe with a path, without TLS.
fn is_root(url: &str) -> bool {
    let host = url.strip_prefix("http://");
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/') && !host.ends_with('/'))
}

fn is_model_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    !name.is_empty() && name.chars().all(is_plain)
}

impl ScorerModelSection {
    /// Checks the section, and what else such a model needs.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self, scorer: &str, threshold: f32) -> Result<(), String> {
        if self.max_pairs == 0 {
            return Err("`dedup.scorer_model.max_pairs` must be at least 1".to_owned());
        }
        if !(-1.0..=1.0).contains(&self.cosine_floor) {
            return Err(format!(
                "`dedup.scorer_model.cosine_floor` must lie in -1..=1, got `{}`",
                self.cosine_floor
            ));
        }
        columns(&self.features)
            .map_err(|reason| format!("`dedup.scorer_model.features`: {reason}"))?;
        address(scorer)?;
        if is_model(scorer) && threshold == 0.0 {
            return Err(format!(
                "the scorer `{scorer}` brings no threshold: set `dedup.threshold`"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_files_and_wrong_ones_are_refused() {
        let found = |url, model| Ok(Some(Address { url, model }));
        assert_eq!(
            address("oip:http://h:80/pairs-4.1"),
            found("http://h:80", "pairs-4.1")
        );
        assert_eq!(
            address("oip:http://h/tenant/pairs"),
            found("http://h/tenant", "pairs")
        );
        for file in ["", "scorer.json", "./oip:x"] {
            assert_eq!(address(file), Ok(None));
        }
        for wrong in [
            "oip:",
            "oip:h:80/pairs",
            "oip:https://h:80/pairs",
            "oip:http://pairs",
            "oip:http:///pairs",
            "oip:http://h:80/",
            "oip:http://h:80//pairs",
            "oip:http://h:80/pairs?x",
        ] {
            let refused = address(wrong).unwrap_err();
            assert!(refused.contains("oip:http://host:port/model"), "{refused}");
        }
    }

    #[track_caller]
    fn check_refused(change: impl FnOnce(&mut ScorerModelSection), scorer: &str, wanted: &str) {
        let mut section = ScorerModelSection {
            features: vec!["cosine".to_owned()],
            timeout: Period(std::time::Duration::from_secs(1)),
            max_pairs: 1,
            cosine_floor: 0.2,
        };
        assert_eq!(section.check("oip:http://h:80/pairs", 0.5), Ok(()));
        change(&mut section);
        let refused = section.check(scorer, 0.0).unwrap_err();
        assert!(refused.contains(wanted), "{refused}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        check_refused(|it| it.max_pairs = 0, "", "max_pairs");
        check_refused(|it| it.cosine_floor = 1.5, "", "cosine_floor");
        check_refused(
            |it| it.features.push("differing".to_owned()),
            "",
            "close look",
        );
        check_refused(|_| {}, "oip:http://h:80/pairs", "set `dedup.threshold`");
    }
}
