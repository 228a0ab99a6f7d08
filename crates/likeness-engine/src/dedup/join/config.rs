use std::collections::BTreeSet;
use std::time::Duration;

use likeness_vision::runtime::EmbedderSpec;

use crate::dedup::compare::ViewsMode;

/// Most kinds of embeddings; a configuration with more is refused.
pub const MAX_KINDS: usize = 8;
/// Most components of an embedding; a kind with more is refused.
pub const MAX_DIMENSION: usize = 4_096;
/// Longest name of a kind and of a model, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Which embeddings come from elsewhere, and what an image waits for. Without kinds nothing is joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinConfig {
    /// Kinds that are taken; others are refused at the door.
    pub kinds: Vec<EmbeddingKind>,
    /// Kind that the index holds in place of the model that runs here. It is required.
    pub primary: Option<String>,
    /// Further kinds that an upload waits for before it is decided.
    pub required: Vec<String>,
    /// Event time that one side waits for the other before it counts as an orphan.
    pub lateness: Duration,
    /// Images of which one side only is there. Beyond it, what would add to them is refused with
    /// `overloaded`; what has its partner is not.
    pub max_unjoined: u64,
}

impl Default for JoinConfig {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            primary: None,
            required: Vec::new(),
            lateness: Duration::from_secs(3_600),
            max_unjoined: 1_000_000,
        }
    }
}

/// A kind of embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingKind {
    /// Its name, such as `copy`.
    pub name: String,
    /// The model that makes it: embeddings of another one are refused.
    pub model: String,
    /// Components.
    pub dimension: usize,
}

impl EmbeddingKind {
    /// Whether the model that runs here makes embeddings of this kind.
    pub fn is_made_by(&self, spec: &EmbedderSpec) -> bool {
        self.dimension == spec.dim && self.model == format!("{} {}", spec.model, spec.version)
    }
}

impl JoinConfig {
    /// Whether there is nothing to join.
    pub fn is_off(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Returns a kind by its name.
    pub fn kind(&self, name: &str) -> Option<&EmbeddingKind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    /// Returns the kind that the index holds, if it is not the model that runs here.
    pub fn primary(&self) -> Option<&EmbeddingKind> {
        self.kind(self.primary.as_deref()?)
    }

    /// Returns the kinds that an upload waits for, by name.
    pub fn required_kinds(&self) -> BTreeSet<&str> {
        self.required
            .iter()
            .chain(&self.primary)
            .map(String::as_str)
            .collect()
    }

    /// Checks what the type cannot say.
    ///
    /// # Errors
    /// What is wrong, beginning with the key.
    pub fn check(&self, views: ViewsMode) -> Result<(), String> {
        if self.kinds.len() > MAX_KINDS {
            return Err(format!("`kinds` has more than {MAX_KINDS} entries"));
        }
        let mut names = BTreeSet::new();
        for EmbeddingKind {
            name,
            model,
            dimension,
        } in &self.kinds
        {
            let is_name = (1..=MAX_NAME_BYTES).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
            if !is_name {
                return Err(format!(
                    "`kinds` has the name {name:?}: 1 to {MAX_NAME_BYTES} of `a-z 0-9 - _`"
                ));
            }
            if !names.insert(name) {
                return Err(format!("`kinds` has `{name}` twice"));
            }
            if !(1..=MAX_NAME_BYTES).contains(&model.len()) || model.chars().any(char::is_control) {
                return Err(format!(
                    "`kinds` must name the model of `{name}`, in 1 to {MAX_NAME_BYTES} bytes"
                ));
            }
            if !(1..=MAX_DIMENSION).contains(dimension) {
                return Err(format!(
                    "`kinds` gives `{name}` {dimension} components, not 1 to {MAX_DIMENSION}"
                ));
            }
        }
        for (key, wanted) in self
            .required
            .iter()
            .map(|name| ("required", name))
            .chain(self.primary.iter().map(|name| ("primary", name)))
        {
            if self.kind(wanted).is_none() {
                return Err(format!(
                    "`{key}` names `{wanted}`, which `kinds` does not have"
                ));
            }
        }
        if self.primary.is_some() && views != ViewsMode::Off {
            return Err(
                "`primary` needs `dedup.views` to be \"off\": views are embedded by the model that \
                 runs here, which the index does not hold then"
                    .to_owned(),
            );
        }
        if self.max_unjoined == 0 {
            return Err("`max_unjoined` must be at least 1".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, dimension: usize) -> EmbeddingKind {
        EmbeddingKind {
            name: name.to_owned(),
            model: "m 1".to_owned(),
            dimension,
        }
    }

    #[track_caller]
    fn check_refused(config: JoinConfig, wanted: &str) {
        let error = config.check(ViewsMode::Off).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }

    #[test]
    fn what_cannot_work_is_refused_and_named() {
        let with = |kinds: Vec<EmbeddingKind>| JoinConfig {
            kinds,
            ..JoinConfig::default()
        };
        assert_eq!(JoinConfig::default().check(ViewsMode::Regions), Ok(()));
        check_refused(with(vec![kind("A", 4)]), "\"A\"");
        check_refused(with(vec![kind("a", 4), kind("a", 5)]), "twice");
        check_refused(with(vec![kind("a", 0)]), "0 components");
        check_refused(with(vec![kind("a", 4); MAX_KINDS + 1]), "more than 8");
        let good = JoinConfig {
            primary: Some("a".to_owned()),
            required: vec!["b".to_owned(), "a".to_owned()],
            ..with(vec![kind("a", 4), kind("b", 5)])
        };
        assert_eq!(good.check(ViewsMode::Off), Ok(()));
        assert_eq!(
            good.required_kinds().into_iter().collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert!(good.check(ViewsMode::Regions).is_err());
        let missing = JoinConfig {
            kinds: vec![kind("a", 4)],
            ..good
        };
        check_refused(missing, "`required` names `b`");
    }
}
