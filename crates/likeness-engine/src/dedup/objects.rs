//! Where an image's bytes lie in the objects port.

use likeness_core::objects::ObjectPath;
use likeness_core::{Sha256, StoreResult};

/// Path of the bytes with this digest. Content-addressed: equal files are kept once, and a second
/// put of one changes nothing.
pub(super) fn image_path(digest: &Sha256) -> StoreResult<ObjectPath> {
    under("images", digest)
}

/// Path of the thumbnail of the image with this digest.
pub(super) fn thumbnail_path(digest: &Sha256, side: u32) -> StoreResult<ObjectPath> {
    under(&format!("thumbnails/{side}"), digest)
}

/// Two levels of 256 folders keep listings of a folder short up to about 10⁸ files.
fn under(prefix: &str, digest: &Sha256) -> StoreResult<ObjectPath> {
    let hex = digest.to_string();
    ObjectPath::new(format!("{prefix}/{}/{}/{hex}", &hex[..2], &hex[2..4]))
}
