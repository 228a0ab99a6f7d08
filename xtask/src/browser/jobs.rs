//! Pages of jobs.

use super::Visit;

/// A job is shown, run over a day, and shown with what came of it.
pub(super) fn run(visit: &mut Visit) -> anyhow::Result<()> {
    visit.open("/jobs")?;
    visit.wait("document.querySelector('nav a[href=\"/jobs\"][aria-current=page]')")?;
    visit.wait("document.querySelector('a[href=\"/jobs/recluster-plan\"]')")?;
    visit.screenshot("jobs")?;
    visit.open("/jobs/recluster-plan")?;
    visit.wait("document.body.innerText.includes('It never ran')")?;
    visit.wait("!document.querySelector('form#run').hidden")?;
    visit.screenshot("job-empty")?;
    visit.browser.click("form#run button")?;
    visit.wait(
        "document.querySelector('.corrections > li.standing .good')?.textContent === 'succeeded'",
    )?;
    visit.browser.click(".corrections summary")?;
    visit
        .wait("document.querySelector('.corrections pre').textContent.includes('clusters_now')")?;
    visit.screenshot("job")
}
