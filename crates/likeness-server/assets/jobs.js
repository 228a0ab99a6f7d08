// Jobs: asks for runs over a range of days, and cancels runs.

const form = document.getElementById("run");
const status = document.getElementById("run-status");
const path = `/v1/jobs/${encodeURIComponent(form.dataset.job)}/runs`;

const show = (kind, text) => {
  status.dataset.kind = kind;
  status.textContent = text;
};

let isBusy = false;

const send = async (path, options) => {
  if (isBusy) return;
  isBusy = true;
  show("busy", "Sending …");
  try {
    const answer = await fetch(path, options);
    const json = await answer.json();
    if (!answer.ok) throw new Error(json.error?.message ?? `status ${answer.status}`);
    show("good", "Done.");
    location.reload();
  } catch (error) {
    // A fetch that never got an answer throws a TypeError that says little.
    show("bad", error instanceof TypeError ? "The server did not answer." : error.message);
  } finally {
    isBusy = false;
  }
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { from, to } = Object.fromEntries(new FormData(form));
  send(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ from, to }),
  });
});

// Without this script the controls could do nothing, so they are hidden until now.
form.hidden = false;
for (const control of document.querySelectorAll("[data-cancel]")) {
  control.hidden = false;
  control.addEventListener("click", () => send(`${path}/${control.dataset.cancel}`, { method: "DELETE" }));
}
