//! The OpenAPI document of a running server, and answers held against it.
//!
//! Knows the part of JSON Schema that the document uses; a keyword that it does not know is an error,
//! so that no answer passes unchecked.

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::matcher::at;
use crate::http::Response;

/// Keywords that say nothing about validity.
const ANNOTATIONS: &[&str] = &[
    "title",
    "description",
    "example",
    "examples",
    "default",
    "format",
    "deprecated",
    "propertyNames",
    "contentEncoding",
    "contentMediaType",
];

/// The document.
#[derive(Debug)]
pub(crate) struct Document(Value);

impl Document {
    /// Wraps a document.
    pub(crate) fn new(document: Value) -> Self {
        Self(document)
    }

    /// Returns the number of operations.
    pub(crate) fn num_operations(&self) -> usize {
        let paths = self.0["paths"].as_object();
        paths.map_or(0, |paths| {
            paths
                .values()
                .filter_map(Value::as_object)
                .flat_map(|item| item.keys())
                .filter(|key| *key != "parameters")
                .count()
        })
    }

    /// Returns `METHOD /path/{template}` of a request, if the document has it.
    pub(crate) fn operation(&self, method: &str, path: &str) -> Option<String> {
        let path = path.split('?').next().unwrap_or(path);
        let method = method.to_ascii_lowercase();
        let templates = self.0["paths"].as_object()?;
        // A template without parameters comes before one that would take anything.
        let mut fitting: Vec<&String> = templates
            .iter()
            .filter(|(template, item)| fits(template, path) && item.get(&method).is_some())
            .map(|(template, _)| template)
            .collect();
        fitting.sort_by_key(|template| template.matches('{').count());
        fitting
            .first()
            .map(|template| format!("{method} {template}"))
    }

    /// Checks an answer against the operation (as [`operation`](Self::operation) names it).
    ///
    /// # Errors
    /// If the document does not know the status, the content type or the form of the body.
    pub(crate) fn check(&self, operation: &str, answer: &Response) -> anyhow::Result<()> {
        let (method, template) = operation.split_once(' ').context("not an operation")?;
        let responses = &self.0["paths"][template][method]["responses"];
        let status = answer.status.to_string();
        let response = self.resolve(
            responses
                .get(&status)
                .with_context(|| format!("{operation} does not document status {status}"))?,
        )?;
        let Some(content) = response["content"].as_object() else {
            if answer.body.is_empty() {
                return Ok(());
            }
            bail!("{operation} documents no body for {status}");
        };
        let content_type = answer.header("content-type").unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let media = content
            .iter()
            .find(|(name, _)| media_type_fits(name, essence))
            .map(|(_, media)| media)
            .with_context(|| format!("{operation} {status} does not document `{essence}`"))?;
        let Some(schema) = media.get("schema") else {
            return Ok(());
        };
        match essence {
            "application/json" => self.validate("body", schema, &answer.json()?),
            "text/event-stream" => {
                let text = String::from_utf8_lossy(&answer.body);
                for data in text.lines().filter_map(|line| line.strip_prefix("data:")) {
                    let event = serde_json::from_str(data).context("an event is not JSON")?;
                    self.validate("event", schema, &event)?;
                }
                Ok(())
            }
            "application/x-ndjson" => {
                let text = String::from_utf8_lossy(&answer.body);
                for line in text.lines() {
                    let value = serde_json::from_str(line).context("a line is not JSON")?;
                    self.validate("line", schema, &value)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> anyhow::Result<&'a Value> {
        let Some(reference) = value["$ref"].as_str() else {
            return Ok(value);
        };
        let path = reference
            .strip_prefix("#/")
            .with_context(|| format!("`{reference}` leads out of the document"))?;
        at(&self.0, &path.replace('/', ".")).with_context(|| format!("`{reference}` leads nowhere"))
    }

    fn validate(&self, place: &str, schema: &Value, value: &Value) -> anyhow::Result<()> {
        let Some(keywords) = schema.as_object() else {
            return match schema {
                Value::Bool(true) => Ok(()),
                _ => bail!("{place} may not be there"),
            };
        };
        for (keyword, argument) in keywords {
            self.keyword(place, schema, keyword, argument, value)?;
        }
        Ok(())
    }

    fn keyword(
        &self,
        place: &str,
        schema: &Value,
        keyword: &str,
        argument: &Value,
        value: &Value,
    ) -> anyhow::Result<()> {
        let list = || argument.as_array().map(Vec::as_slice).unwrap_or_default();
        let fitting = || {
            let alternatives = list().iter();
            alternatives
                .filter(|schema| self.validate(place, schema, value).is_ok())
                .count()
        };
        let holds = match keyword {
            "$ref" => return self.validate(place, self.resolve(schema)?, value),
            "type" => match argument {
                Value::Array(types) => types.iter().any(|name| is_of_type(name, value)),
                name => is_of_type(name, value),
            },
            "enum" => list().contains(value),
            "const" => argument == value,
            "oneOf" => fitting() == 1,
            "anyOf" => fitting() > 0,
            "allOf" => {
                for part in list() {
                    self.validate(place, part, value)?;
                }
                true
            }
            "required" => {
                let mut names = list().iter().filter_map(Value::as_str);
                if let Some(missing) =
                    names.find(|name| value.is_object() && value.get(name).is_none())
                {
                    bail!("{place}.{missing} is required and missing");
                }
                true
            }
            "properties" => {
                let fields = argument.as_object().into_iter().flatten();
                for (name, field) in fields {
                    if let Some(value) = value.get(name) {
                        self.validate(&format!("{place}.{name}"), field, value)?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object();
                let fields = value.as_object().into_iter().flatten();
                for (name, value) in fields {
                    if !known.is_some_and(|known| known.contains_key(name)) {
                        self.validate(&format!("{place}.{name}"), argument, value)?;
                    }
                }
                true
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    self.validate(&format!("{place}[{index}]"), argument, item)?;
                }
                true
            }
            "minimum" => within(value, argument, |value, bound| value >= bound),
            "maximum" => within(value, argument, |value, bound| value <= bound),
            name if ANNOTATIONS.contains(&name) => true,
            name => bail!("{place}: the schema says `{name}`, which is not checked here"),
        };
        if !holds {
            bail!("{place} is {value}, which breaks `{keyword}: {argument}`");
        }
        Ok(())
    }
}

/// Bounds are for numbers only.
fn within(value: &Value, bound: &Value, holds: fn(f64, f64) -> bool) -> bool {
    let pair = value.as_f64().zip(bound.as_f64());
    pair.is_none_or(|(value, bound)| holds(value, bound))
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap_or_default() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn fits(template: &str, path: &str) -> bool {
    let mut template = template.split('/');
    let mut path = path.split('/');
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(want), Some(have))
                if want == have || want.starts_with('{') && !have.is_empty() => {}
            _ => return false,
        }
    }
}

fn media_type_fits(documented: &str, actual: &str) -> bool {
    documented == actual
        || documented
            .strip_suffix('*')
            .is_some_and(|prefix| actual.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Document;
    use crate::http::Response;

    fn document() -> Document {
        Document::new(json!({
            "paths": {"/v1/x/{id}": {"get": {"responses": {"200": {"content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/X"}}}}}}}},
            "components": {"schemas": {"X": {
                "type": "object", "required": ["n"],
                "properties": {
                    "n": {"type": "integer", "minimum": 0},
                    "k": {"oneOf": [{"type": "null"}, {"enum": ["a", "b"]}]},
                    "l": {"type": ["array", "null"], "items": {"type": "string"}},
                },
            }}},
        }))
    }

    #[track_caller]
    fn check(status: u16, body: &Value, is_valid: bool) {
        let answer = Response {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        };
        let operation = document().operation("GET", "/v1/x/7?y=1").unwrap();
        let result = document().check(&operation, &answer);
        assert_eq!(result.is_ok(), is_valid, "{result:?}");
    }

    #[test]
    fn answers_are_held_against_their_schema() {
        check(200, &json!({"n": 1, "k": "a", "l": ["x"]}), true);
        check(200, &json!({"n": 1, "k": null, "l": null}), true);
        check(200, &json!({}), false);
        check(200, &json!({"n": -1}), false);
        check(200, &json!({"n": 1.5}), false);
        check(200, &json!({"n": 1, "k": "c"}), false);
        check(200, &json!({"n": 1, "l": [1]}), false);
        check(404, &json!({"n": 1}), false);
    }

    #[test]
    fn only_documented_paths_are_operations() {
        assert_eq!(document().operation("GET", "/v1/x"), None);
        assert_eq!(document().operation("POST", "/v1/x/7"), None);
        assert_eq!(document().num_operations(), 1);
    }
}
