//! The page of SQL: queries, charts, errors and reports. After the page of pins, which has posted some.

use anyhow::ensure;

use super::Visit;
use super::pages::Step;
use super::webdriver::key;

pub(super) const EMPTY: &[Step] = &[("SQL over nothing says that nothing is there", empty)];

pub(super) const STEPS: &[Step] = &[
    ("a query is run by keyboard and drawn as a chart", run),
    ("names are inserted by a click", insert),
    ("a query in the address waits to be run", shared),
    ("great answers are turned page by page", turn_pages),
    ("an error of a query is shown", error),
    ("a report runs at once", report),
];

fn empty(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/sql")?;
    visit.wait("document.querySelector('nav a[href=\"/sql\"][aria-current=page]')")?;
    visit.wait("document.getElementById('sql-empty')")?;
    visit.wait("!document.getElementById('sql-run').hidden")?;
    visit.screenshot("sql-empty")?;
    visit.browser.click("#sql-run")?;
    visit.wait("document.getElementById('sql-none')?.innerText.includes('No rows')")
}

/// Puts a query into the editor.
fn write(visit: &Visit, sql: &str) -> anyhow::Result<()> {
    let text = serde_json::to_string(sql)?;
    visit.browser.run(&format!(
        "document.getElementById('sql-text').value = {text}"
    ))?;
    Ok(())
}

fn run(visit: &mut Visit) -> anyhow::Result<()> {
    const SQL: &str =
        "SELECT poster_name, count(*) AS pins FROM pins GROUP BY 1 ORDER BY 2 DESC, 1";
    visit.open("/sql")?;
    visit.wait("!document.getElementById('sql-run').hidden")?;
    write(visit, SQL)?;
    visit
        .browser
        .run("document.getElementById('sql-text').focus()")?;
    visit.browser.press_with(key::CONTROL, key::ENTER)?;
    // Rows come into the lake some seconds after they were posted.
    visit.wait(
        "(document.querySelectorAll('#sql-answer tbody tr').length === 4) \
         || (document.getElementById('sql-status').dataset.kind === 'good' \
             && void document.getElementById('sql-run').click())",
    )?;
    visit.wait("document.querySelectorAll('#sql-chart .sql-fill').length === 4")?;
    visit.wait("document.getElementById('sql-answer').innerText.includes('<b>Eve</b>')")?;
    visit.wait("document.querySelector('#sql-answer b') === null")?;
    visit.wait("location.search.startsWith('?q=SELECT')")?;
    visit.screenshot("sql")
}

fn insert(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/sql")?;
    visit.wait("!document.getElementById('sql-run').hidden")?;
    write(visit, "")?;
    visit
        .browser
        .click("button.id[data-insert=pins]:not(details *)")?;
    visit.wait("document.getElementById('sql-text').value === 'pins'")?;
    visit.wait("document.activeElement === document.getElementById('sql-text')")
}

fn shared(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/sql?q=SELECT%201%20AS%20one")?;
    visit.wait("!document.getElementById('sql-run').hidden")?;
    visit.wait("document.getElementById('sql-text').value === 'SELECT 1 AS one'")?;
    visit.wait("document.getElementById('sql-answer').childElementCount === 0")?;
    visit.browser.click("#sql-run")?;
    visit.wait("document.querySelector('#sql-answer td')?.innerText === '1'")
}

fn turn_pages(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/sql")?;
    visit.wait("!document.getElementById('sql-run').hidden")?;
    write(
        visit,
        "SELECT a.unique_id, b.ind FROM pins a, pins b ORDER BY 1, 2",
    )?;
    visit.browser.click("#sql-run")?;
    visit.wait("document.getElementById('sql-more')?.innerText.includes('first 1,000 rows')")?;
    visit.wait("document.querySelectorAll('#sql-answer tbody tr').length === 100")?;
    visit
        .browser
        .click("#sql-answer .pager button:last-child")?;
    visit.wait(
        "document.querySelector('#sql-answer .pager').innerText.includes('101 to 200 of 1,000')",
    )
}

fn error(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/sql")?;
    visit.wait("!document.getElementById('sql-run').hidden")?;
    write(visit, "SELECT * FROM \"<i>pinns</i>\"")?;
    visit.browser.click("#sql-run")?;
    visit.wait("document.getElementById('sql-error')?.innerText.includes('<i>pinns</i>')")?;
    visit.screenshot("sql-error")?;
    // The browser itself reports an answer of 400 on the console, as it should, and nothing else.
    let messages = visit.browser.console()?;
    ensure!(
        messages.iter().all(|message| message.contains("400")),
        "the console says {messages:?}"
    );
    Ok(())
}

fn report(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/sql")?;
    visit
        .browser
        .click("a[href=\"/sql?report=top-category-by-year\"]")?;
    visit.wait("location.search === '?report=top-category-by-year'")?;
    visit.wait("document.querySelectorAll('#sql-answer tbody tr').length > 0")?;
    visit.wait("document.querySelector('.sql-reports [aria-current]').innerText === 'top-category-by-year'")?;
    visit.wait("location.search === '?report=top-category-by-year'")?;
    visit.screenshot("sql-report")
}
