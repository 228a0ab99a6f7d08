//! Pins: posts of an image-sharing service, on their way to the lake and to live numbers.
//!
//! ```text
//! doors ─▶ [pins] [geolocations] [users] ─▶ clean ─▶ lake, live numbers
//! ```
//! Names in brackets are topics of the log. What is checked at the door is only what makes an event
//! storable ([`event`]), and it is durable before it is acknowledged ([`Pins`]); everything else is the business of [`clean`], which is pure, so that batch and
//! stream make the same rows of the same events. [`stream`] is the way to live numbers, [`lake`] the one into files;
//! [`parity`] compares what they made. [`emulate`] makes events to try it with.

pub mod clean;
pub mod emulate;
pub mod event;
pub mod lake;
pub mod parity;
pub mod stream;
pub mod tables;

mod ingest;
mod random;
mod read;
mod way;

pub use event::{EventKind, MAX_EVENT_BYTES, RawEvent, RawObject, Rejection};
pub use ingest::{Ingested, MAX_BATCH, PARTITIONS, PinAdmission, Pins, partition_of};
pub use lake::{LakeConfig, LakeStatus, PinLake};
pub use stream::{PinStream, StreamConfig};
