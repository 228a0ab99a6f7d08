//! A small client of the W3C WebDriver protocol: enough to visit, press, look and take a picture.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::http::Client;
use crate::process::Guard;

const CALL_LIMIT: Duration = Duration::from_secs(60);
const START_LIMIT: Duration = Duration::from_secs(30);
const WAIT_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// The key under which the protocol names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys that have no character.
pub(crate) mod key {
    pub(crate) const CONTROL: char = '\u{e009}';
    pub(crate) const ENTER: char = '\u{e007}';
    pub(crate) const ESCAPE: char = '\u{e00c}';
    pub(crate) const RIGHT: char = '\u{e014}';
}

/// A browser window, closed when dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    client: Client,
    session: String,
    _driver: Guard,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts chromedriver and a window of the given size.
    ///
    /// # Errors
    /// If either does not start in half a minute.
    pub(crate) fn start(width: u32, height: u32) -> anyhow::Result<Self> {
        let profile = tempfile::tempdir().context("making a profile")?;
        // Asked of the system and given back: chromedriver says its own choice only in prose.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .context("finding a free port")?
            .port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting chromedriver")?;
        let driver = Guard(driver);
        let client = Client::new(&format!("http://127.0.0.1:{port}"), CALL_LIMIT);
        let deadline = Instant::now() + START_LIMIT;
        while !client
            .get("/status")
            .is_ok_and(|answer| answer.status == 200)
        {
            if Instant::now() > deadline {
                bail!(
                    "chromedriver is not ready after {} s",
                    START_LIMIT.as_secs()
                );
            }
            thread::sleep(POLL);
        }
        let session = start_session(&client, profile.path(), width, height)?;
        Ok(Self {
            client,
            session,
            _driver: driver,
            _profile: profile,
        })
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let path = format!("/session/{}{path}", self.session);
        call(&self.client, method, &path, body)
    }

    /// Opens a page.
    ///
    /// # Errors
    /// If the browser does not get there.
    pub(crate) fn visit(&self, url: &str) -> anyhow::Result<()> {
        self.call("POST", "/url", &json!({"url": url}))?;
        Ok(())
    }

    /// Runs the body of a function and returns what it returns.
    ///
    /// # Errors
    /// If it throws.
    pub(crate) fn run(&self, script: &str) -> anyhow::Result<Value> {
        let body = json!({"script": script, "args": []});
        self.call("POST", "/execute/sync", &body)
            .with_context(|| format!("running `{script}`"))
    }

    /// Waits until a JavaScript expression is true.
    ///
    /// # Errors
    /// If it is not true after 20 seconds.
    pub(crate) fn wait(&self, expression: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + WAIT_LIMIT;
        loop {
            // A page that is being replaced throws; it counts as not yet.
            let value = self.run(&format!("return Boolean({expression})"));
            if matches!(value, Ok(Value::Bool(true))) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let text = self.run("return document.body.innerText.slice(0, 400)");
                bail!("`{expression}` is not true; the page says {text:?}, {value:?}");
            }
            thread::sleep(POLL);
        }
    }

    /// Presses keys one after the other, wherever the focus is.
    ///
    /// # Errors
    /// If the browser does not answer.
    pub(crate) fn press(&self, keys: &[char]) -> anyhow::Result<()> {
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|key| {
                [
                    json!({"type": "keyDown", "value": key.to_string()}),
                    json!({"type": "keyUp", "value": key.to_string()}),
                ]
            })
            .collect();
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.call("POST", "/actions", &body)?;
        Ok(())
    }

    /// Presses a key while another one is held.
    ///
    /// # Errors
    /// If the browser does not answer.
    pub(crate) fn press_with(&self, held: char, key: char) -> anyhow::Result<()> {
        let action = |kind: &str, key: char| json!({"type": kind, "value": key.to_string()});
        let actions = [
            action("keyDown", held),
            action("keyDown", key),
            action("keyUp", key),
            action("keyUp", held),
        ];
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.call("POST", "/actions", &body)?;
        Ok(())
    }

    fn find(&self, selector: &str) -> anyhow::Result<String> {
        let body = json!({"using": "css selector", "value": selector});
        let value = self
            .call("POST", "/element", &body)
            .with_context(|| format!("there is no `{selector}`"))?;
        let id = value[ELEMENT].as_str();
        Ok(id.context("an element without id")?.to_owned())
    }

    /// Clicks on an element.
    ///
    /// # Errors
    /// If it is not there or cannot be clicked.
    pub(crate) fn click(&self, selector: &str) -> anyhow::Result<()> {
        let id = self.find(selector)?;
        self.call("POST", &format!("/element/{id}/click"), &json!({}))?;
        Ok(())
    }

    /// Types into an element; for a file input, the path of a file.
    ///
    /// # Errors
    /// If it is not there or takes no text.
    pub(crate) fn fill(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let id = self.find(selector)?;
        let body = json!({"text": text});
        self.call("POST", &format!("/element/{id}/value"), &body)?;
        Ok(())
    }

    /// Runs a command of the browser's own protocol, such as `Emulation.setDeviceMetricsOverride`.
    ///
    /// # Errors
    /// If the browser refuses.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> anyhow::Result<Value> {
        let body = json!({"cmd": command, "params": parameters});
        self.call("POST", "/goog/cdp/execute", &body)
    }

    /// Returns what the console said since it was last asked, warnings and errors only.
    ///
    /// # Errors
    /// If the browser does not answer.
    pub(crate) fn console(&self) -> anyhow::Result<Vec<String>> {
        let value = self.call("POST", "/se/log", &json!({"type": "browser"}))?;
        let entries = value.as_array().cloned().unwrap_or_default();
        Ok(entries
            .iter()
            .filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")))
            .filter_map(|entry| entry["message"].as_str().map(str::to_owned))
            .collect())
    }

    /// Takes a picture of the whole page.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn screenshot(&self, path: &Path) -> anyhow::Result<()> {
        let parameters = json!({"format": "png", "captureBeyondViewport": true});
        let value = self.devtools("Page.captureScreenshot", &parameters)?;
        let data = value["data"].as_str().context("no picture")?;
        let bytes = STANDARD.decode(data).context("reading the picture")?;
        std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without this, Chromium would outlive its driver. Nothing can be done about a failure.
        self.call("DELETE", "", &Value::Null).ok();
    }
}

fn start_session(
    client: &Client,
    profile: &Path,
    width: u32,
    height: u32,
) -> anyhow::Result<String> {
    let arguments = [
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--disable-quic".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--hide-scrollbars".to_owned(),
        format!("--window-size={width},{height}"),
        format!("--user-data-dir={}", profile.display()),
    ];
    let body = json!({"capabilities": {"alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": {"args": arguments},
        "goog:loggingPrefs": {"browser": "ALL"},
    }}});
    let value = call(client, "POST", "/session", &body).context("starting the browser")?;
    let session = value["sessionId"].as_str();
    Ok(session.context("a session without id")?.to_owned())
}

fn call(client: &Client, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let headers = [("content-type", "application/json")];
    let answer = client.send(method, path, &headers, bytes)?;
    let value = answer.json()?["value"].clone();
    if answer.status != 200 {
        bail!("{}: {}", value["error"], value["message"]);
    }
    Ok(value)
}
