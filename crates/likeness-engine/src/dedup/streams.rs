//! The streams of the log that are for everyone.

use bytes::Bytes;
use likeness_core::log::{Offset, ReadLimits, Topic};

use super::Dedup;
use super::banks::BANK_MATCHES;
use super::corrections::CORRECTED;
use super::flood::ALARMS_TOPIC;
use super::query::check_limit;
use super::tables::{DECISIONS, PARTITION};
use crate::EngineError;

/// A stream of events for everyone, each of them one JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// What was decided.
    Decisions,
    /// What became of corrections.
    Corrections,
    /// Images that matched banks.
    BankMatches,
    /// Floods.
    Alarms,
}

impl Stream {
    fn topic(self) -> Topic {
        match self {
            Self::Decisions => DECISIONS,
            Self::Corrections => CORRECTED,
            Self::BankMatches => BANK_MATCHES,
            Self::Alarms => ALARMS_TOPIC,
        }
    }
}

/// A record of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// Place in the stream; grows, with gaps.
    pub offset: u64,
    /// One JSON object.
    pub json: Bytes,
}

impl Dedup {
    /// Returns records of a stream in order, the first one at `from` or after it.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a limit out of range; if the log fails.
    pub async fn stream(
        &self,
        stream: Stream,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StreamRecord>, EngineError> {
        check_limit(limit)?;
        let limits = ReadLimits {
            max_records: limit,
            ..ReadLimits::default()
        };
        let records = self
            .ports
            .log
            .read(stream.topic(), PARTITION, Offset(from), limits)
            .await?;
        let records = records.into_iter().map(|record| StreamRecord {
            offset: record.offset.0,
            json: record.payload,
        });
        Ok(records.collect())
    }

    /// Waits until a record of a stream at `from` or after it can be read; may return early.
    ///
    /// # Errors
    /// [`EngineError::ShuttingDown`]; if the log fails.
    pub async fn wait_for_stream(&self, stream: Stream, from: u64) -> Result<(), EngineError> {
        tokio::select! {
            outcome = self.ports.log.wait(stream.topic(), PARTITION, Offset(from)) => Ok(outcome?),
            () = self.shutdown.cancelled() => Err(EngineError::ShuttingDown),
        }
    }

    /// Returns the offset at which the next record of a stream will be, or before it.
    ///
    /// # Errors
    /// If the log fails.
    pub async fn stream_end(&self, stream: Stream) -> Result<u64, EngineError> {
        Ok(self.ports.log.end(stream.topic(), PARTITION).await?.0)
    }
}
