//! The review queue, labels, and versions of the scorer.

use std::time::Duration;

use likeness_engine::dedup::view::Page;
use likeness_engine::dedup::{
    Command, CompareOptions, CorrectionView, LabelView, NewCorrection, Pair, ReviewView,
    ScorerComparison, ScorerVersion,
};

use super::Session;
use crate::client::Answer;

impl Session {
    pub(crate) async fn reviews(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<ReviewView>> {
        match self {
            Self::Local(dedup) => Ok(dedup.reviews(cursor, limit).await?),
            Self::Remote(client) => client.reviews(cursor, limit).await,
        }
    }

    /// Labels a pair and waits until that is applied or refused.
    pub(crate) async fn review(
        &self,
        pair: Pair,
        answer: &Answer,
    ) -> anyhow::Result<CorrectionView> {
        const SLICE: Duration = Duration::from_secs(60);
        loop {
            let found = match self {
                Self::Local(dedup) => {
                    let (a, b) = dedup.pair(pair).await?;
                    let correction = NewCorrection {
                        id: Some(answer.id.clone()),
                        author: answer.author.clone(),
                        reason: answer.reason.clone(),
                        command: Command::Label {
                            a,
                            b,
                            verdict: answer.verdict,
                            correct: answer.correct,
                        },
                    };
                    let id = dedup.correct(correction).await?;
                    dedup.wait_for_correction(&id, SLICE).await?
                }
                Self::Remote(client) => client.review(pair, answer).await?,
            };
            // The same call is the same answer, so asking again does nothing but wait.
            if let Some(view) = found {
                return Ok(view);
            }
        }
    }

    pub(crate) async fn labels(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<LabelView>> {
        match self {
            Self::Local(dedup) => Ok(dedup.labels(cursor, limit).await?),
            Self::Remote(client) => client.labels(cursor, limit).await,
        }
    }

    pub(crate) async fn scorers(&self) -> anyhow::Result<Vec<ScorerVersion>> {
        match self {
            Self::Local(dedup) => Ok(dedup.scorers().await?),
            Self::Remote(client) => client.scorers().await,
        }
    }

    pub(crate) async fn add_scorer(&self, json: &str) -> anyhow::Result<ScorerVersion> {
        match self {
            Self::Local(dedup) => Ok(dedup.add_scorer(json).await?),
            Self::Remote(client) => client.add_scorer(json).await,
        }
    }

    pub(crate) async fn compare_scorers(
        &self,
        options: &CompareOptions,
    ) -> anyhow::Result<ScorerComparison> {
        match self {
            Self::Local(dedup) => Ok(dedup.compare_scorers(options).await?),
            Self::Remote(client) => client.compare_scorers(options).await,
        }
    }
}
