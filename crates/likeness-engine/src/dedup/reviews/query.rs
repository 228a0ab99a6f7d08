//! Questions about the review queue and the labels; nothing is changed.

use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

use bytes::Bytes;
use likeness_core::state::{Direction, Scan, Table};
use likeness_core::{ImageId, ImageNumber};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LABELS, LabelRecord, REVIEWS, ReviewRecord};
use crate::EngineError;
use crate::dedup::Dedup;
use crate::dedup::assign_stage::totals;
use crate::dedup::query::check_limit;
use crate::dedup::records::decode_number;
use crate::dedup::tables::{SHARD, decode, number_key};
use crate::dedup::view::{MatchedView, Page};

/// Two images by their numbers, written `12-57`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair(ImageNumber, ImageNumber);

impl Pair {
    fn of(a: ImageNumber, b: ImageNumber) -> Self {
        Self(a.min(b), a.max(b))
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.0, self.1.0)
    }
}

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| digits.parse().ok().map(ImageNumber))?
        };
        let (a, b) = text.split_once('-').unwrap_or_default();
        match (number(a), number(b)) {
            (Some(a), Some(b)) if a != b => Ok(Self::of(a, b)),
            _ => Err("a pair is two different numbers, as in `12-57`"),
        }
    }
}

/// A pair in the review queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReviewView {
    /// Names the pair: the numbers of the two images, as in `12-57`.
    pub pair: String,
    /// The head that the image was compared with.
    pub a: String,
    /// The image that was decided.
    pub b: String,
    /// Whether it joined that head's cluster when it was decided.
    pub joined: bool,
    /// Score of the two.
    pub score: f32,
    /// Score that they needed.
    pub threshold: f32,
    /// Scorer's name and version.
    pub scorer: String,
    /// How far the score is from the threshold, as the difference of the logarithms of their odds: 0 is the
    /// most uncertain.
    pub distance: f32,
    /// Cosine of the embeddings of what was compared.
    pub cosine: f32,
    /// PDQ distance in bits, 0 to 256.
    pub pdq_distance: u16,
    /// The lower of the two PDQ qualities.
    pub pdq_quality: u8,
    /// The lower of the two flatnesses, in percent.
    pub flat_percent: u8,
    /// The view that was compared, if it was not the wholes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<MatchedView>,
    /// When the image was stored.
    pub uploaded_ms: u64,
}

impl ReviewView {
    fn of(record: ReviewRecord) -> Self {
        let candidate = record.candidate;
        Self {
            pair: Pair::of(record.number, candidate.number).to_string(),
            a: record.head.to_string(),
            b: record.image.to_string(),
            joined: record.joined,
            score: candidate.score,
            threshold: record.threshold,
            scorer: record.scorer,
            distance: record.uncertainty as f32 / 1e3,
            cosine: candidate.cosine,
            pdq_distance: candidate.pdq_distance,
            pdq_quality: candidate.pdq_quality,
            flat_percent: candidate.flat_percent,
            view: candidate.view,
            uploaded_ms: record.uploaded.0,
        }
    }
}

/// What a person said of two images, as training reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LabelView {
    /// The image with the lower number.
    pub a: String,
    /// The other one.
    pub b: String,
    /// Whether they are near-copies.
    pub same: bool,
    /// Who said so.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// Their score, by the scorer that was in force.
    pub score: f32,
    /// Sequence number of the correction that said so.
    pub correction: u64,
}

impl Dedup {
    /// Lists the pairs of the review queue, most uncertain first, then newest.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a limit or a cursor that is not one; if the store fails.
    pub async fn reviews(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<ReviewView>, EngineError> {
        let (records, next) = self.page_of(REVIEWS, cursor, limit, 20).await?;
        let items = records.into_iter().map(ReviewView::of).collect();
        Ok(Page { items, next })
    }

    /// Returns how many pairs wait in the queue, and how many have a label.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn review_counts(&self) -> Result<(u64, u64), EngineError> {
        let totals = totals(self.ports.state.as_ref()).await?;
        Ok((totals.open_reviews, totals.labels))
    }

    /// Returns the two images of a pair, the earlier one first.
    ///
    /// # Errors
    /// [`EngineError::PairNotFound`] if one of the numbers is no image's; if the store fails.
    pub async fn pair(&self, pair: Pair) -> Result<(ImageId, ImageId), EngineError> {
        let Pair(a, b) = pair;
        let rows = self
            .ports
            .state
            .get_many(&[number_key(a), number_key(b)])
            .await?;
        let mut ids = Vec::with_capacity(2);
        for row in rows.iter().flatten() {
            ids.extend(decode_number(row)?.map(|record| record.id));
        }
        match <[ImageId; 2]>::try_from(ids) {
            Ok([a, b]) => Ok((a, b)),
            Err(_) => Err(EngineError::PairNotFound(pair.to_string())),
        }
    }

    /// Lists labels in the order of the images' numbers.
    ///
    /// # Errors
    /// As [`reviews`](Self::reviews).
    pub async fn labels(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<LabelView>, EngineError> {
        let (records, next) = self
            .page_of::<LabelRecord>(LABELS, cursor, limit, 16)
            .await?;
        let mut items = Vec::with_capacity(records.len());
        for record in records {
            let correction = self.correction(record.correction).await?.ok_or_else(|| {
                likeness_core::StoreError::corrupt(
                    "state",
                    format!("corrections/{}", record.correction),
                    "missing, though a label came of it",
                )
            })?;
            items.push(LabelView {
                a: record.a.to_string(),
                b: record.b.to_string(),
                same: record.same,
                author: correction.author,
                reason: correction.reason,
                time_ms: correction.time_ms,
                score: record.score,
                correction: record.correction,
            });
        }
        Ok(Page { items, next })
    }

    /// Reads a page of a table whose sort keys have `key_bytes` bytes; a cursor is the last one's, in hex.
    pub(in crate::dedup) async fn page_of<T: serde::de::DeserializeOwned>(
        &self,
        table: Table,
        cursor: Option<&str>,
        limit: usize,
        key_bytes: usize,
    ) -> Result<(Vec<T>, Option<String>), EngineError> {
        check_limit(limit)?;
        let after = cursor
            .map(|text| parse_cursor(text, key_bytes))
            .transpose()?;
        let rows = self
            .ports
            .state
            .scan(Scan {
                table,
                partition: Bytes::from_static(SHARD),
                lower: after.map_or(Bound::Unbounded, Bound::Excluded),
                upper: Bound::Unbounded,
                direction: Direction::Ascending,
                limit: limit + 1,
            })
            .await?;
        let has_more = rows.len() > limit;
        let shown = &rows[..rows.len().min(limit)];
        let items = shown
            .iter()
            .map(|row| decode(table.0, &row.value))
            .collect::<Result<Vec<_>, _>>()?;
        let next = shown.last().filter(|_| has_more);
        Ok((items, next.map(|row| hex(&row.sort))))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_cursor(text: &str, num_bytes: usize) -> Result<Bytes, EngineError> {
    let is_cursor =
        text.len() == 2 * num_bytes && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_cursor {
        return Err(EngineError::InvalidParameter {
            name: "cursor",
            reason: "must be the `next` of the page before".to_owned(),
        });
    }
    let value = |digit: u8| (digit as char).to_digit(16).map_or(0, |value| value as u8);
    let bytes = text.as_bytes().chunks_exact(2);
    Ok(bytes
        .map(|pair| value(pair[0]) << 4 | value(pair[1]))
        .collect::<Vec<_>>()
        .into())
}
