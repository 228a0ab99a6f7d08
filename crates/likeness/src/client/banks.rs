//! Banks and floods of a server.

use bytes::Bytes;
use likeness_core::ImageId;
use likeness_engine::dedup::view::Page;
use likeness_engine::dedup::{
    AlarmView, BankMatchView, BankView, CorrectionView, HeldView, NewFile, NewImage, ReferenceView,
    ScanView,
};
use serde::Deserialize;

use super::{Client, Form, encoded};

#[derive(Debug, Deserialize)]
struct BankList {
    items: Vec<BankView>,
}

impl Client {
    pub(crate) async fn banks(&self) -> anyhow::Result<Vec<BankView>> {
        let list: BankList = self.get("/v1/banks".to_owned()).await?;
        Ok(list.items)
    }

    pub(crate) async fn bank(&self, name: &str) -> anyhow::Result<BankView> {
        self.get(format!("/v1/banks/{}", encoded(name))).await
    }

    /// Adds a file; nothing if the server does not know in time what becomes of it.
    pub(crate) async fn add_file(
        &self,
        bank: &str,
        file: NewFile,
        author: &str,
        reason: &str,
    ) -> anyhow::Result<Option<CorrectionView>> {
        let form = Form::of(&NewImage {
            id: None,
            name: file.name,
            bytes: file.bytes,
        });
        let path = format!(
            "/v1/banks/{}/references?author={}&reason={}",
            encoded(bank),
            encoded(author),
            encoded(reason)
        );
        let answer = self.post(&path, &form.content_type(), form.body).await?;
        super::correction_of(answer)
    }

    pub(crate) async fn bank_references(
        &self,
        name: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<ReferenceView>> {
        let path = format!("/v1/banks/{}/references", encoded(name));
        self.page(path, cursor, limit).await
    }

    pub(crate) async fn bank_matches(
        &self,
        name: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<BankMatchView>> {
        let path = format!("/v1/banks/{}/matches", encoded(name));
        self.page(path, cursor, limit).await
    }

    pub(crate) async fn scan_bank(&self, name: &str, anew: bool) -> anyhow::Result<ScanView> {
        let path = format!("/v1/banks/{}/scan?anew={anew}", encoded(name));
        self.post(&path, "application/json", Bytes::new()).await
    }

    pub(crate) async fn alarms(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<AlarmView>> {
        self.page("/v1/alarms".to_owned(), cursor, limit).await
    }

    pub(crate) async fn held(
        &self,
        cluster: &ImageId,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<HeldView>> {
        let path = format!("/v1/clusters/{}/held", encoded(cluster.as_str()));
        self.page(path, cursor, limit).await
    }

    async fn page<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        mut path: String,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<T>> {
        path.push_str(&format!("?limit={limit}"));
        if let Some(cursor) = cursor {
            path.push_str(&format!("&cursor={}", encoded(cursor)));
        }
        self.get(path).await
    }
}
