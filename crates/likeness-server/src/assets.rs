//! Files that pages load, embedded in the binary.
//!
//! Names carry a hash of the content, so that browsers may keep a file for ever and still see a new
//! version at once. Modules import [`Asset::Common`] as `./common.js`; the name is replaced by the
//! hashed one here.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use sha2::Digest;

use crate::error::ApiError;

/// A file that pages load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asset {
    /// The style sheet.
    Style,
    /// The icon of browser tabs.
    Icon,
    /// Applies the remembered theme before the first paint.
    Theme,
    /// Helpers that the other modules import.
    Common,
    /// Keyboard, theme switch, relative times: on every page.
    Base,
    /// Live overview.
    Overview,
    /// Upload page.
    Upload,
    /// Corrections by hand.
    Correct,
    /// What is done with orphans.
    Orphans,
    /// The review queue.
    Review,
    /// Runs of jobs.
    Jobs,
    /// Live numbers of pins.
    Pins,
    /// Queries and their answers.
    Sql,
}

struct Embedded {
    asset: Asset,
    url: String,
    mime: &'static str,
    content: String,
}

/// In an order in which `common` comes before those that import it.
static EMBEDDED: LazyLock<Vec<Embedded>> = LazyLock::new(|| {
    let common = embed(
        Asset::Common,
        include_str!("../assets/common.js").to_owned(),
    );
    let with_common = |source: &str| source.replace("./common.js", &common.url);
    let mut all = vec![
        embed(Asset::Style, include_str!("../assets/style.css").to_owned()),
        embed(Asset::Icon, include_str!("../assets/icon.svg").to_owned()),
        embed(Asset::Theme, include_str!("../assets/theme.js").to_owned()),
        embed(Asset::Base, with_common(include_str!("../assets/base.js"))),
        embed(
            Asset::Overview,
            with_common(include_str!("../assets/overview.js")),
        ),
        embed(
            Asset::Upload,
            with_common(include_str!("../assets/upload.js")),
        ),
        embed(
            Asset::Correct,
            include_str!("../assets/correct.js").to_owned(),
        ),
        embed(
            Asset::Orphans,
            include_str!("../assets/orphans.js").to_owned(),
        ),
        embed(Asset::Jobs, include_str!("../assets/jobs.js").to_owned()),
        embed(
            Asset::Review,
            include_str!("../assets/review.js").to_owned(),
        ),
        embed(Asset::Pins, with_common(include_str!("../assets/pins.js"))),
        embed(Asset::Sql, with_common(include_str!("../assets/sql.js"))),
    ];
    all.push(common);
    all
});

fn embed(asset: Asset, content: String) -> Embedded {
    let (stem, extension, mime) = match asset {
        Asset::Style => ("style", "css", "text/css; charset=utf-8"),
        Asset::Icon => ("icon", "svg", "image/svg+xml"),
        Asset::Theme => ("theme", "js", "text/javascript; charset=utf-8"),
        Asset::Common => ("common", "js", "text/javascript; charset=utf-8"),
        Asset::Base => ("base", "js", "text/javascript; charset=utf-8"),
        Asset::Overview => ("overview", "js", "text/javascript; charset=utf-8"),
        Asset::Upload => ("upload", "js", "text/javascript; charset=utf-8"),
        Asset::Correct => ("correct", "js", "text/javascript; charset=utf-8"),
        Asset::Orphans => ("orphans", "js", "text/javascript; charset=utf-8"),
        Asset::Jobs => ("jobs", "js", "text/javascript; charset=utf-8"),
        Asset::Review => ("review", "js", "text/javascript; charset=utf-8"),
        Asset::Pins => ("pins", "js", "text/javascript; charset=utf-8"),
        Asset::Sql => ("sql", "js", "text/javascript; charset=utf-8"),
    };
    let digest = sha2::Sha256::digest(content.as_bytes());
    let hash: String = digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Embedded {
        asset,
        url: format!("/assets/{stem}.{hash}.{extension}"),
        mime,
        content,
    }
}

/// Returns the path under which `asset` is served.
pub(crate) fn url(asset: Asset) -> &'static str {
    let found = EMBEDDED.iter().find(|embedded| embedded.asset == asset);
    &found.expect("every asset is embedded").url
}

/// Serves a file.
pub(crate) async fn asset(Path(name): Path<String>) -> Result<Response, ApiError> {
    let path = format!("/assets/{name}");
    let embedded = EMBEDDED
        .iter()
        .find(|embedded| embedded.url == path)
        .ok_or(ApiError::UnknownPath)?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(embedded.mime),
        ),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        ),
    ];
    Ok((headers, embedded.content.as_str()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_import_what_is_served() {
        for embedded in EMBEDDED.iter() {
            assert!(
                !embedded.content.contains("\"./"),
                "{} has a relative import",
                embedded.url
            );
        }
        let base = EMBEDDED.iter().find(|it| it.asset == Asset::Base).unwrap();
        assert!(base.content.contains(url(Asset::Common)));
    }

    #[test]
    fn every_file_has_its_own_name() {
        let mut urls: Vec<_> = EMBEDDED.iter().map(|embedded| &embedded.url).collect();
        urls.sort();
        urls.dedup();
        assert_eq!(urls.len(), EMBEDDED.len());
    }
}
