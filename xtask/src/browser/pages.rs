//! What a person does on each page, and what they must see.

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::webdriver::key;
use super::{LIMIT, Visit, picture};

pub(super) type Step = (&'static str, fn(&mut Visit) -> anyhow::Result<()>);

/// On a server that has nothing yet.
pub(super) const EMPTY: &[Step] = &[
    ("an empty overview says how to begin", empty_overview),
    ("empty clusters say how to begin", empty_clusters),
    ("no corrections yet", empty_corrections),
    ("no orphans yet", empty_orphans),
    ("nothing to review yet", super::review::empty),
    (
        "the first decision brings the real overview",
        first_decision,
    ),
];

/// On a server with pictures and copies.
pub(super) const FILLED: &[Step] = &[
    (
        "the overview counts and shows the latest decisions",
        overview,
    ),
    ("the overview is live", live_overview),
    ("the scorer says what it reads", scorer),
    ("clusters are galleries, biggest first", clusters),
    ("clusters can be walked by keyboard", keyboard_gallery),
    ("a cluster shows its members and their scores", cluster),
    ("an image shows its decision and why", image),
    (
        "a picture is split off by hand, and the correction undone",
        correct,
    ),
    ("a pair is told apart on an image's page", tell_apart),
    ("an orphan is shown and given up", orphan),
    ("a picture is erased, and its page says so", erase),
    (
        "a job runs over a day and says what came of it",
        super::jobs::run,
    ),
    ("a file that is chosen gets its verdict", upload),
    ("matching without storing says so", match_only),
    (
        "what is no picture is refused with a reason",
        upload_refused,
    ),
    ("keys lead from page to page", keyboard_places),
    ("the search box leads to an image", search),
    ("the theme can be switched and is remembered", theme),
    ("pages are dark where the system is", dark),
    ("pages fit a phone", phone),
    ("an unknown page offers a way back", unknown_page),
];

fn empty_overview(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/")?;
    visit.wait("document.body.innerText.includes('No pictures yet')")?;
    visit.wait("document.querySelector('a[href=\"/upload\"]')")?;
    // The address to copy is the one that the page was reached by.
    visit.wait("document.querySelector('[data-origin]').textContent === location.origin")?;
    visit.screenshot("overview-empty")
}

fn empty_clusters(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/clusters")?;
    visit.wait("document.body.innerText.includes('No clusters yet')")?;
    visit.screenshot("clusters-empty")
}

fn empty_corrections(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/corrections")?;
    visit.wait("document.body.innerText.includes('Nothing was corrected so far')")?;
    visit.screenshot("corrections-empty")
}

fn empty_orphans(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/orphans")?;
    visit.wait("document.body.innerText.includes('No orphans')")?;
    visit.wait("document.querySelector('nav a[href=\"/orphans\"][aria-current=page]')")?;
    visit.screenshot("orphans-empty")
}

fn orphan(visit: &mut Visit) -> anyhow::Result<()> {
    let embedding = json!({
        "image": "nobody-sent-this", "kind": "copy", "model": "elsewhere 1",
        "vector": [1, 0], "event_time_ms": 1_000_000,
    });
    let headers = [("content-type", "application/json")];
    let body = embedding.to_string().into_bytes();
    let answer = visit
        .server
        .client(LIMIT)
        .send("POST", "/v1/embeddings", &headers, body)?;
    ensure!(answer.status == 202, "status {}", answer.status);
    // It is moved there once the stage has looked at it.
    let deadline = std::time::Instant::now() + LIMIT;
    while !visit
        .server
        .client(LIMIT)
        .get_json("/v1/orphans")?
        .to_string()
        .contains("nobody-sent-this")
    {
        ensure!(std::time::Instant::now() < deadline, "it is no orphan");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    visit.open("/orphans")?;
    visit.wait("document.querySelector('main').innerText.includes('nobody-sent-this')")?;
    visit.wait("document.querySelector('[data-orphan=drop]').hidden === false")?;
    visit.screenshot("orphans")?;
    visit.browser.click("[data-orphan=drop]")?;
    visit.wait("document.getElementById('correct-status').innerText !== ''")?;
    visit.browser.fill("#correct-author", "ann")?;
    visit.browser.fill("#correct-reason", "sent by mistake")?;
    visit.browser.click("[data-orphan=drop]")?;
    visit.wait("document.body.innerText.includes('No orphans')")
}

fn first_decision(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/")?;
    visit.wait("document.getElementById('latest') === null")?;
    let bytes = picture(20).png();
    visit
        .server
        .client(LIMIT)
        .upload("the-first", "first.png", &bytes, true)?;
    visit.wait("document.querySelector('#latest a[href=\"/images/the-first\"]')")
}

fn overview(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/")?;
    let overview = visit.server.client(LIMIT).get_json("/v1/overview")?;
    for name in ["images", "duplicates", "clusters", "duplicate_clusters"] {
        let value = &overview[name];
        visit.wait(&format!(
            "document.querySelector('[data-count={name}]').textContent.replaceAll(',', '') === '{value}'"
        ))?;
    }
    visit.wait("document.querySelectorAll('#latest > li').length === 24")?;
    visit.wait("document.querySelectorAll('[data-stage]').length === 4")?;
    visit.wait("document.querySelector('#live').dataset.state === 'live'")?;
    visit.screenshot("overview")
}

fn live_overview(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/")?;
    visit.wait("document.querySelector('#live').dataset.state === 'live'")?;
    visit.browser.run("window.stays = true")?;
    let bytes = picture(21).png();
    let client = visit.server.client(LIMIT);
    client.upload("live-one", "live.png", &bytes, true)?;
    visit.wait(
        "document.querySelector('#latest > li a').getAttribute('href') === '/images/live-one'",
    )?;
    client.upload("live-copy", "copy.png", &bytes, true)?;
    visit.wait(
        "document.querySelector('#latest > li').innerText.toLowerCase().includes('exact copy')",
    )?;
    visit.wait("document.querySelectorAll('#latest > li').length <= 24")?;
    // Told by the stream, not by loading the page again.
    visit.wait("window.stays === true")?;
    visit.browser.click("#live")?;
    visit.wait("document.querySelector('#live').dataset.state === 'paused'")
}

fn scorer(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/")?;
    visit.browser.click(".facts a[href=\"/scorer\"]")?;
    let scorer = visit.server.client(LIMIT).get_json("/v1/scorer")?;
    let id = scorer["id"].as_str().context("the scorer has no id")?;
    visit.wait(&format!(
        "document.querySelector('h1').textContent.includes('{id}')"
    ))?;
    visit.wait(
        "[...document.querySelectorAll('table')].some((e) => e.innerText.includes('pdq_distance'))",
    )?;
    visit.screenshot("scorer")
}

fn clusters(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/clusters")?;
    visit.wait("document.querySelectorAll('.cards > li').length >= 10")?;
    let sizes = visit.browser.run(
        "return [...document.querySelectorAll('.cards .size')].map((e) => parseInt(e.textContent))",
    )?;
    let sizes: Vec<i64> = sizes
        .as_array()
        .context("no sizes")?
        .iter()
        .filter_map(serde_json::Value::as_i64)
        .collect();
    ensure!(sizes.is_sorted_by(|a, b| a >= b), "sizes are {sizes:?}");
    ensure!(sizes.iter().all(|&size| size > 1), "sizes are {sizes:?}");
    visit.screenshot("clusters")?;
    visit.open("/clusters?order=newest&all=true")?;
    visit.wait("document.querySelectorAll('.cards > li').length > 14")?;
    visit.wait("document.querySelectorAll('nav.switch a[aria-current]').length === 2")
}

fn keyboard_gallery(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/clusters")?;
    visit.browser.press(&['j'])?;
    let focused = |index: usize| {
        format!(
            "[...document.querySelectorAll('.gallery [data-item]')].indexOf(document.activeElement) === {index}"
        )
    };
    visit.wait(&focused(0))?;
    visit.browser.press(&['j', 'j'])?;
    visit.wait(&focused(2))?;
    visit.browser.press(&['k'])?;
    visit.wait(&focused(1))?;
    visit.browser.press(&[key::RIGHT])?;
    visit.wait(&focused(2))
}

fn cluster(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/clusters")?;
    visit.browser.click(".cards > li a")?;
    visit.wait("location.pathname.startsWith('/clusters/')")?;
    visit.wait("document.querySelectorAll('.members > li').length > 4")?;
    visit.wait("document.querySelector('.members > li.is-head')")?;
    visit.wait("document.querySelectorAll('.members .bar').length > 4")?;
    visit.wait("document.querySelectorAll('.broken').length === 0")?;
    visit.screenshot("cluster")
}

fn image(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/images/picture-06-edit-4")?;
    visit.wait("document.querySelector('.verdict').dataset.kind === 'joined'")?;
    visit.wait("document.querySelector('.why tbody tr')")?;
    visit.wait("document.querySelector('.why .bar')")?;
    visit.wait("document.querySelector('time').textContent !== ''")?;
    visit.screenshot("image")?;
    visit.open("/images/picture-06-original")?;
    visit.wait("document.querySelector('.verdict').dataset.kind === 'new'")
}

/// Fills in who corrects and why.
pub(super) fn sign(visit: &mut Visit, reason: &str) -> anyhow::Result<()> {
    visit.wait("document.getElementById('correct').hidden === false")?;
    visit.browser.run(
        "for (const id of ['correct-author', 'correct-reason']) document.getElementById(id).value = ''",
    )?;
    visit.browser.fill("#correct-author", "the browser")?;
    visit.browser.fill("#correct-reason", reason)
}

fn correct(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/clusters/picture-06-original")?;
    visit.wait("document.getElementById('correct').hidden === false")?;
    visit.wait("document.querySelector('[data-correct=split]').disabled")?;
    let members = "document.querySelectorAll('.members > li').length";
    let before = visit.browser.run(&format!("return {members}"))?;
    let before = before.as_u64().context("no number of members")?;
    visit.browser.click("[data-pick=picture-06-edit-4]")?;
    visit.wait("!document.querySelector('[data-correct=split]').disabled")?;
    // Without a name nothing is sent.
    visit
        .browser
        .run("document.getElementById('correct-author').value = ''")?;
    visit.browser.click("[data-correct=split]")?;
    visit.wait("document.getElementById('correct-status').textContent.includes('who you are')")?;
    sign(visit, "another picture")?;
    visit.screenshot("cluster-correcting")?;
    visit.browser.click("[data-correct=split]")?;
    visit.wait(&format!("{members} === {}", before - 1))?;

    visit.open("/corrections")?;
    visit.wait("document.querySelector('.corrections > li.standing')")?;
    visit.wait("document.querySelector('.corrections').innerText.includes('another picture')")?;
    visit.screenshot("corrections")?;
    sign(visit, "it was the same after all")?;
    visit
        .browser
        .click(".corrections > li.standing [data-correct=undo]")?;
    visit.wait("document.querySelector('.corrections').innerText.includes('undone by')")?;
    visit.open("/clusters/picture-06-original")?;
    visit.wait(&format!("{members} === {before}"))
}

fn tell_apart(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/images/picture-05-edit-2")?;
    sign(visit, "not this one")?;
    visit
        .browser
        .click("[data-correct=never][data-other=picture-05-original]")?;
    visit.wait("document.body.innerText.includes('Corrections by hand')")?;
    visit.screenshot("image-corrected")?;
    // A second one that says the opposite is refused, and the refusal says why.
    sign(visit, "or is it?")?;
    visit
        .browser
        .click("[data-correct=always][data-other=picture-05-original]")?;
    visit.wait("document.getElementById('correct-status').textContent.includes('Refused')")?;
    sign(visit, "back to how it was")?;
    visit
        .browser
        .click(".corrections > li.standing [data-correct=undo]")?;
    visit.wait("document.body.innerText.includes('undone by')")
}

fn erase(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/images/picture-04-edit-3")?;
    sign(visit, "the owner asked")?;
    // Closed until it is opened, so that one click erases nothing.
    visit.wait("!document.querySelector('details.erase').open")?;
    visit.browser.click("details.erase summary")?;
    visit.screenshot("image-erasing")?;
    visit.browser.click("[data-correct=erase]")?;
    visit.wait("document.body.innerText.includes('This picture was erased')")?;
    visit.wait("document.body.innerText.includes('the owner asked')")?;
    visit.screenshot("image-erased")?;
    // The browser itself reports the answer of 410, as it should, and nothing else.
    let messages = visit.browser.console()?;
    ensure!(
        messages.iter().all(|message| message.contains("410")),
        "the console says {messages:?}"
    );
    Ok(())
}

fn upload(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/upload")?;
    let path = visit.upload.display().to_string();
    visit.browser.fill("#files", &path)?;
    visit.wait("document.querySelector('#verdicts .verdict')?.dataset.kind === 'joined'")?;
    visit.wait("document.querySelector('#verdicts .that-picture').hidden === false")?;
    visit.wait("document.querySelector('#summary').textContent.includes('1 of 1 done')")?;
    visit.screenshot("upload")
}

fn match_only(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/upload")?;
    let images = |visit: &Visit| -> anyhow::Result<u64> {
        let overview = visit.server.client(LIMIT).get_json("/v1/overview")?;
        overview["images"].as_u64().context("no count")
    };
    let before = images(visit)?;
    visit
        .browser
        .run("document.getElementById('match-only').click()")?;
    let path = visit.upload.display().to_string();
    visit.browser.fill("#files", &path)?;
    visit.wait(
        "document.querySelector('#verdicts .verdict')?.textContent === 'Would be a near-copy'",
    )?;
    ensure!(images(visit)? == before, "a match was stored");
    Ok(())
}

fn upload_refused(visit: &mut Visit) -> anyhow::Result<()> {
    let note = visit.upload.with_file_name("note.png");
    std::fs::write(&note, "this is no picture").context("writing a file")?;
    visit.open("/upload")?;
    visit.browser.fill("#files", &note.display().to_string())?;
    visit.wait("document.querySelector('#verdicts .verdict')?.dataset.kind === 'rejected'")?;
    visit.wait("document.querySelector('#verdicts .detail').textContent.includes('JPEG')")?;
    visit.screenshot("upload-refused")?;
    // The browser itself reports an answer of 415 on the console, as it should, and nothing else.
    let messages = visit.browser.console()?;
    ensure!(
        messages
            .iter()
            .all(|message| message.contains("415") || message.contains("blob:")),
        "the console says {messages:?}"
    );
    Ok(())
}

fn keyboard_places(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/")?;
    for (letter, path) in [
        ('c', "/clusters"),
        ('v', "/review"),
        ('r', "/corrections"),
        ('b', "/banks"),
        ('a', "/alarms"),
        ('q', "/sql"),
        ('u', "/upload"),
        ('o', "/"),
    ] {
        visit.browser.press(&['g', letter])?;
        visit.wait(&format!(
            "location.pathname === '{path}' && document.readyState === 'complete'"
        ))?;
        // The listener is part of a module, which runs when the page is complete.
        visit.wait("document.getElementById('help-open').hidden === false")?;
    }
    visit.browser.press(&['?'])?;
    visit.wait("document.getElementById('help').open")?;
    visit.screenshot("help")?;
    visit.browser.press(&[key::ESCAPE])?;
    visit.wait("!document.getElementById('help').open")
}

fn search(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/clusters")?;
    visit.browser.press(&['/'])?;
    visit.wait("document.activeElement.id === 'search'")?;
    visit.browser.fill("#search", "picture-03-original\n")?;
    visit.wait("location.pathname === '/images/picture-03-original'")
}

fn theme(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/")?;
    let background = "return getComputedStyle(document.body).backgroundColor";
    let before = visit.browser.run(background)?;
    visit.browser.press(&['t'])?;
    visit.wait("document.documentElement.dataset.theme === 'dark'")?;
    let after = visit.browser.run(background)?;
    ensure!(before != after, "both themes have the background {before}");
    visit.open("/clusters")?;
    visit.wait("document.documentElement.dataset.theme === 'dark'")?;
    visit.browser.run("localStorage.clear()")?;
    Ok(())
}

fn dark(visit: &mut Visit) -> anyhow::Result<()> {
    let scheme =
        |value: &str| json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
    visit
        .browser
        .devtools("Emulation.setEmulatedMedia", &scheme("dark"))?;
    for (path, name) in [
        ("/", "overview-dark"),
        ("/clusters", "clusters-dark"),
        ("/images/picture-06-edit-4", "image-dark"),
        ("/review", "review-dark"),
        ("/corrections", "corrections-dark"),
        ("/banks/adverts", "bank-dark"),
        ("/pins", "pins-dark"),
        ("/sql?report=top-category-by-year", "sql-dark"),
        ("/upload", "upload-dark"),
    ] {
        visit.open(path)?;
        let lightness = "(() => { const [r, g, b] = getComputedStyle(document.body).backgroundColor\
                         .match(/[\\d.]+/g).map(Number); return r + g + b; })() < 200";
        visit.wait(lightness)?;
        visit.screenshot(name)?;
    }
    visit
        .browser
        .devtools("Emulation.setEmulatedMedia", &scheme("light"))?;
    Ok(())
}

fn phone(visit: &mut Visit) -> anyhow::Result<()> {
    let metrics = json!({"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true});
    visit
        .browser
        .devtools("Emulation.setDeviceMetricsOverride", &metrics)?;
    for (path, name) in [
        ("/", "overview-phone"),
        ("/clusters", "clusters-phone"),
        ("/clusters/picture-06-original", "cluster-phone"),
        ("/images/picture-06-edit-4", "image-phone"),
        ("/review", "review-phone"),
        ("/corrections", "corrections-phone"),
        ("/banks", "banks-phone"),
        ("/banks/adverts", "bank-phone"),
        ("/pins", "pins-phone"),
        ("/sql?report=top-category-by-year", "sql-phone"),
        ("/upload", "upload-phone"),
    ] {
        visit.open(path)?;
        // Nothing sticks out to the right; what is wide scrolls in a box of its own.
        visit
            .wait("document.documentElement.scrollWidth <= innerWidth")
            .with_context(|| format!("{path} is wider than a phone"))?;
        visit.screenshot(name)?;
    }
    visit
        .browser
        .devtools("Emulation.clearDeviceMetricsOverride", &json!({}))?;
    Ok(())
}

fn unknown_page(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/images/nobody")?;
    visit.wait("document.body.innerText.includes('No image has this id')")?;
    visit.wait("document.querySelector('main a[href=\"/\"]')")?;
    visit.screenshot("unknown")?;
    let messages = visit.browser.console()?;
    ensure!(
        messages.iter().all(|message| message.contains("404")),
        "the console says {messages:?}"
    );
    Ok(())
}
