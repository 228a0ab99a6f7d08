//! Banks of reference pictures, and clusters under quarantine, as a person uses them.

use anyhow::ensure;
use serde_json::json;

use super::pages::{Step, sign};
use super::{LIMIT, Visit, picture};

/// On a server that has nothing yet.
pub(super) const EMPTY: &[Step] = &[("no banks and no alarms yet", empty)];

/// On a server with pictures and copies.
pub(super) const FILLED: &[Step] = &[
    ("a bank is made, filled, matched and emptied", bank),
    ("a bank finds stored pictures later", scan),
    ("a quarantine holds, and is released by hand", quarantine),
];

fn empty(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/banks")?;
    visit.wait("document.body.innerText.includes('No banks yet')")?;
    visit.screenshot("banks-empty")?;
    visit.open("/alarms")?;
    visit.wait("document.body.innerText.includes('No flood so far')")?;
    visit.screenshot("alarms-empty")
}

fn bank(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/banks")?;
    sign(visit, "known adverts")?;
    visit.browser.fill("#bank-name", "adverts")?;
    visit
        .browser
        .run("document.getElementById('bank-threshold').value = '0.8'")?;
    visit.browser.click("[data-correct=bank-create]")?;
    visit.wait("document.querySelector('tbody a[href=\"/banks/adverts\"]')")?;
    visit.screenshot("banks")?;

    visit.open("/banks/adverts")?;
    visit.wait("document.body.innerText.includes('without references')")?;
    sign(visit, "reported")?;
    let path = visit.upload.with_file_name("advert.png");
    std::fs::write(&path, picture(30).png())?;
    visit
        .browser
        .fill("#bank-files", &path.display().to_string())?;
    visit.browser.click("[data-correct=bank-add]")?;
    visit.wait("document.querySelectorAll('[data-correct=bank-remove]').length === 1")?;

    let bytes = picture(30).png();
    let client = visit.server.client(LIMIT);
    client.upload("an-advert", "advert.png", &bytes, true)?;
    visit.open("/banks/adverts")?;
    visit.wait("document.querySelector('a[href=\"/images/an-advert\"] .badge')")?;
    visit.screenshot("bank")?;
    visit.open("/images/an-advert")?;
    visit.wait(
        "document.querySelector('[aria-labelledby=banks-title] a[href=\"/banks/adverts\"]')",
    )?;

    visit.open("/banks/adverts")?;
    sign(visit, "they have stopped")?;
    visit.browser.click("[data-correct=bank-remove]")?;
    visit.wait("document.body.innerText.includes('without references')")?;
    // What it has matched stays.
    visit.wait("document.querySelector('a[href=\"/images/an-advert\"]')")
}

fn scan(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/banks/adverts")?;
    sign(visit, "which are stored?")?;
    let body = json!({
        "author": "the browser", "reason": "a stored picture", "images": ["picture-03-original"],
    });
    let answer = visit.server.client(LIMIT).send(
        "POST",
        "/v1/banks/adverts/images",
        &[("content-type", "application/json")],
        body.to_string().into_bytes(),
    )?;
    ensure!(answer.status == 200, "{}", answer.excerpt());
    visit.browser.click("[data-correct=bank-scan]")?;
    visit.wait("document.body.innerText.includes('found later')")?;
    visit.wait("document.querySelector('a[href=\"/images/picture-03-original\"] .badge')")
}

fn quarantine(visit: &mut Visit) -> anyhow::Result<()> {
    let client = visit.server.client(LIMIT);
    client.upload("a-magnet", "magnet.png", &picture(31).png(), true)?;
    let body = json!({"author": "the browser", "reason": "it attracts", "act": "begin"});
    let answer = client.send(
        "POST",
        "/v1/clusters/a-magnet/quarantine",
        &[("content-type", "application/json")],
        body.to_string().into_bytes(),
    )?;
    ensure!(answer.status == 200, "{}", answer.excerpt());
    let copy = picture(31).edited(4).png();
    client.upload("a-held-copy", "held.png", &copy, true)?;

    visit.open("/clusters/a-magnet")?;
    visit.wait("document.body.innerText.includes('Under quarantine')")?;
    visit.screenshot("cluster-quarantine")?;
    visit.open("/clusters/a-magnet/held")?;
    visit.wait("document.querySelector('a[href=\"/images/a-held-copy\"]')")?;
    visit.screenshot("held")?;
    sign(visit, "it is right")?;
    visit.browser.click("[data-correct=release]")?;
    visit.wait("document.body.innerText.includes('Nothing is held')")?;
    visit.open("/clusters/a-magnet")?;
    visit.wait("document.querySelectorAll('.members > li').length === 2")
}
