//! An embedding as JSON: in request bodies, and in the files that the command line sends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use likeness_core::{ImageId, Timestamp};
use likeness_engine::EngineError;
use likeness_engine::dedup::NewEmbedding;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An embedding of an image, made by another service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingBody {
    /// Id of the image. Its upload may come before or after.
    pub image: String,
    /// Kind, one of `dedup.join.kinds`.
    pub kind: String,
    /// The model that made it, as the kind names it.
    pub model: String,
    /// The components: as numbers, or as text in base64 with padding, little-endian, see `encoding`.
    pub vector: VectorBody,
    /// How the base64 text holds a component. Absent: `f32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<VectorEncoding>,
    /// When it was made, in milliseconds since 1970 UTC. Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time_ms: Option<u64>,
}

/// Components of an embedding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum VectorBody {
    /// As numbers.
    Numbers(Vec<f32>),
    /// In base64.
    Base64(String),
}

/// How a component is held in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VectorEncoding {
    /// Four bytes, IEEE 754.
    F32,
    /// Two bytes, the upper half of an `f32`.
    Bf16,
}

impl EmbeddingBody {
    /// Returns what the engine takes.
    ///
    /// # Errors
    /// [`EngineError::InvalidId`] for the image, [`EngineError::InvalidParameter`] for the vector.
    pub fn into_new(self) -> Result<NewEmbedding, EngineError> {
        let vector = match (self.vector, self.encoding) {
            (VectorBody::Numbers(numbers), None) => numbers,
            (VectorBody::Numbers(_), Some(_)) => {
                return Err(invalid("encoding", "is for a vector in base64".to_owned()));
            }
            (VectorBody::Base64(text), encoding) => {
                decode(&text, encoding.unwrap_or(VectorEncoding::F32))?
            }
        };
        Ok(NewEmbedding {
            image: ImageId::new(self.image)?,
            kind: self.kind,
            model: self.model,
            vector,
            time: self.event_time_ms.map(Timestamp),
        })
    }
}

fn decode(text: &str, encoding: VectorEncoding) -> Result<Vec<f32>, EngineError> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| invalid("vector", format!("is not base64: {error}")))?;
    let cut = |width: usize| {
        let reason = format!("has {} bytes, not a multiple of {width}", bytes.len());
        invalid("vector", reason)
    };
    match encoding {
        VectorEncoding::F32 => {
            let (components, rest) = bytes.as_chunks::<4>();
            match rest {
                [] => Ok(components
                    .iter()
                    .map(|&bytes| f32::from_le_bytes(bytes))
                    .collect()),
                _ => Err(cut(4)),
            }
        }
        VectorEncoding::Bf16 => {
            let (components, rest) = bytes.as_chunks::<2>();
            let widen =
                |&bytes: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16);
            match rest {
                [] => Ok(components.iter().map(widen).collect()),
                _ => Err(cut(2)),
            }
        }
    }
}

fn invalid(name: &'static str, reason: String) -> EngineError {
    EngineError::InvalidParameter { name, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &str) -> Result<Vec<f32>, String> {
        let json = format!(r#"{{"image": "a", "kind": "k", "model": "m", {fields}}}"#);
        let body: EmbeddingBody = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        let embedding = body.into_new().map_err(|error| error.to_string())?;
        Ok(embedding.vector)
    }

    #[test]
    fn a_vector_is_read_from_each_of_its_forms() {
        let expected = vec![1.0, -2.5];
        let f32s = STANDARD.encode([1.0f32.to_le_bytes(), (-2.5f32).to_le_bytes()].concat());
        let bf16s = STANDARD.encode([[0x80, 0x3f], [0x20, 0xc0]].concat());
        for fields in [
            r#""vector": [1, -2.5]"#.to_owned(),
            format!(r#""vector": "{f32s}""#),
            format!(r#""vector": "{f32s}", "encoding": "f32""#),
            format!(r#""vector": "{bf16s}", "encoding": "bf16""#),
        ] {
            assert_eq!(parse(&fields), Ok(expected.clone()), "{fields}");
        }
    }

    #[test]
    fn what_is_no_vector_is_refused_by_name() {
        for (fields, wanted) in [
            (r#""vector": "?""#, "invalid `vector`: is not base64"),
            (r#""vector": "AAAA""#, "3 bytes, not a multiple of 4"),
            (r#""vector": [1], "encoding": "f32""#, "invalid `encoding`"),
            (r#""vectors": [1]"#, "unknown field `vectors`"),
        ] {
            let error = parse(fields).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
