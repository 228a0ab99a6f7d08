// Orphans: every control with `data-orphan` names what is to be done; who and why are asked once.

const bar = document.getElementById("correct");
const author = document.getElementById("correct-author");
const reason = document.getElementById("correct-reason");
const status = document.getElementById("correct-status");
const REMEMBERED = "likeness-author";

const show = (kind, text) => {
  status.dataset.kind = kind;
  status.textContent = text;
};

try {
  author.value = localStorage.getItem(REMEMBERED) ?? "";
} catch {
  // Storage is switched off; the name is asked for again.
}

const send = async ({ orphan, image }) => {
  const answer = await fetch(`/v1/orphans/${encodeURIComponent(image)}/${orphan}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ author: author.value.trim(), reason: reason.value.trim() }),
  });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error?.message ?? `status ${answer.status}`);
  return json;
};

let isBusy = false;

const act = async (control) => {
  if (isBusy) return;
  for (const field of [author, reason]) {
    if (field.value.trim() === "") {
      field.focus();
      show("bad", field === author ? "Say who you are." : "Say why: others will read it.");
      return;
    }
  }
  try {
    localStorage.setItem(REMEMBERED, author.value.trim());
  } catch {
    // As above.
  }
  isBusy = true;
  show("busy", "Sending …");
  try {
    await send(control.dataset);
    show("good", "Done.");
    location.reload();
  } catch (error) {
    // A fetch that never got an answer throws a TypeError that says little.
    show("bad", error instanceof TypeError ? "The server did not answer." : error.message);
  } finally {
    isBusy = false;
  }
};

// Without this script the controls could do nothing, so they are hidden until now.
bar.hidden = false;
for (const control of document.querySelectorAll("[data-orphan]")) {
  control.hidden = false;
  control.addEventListener("click", () => act(control));
}
