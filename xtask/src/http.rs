//! A plain HTTP client for the harnesses: any status is an answer, and only transport is an error.

use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// Status code.
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Returns the first header of that name, in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body as JSON.
    ///
    /// # Errors
    /// If it is not JSON; the error shows how it begins.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("the body is not JSON: {}", self.excerpt()))
    }

    /// Returns the error code of the body, or an empty text.
    pub(crate) fn error_code(&self) -> String {
        self.json()
            .ok()
            .and_then(|body| body["error"]["code"].as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// Returns how the body begins.
    pub(crate) fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .chars()
            .take(300)
            .collect()
    }
}

/// A client of one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    /// Returns a client whose calls take at most `limit`.
    pub(crate) fn new(url: &str, limit: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(limit))
            .max_redirects(0)
            .proxy(None)
            .build();
        Self {
            agent: config.new_agent(),
            url: url.to_owned(),
        }
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// If no answer comes.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Response> {
        self.send("GET", path, &[], Vec::new())
    }

    /// Sends a GET request and returns the JSON of a 200 answer.
    ///
    /// # Errors
    /// If the status is another, or the body is not JSON.
    pub(crate) fn get_json(&self, path: &str) -> anyhow::Result<Value> {
        let response = self.get(path)?;
        if response.status != 200 {
            bail!("GET {path}: {} {}", response.status, response.excerpt());
        }
        response.json()
    }

    /// Sends a request with any method, headers and body.
    ///
    /// # Errors
    /// If no answer comes.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<Response> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let has_body = !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH");
        let mut answer = if has_body {
            self.agent
                .run(request.body(body).context("building a request")?)
        } else {
            self.agent
                .run(request.body(()).context("building a request")?)
        }
        .with_context(|| format!("{method} {path}"))?;
        Ok(Response {
            status: answer.status().as_u16(),
            headers: answer
                .headers()
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    (name.as_str().to_owned(), value)
                })
                .collect(),
            body: answer
                .body_mut()
                .with_config()
                .limit(256 << 20)
                .read_to_vec()
                .with_context(|| format!("reading the answer of {method} {path}"))?,
        })
    }

    /// Uploads an image as a form and returns the answer.
    ///
    /// # Errors
    /// If no answer comes.
    pub(crate) fn upload(
        &self,
        id: &str,
        name: &str,
        bytes: &[u8],
        wait: bool,
    ) -> anyhow::Result<Response> {
        let mut form = Form::default();
        form.text("id", id);
        form.file("file", name, bytes);
        let (content_type, body) = form.finish();
        let path = if wait {
            "/v1/images?wait=true"
        } else {
            "/v1/images"
        };
        self.send("POST", path, &[("content-type", &content_type)], body)
    }

    /// Follows a stream of server-sent events. A thread reads until the server closes; what it read
    /// is received here, at most 64 events ahead.
    ///
    /// # Errors
    /// If the server does not answer with 200.
    pub(crate) fn events(&self, path: &str) -> anyhow::Result<Receiver<Event>> {
        // No limit on the whole: a stream has none. Receivers wait with a timeout of their own.
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let answer = config
            .new_agent()
            .get(format!("{}{path}", self.url))
            .call()
            .with_context(|| format!("GET {path}"))?;
        if answer.status().as_u16() != 200 {
            bail!("GET {path}: {}", answer.status());
        }
        let (sender, receiver) = sync_channel(64);
        thread::spawn(move || {
            let mut event = Event::default();
            for line in BufReader::new(answer.into_body().into_reader()).lines() {
                let Ok(line) = line else { return };
                if line.is_empty() {
                    let complete = std::mem::take(&mut event);
                    if !complete.data.is_empty() && sender.send(complete).is_err() {
                        return;
                    }
                } else if let Some(id) = line.strip_prefix("id:") {
                    id.trim().clone_into(&mut event.id);
                } else if let Some(name) = line.strip_prefix("event:") {
                    name.trim().clone_into(&mut event.name);
                } else if let Some(data) = line.strip_prefix("data:") {
                    event.data.push_str(data.trim_start());
                }
            }
        });
        Ok(receiver)
    }
}

/// A server-sent event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Event {
    /// Its `id` field.
    pub(crate) id: String,
    /// Its `event` field.
    pub(crate) name: String,
    /// Its `data` field.
    pub(crate) data: String,
}

/// A `multipart/form-data` body under construction.
#[derive(Debug, Default)]
pub(crate) struct Form {
    body: Vec<u8>,
}

impl Form {
    /// Fixed, so that runs are alike; long enough not to occur in a picture.
    const BOUNDARY: &str = "likeness-form-7d1b54a3c0f94e2a";

    /// Adds a text field.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.part(&format!("name=\"{name}\""), None, value.as_bytes());
    }

    /// Adds a file field. Quotes and line ends in its name are escaped as browsers do.
    pub(crate) fn file(&mut self, field: &str, file_name: &str, bytes: &[u8]) {
        let file_name = file_name
            .replace('"', "%22")
            .replace('\r', "%0D")
            .replace('\n', "%0A");
        self.part(
            &format!("name=\"{field}\"; filename=\"{file_name}\""),
            Some("application/octet-stream"),
            bytes,
        );
    }

    fn part(&mut self, disposition: &str, content_type: Option<&str>, bytes: &[u8]) {
        let head = format!(
            "--{}\r\ncontent-disposition: form-data; {disposition}\r\n",
            Self::BOUNDARY
        );
        self.body.extend_from_slice(head.as_bytes());
        if let Some(content_type) = content_type {
            self.body
                .extend_from_slice(format!("content-type: {content_type}\r\n").as_bytes());
        }
        self.body.extend_from_slice(b"\r\n");
        self.body.extend_from_slice(bytes);
        self.body.extend_from_slice(b"\r\n");
    }

    /// Returns the content type and the body.
    pub(crate) fn finish(mut self) -> (String, Vec<u8>) {
        self.body
            .extend_from_slice(format!("--{}--\r\n", Self::BOUNDARY).as_bytes());
        (
            format!("multipart/form-data; boundary={}", Self::BOUNDARY),
            self.body,
        )
    }
}
