//! Any bytes give a picture within the limits, or a typed error.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use likeness_vision::{DecodeLimits, decode};

fuzz_target!(|bytes: &[u8]| {
    // Small, so that the fuzzer spends its time on formats rather than on pixels.
    let limits = DecodeLimits {
        max_pixels: 1 << 18,
        max_alloc_bytes: 16 << 20,
        max_time: Duration::from_secs(5),
        ..DecodeLimits::default()
    };
    // The last byte chooses, so that a corpus is made of plain files; formats ignore what follows.
    let min_side = bytes
        .last()
        .and_then(|last| u32::from(*last).checked_sub(128));
    if let Ok(decoded) = decode(bytes, &limits, min_side) {
        let (width, height) = (decoded.image.width(), decoded.image.height());
        assert!(u64::from(width) * u64::from(height) <= limits.max_pixels);
        assert!(width <= decoded.info.width && height <= decoded.info.height);
    }
});
