//! The page of pins: empty, live, and where it leads.

use anyhow::ensure;
use serde_json::{Value, json};

use super::pages::Step;
use super::{LIMIT, Visit};

pub(super) const EMPTY: &[Step] = &[("no pins yet", empty)];

pub(super) const STEPS: &[Step] = &[
    ("the first pins bring the real page, which is live", live),
    ("pins by day and by followers", choose),
    (
        "an event that could not be cleaned is shown as it came",
        rejected,
    ),
];

/// Pins of two hours, more and more of them towards now.
const NUM_PINS: u64 = 180;

fn empty(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/pins")?;
    visit.wait("document.body.innerText.includes('No pins yet')")?;
    visit.wait("document.querySelector('nav a[href=\"/pins\"][aria-current=page]')")?;
    visit.wait("document.getElementById('live').dataset.state === 'live'")?;
    visit.screenshot("pins-empty")
}

fn post(visit: &Visit, path: &str, events: &[Value]) -> anyhow::Result<()> {
    let headers = [("content-type", "application/json")];
    let body = json!(events).to_string().into_bytes();
    let client = visit.server.client(LIMIT);
    let answer = client.send("POST", path, &headers, body)?;
    ensure!(answer.status == 200, "status {}", answer.status);
    Ok(())
}

/// Returns an event that says when a pin was posted, so many minutes ago.
fn minutes_ago(ind: u64, minutes: u64) -> anyhow::Result<Value> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(json!({"ind": ind, "timestamp": now.as_secs() - 60 * minutes}))
}

fn live(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/pins")?;
    let (mut times, mut pins) = (Vec::new(), Vec::new());
    let categories = ["travel", "art", "food", "diy-and-crafts"];
    let posters = ["Anna on the Road", "Bob", "The Quiet Kitchen", "<b>Eve</b>"];
    for number in 0..NUM_PINS {
        // Later minutes have more pins; of the hour before there are some too.
        let minutes = 110 - 110 * number * number / (NUM_PINS * NUM_PINS);
        times.push(minutes_ago(number, minutes)?);
        let pick = (number % 9 % 4) as usize;
        pins.push(json!({
            "unique_id": format!("pin-{number}"), "index": number, "category": categories[pick],
            "poster_name": posters[(number % 5 % 4) as usize], "follower_count": format!("{}k", 3 * (number % 5) + 1),
        }));
    }
    pins.push(json!({"unique_id": "odd", "follower_count": "<script>alert(1)</script>"}));
    post(visit, "/v1/geolocations", &times)?;
    visit.wait("document.querySelector('.pins-chart')")?;
    post(visit, "/v1/pins", &pins)?;
    // Without loading it again.
    visit.wait(&format!(
        "document.querySelector('[data-pins=pins]').innerText === '{NUM_PINS}'"
    ))?;
    visit.wait("document.querySelector('[data-pins=rejected]').innerText === '1'")?;
    visit.wait("document.querySelectorAll('.pins-bar').length > 20")?;
    visit.wait("document.querySelectorAll('[data-fresh=trends] tbody tr').length === 4")?;
    visit
        .wait("document.querySelector('[data-fresh=profiles]').innerText.includes('<b>Eve</b>')")?;
    // Times that are learnt behind the watermark are late.
    post(
        visit,
        "/v1/geolocations",
        &[minutes_ago(0, 30)?, minutes_ago(1, 45)?],
    )?;
    visit.wait("document.querySelector('[data-pins=late]').innerText !== '0'")?;
    visit.wait("document.querySelectorAll('.pins-late').length > 0")?;
    visit.screenshot("pins")?;
    visit.browser.click("#live")?;
    visit.wait("document.getElementById('live').dataset.state === 'paused'")?;
    visit.browser.click("#live")?;
    visit.wait("document.getElementById('live').dataset.state === 'live'")
}

fn choose(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/pins")?;
    visit.browser.click("a[href=\"/pins?span=day&by=score\"]")?;
    visit.wait("document.querySelector('.switch a[aria-current]').innerText === 'day'")?;
    visit.wait("document.querySelector('.pins-legend').innerText.includes('24 min')")?;
    visit
        .browser
        .click("a[href=\"/pins?span=day&by=followers\"]")?;
    visit.wait("location.search === '?span=day&by=followers'")?;
    visit.wait("document.querySelector('[data-fresh=profiles] tbody tr td:nth-child(3)').innerText === '13,000'")
}

fn rejected(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/pins")?;
    visit.wait(
        "document.querySelector('.pins-rejected').innerText.includes('<script>alert(1)</script>')",
    )?;
    visit.browser.click(".pins-rejected summary")?;
    visit.wait("document.querySelector('.pins-rejected details pre').innerText.includes('\"unique_id\": \"odd\"')")
}
