//! Banks and floods, wherever the data is.

use anyhow::Context as _;
use likeness_core::ImageId;
use likeness_engine::dedup::view::Page;
use likeness_engine::dedup::{
    AlarmView, BankChange, BankMatchView, BankView, Command, CorrectionView, HeldView,
    NewCorrection, NewFile, ReferenceView, ScanView,
};

use super::Session;

impl Session {
    pub(crate) async fn banks(&self) -> anyhow::Result<Vec<BankView>> {
        match self {
            Self::Local(dedup) => Ok(dedup.banks().await?),
            Self::Remote(client) => client.banks().await,
        }
    }

    pub(crate) async fn bank(&self, name: &str) -> anyhow::Result<BankView> {
        match self {
            Self::Local(dedup) => Ok(dedup.bank(name).await?),
            Self::Remote(client) => client.bank(name).await,
        }
    }

    /// Adds a file to a bank and waits until it is added or refused.
    pub(crate) async fn add_file(
        &self,
        bank: &str,
        file: NewFile,
        author: &str,
        reason: &str,
    ) -> anyhow::Result<CorrectionView> {
        match self {
            Self::Local(dedup) => {
                let reference = dedup.keep_reference(file).await?;
                let change = BankChange::Add {
                    bank: bank.to_owned(),
                    references: vec![reference],
                };
                self.correct(&NewCorrection {
                    id: Some(ImageId::generate()),
                    author: author.to_owned(),
                    reason: reason.to_owned(),
                    command: Command::Bank(change),
                })
                .await
            }
            Self::Remote(client) => client
                .add_file(bank, file, author, reason)
                .await?
                .context("the server has accepted it and not dealt with it in time; `likeness bank show` tells whether it is there"),
        }
    }

    pub(crate) async fn bank_references(
        &self,
        name: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<ReferenceView>> {
        match self {
            Self::Local(dedup) => Ok(dedup.bank_references(name, cursor, limit).await?),
            Self::Remote(client) => client.bank_references(name, cursor, limit).await,
        }
    }

    pub(crate) async fn bank_matches(
        &self,
        name: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<BankMatchView>> {
        match self {
            Self::Local(dedup) => Ok(dedup.bank_matches(name, cursor, limit).await?),
            Self::Remote(client) => client.bank_matches(name, cursor, limit).await,
        }
    }

    pub(crate) async fn scan_bank(&self, name: &str, anew: bool) -> anyhow::Result<ScanView> {
        match self {
            Self::Local(dedup) => Ok(dedup.scan_bank(name, anew).await?),
            Self::Remote(client) => client.scan_bank(name, anew).await,
        }
    }

    pub(crate) async fn alarms(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<AlarmView>> {
        match self {
            Self::Local(dedup) => Ok(dedup.alarms(cursor, limit).await?),
            Self::Remote(client) => client.alarms(cursor, limit).await,
        }
    }

    pub(crate) async fn held(
        &self,
        cluster: &ImageId,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<HeldView>> {
        match self {
            Self::Local(dedup) => Ok(dedup.held(cluster, cursor, limit).await?),
            Self::Remote(client) => client.held(cluster, cursor, limit).await,
        }
    }
}
