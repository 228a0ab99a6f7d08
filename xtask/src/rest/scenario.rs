//! The form of a scenario file.
//!
//! ```yaml
//! name: what this shows
//! environment:                 # of the server, if it needs any
//!   LIKENESS__SECTION__KEY: value
//! files:                       # made by the harness, the same in every run
//!   cat: {picture: 1}          # drawn, unlike any other number; `edit`, `format`, `size` change it
//!   note: {text: "not a picture"}
//! steps:
//!   - name: what happens
//!     request: {method: POST, path: "/v1/images?wait=true", form: {id: a, file: cat}}
//!     expect: {status: 200, headers: {…}, body: {…}, contains: […]}
//!     capture: {head: decision.canonical_id}   # or `header:location`; used as ${head}
//!     until: 10                # seconds in which the expectation may come true
//! ```
//!
//! A request has at most one of `form`, `json` and `bytes`. `${base64:cat}` stands for a file in
//! base64. How bodies are compared: see `matcher.rs`.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::formats::{bmp, gif, jpeg, tiff, webp};
use crate::http::Form;
use crate::pictures::Picture;

/// A scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// What it shows.
    pub(crate) name: String,
    /// Environment of the server.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, File>,
    /// What happens, in order.
    pub(crate) steps: Vec<Step>,
}

/// A request and its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// What happens.
    pub(crate) name: String,
    /// What is sent.
    pub(crate) request: Request,
    /// What must come back.
    pub(crate) expect: Expect,
    /// Variable → place in the answer.
    #[serde(default)]
    pub(crate) capture: BTreeMap<String, String>,
    /// Seconds in which the answer may come to be as expected.
    #[serde(default)]
    pub(crate) until: u64,
}

/// What is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    #[serde(default = "get")]
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Fields of a form; `file` names a file of the scenario.
    form: Option<BTreeMap<String, String>>,
    json: Option<Value>,
    /// Name of a file of the scenario, sent as it is.
    bytes: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

/// What must come back. What is not said may be anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Option<Value>,
    /// Texts that the body contains.
    #[serde(default)]
    pub(crate) contains: Vec<String>,
    /// File of the scenario that the body is.
    pub(crate) file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    picture: Option<usize>,
    edit: Option<usize>,
    #[serde(default)]
    format: Format,
    size: Option<(usize, usize)>,
    text: Option<String>,
    /// Keep only this many bytes.
    cut: Option<usize>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Png,
    Jpeg,
    Gif,
    Bmp,
    Tiff,
    Webp,
}

impl File {
    fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = match (self.picture, &self.text) {
            (Some(index), None) => {
                let (width, height) = self.size.unwrap_or((160, 120));
                let mut picture = Picture::distinct(index, width, height);
                if let Some(edit) = self.edit {
                    picture = picture.edited(edit);
                }
                self.format.write(&picture)
            }
            (None, Some(text)) => text.clone().into_bytes(),
            _ => bail!("a file is either a `picture` or a `text`"),
        };
        if let Some(cut) = self.cut {
            bytes.truncate(cut);
        }
        Ok(bytes)
    }
}

impl Format {
    fn write(self, picture: &Picture) -> Vec<u8> {
        match self {
            Self::Png => picture.png(),
            Self::Jpeg => jpeg::baseline(picture),
            Self::Gif => gif::animated(picture, 1),
            Self::Bmp => bmp::rgb(picture),
            Self::Tiff => tiff::rgb(picture),
            Self::Webp => webp::two_tone(picture),
        }
    }
}

/// What is known while a scenario runs: its files and what was captured.
#[derive(Debug)]
pub(crate) struct Scope {
    files: BTreeMap<String, Vec<u8>>,
    variables: BTreeMap<String, String>,
}

impl Scope {
    /// Makes the files of a scenario.
    ///
    /// # Errors
    /// If one is described in a way that makes no sense.
    pub(crate) fn new(scenario: &Scenario) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        for (name, file) in &scenario.files {
            let bytes = file.bytes().with_context(|| format!("file `{name}`"))?;
            files.insert(name.clone(), bytes);
        }
        Ok(Self {
            files,
            variables: BTreeMap::new(),
        })
    }

    /// Remembers a value under a name.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.variables.insert(name.to_owned(), value);
    }

    /// Returns the bytes of a file.
    ///
    /// # Errors
    /// If the scenario has no such file.
    pub(crate) fn file(&self, name: &str) -> anyhow::Result<&[u8]> {
        self.files
            .get(name)
            .map(Vec::as_slice)
            .with_context(|| format!("the scenario has no file `{name}`"))
    }

    /// Replaces `${name}` by what it stands for.
    ///
    /// # Errors
    /// If a name is unknown.
    pub(crate) fn fill(&self, text: &str) -> anyhow::Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after
                .split_once('}')
                .with_context(|| format!("`{text}` has an open `${{`"))?;
            out.push_str(before);
            if let Some(file) = name.strip_prefix("base64:") {
                out.push_str(&STANDARD.encode(self.file(file)?));
            } else {
                let value = self.variables.get(name);
                out.push_str(value.with_context(|| format!("`${{{name}}}` was never captured"))?);
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Replaces `${name}` in every text of a value.
    ///
    /// # Errors
    /// If a name is unknown.
    pub(crate) fn fill_value(&self, value: &Value) -> anyhow::Result<Value> {
        Ok(match value {
            Value::String(text) => Value::String(self.fill(text)?),
            Value::Array(items) => items
                .iter()
                .map(|item| self.fill_value(item))
                .collect::<anyhow::Result<_>>()?,
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(name, field)| Ok((name.clone(), self.fill_value(field)?)))
                    .collect::<anyhow::Result<_>>()?,
            ),
            other => other.clone(),
        })
    }
}

impl Request {
    /// Returns the content type (if there is a body) and the body.
    ///
    /// # Errors
    /// If the request names what is not there, or has two bodies.
    pub(crate) fn body(&self, scope: &Scope) -> anyhow::Result<(Option<String>, Vec<u8>)> {
        match (&self.form, &self.json, &self.bytes) {
            (None, None, None) => Ok((None, Vec::new())),
            (Some(fields), None, None) => {
                let mut form = Form::default();
                for (name, value) in fields {
                    if name == "file" {
                        form.file("file", &format!("{value}.png"), scope.file(value)?);
                    } else {
                        form.text(name, &scope.fill(value)?);
                    }
                }
                let (content_type, body) = form.finish();
                Ok((Some(content_type), body))
            }
            (None, Some(value), None) => {
                let body = scope.fill_value(value)?.to_string().into_bytes();
                Ok((Some("application/json".to_owned()), body))
            }
            (None, None, Some(name)) => Ok((
                Some("application/octet-stream".to_owned()),
                scope.file(name)?.to_vec(),
            )),
            _ => bail!("a request has at most one of `form`, `json` and `bytes`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Scenario, Scope};

    #[test]
    fn variables_and_files_are_filled_in() {
        let text = "{name: x, files: {hi: {text: hello}}, steps: []}";
        let scenario: Scenario = serde_norway::from_str(text).unwrap();
        let mut scope = Scope::new(&scenario).unwrap();
        scope.set("head", "a1".to_owned());
        assert_eq!(scope.fill("/x/${head}?y").unwrap(), "/x/a1?y");
        assert_eq!(scope.fill("${base64:hi}").unwrap(), "aGVsbG8=");
        assert!(scope.fill("${nobody}").is_err());
        assert!(scope.fill("${open").is_err());
    }
}
