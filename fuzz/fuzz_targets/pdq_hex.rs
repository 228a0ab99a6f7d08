//! What is read as a hash is written as the same text, in lower case.
#![no_main]

use libfuzzer_sys::fuzz_target;
use likeness_vision::PdqHash;

fuzz_target!(|text: &str| {
    if let Ok(hash) = text.parse::<PdqHash>() {
        assert_eq!(hash.to_string(), text.to_ascii_lowercase());
        assert_eq!(hash.distance(&hash), 0);
    }
});
