//! A close look at pairs in doubt: the bytes of both pictures are read and decoded once more.
//!
//! Nothing is kept for it with an image. Keypoints and plane of every image would be some 70 KB of rows and
//! 5 ms of a core for each; a look is for the few pairs whose first score is in doubt, and the heads that come
//! up again and again are in a cache. A look is a function of the bytes of two images and the rectangles that
//! are compared: a replay finds the same.
//!
//! Bounds: at most `max_looks` heads an image, best first (the others keep their first score), and
//! [`CACHE_BYTES`] of close-ups, of which the oldest go.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use likeness_core::objects::ObjectStore;
use likeness_core::{Sha256, StoreResult};
use likeness_vision::decode::{DecodeLimits, decode};
use likeness_vision::geometry::CloseUp;
use likeness_vision::regions::Rect;

use super::objects::image_path;
use super::scorer::LookFeatures;
use super::signature::SIGNATURE_MIN_SIDE;
use super::view::{MatchedPicture, MatchedView};
use crate::cpu::CpuPool;
use crate::large::LargePictures;

/// Bytes of close-ups that are kept in memory: some 900.
const CACHE_BYTES: usize = 64 << 20;

/// Takes close looks.
#[derive(Debug)]
pub(super) struct Looker {
    objects: Arc<dyn ObjectStore>,
    cpu: CpuPool,
    limits: DecodeLimits,
    large: LargePictures,
    max_looks: usize,
    cache: Mutex<Cache>,
}

/// A picture, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Part {
    sha256: Sha256,
    /// Left, top, width and height, in upright pixels at full size.
    rect: Option<[u32; 4]>,
}

#[derive(Debug, Default)]
struct Cache {
    close_ups: HashMap<Part, Option<Arc<CloseUp>>>,
    oldest_first: VecDeque<Part>,
    num_bytes: usize,
    /// How often a picture was forgotten: what was read before is not kept after.
    n_forgotten: u64,
}

impl Looker {
    /// Returns a looker that takes at most `max_looks` looks for an image.
    pub(super) fn new(
        objects: Arc<dyn ObjectStore>,
        cpu: CpuPool,
        (limits, large): (DecodeLimits, LargePictures),
        max_looks: usize,
    ) -> Self {
        Self {
            objects,
            cpu,
            limits,
            large,
            max_looks,
            cache: Mutex::default(),
        }
    }

    /// Most looks for an image.
    pub(super) fn max_looks(&self) -> usize {
        self.max_looks
    }

    /// Looks at an image and another one, or at the view that was compared. `bytes` are the image's, if they are not
    /// stored. `None` if the bytes of one are gone
    /// or cannot be decoded any more.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn look(
        &self,
        (image, bytes): (Sha256, Option<&Bytes>),
        other: Sha256,
        view: Option<&MatchedView>,
    ) -> StoreResult<Option<LookFeatures>> {
        let rect_of = |of: MatchedPicture| {
            view.filter(|view| view.of == of)
                .map(|view| [view.x, view.y, view.width, view.height])
        };
        let parts = [
            Part {
                sha256: image,
                rect: rect_of(MatchedPicture::Image),
            },
            Part {
                sha256: other,
                rect: rect_of(MatchedPicture::Candidate),
            },
        ];
        let (own, other) = futures::try_join!(
            self.close_up(parts[0], bytes),
            self.close_up(parts[1], None)
        )?;
        let (Some(own), Some(other)) = (own, other) else {
            return Ok(None);
        };
        // In one order, whichever came first: a score is a function of two images.
        let (first, second) = if image <= parts[1].sha256 {
            (own, other)
        } else {
            (other, own)
        };
        let look = self
            .cpu
            .run(move || LookFeatures::from(&first.compare(&second)))
            .await;
        Ok(look.ok())
    }

    /// `bytes` are the picture's, if they are not stored.
    async fn close_up(
        &self,
        part: Part,
        bytes: Option<&Bytes>,
    ) -> StoreResult<Option<Arc<CloseUp>>> {
        let n_forgotten = {
            let cache = self.cache();
            if let Some(kept) = cache.close_ups.get(&part) {
                return Ok(kept.clone());
            }
            cache.n_forgotten
        };
        let stored = match bytes {
            Some(bytes) => Some(bytes.clone()),
            None => self.objects.get(&image_path(&part.sha256)?).await?,
        };
        // Not kept in the cache: the bytes may come again.
        let Some(bytes) = stored else {
            return Ok(None);
        };
        let limits = self.limits.clone();
        let permit = self.large.admit(&bytes, &limits).await;
        let made = self
            .cpu
            .run(move || {
                let _permit = permit;
                let decoded = decode(&bytes, &limits, Some(SIGNATURE_MIN_SIDE)).ok()?;
                let Some([x, y, width, height]) = part.rect else {
                    return Some(CloseUp::of(&decoded.image));
                };
                let full = (decoded.info.width, decoded.info.height);
                let shown = (decoded.image.width(), decoded.image.height());
                let rect = Rect {
                    x,
                    y,
                    width,
                    height,
                }
                .resized(full, shown);
                let cut = decoded
                    .image
                    .crop(rect.x, rect.y, rect.width, rect.height)?;
                Some(CloseUp::of(&cut))
            })
            .await;
        let made = made.ok().flatten().map(Arc::new);
        let mut cache = self.cache();
        // Its bytes may have been erased since they were read.
        if cache.n_forgotten == n_forgotten {
            cache.keep(part, made.clone());
        }
        Ok(made)
    }

    /// Forgets a picture whose bytes are gone, and its parts. One that is being looked at meanwhile is not kept.
    pub(super) fn forget(&self, sha256: &Sha256) {
        self.cache().forget(sha256);
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// Bytes that an entry counts for.
    fn size(close_up: Option<&CloseUp>) -> usize {
        close_up.map_or(0, CloseUp::num_bytes) + size_of::<Part>()
    }

    fn forget(&mut self, sha256: &Sha256) {
        self.n_forgotten += 1;
        self.oldest_first.retain(|part| part.sha256 != *sha256);
        let gone = self
            .close_ups
            .extract_if(|part, _| part.sha256 == *sha256)
            .map(|(_, close_up)| Self::size(close_up.as_deref()));
        self.num_bytes -= gone.sum::<usize>();
    }

    fn keep(&mut self, part: Part, close_up: Option<Arc<CloseUp>>) {
        let num_bytes = Self::size(close_up.as_deref());
        if self.close_ups.insert(part, close_up).is_none() {
            self.oldest_first.push_back(part);
            self.num_bytes += num_bytes;
        }
        while self.num_bytes > CACHE_BYTES
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            if let Some(gone) = self.close_ups.remove(&oldest) {
                self.num_bytes -= Self::size(gone.as_deref());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use likeness_adapters::MemoryObjectStore;
    use likeness_vision::edits::{Edit, Negative};
    use sha2::Digest as _;

    use super::*;
    use crate::dedup::view::ViewContent;

    fn looker(store: &Arc<MemoryObjectStore>) -> Looker {
        let bounds = (DecodeLimits::default(), LargePictures::default());
        Looker::new(Arc::clone(store) as _, CpuPool::new(1), bounds, 4)
    }

    fn digest(bytes: &[u8]) -> Sha256 {
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    #[tokio::test]
    async fn looks_at_stored_bytes_and_at_those_that_are_given() {
        let store = Arc::new(MemoryObjectStore::new());
        let looker = looker(&store);
        let card = Bytes::from(Negative::Card.file(3, 0, 1));
        let other = Bytes::from(Negative::Card.file(3, 1, 1));
        let copy = Edit::Jpeg20.apply(&Negative::Card.pixels(3, 0, 1), &[], 1);
        let copy = Bytes::from(copy);
        for bytes in [&card, &other] {
            let path = image_path(&digest(bytes)).unwrap();
            store.put(&path, bytes.clone()).await.unwrap();
        }
        let look = async |own: (Sha256, Option<&Bytes>), other: &Bytes| {
            looker.look(own, digest(other), None).await.unwrap()
        };
        // Not stored, and not given.
        assert_eq!(look((digest(&copy), None), &card).await, None);

        let own = (digest(&copy), Some(&copy));
        let of_copy = look(own, &card).await.unwrap();
        let of_other = look(own, &other).await.unwrap();
        assert!(
            of_copy.differing < of_other.differing,
            "{of_copy:?} {of_other:?}"
        );
        // From the cache, and whichever comes first.
        assert_eq!(look(own, &card).await, Some(of_copy));
        assert_eq!(look((digest(&card), None), &copy).await, Some(of_copy));
    }

    #[tokio::test]
    async fn what_is_forgotten_is_read_anew() {
        let store = Arc::new(MemoryObjectStore::new());
        let looker = looker(&store);
        let pictures = [0, 1].map(|member| Bytes::from(Negative::Card.file(3, member, 1)));
        for bytes in &pictures {
            let path = image_path(&digest(bytes)).unwrap();
            store.put(&path, bytes.clone()).await.unwrap();
        }
        let [gone, other] = [0, 1].map(|idx| digest(&pictures[idx]));
        let view = MatchedView {
            of: MatchedPicture::Candidate,
            content: ViewContent::Region,
            x: 0,
            y: 0,
            width: 200,
            height: 200,
        };
        let look = async |view: Option<&MatchedView>| {
            looker.look((other, None), gone, view).await.unwrap()
        };
        assert!(look(None).await.is_some() && look(Some(&view)).await.is_some());
        let num_bytes = looker.cache().num_bytes;

        store.delete(&image_path(&gone).unwrap()).await.unwrap();
        looker.forget(&gone);
        assert_eq!(looker.cache().oldest_first.len(), 1);
        assert!(
            looker
                .cache()
                .close_ups
                .keys()
                .all(|part| part.sha256 == other)
        );
        assert!(looker.cache().num_bytes < num_bytes);
        assert_eq!((look(None).await, look(Some(&view)).await), (None, None));

        // The other one stays, and what is forgotten last leaves nothing.
        looker.forget(&gone);
        assert_eq!(looker.cache().close_ups.len(), 1);
        looker.forget(&other);
        assert_eq!(looker.cache().num_bytes, 0);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = Cache::default();
        let close_up = Arc::new(CloseUp::of(&Negative::Page.pixels(0, 0, 1)));
        let n_fit = CACHE_BYTES / close_up.num_bytes();
        for idx in 0..n_fit as u64 + 50 {
            let part = Part {
                sha256: digest(&idx.to_le_bytes()),
                rect: None,
            };
            cache.keep(part, Some(Arc::clone(&close_up)));
            cache.keep(part, Some(Arc::clone(&close_up)));
        }
        assert!(cache.num_bytes <= CACHE_BYTES);
        assert_eq!(cache.close_ups.len(), cache.oldest_first.len());
        assert!(cache.close_ups.len() <= n_fit && cache.close_ups.len() + 10 > n_fit);
    }
}
