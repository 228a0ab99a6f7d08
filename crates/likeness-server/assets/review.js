// The review queue: one pair is on the stage, by mouse or keyboard; answers go to the server one by one.

const bar = document.getElementById("review");
const stage = document.getElementById("stage");
const compare = document.getElementById("compare");
const slide = document.getElementById("slide");
const author = document.getElementById("review-author");
const reason = document.getElementById("review-reason");
const corrects = document.getElementById("review-correct");
const status = document.getElementById("review-status");
const progress = document.getElementById("progress");
const undoButton = document.getElementById("undo");
const list = document.querySelector(".queue");
const REMEMBERED = "likeness-author";
const MODES = ["side", "overlay", "difference"];

const rows = () => [...list.querySelectorAll("[data-review]")];
let current = null;
let isBusy = false;
/** Answers of this sitting, the latest last: the row, the row before which it stood, its correction. */
const answered = [];

const show = (kind, text) => {
  status.dataset.kind = kind;
  status.textContent = text;
};

const stored = (value) => {
  try {
    if (value === undefined) return localStorage.getItem(REMEMBERED) ?? "";
    localStorage.setItem(REMEMBERED, value);
  } catch {
    // Storage is switched off; the name is asked for again.
  }
  return "";
};

// The stage

const setMode = (mode) => {
  compare.dataset.mode = mode;
  for (const button of stage.querySelectorAll("[data-mode]")) {
    if (button !== compare) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  }
  document.getElementById("slide-row").hidden = mode !== "overlay";
};

const cut = () => compare.style.setProperty("--cut", `${slide.value}%`);

const select = (row) => {
  current?.removeAttribute("aria-current");
  current = row;
  stage.hidden = row === null;
  if (row === null) return;
  row.setAttribute("aria-current", "true");
  document.getElementById("stage-a").src = row.dataset.a;
  document.getElementById("stage-b").src = row.dataset.b;
  const all = rows();
  const place = `${all.indexOf(row) + 1} of ${all.length} on this page`;
  document.getElementById("place").textContent = place;
};

const move = (step) => {
  const all = rows();
  const next = all[Math.min(all.length - 1, Math.max(0, all.indexOf(current) + step))];
  if (next === undefined) return;
  select(next);
  next.scrollIntoView({ block: "nearest" });
};

// Overlay and difference lay one over the other, so both take the form of the earlier one.
document.getElementById("stage-a").addEventListener("load", (event) => {
  const { naturalWidth, naturalHeight } = event.target;
  compare.style.setProperty("--form", `${naturalWidth} / ${naturalHeight}`);
});

// Answers

const picked = () => rows().filter((row) => row.querySelector("[data-pick]").checked);

const refresh = () => {
  const count = picked().length;
  const told = document.getElementById("picked");
  told.textContent = count === 0 ? "x picks several to answer at once" : count === 1 ? "1 pair picked" : `${count} pairs picked`;
  for (const button of stage.querySelectorAll("[data-scope=bulk]")) button.hidden = count === 0;
  undoButton.disabled = answered.length === 0;
  const open = Math.max(0, Number(progress.dataset.open) - answered.length);
  const done = answered.length === 0 ? "" : ` · ${answered.length} answered now`;
  if (done !== "" || progress.dataset.touched === "true") {
    progress.dataset.touched = "true";
    progress.textContent = `${open} waiting · ${progress.dataset.labels} labels before${done}`;
  }
};

const post = async (path, body) => {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ author: author.value.trim(), reason: reason.value.trim(), ...body }),
  });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error?.message ?? `status ${answer.status}`);
  if (json.outcome?.kind === "refused") throw new Error(`Refused: ${json.outcome.message}`);
  return json;
};

const isSigned = () => {
  for (const field of [author, reason]) {
    if (field.value.trim() !== "") continue;
    field.focus();
    show("bad", field === author ? "Say who you are." : "Say why: others will read it.");
    return false;
  }
  stored(author.value.trim());
  return true;
};

/** Runs `work` unless something is under way, and says what went wrong. */
const alone = async (work) => {
  if (isBusy || !isSigned()) return;
  isBusy = true;
  show("busy", "Sending …");
  try {
    await work();
  } catch (error) {
    // A fetch that never got an answer throws a TypeError that says little.
    show("bad", error instanceof TypeError ? "The server did not answer." : error.message);
  } finally {
    isBusy = false;
    refresh();
  }
};

const answer = (chosen, verdict) =>
  alone(async () => {
    let note = "";
    for (const row of chosen) {
      const path = `/v1/reviews/${encodeURIComponent(row.dataset.pair)}`;
      const view = await post(path, { verdict, correct: corrects.checked });
      const before = row.nextElementSibling;
      if (row === current) select(before ?? row.previousElementSibling);
      row.querySelector("[data-pick]").checked = false;
      row.remove();
      answered.push({ row, before, correction: view.sequence });
      if (view.not_corrected !== undefined) note = ` The label stands; the clusters stay: ${view.not_corrected.message}.`;
    }
    show("good", `${chosen.length === 1 ? "Noted" : `${chosen.length} noted`}.${note}`);
    if (rows().length === 0) location.assign("/review");
  });

const undo = () => {
  if (answered.length === 0) return;
  alone(async () => {
    const { row, before, correction } = answered.at(-1);
    if (correction === undefined) throw new Error("That answer still waits for its turn; undo it on the page of corrections.");
    await post(`/v1/corrections/${correction}/undo`, {});
    answered.pop();
    list.insertBefore(row, before?.isConnected ? before : null);
    select(row);
    show("good", "Taken back.");
  });
};

// Without this script the controls could do nothing, so they are hidden until now.
bar.hidden = false;
for (const row of rows()) {
  row.querySelector(".pick").hidden = false;
  row.querySelector("[data-pick]").addEventListener("change", refresh);
  row.querySelector("[data-select]").addEventListener("click", () => {
    select(row);
    stage.scrollIntoView({ block: "nearest" });
  });
}
for (const button of document.querySelectorAll("[data-verdict]")) {
  button.addEventListener("click", () => {
    const chosen = button.dataset.scope === "bulk" ? picked() : [current];
    answer(chosen, button.dataset.verdict);
  });
}
for (const button of stage.querySelectorAll("button[data-mode]")) {
  button.addEventListener("click", () => setMode(button.dataset.mode));
}
slide.addEventListener("input", cut);
undoButton.addEventListener("click", undo);
author.value = stored();
setMode("side");
cut();
select(rows()[0] ?? null);
refresh();

const KEYS = {
  j: () => move(1),
  ArrowDown: () => move(1),
  ArrowRight: () => move(1),
  k: () => move(-1),
  ArrowUp: () => move(-1),
  ArrowLeft: () => move(-1),
  s: () => current !== null && answer([current], "same"),
  d: () => current !== null && answer([current], "different"),
  " ": () => current !== null && answer([current], "skip"),
  u: undo,
  v: () => setMode(MODES[(MODES.indexOf(compare.dataset.mode) + 1) % MODES.length]),
  x: () => current?.querySelector("[data-pick]").click(),
};
let goUntil = 0;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest?.("input:not([type=checkbox]), textarea, select, dialog")) return;
  // `g` and a letter lead to another page; a space presses the button that has the focus.
  const isPlace = performance.now() < goUntil;
  goUntil = event.key === "g" ? performance.now() + 1_500 : 0;
  const isPress = event.key === " " && event.target.closest?.("button, a, input") !== null;
  if (isPlace || isPress || !Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});
