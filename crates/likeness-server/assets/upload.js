// Uploads with a verdict per file: dropped, pasted or chosen, three at a time.

import { formatBytes, formatScore, imagePage, scoreBar, showVerdict, thumbnailUrl } from "./common.js";

const AT_ONCE = 3;
const MAX_ATTEMPTS = 5;

const form = document.getElementById("upload");
const input = document.getElementById("files");
const list = document.getElementById("verdicts");
const summary = document.getElementById("summary");
const matchOnly = document.getElementById("match-only");
const maxBytes = Number(form.dataset.maxBytes);

let waiting = [];
let running = 0;
const counts = { new: 0, joined: 0, failed: 0, total: 0 };
let threshold = null;

const showSummary = () => {
  const done = counts.new + counts.joined + counts.failed;
  const parts = [`${done} of ${counts.total} done`];
  if (counts.new > 0) parts.push(`${counts.new} new`);
  if (counts.joined > 0) parts.push(`${counts.joined} copies`);
  if (counts.failed > 0) parts.push(`${counts.failed} failed`);
  summary.textContent = parts.join(" · ");
};

const getThreshold = async () => {
  threshold ??= (await (await fetch("/v1/overview")).json()).threshold;
  return threshold;
};

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Sends `file`, again when the server asks for it. Returns the answer's JSON or throws. */
const send = async (file, url, onWait) => {
  for (let attempt = 1; ; attempt += 1) {
    const body = new FormData();
    body.append("file", file, file.name || "pasted image");
    const answer = await fetch(url, { method: "POST", body });
    if ((answer.status === 429 || answer.status === 503) && attempt < MAX_ATTEMPTS) {
      onWait();
      await pause(Number(answer.headers.get("retry-after") ?? 1) * attempt);
      continue;
    }
    const json = await answer.json();
    if (!answer.ok) throw new Error(json.error?.message ?? `status ${answer.status}`);
    return json;
  }
};

const makeRow = (file) => {
  const row = document.getElementById("verdict").content.firstElementChild.cloneNode(true);
  row.querySelector(".name bdi").textContent = file.name || "pasted image";
  row.querySelector(".detail").textContent = formatBytes(file.size);
  const preview = row.querySelector(".this-picture img");
  preview.src = URL.createObjectURL(file);
  const release = () => URL.revokeObjectURL(preview.src);
  preview.addEventListener("load", release, { once: true });
  preview.addEventListener("error", release, { once: true });
  list.prepend(row);
  return row;
};

const setVerdict = (row, kind, text) => {
  const verdict = row.querySelector(".verdict");
  verdict.dataset.kind = kind;
  verdict.textContent = text;
};

/** Shows the picture that this one is like, with the score. */
const showLike = async (row, id, score) => {
  const link = row.querySelector(".that-picture");
  link.href = imagePage(id);
  link.title = id;
  link.dataset.item = "";
  link.querySelector("img").src = thumbnailUrl(id);
  link.hidden = false;
  const line = row.querySelector(".score-line");
  const value = document.createElement("b");
  value.textContent = formatScore(score);
  line.replaceChildren(scoreBar(score, await getThreshold()), value);
  line.hidden = false;
};

const linkName = (row, id) => {
  const link = document.createElement("a");
  link.href = imagePage(id);
  const name = row.querySelector(".name");
  link.append(...name.childNodes);
  name.append(link);
};

const store = async (row, file) => {
  const receipt = await send(file, "/v1/images?wait=true", () => setVerdict(row, "pending", "Server is busy, waiting"));
  linkName(row, receipt.id);
  const { decision } = receipt;
  if (decision === undefined) {
    setVerdict(row, "pending", "Stored, still being decided");
    return "new";
  }
  showVerdict(row.querySelector(".verdict"), decision);
  if (decision.kind !== "joined") return "new";
  row.querySelector(".detail").textContent = `of ${decision.canonical_id}`;
  await showLike(row, decision.canonical_id, decision.score);
  return "joined";
};

const match = async (row, file) => {
  const found = await send(file, "/v1/match?limit=1", () => setVerdict(row, "pending", "Server is busy, waiting"));
  threshold = found.threshold;
  const best = found.matches[0];
  const isCopy = found.canonical_id !== undefined;
  setVerdict(row, isCopy ? "joined" : "new", isCopy ? "Would be a near-copy" : "Would be new");
  if (best !== undefined) {
    row.querySelector(".detail").textContent = isCopy ? `of ${found.canonical_id}` : `nearest: ${best.id}`;
    await showLike(row, best.id, best.score);
  }
  return isCopy ? "joined" : "new";
};

const run = async ({ row, file, isMatch }) => {
  setVerdict(row, "pending", isMatch ? "Matching" : "Uploading");
  try {
    if (file.size > maxBytes) throw new Error(`${formatBytes(file.size)} is more than the ${formatBytes(maxBytes)} that an image may have`);
    counts[await (isMatch ? match : store)(row, file)] += 1;
  } catch (error) {
    counts.failed += 1;
    setVerdict(row, "rejected", "Failed");
    // A fetch that never got an answer throws a TypeError that says little.
    row.querySelector(".detail").textContent = error instanceof TypeError ? "the server did not answer" : error.message;
  }
  showSummary();
};

const pump = () => {
  while (running < AT_ONCE && waiting.length > 0) {
    running += 1;
    run(waiting.shift()).finally(() => {
      running -= 1;
      pump();
    });
  }
};

const add = (files) => {
  for (const file of files) {
    counts.total += 1;
    waiting.push({ row: makeRow(file), file, isMatch: matchOnly.checked });
  }
  showSummary();
  pump();
};

input.addEventListener("change", () => {
  add([...input.files]);
  input.value = "";
});
form.addEventListener("submit", (event) => event.preventDefault());

let dragDepth = 0;
const isFileDrag = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragenter", (event) => {
  if (!isFileDrag(event)) return;
  dragDepth += 1;
  form.classList.add("is-over");
});
document.addEventListener("dragleave", (event) => {
  if (!isFileDrag(event)) return;
  dragDepth -= 1;
  if (dragDepth === 0) form.classList.remove("is-over");
});
document.addEventListener("dragover", (event) => {
  if (isFileDrag(event)) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  if (!isFileDrag(event)) return;
  event.preventDefault();
  dragDepth = 0;
  form.classList.remove("is-over");
  add([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length > 0) add(files);
});
