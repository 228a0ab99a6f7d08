// Corrections by hand: every control with `data-correct` names a command; who and why are asked once.

const bar = document.getElementById("correct");
const author = document.getElementById("correct-author");
const reason = document.getElementById("correct-reason");
const status = document.getElementById("correct-status");
const { cluster, image } = bar.dataset;
const REMEMBERED = "likeness-author";

const show = (kind, text) => {
  status.dataset.kind = kind;
  status.textContent = text;
};

const remembered = () => {
  try {
    return localStorage.getItem(REMEMBERED) ?? "";
  } catch {
    return "";
  }
};

const remember = (name) => {
  try {
    localStorage.setItem(REMEMBERED, name);
  } catch {
    // Storage is switched off; the name is asked for again.
  }
};

// What was picked on a cluster's page

const boxes = [...document.querySelectorAll("input[data-pick]")];
const picked = () => boxes.filter((box) => box.checked).map((box) => box.dataset.pick);

const refresh = () => {
  const count = picked().length;
  for (const button of bar.querySelectorAll("[data-needs]")) {
    button.disabled = button.dataset.needs === "one" ? count !== 1 : count === 0;
  }
  const told = bar.querySelector("[data-picked]");
  if (told !== null) told.textContent = count === 1 ? "1 picture picked" : `${count} pictures picked`;
};

/** The command that a control stands for, or a message that says what is missing. */
const COMMANDS = {
  split: () => ({ kind: "split", cluster, members: picked() }),
  alone: () => ({ kind: "split", cluster, members: picked(), each_alone: true }),
  head: () => ({ kind: "rehead", cluster, head: picked()[0] }),
  merge: () => {
    const from = document.getElementById("correct-other").value.trim();
    return from === "" ? "Give the id of the other cluster." : { kind: "merge", into: cluster, from };
  },
  never: ({ other }) => ({ kind: "never_together", a: other, b: image }),
  always: ({ other }) => ({ kind: "always_together", a: other, b: image }),
  undo: ({ sequence }) => ({ kind: "undo", correction: Number(sequence) }),
};

const send = async (command) => {
  const body = JSON.stringify({ author: author.value.trim(), reason: reason.value.trim(), command });
  const answer = await fetch("/v1/corrections", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error?.message ?? `status ${answer.status}`);
  return json;
};

let isBusy = false;

const correct = async (control) => {
  if (isBusy) return;
  for (const field of [author, reason]) {
    if (field.value.trim() === "") {
      field.focus();
      show("bad", field === author ? "Say who you are." : "Say why: others will read it.");
      return;
    }
  }
  const command = COMMANDS[control.dataset.correct](control.dataset);
  if (typeof command === "string") {
    show("bad", command);
    return;
  }
  remember(author.value.trim());
  isBusy = true;
  show("busy", "Sending …");
  try {
    const { outcome } = await send(command);
    if (outcome === undefined) {
      show("busy", "Accepted, and waiting for its turn. Load the page again in a moment.");
    } else if (outcome.kind === "refused") {
      show("bad", `Refused: ${outcome.message}`);
    } else {
      show("good", "Done.");
      location.reload();
    }
  } catch (error) {
    // A fetch that never got an answer throws a TypeError that says little.
    show("bad", error instanceof TypeError ? "The server did not answer." : error.message);
  } finally {
    isBusy = false;
  }
};

// Without this script the controls could do nothing, so they are hidden until now.
bar.hidden = false;
for (const control of document.querySelectorAll("[data-correct]")) {
  control.hidden = false;
  control.addEventListener("click", () => correct(control));
}
for (const box of boxes) {
  box.closest(".pick").hidden = false;
  box.addEventListener("change", refresh);
}
author.value = remembered();
refresh();

const KEYS = { s: "split", a: "alone", h: "head" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest?.("input:not([type=checkbox]), textarea, select, dialog")) return;
  if (event.key === "x") {
    const box = document.activeElement?.closest(".tile")?.querySelector("input[data-pick]");
    box?.click();
    return;
  }
  const control = bar.querySelector(`[data-correct="${KEYS[event.key]}"]`);
  if (control !== null && !control.disabled) control.click();
});
