//! The review queue and the comparison of scorers, by mouse and keyboard.

use anyhow::{Context as _, ensure};

use super::{LIMIT, Visit};

type Step = (&'static str, fn(&mut Visit) -> anyhow::Result<()>);

/// On a server with pictures and copies that wait for review.
pub(super) const STEPS: &[Step] = &[
    (
        "pairs are answered by keyboard, and taken back",
        by_keyboard,
    ),
    ("a pair can be laid over the other and subtracted", looking),
    ("several pairs are answered at once", in_bulk),
    ("scorers can be compared", compare),
];

/// On a server that has nothing yet.
pub(super) fn empty(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/review")?;
    visit.wait("document.body.innerText.includes('Nothing to review')")?;
    visit.screenshot("review-empty")?;
    visit.open("/scorers/compare")?;
    visit.wait("document.body.innerText.includes('Choose two versions')")?;
    visit.screenshot("scorers-empty")
}

fn open(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/review")?;
    visit.wait("document.getElementById('stage').hidden === false")?;
    visit
        .browser
        .run("document.getElementById('review-author').value = ''")?;
    visit.browser.fill("#review-author", "the browser")?;
    // The keys are the page's only where no field has the focus.
    visit.browser.run("document.activeElement.blur()")?;
    Ok(())
}

/// Pair on the stage.
const CURRENT: &str = "document.querySelector('[data-review][aria-current]')?.dataset.pair";

fn current(visit: &Visit) -> anyhow::Result<String> {
    let pair = visit.browser.run(&format!("return {CURRENT}"))?;
    Ok(pair.as_str().context("no pair is shown")?.to_owned())
}

fn counts(visit: &Visit) -> anyhow::Result<(u64, u64)> {
    let page = visit.server.client(LIMIT).get_json("/v1/reviews?limit=1")?;
    let count = |name: &str| page[name].as_u64().context("no count");
    Ok((count("open")?, count("labels")?))
}

fn by_keyboard(visit: &mut Visit) -> anyhow::Result<()> {
    open(visit)?;
    let (waiting, labels) = counts(visit)?;
    let first = current(visit)?;
    visit.browser.press(&['j'])?;
    visit.wait(&format!("{CURRENT} !== '{first}'"))?;
    let second = current(visit)?;
    visit.browser.press(&['k'])?;
    visit.wait(&format!("{CURRENT} === '{first}'"))?;
    visit.browser.press(&['s'])?;
    visit.wait(&format!("{CURRENT} === '{second}'"))?;
    ensure!(counts(visit)? == (waiting - 1, labels + 1));
    visit.browser.press(&['d'])?;
    visit.wait(&format!("{CURRENT} !== '{second}'"))?;
    let third = current(visit)?;
    visit.browser.press(&[' '])?;
    visit.wait(&format!("{CURRENT} !== '{third}'"))?;
    ensure!(counts(visit)? == (waiting - 3, labels + 2));
    visit.screenshot("review-answered")?;
    for pair in [&third, &second, &first] {
        visit.browser.press(&['u'])?;
        visit.wait(&format!("{CURRENT} === '{pair}'"))?;
    }
    ensure!(counts(visit)? == (waiting, labels));
    Ok(())
}

fn looking(visit: &mut Visit) -> anyhow::Result<()> {
    open(visit)?;
    visit.wait("document.getElementById('stage-b').complete")?;
    visit.screenshot("review")?;
    let mode = |name: &str| format!("document.getElementById('compare').dataset.mode === '{name}'");
    visit.browser.click("button[data-mode=overlay]")?;
    visit.wait(&mode("overlay"))?;
    let shape = "return getComputedStyle(document.getElementById('stage-b')).clipPath";
    let before = visit.browser.run(shape)?;
    visit.browser.run(
        "const slide = document.getElementById('slide'); slide.value = 20; \
         slide.dispatchEvent(new Event('input'))",
    )?;
    let after = visit.browser.run(shape)?;
    ensure!(before != after, "the slider does nothing: {before}");
    visit.screenshot("review-overlay")?;
    visit.browser.run("document.activeElement.blur()")?;
    visit.browser.press(&['v'])?;
    visit.wait(&mode("difference"))?;
    visit.wait(
        "getComputedStyle(document.getElementById('stage-b')).mixBlendMode === 'difference'",
    )?;
    visit.screenshot("review-difference")?;
    visit.browser.press(&['v'])?;
    visit.wait(&mode("side"))
}

fn in_bulk(visit: &mut Visit) -> anyhow::Result<()> {
    open(visit)?;
    let (waiting, labels) = counts(visit)?;
    visit.wait("document.querySelector('[data-scope=bulk]').hidden")?;
    visit.browser.press(&['x', 'j', 'x'])?;
    visit.wait("document.getElementById('picked').textContent === '2 pairs picked'")?;
    visit.screenshot("review-picked")?;
    visit
        .browser
        .click("[data-scope=bulk][data-verdict=same]")?;
    visit.wait("document.getElementById('review-status').textContent.includes('2 noted')")?;
    ensure!(counts(visit)? == (waiting - 2, labels + 2));
    visit.browser.run("document.activeElement.blur()")?;
    for left in [1, 0] {
        visit.browser.press(&['u'])?;
        visit.wait("document.getElementById('review-status').textContent === 'Taken back.'")?;
        ensure!(counts(visit)? == (waiting - left, labels + left));
        visit
            .browser
            .run("document.getElementById('review-status').textContent = ''")?;
    }
    Ok(())
}

fn compare(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/scorers/compare")?;
    visit.browser.click("form.choose button")?;
    visit.wait(
        "document.getElementById('verdict')?.textContent.includes('decisions would change')",
    )?;
    visit.wait("document.querySelectorAll('svg.histogram').length === 2")?;
    visit.screenshot("scorers-compare")
}
