//! Large pictures are decoded one at a time.

use std::sync::Arc;

use likeness_vision::decode::{DecodeLimits, probe};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pixels at full size from which on a picture is large: beyond the cameras of telephones, and 64 MiB as RGBA.
const LARGE_PIXELS: u64 = 16 << 20;

/// Lets one large picture be decoded at a time, among all that share it.
///
/// A decoder may take [`DecodeLimits::max_alloc_bytes`], and there are several pools of threads that decode. With
/// this, memory for pixels is at most that once, and 64 MiB for each other thread.
#[derive(Debug, Clone)]
pub struct LargePictures(Arc<Semaphore>);

/// The right to decode a picture; to be held until its full-size pixels are gone.
#[derive(Debug)]
pub struct DecodePermit(
    #[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>,
);

impl Default for LargePictures {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl LargePictures {
    /// Waits until a picture may be decoded; no time at all if it is not large. Reads its header only: one that is
    /// damaged is for the decoder to refuse.
    ///
    /// Who holds a permit must not wait for another one.
    pub async fn admit(&self, bytes: &[u8], limits: &DecodeLimits) -> DecodePermit {
        let is_large = probe(bytes, limits)
            .is_ok_and(|info| u64::from(info.width) * u64::from(info.height) >= LARGE_PIXELS);
        if !is_large {
            return DecodePermit(None);
        }
        let permit = Arc::clone(&self.0).acquire_owned().await;
        DecodePermit(Some(permit.expect("the semaphore is never closed")))
    }
}

#[cfg(test)]
mod tests {
    use likeness_vision::RgbImage;

    use super::*;

    fn jpeg(side: u32) -> Vec<u8> {
        let pixels = vec![128; 3 * side as usize * side as usize];
        let image = RgbImage::new(side, side, pixels).expect("as many bytes");
        image.encode_jpeg(80)
    }

    #[tokio::test]
    async fn only_large_pictures_wait_for_each_other() {
        let (pictures, limits) = (LargePictures::default(), DecodeLimits::default());
        let (large, small) = (jpeg(4_096), jpeg(64));
        let permit = pictures.admit(&large, &limits).await;
        let also = pictures.admit(&small, &limits).await;
        let damaged = pictures.admit(b"no picture", &limits).await;
        let mut second = Box::pin(pictures.admit(&large, &limits));
        assert!(futures::poll!(&mut second).is_pending());
        drop((also, damaged));
        assert!(futures::poll!(&mut second).is_pending());
        drop(permit);
        second.await;
    }
}
