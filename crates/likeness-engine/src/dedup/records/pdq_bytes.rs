//! PDQ hashes in rows: 32 bytes, where text would be 64.

use likeness_vision::PdqHash;
use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(hash: &PdqHash, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_bytes(&hash.0)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<PdqHash, D::Error> {
    let bytes = bytes::Bytes::deserialize(input)?;
    let bytes: [u8; 32] = bytes
        .as_ref()
        .try_into()
        .map_err(|_| serde::de::Error::invalid_length(bytes.len(), &"32 bytes"))?;
    Ok(PdqHash(bytes))
}
