//! Any value taken apart, to find where it mentions an image.

use std::fmt;
use std::io::Cursor;

use likeness_core::{ImageId, Sha256};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// How a value mentions an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mention {
    /// By its id, as the name of a cluster or in what a person asked for.
    Name,
    /// As the one that something is about: what it is.
    Of(String),
}

/// Fields whose text is somebody's, and may say anything.
const FREE_TEXT: &[&str] = &["name", "author", "reason", "message"];
/// Fields that hold the id of the image that their record is about.
const OF_ITS_OWN: &str = "id";
/// Parts of a correction's record that hold heads, which are images with an `id`, as names.
const HEADS: &[&str] = &["reheaded", "beheaded", "heads"];
/// Fields that hold ids as names.
const NAMES: &[&str] = &[
    "head",
    "canonical_id",
    "merged_into",
    "parts",
    "into",
    "from",
    "cluster",
    "members",
    "a",
    "b",
    "image",
    "before",
    "after",
    "heads",
    "held_by",
    "by",
    "reference_image",
];
/// Ids of at least so many bytes are looked for in values that are no records: a shorter one occurs by chance.
const MIN_RAW: usize = 8;

/// Returns how a value mentions an image.
pub(super) fn mentions(value: &[u8], id: &ImageId, sha256: Option<&Sha256>) -> Vec<Mention> {
    let mut found = Vec::new();
    match parse(value) {
        Some(tree) => {
            let digest = sha256.map(|sha256| (sha256.to_string(), sha256.0));
            Search {
                id: id.as_str(),
                quoted: format!("`{id}`"),
                digest,
                path: Vec::new(),
                found: &mut found,
            }
            .visit(&tree);
        }
        None => {
            let has = |needle: &[u8]| {
                needle.len() >= MIN_RAW && value.windows(needle.len()).any(|part| part == needle)
            };
            if has(id.as_bytes()) || sha256.is_some_and(|sha256| has(&sha256.0)) {
                found.push(Mention::Of("in a value that is no record".to_owned()));
            }
        }
    }
    found
}

#[derive(Debug)]
enum Tree {
    Map(Vec<(String, Tree)>),
    Seq(Vec<Tree>),
    Text(String),
    Bytes(Vec<u8>),
    Other,
}

/// Reads a record, JSON or MessagePack; nothing if it is neither.
fn parse(value: &[u8]) -> Option<Tree> {
    if value.first() == Some(&b'{') {
        return serde_json::from_slice(value).ok();
    }
    let mut reader = Cursor::new(value);
    let tree = rmp_serde::from_read(&mut reader).ok()?;
    // A number is followed by the rest of something else.
    (reader.position() == value.len() as u64).then_some(tree)
}

struct Search<'a> {
    id: &'a str,
    quoted: String,
    digest: Option<(String, [u8; 32])>,
    path: Vec<String>,
    found: &'a mut Vec<Mention>,
}

impl Search<'_> {
    fn visit(&mut self, tree: &Tree) {
        match tree {
            Tree::Map(fields) => {
                for (field, value) in fields {
                    // Short ids may be called like a field.
                    if field == self.id && field.len() >= MIN_RAW {
                        self.found
                            .push(Mention::Of("a field of its name".to_owned()));
                    }
                    self.path.push(field.clone());
                    self.visit(value);
                    self.path.pop();
                }
            }
            Tree::Seq(values) => values.iter().for_each(|value| self.visit(value)),
            Tree::Text(text) => self.text(text),
            Tree::Bytes(bytes) => {
                let is_digest = |(_, digest): &(String, [u8; 32])| bytes.as_slice() == digest;
                if bytes == self.id.as_bytes() || self.digest.as_ref().is_some_and(is_digest) {
                    self.found.push(self.of_it());
                }
            }
            Tree::Other => {}
        }
    }

    fn text(&mut self, text: &str) {
        let field = self.path.last().map_or("", String::as_str);
        if self.digest.as_ref().is_some_and(|(hex, _)| text == hex) {
            self.found
                .push(Mention::Of("the digest of its bytes".to_owned()));
        }
        if FREE_TEXT.contains(&field) {
            return;
        }
        if text == self.id {
            let is_of_head = self.path.iter().any(|part| HEADS.contains(&part.as_str()));
            let is_name = NAMES.contains(&field) || (field == OF_ITS_OWN && is_of_head);
            let mention = if is_name { Mention::Name } else { self.of_it() };
            self.found.push(mention);
        } else if text.contains(&self.quoted) {
            self.found.push(self.of_it());
        }
    }

    fn of_it(&self) -> Mention {
        Mention::Of(match self.path.is_empty() {
            true => "its id".to_owned(),
            false => format!("in the field `{}`", self.path.join(".")),
        })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_f32<E>(self, _: f32) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<Tree, D::Error> {
        Tree::deserialize(input)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<Tree, D::Error> {
        Tree::deserialize(input)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Bytes(bytes.to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Tree, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = input.next_element()? {
            values.push(value);
        }
        Ok(Tree::Seq(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = input.next_key::<Tree>()? {
            let name = match field {
                Tree::Text(name) => name,
                _ => String::new(),
            };
            fields.push((name, input.next_value()?));
        }
        Ok(Tree::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn found(value: &[u8], id: &str) -> Vec<Mention> {
        mentions(value, &ImageId::new(id).expect("a good id"), None)
    }

    fn is_left(value: &serde_json::Value, id: &str) -> bool {
        let packed = rmp_serde::to_vec_named(value).expect("packs");
        let mentions = found(&packed, id);
        assert_eq!(mentions, found(value.to_string().as_bytes(), id));
        mentions.iter().any(|mention| *mention != Mention::Name)
    }

    #[test]
    fn names_are_told_from_what_is_about_an_image() {
        for (value, expected) in [
            (serde_json::json!({"id": "x", "head": "y"}), true),
            (serde_json::json!({"id": "y", "head": "x"}), false),
            (serde_json::json!({"head": {"id": "x", "number": 7}}), true),
            (
                serde_json::json!({"effect": {"reheaded": {"before": {"id": "x"}}}}),
                false,
            ),
            (
                serde_json::json!({"command": {"members": ["y", "x"]}}),
                false,
            ),
            (
                serde_json::json!({"moved": [{"member": {"id": "x"}}]}),
                true,
            ),
            (
                serde_json::json!({"rule": "has the same bytes as `x`, and"}),
                true,
            ),
            (serde_json::json!({"rule": "scores `xx`"}), false),
            (serde_json::json!({"name": "x", "author": "x"}), false),
            (serde_json::json!({"new_field": ["x"]}), true),
            (serde_json::json!({"x": 1}), false),
        ] {
            assert_eq!(is_left(&value, "x"), expected, "{value}");
        }
        assert!(is_left(
            &serde_json::json!({"holiday.jpg": 1}),
            "holiday.jpg"
        ));
    }

    #[test]
    fn values_that_are_no_records_are_looked_through_for_ids_that_are_long_enough() {
        let raw = [&[0x93, 0x01][..], b"\0\0holiday.jpg\0"].concat();
        assert_eq!(found(&raw, "holiday.jpg").len(), 1);
        assert_eq!(found(&raw, "day").len(), 0);
        let packed = rmp_serde::to_vec_named(&Bytes::from_static(b"x")).expect("packs");
        assert!(!found(&packed, "x").is_empty(), "bytes in a record");
    }
}
