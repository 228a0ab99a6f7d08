//! Any header gives what it says or a typed error, and decoding does not contradict it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use likeness_vision::{DecodeLimits, decode, probe};

fuzz_target!(|bytes: &[u8]| {
    let limits = DecodeLimits {
        max_pixels: 1 << 14,
        max_alloc_bytes: 4 << 20,
        ..DecodeLimits::default()
    };
    match probe(bytes, &limits) {
        Ok(info) => {
            assert!(info.width > 0 && info.height > 0);
            assert!(u64::from(info.width) * u64::from(info.height) <= limits.max_pixels);
            if let Ok(decoded) = decode(bytes, &limits, None) {
                assert_eq!(decoded.info, info);
            }
        }
        Err(error) => {
            assert!(!error.code().is_empty());
            assert_eq!(decode(bytes, &limits, None).err(), Some(error));
        }
    }
});
