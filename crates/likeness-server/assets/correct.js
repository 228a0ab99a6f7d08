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
  "bank-create": () => ({
    kind: "bank",
    change: "create",
    bank: value("bank-name"),
    threshold: Number(value("bank-threshold")),
    share: Number(value("bank-share")),
    negative: document.getElementById("bank-negative").checked,
  }),
  "bank-set": ({ bank }) => ({
    kind: "bank",
    change: "set",
    bank,
    threshold: Number(value("bank-threshold")),
    share: Number(value("bank-share")),
  }),
  "bank-switch": ({ bank, enabled }) => ({ kind: "bank", change: "set", bank, enabled: enabled === "true" }),
  "bank-delete": ({ bank }) => ({ kind: "bank", change: "delete", bank }),
  "bank-remove": ({ bank, reference }) => ({ kind: "bank", change: "remove", bank, references: [reference] }),
  acknowledge: ({ alarm }) => ({ kind: "flood", act: "acknowledge", alarm: Number(alarm) }),
  confirm: (control) => ({ kind: "flood", act: "confirm", cluster: control.cluster }),
  release: (control) => ({ kind: "flood", act: "release", cluster: control.cluster }),
  lift: (control) => ({ kind: "flood", act: "release", cluster: control.cluster, for_good: true }),
  erase: () => ({ kind: "erase" }),
};

/** What is more than one command: done step by step, with what to show at the end. */
const TASKS = {
  "bank-add": async ({ bank }) => {
    const { files } = document.getElementById("bank-files");
    if (files.length === 0) throw new Error("Choose pictures to add.");
    const why = new URLSearchParams({ author: author.value.trim(), reason: reason.value.trim() });
    for (const [index, file] of [...files].entries()) {
      show("busy", `Adding ${index + 1} of ${files.length} …`);
      const form = new FormData();
      form.append("file", file);
      const { outcome } = await post(`/v1/banks/${encodeURIComponent(bank)}/references?${why}`, { body: form });
      if (outcome?.kind === "refused") throw new Error(`${file.name}: ${outcome.message}`);
    }
  },
  "bank-scan": async ({ bank }) => {
    for (;;) {
      const scan = await post(`/v1/banks/${encodeURIComponent(bank)}/scan`, {});
      show("busy", `${scan.scanned} of ${scan.images} pictures looked at, ${scan.matches} found`);
      if (scan.is_done) return;
    }
  },
};

const value = (id) => document.getElementById(id).value.trim();

const post = async (url, options) => {
  const answer = await fetch(url, { method: "POST", ...options });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error?.message ?? `status ${answer.status}`);
  return json;
};

const send = async (command) => {
  const why = { author: author.value.trim(), reason: reason.value.trim() };
  const headers = { "content-type": "application/json" };
  if (command.kind !== "erase") {
    return post("/v1/corrections", { headers, body: JSON.stringify({ ...why, command }) });
  }
  const url = `/v1/images/${encodeURIComponent(image)}`;
  const answer = await post(url, { method: "DELETE", headers, body: JSON.stringify(why) });
  // Accepted, and not made yet, is what else it may say.
  return answer.erased_ms === undefined ? {} : { outcome: { kind: "applied" } };
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
  const task = TASKS[control.dataset.correct];
  const command = task === undefined ? COMMANDS[control.dataset.correct](control.dataset) : null;
  if (typeof command === "string") {
    show("bad", command);
    return;
  }
  remember(author.value.trim());
  isBusy = true;
  show("busy", "Sending …");
  try {
    if (task !== undefined) {
      await task(control.dataset);
      show("good", "Done.");
      location.reload();
      return;
    }
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
