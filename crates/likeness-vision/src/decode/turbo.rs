//! A safe wrapper of the few calls of libjpeg-turbo that decoding needs.
//!
//! The `turbojpeg` crate has one too, but it refuses a picture for any warning about its header,
//! and cannot bound memory. Its raw bindings are used instead; every `unsafe` of this crate's
//! decoding is in this file.

use std::cell::Cell;
use std::ffi::{CStr, c_int};

use turbojpeg::raw;

/// A decompressor of libjpeg-turbo.
///
/// After an error it must be dropped, not used again: libjpeg-turbo may be left in the middle of
/// the failed header. [`Decompressor::recycle`] is therefore called after success only.
#[derive(Debug)]
pub(super) struct Decompressor {
    handle: raw::tjhandle,
}

thread_local! {
    /// The decompressor of this thread's last success, with its buffers.
    static IDLE: Cell<Option<Decompressor>> = const { Cell::new(None) };
}

/// What libjpeg-turbo made of a header.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurboHeader {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Four components, which libjpeg-turbo does not convert to RGB.
    pub(super) is_cmyk: bool,
    /// Lossless JPEG, which cannot be decoded scaled.
    pub(super) is_lossless: bool,
}

/// A decoded picture: three samples a pixel, or four if the header says CMYK.
#[derive(Debug)]
pub(super) struct TurboImage {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) samples: Vec<u8>,
    /// What libjpeg complained about first, if it complained and went on.
    pub(super) warning: Option<String>,
}

impl Decompressor {
    /// Returns this thread's idle decompressor, or a new one; `None` if there is no memory for it.
    pub(super) fn take() -> Option<Self> {
        if let Some(idle) = IDLE.take() {
            return Some(idle);
        }
        #[expect(unsafe_code, reason = "foreign function")]
        // SAFETY: any initialisation type may be given; the result is checked below.
        let handle = unsafe { raw::tj3Init(raw::TJINIT_TJINIT_DECOMPRESS as c_int) };
        (!handle.is_null()).then_some(Self { handle })
    }

    /// Keeps the decompressor for this thread's next picture.
    pub(super) fn recycle(self) {
        IDLE.set(Some(self));
    }

    /// Reads the header. A warning alone is no error: decoding will repeat it.
    pub(super) fn read_header(&mut self, jpeg: &[u8]) -> Result<TurboHeader, String> {
        #[expect(unsafe_code, reason = "foreign function")]
        // SAFETY: the handle is live and not shared, and the pointer is good for the given length.
        let status = unsafe {
            raw::tj3DecompressHeader(self.handle, jpeg.as_ptr(), jpeg.len() as raw::size_t)
        };
        if status != 0 {
            let message = self.message();
            if !is_warning(&message) {
                return Err(message);
            }
        }
        let side = |value: c_int| match usize::try_from(value) {
            Ok(side @ 1..) => Ok(side),
            _ => Err("the size of the image is not known".to_owned()),
        };
        let color = self.get(raw::TJPARAM_TJPARAM_COLORSPACE).cast_unsigned();
        Ok(TurboHeader {
            width: side(self.get(raw::TJPARAM_TJPARAM_JPEGWIDTH))?,
            height: side(self.get(raw::TJPARAM_TJPARAM_JPEGHEIGHT))?,
            is_cmyk: matches!(color, raw::TJCS_TJCS_CMYK | raw::TJCS_TJCS_YCCK),
            is_lossless: self.get(raw::TJPARAM_TJPARAM_LOSSLESS) != 0,
        })
    }

    /// Bounds what decoding may take: `max_memory_mib` of coefficients that have to be held (in
    /// MiB, at least 1), and `max_scans` scans.
    pub(super) fn set_limits(&mut self, max_memory_mib: u64, max_scans: u32) -> Result<(), String> {
        let clamped = |value: u64| c_int::try_from(value.max(1)).unwrap_or(c_int::MAX);
        self.set(raw::TJPARAM_TJPARAM_MAXMEMORY, clamped(max_memory_mib))?;
        self.set(
            raw::TJPARAM_TJPARAM_SCANLIMIT,
            clamped(u64::from(max_scans)),
        )
    }

    /// Decodes `jpeg`, whose header was read just before, at 1/`denominator` of its size (1, 2, 4
    /// or 8; 1 for lossless files).
    pub(super) fn decompress(
        &mut self,
        jpeg: &[u8],
        header: &TurboHeader,
        denominator: usize,
    ) -> Result<TurboImage, String> {
        let width = header.width.div_ceil(denominator);
        let height = header.height.div_ceil(denominator);
        let (pixel_format, pixel_len) = if header.is_cmyk {
            (raw::TJPF_TJPF_CMYK, 4)
        } else {
            (raw::TJPF_TJPF_RGB, 3)
        };
        let row_len = width * pixel_len;
        let pitch = c_int::try_from(row_len).map_err(|_| "a row is too long".to_owned())?;
        let scale = raw::tjscalingfactor {
            num: 1,
            denom: denominator as c_int,
        };
        #[expect(unsafe_code, reason = "foreign function")]
        // SAFETY: the handle is live and not shared; an impossible factor is refused.
        if unsafe { raw::tj3SetScalingFactor(self.handle, scale) } != 0 {
            return Err(self.message());
        }

        let mut samples = vec![0; row_len * height];
        #[expect(unsafe_code, reason = "foreign function")]
        // SAFETY: the handle is live and not shared, and the source is good for the given length.
        // libjpeg-turbo writes ⌈height × scale⌉ rows of ⌈width × scale⌉ pixels, by the header it
        // reads from the same bytes as `read_header` did; `samples` has room for exactly these.
        let status = unsafe {
            raw::tj3Decompress8(
                self.handle,
                jpeg.as_ptr(),
                jpeg.len() as raw::size_t,
                samples.as_mut_ptr(),
                pitch,
                pixel_format,
            )
        };
        let warning = if status == 0 {
            None
        } else {
            let message = self.message();
            if !is_warning(&message) {
                return Err(message);
            }
            Some(message)
        };
        Ok(TurboImage {
            width,
            height,
            samples,
            warning,
        })
    }

    fn get(&self, parameter: raw::TJPARAM) -> c_int {
        #[expect(unsafe_code, reason = "foreign function")]
        // SAFETY: the handle is live and not shared; an unknown parameter gives -1.
        unsafe {
            raw::tj3Get(self.handle, parameter as c_int)
        }
    }

    fn set(&mut self, parameter: raw::TJPARAM, value: c_int) -> Result<(), String> {
        #[expect(unsafe_code, reason = "foreign function")]
        // SAFETY: the handle is live and not shared; an impossible value is refused.
        let status = unsafe { raw::tj3Set(self.handle, parameter as c_int, value) };
        if status == 0 {
            Ok(())
        } else {
            Err(self.message())
        }
    }

    /// Returns the message of the last call that failed or warned.
    fn message(&self) -> String {
        #[expect(unsafe_code, reason = "foreign function")]
        // SAFETY: the handle is live; the string ends with zero and is valid until the next call,
        // before which it is copied.
        let message = unsafe { CStr::from_ptr(raw::tj3GetErrorStr(self.handle)) };
        message.to_string_lossy().into_owned()
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "foreign function")]
        // SAFETY: the handle is live, and nothing uses it afterwards.
        unsafe {
            raw::tj3Destroy(self.handle);
        }
    }
}

/// Returns whether `message` is one of libjpeg's warnings (`JWRN_…` in jerror.h).
///
/// The status and the error code of libjpeg-turbo do not tell: after a warning, both look the same
/// whether a fatal error followed or not. The message does, since a fatal error replaces it.
fn is_warning(message: &str) -> bool {
    const WARNINGS: [&str; 6] = [
        "Corrupt JPEG data",
        "Premature end of JPEG file",
        "Inconsistent progression sequence",
        "Unknown Adobe color transform code",
        "Warning: ",
        "Invalid SOS parameters",
    ];
    WARNINGS.iter().any(|start| message.starts_with(start))
}
