//! Who may ask for what.
//!
//! Three checks, in this order, each of them before a body is read:
//! 1. **Host**, without keys only. Whoever reaches the loopback address may call, so the one thing
//!    to fear is a web page elsewhere whose name was re-bound to 127.0.0.1: its requests carry its
//!    own name as `Host`, and are refused.
//! 2. **Origin** of requests that change something. Browsers say where they come from
//!    (`Sec-Fetch-Site`, `Origin`); anything but this origin is refused. Other clients send
//!    neither header and pass.
//! 3. **Key**, if any are configured: `Authorization: Bearer KEY`, or the cookie that `/login`
//!    gives out in exchange for a key. Digests are compared, each with each key, in constant time.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use likeness_core::Sha256;
use sha2::Digest;

use crate::app::App;
use crate::config::{ApiKey, Scope, ServerConfig};
use crate::error::{ApiError, ServerError};
use crate::urls;

/// Longest URI that is looked at. The longest that makes sense is a page of a cluster with a
/// cursor, all of it percent-encoded: about 1.5 KB.
const MAX_URI_BYTES: usize = 4_096;

const SESSION_COOKIE: &str = "likeness_session";

/// Lets a request through to its handler, or answers in its place.
pub(crate) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match allow(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(ApiError::Unauthorised) if is_page(&request) => {
            let wanted = request.uri().path_and_query().map_or("/", |it| it.as_str());
            Redirect::to(&format!("/login?next={}", urls::encode(wanted))).into_response()
        }
        Err(error) => error.into_response(),
    }
}

fn allow(app: &App, request: &Request) -> Result<(), ApiError> {
    let (uri, headers) = (request.uri(), request.headers());
    let num_uri_bytes = uri.path().len() + uri.query().map_or(0, str::len);
    if num_uri_bytes > MAX_URI_BYTES {
        return Err(ApiError::UriTooLong {
            limit: MAX_URI_BYTES,
        });
    }
    if app.config.keys.is_empty() {
        check_host(&app.config, uri, headers)?;
    }
    if !is_safe(request.method()) {
        check_origin(uri, headers)?;
    }
    if app.config.keys.is_empty() || is_open(uri.path()) {
        return Ok(());
    }
    let key = find_key(app, headers).ok_or(ApiError::Unauthorised)?;
    let (scope, name) = scope_needed(request.method(), uri.path());
    if key.scopes.contains(&scope) {
        Ok(())
    } else {
        Err(ApiError::MissingScope(name))
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Returns whether everyone may ask: nothing behind these paths tells about an image.
fn is_open(path: &str) -> bool {
    matches!(
        path,
        "/healthz" | "/readyz" | "/openapi.json" | "/login" | "/logout"
    ) || path.starts_with("/assets/")
}

/// Returns whether a person is to be led to the login page, and not just told no.
fn is_page(request: &Request) -> bool {
    let path = request.uri().path();
    is_safe(request.method()) && !path.starts_with("/v1") && path != "/metrics"
}

fn scope_needed(method: &Method, path: &str) -> (Scope, &'static str) {
    // These store nothing; they are a POST only because a picture, or a query, is their question.
    if is_safe(method) || matches!(path, "/v1/match" | "/v1/sql") {
        (Scope::Read, "read")
    } else {
        (Scope::Write, "write")
    }
}

/// Returns the host that the request names, with its port.
fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(header::HOST)?.to_str().ok(),
    }
}

fn check_host(config: &ServerConfig, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let authority = authority(uri, headers).unwrap_or_default();
    let host = without_port(authority);
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let is_allowed = config
        .allowed_hosts
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(host));
    if is_loopback || is_allowed {
        Ok(())
    } else {
        Err(ApiError::UnknownHost(host.to_owned()))
    }
}

/// Takes `:port` off; the colons of a bracketed IPv6 address stay.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn check_origin(uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    // `same-site` is refused as well: another port of localhost is another program.
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
        && site != "none"
    {
        return Err(ApiError::CrossOrigin);
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin_host = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, host)| host);
    if origin_host.is_some() && origin_host == authority(uri, headers) {
        Ok(())
    } else {
        Err(ApiError::CrossOrigin)
    }
}

fn find_key<'a>(app: &'a App, headers: &HeaderMap) -> Option<&'a ApiKey> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        return key_with_text(&app.config.keys, key.trim());
    }
    let token = session_cookie(headers)?;
    app.sessions.key_of(&app.config.keys, token)
}

/// Returns the key that reads `text`.
pub(crate) fn key_with_text<'a>(keys: &'a [ApiKey], text: &str) -> Option<&'a ApiKey> {
    let digest = digest(&[text.as_bytes()]);
    select(keys, |key| digests_equal(&key.sha256, &digest))
}

/// Returns the last key for which `is_it` holds, asking for every one so that the time taken does
/// not tell which it was.
fn select(keys: &[ApiKey], is_it: impl Fn(&ApiKey) -> bool) -> Option<&ApiKey> {
    let mut found = None;
    for key in keys {
        if is_it(key) {
            found = Some(key);
        }
    }
    found
}

fn digest(parts: &[&[u8]]) -> Sha256 {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Sha256(hasher.finalize().into())
}

fn digests_equal(left: &Sha256, right: &Sha256) -> bool {
    let difference = left
        .0
        .iter()
        .zip(&right.0)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, token)| token)
}

/// Gives browsers a token in place of the key, so that the key itself lies in no cookie jar.
///
/// A token is the digest of a secret that this process drew and of the key's digest (both of fixed
/// length): nothing to store, and worthless after a restart or once the key is taken out.
pub(crate) struct Sessions {
    secret: [u8; 32],
}

impl Sessions {
    pub(crate) fn new() -> Result<Self, ServerError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(ServerError::Random)?;
        Ok(Self { secret })
    }

    fn token(&self, key: &ApiKey) -> Sha256 {
        digest(&[&self.secret, &key.sha256.0])
    }

    fn key_of<'a>(&self, keys: &'a [ApiKey], token: &str) -> Option<&'a ApiKey> {
        let token: Sha256 = token.parse().ok()?;
        select(keys, |key| digests_equal(&self.token(key), &token))
    }

    /// Returns the `Set-Cookie` that logs in with `key`. Ends with the browser's session.
    pub(crate) fn login_cookie(&self, key: &ApiKey) -> String {
        let token = self.token(key);
        format!("{SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict")
    }

    /// Returns the `Set-Cookie` that logs out.
    pub(crate) fn logout_cookie() -> String {
        format!("{SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = name.parse::<header::HeaderName>().unwrap();
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    #[track_caller]
    fn check_host_of(host: &'static str, allowed: bool) {
        let config = ServerConfig {
            allowed_hosts: vec!["photos.example".to_owned()],
            ..ServerConfig::default()
        };
        let headers = headers(&[("host", host)]);
        let result = check_host(&config, &Uri::from_static("/"), &headers);
        assert_eq!(result.is_ok(), allowed, "{host:?}");
    }

    #[test]
    fn only_loopback_names_and_configured_ones_are_answered_to() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:7878",
            "127.9.9.9",
            "[::1]:7878",
        ] {
            check_host_of(host, true);
        }
        check_host_of("photos.example:443", true);
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
        ] {
            check_host_of(host, false);
        }
    }

    #[track_caller]
    fn check_origin_of(pairs: &[(&'static str, &'static str)], allowed: bool) {
        let result = check_origin(&Uri::from_static("/v1/images"), &headers(pairs));
        assert_eq!(result.is_ok(), allowed, "{pairs:?}");
    }

    #[test]
    fn changes_are_taken_from_this_origin_only() {
        let host = ("host", "localhost:7878");
        check_origin_of(&[host], true);
        check_origin_of(&[host, ("origin", "http://localhost:7878")], true);
        check_origin_of(&[host, ("sec-fetch-site", "same-origin")], true);
        check_origin_of(&[host, ("origin", "http://localhost:9999")], false);
        check_origin_of(&[host, ("origin", "null")], false);
        check_origin_of(&[host, ("origin", "http://evil.example")], false);
        check_origin_of(&[host, ("sec-fetch-site", "cross-site")], false);
        check_origin_of(&[host, ("sec-fetch-site", "same-site")], false);
        check_origin_of(&[("origin", "http://localhost")], false);
    }

    #[test]
    fn a_session_token_is_worth_its_key_and_nothing_in_another_process() {
        let keys = ["one", "two"].map(|text| ApiKey {
            name: text.to_owned(),
            sha256: digest(&[text.as_bytes()]),
            scopes: vec![Scope::Read],
        });
        let sessions = Sessions::new().unwrap();
        let token = sessions.token(&keys[1]).to_string();
        assert_eq!(sessions.key_of(&keys, &token).unwrap().name, "two");
        assert!(Sessions::new().unwrap().key_of(&keys, &token).is_none());
        assert!(
            sessions
                .key_of(&keys, &keys[1].sha256.to_string())
                .is_none()
        );
        assert_eq!(key_with_text(&keys, "one").unwrap().name, "one");
        assert!(key_with_text(&keys, "three").is_none());
    }
}
