//! Any EXIF data give an orientation or none, and the prefix of JPEG makes no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use likeness_vision::decode::exif_orientation;

fuzz_target!(|exif: &[u8]| {
    let orientation = exif_orientation(exif);
    if !exif.starts_with(b"Exif\0\0") {
        let prefixed = [b"Exif\0\0", exif].concat();
        assert_eq!(exif_orientation(&prefixed), orientation);
    }
});
