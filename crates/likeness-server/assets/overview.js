// Live overview: decisions as they come, numbers every two seconds while someone looks.

import {
  formatCount,
  formatRate,
  formatScore,
  imagePage,
  showTime,
  showVerdict,
  thumbnailUrl,
} from "./common.js";

const list = document.getElementById("latest");

const show = (decision) => {
  const tile = document.getElementById("tile").content.firstElementChild.cloneNode(true);
  const find = (selector) => tile.querySelector(selector);
  find("a").href = imagePage(decision.id);
  showVerdict(find(".verdict"), decision);
  find(".id bdi").textContent = decision.id;
  showTime(find("time"), decision.decided_ms);
  const isJoined = decision.kind === "joined";
  if (decision.kind === "rejected") {
    const sign = document.createElement("span");
    sign.className = "no-picture";
    sign.textContent = "✕";
    find(".this").replaceWith(sign);
  } else {
    find(".this").src = thumbnailUrl(decision.id);
  }
  if (isJoined) {
    find(".plate").classList.add("pair");
    find(".head").src = thumbnailUrl(decision.canonical_id);
    find(".badge").textContent = formatScore(decision.score);
  } else {
    find(".head").remove();
    find(".badge").remove();
  }
  tile.classList.add("arriving");
  list.prepend(tile);
  while (list.children.length > Number(list.dataset.max)) list.lastElementChild.remove();
};

// The stream. Under a flood the page shows the newest few of each frame and drops the rest: it is a
// window, not a record.

let queue = [];
let isScheduled = false;
const flush = () => {
  isScheduled = false;
  const newest = queue.slice(-Number(list.dataset.max));
  queue = [];
  for (const decision of newest) show(decision);
};

let source = null;
const button = document.getElementById("live");
const setState = (state, text) => {
  button.dataset.state = state;
  button.querySelector("[data-live-text]").textContent = text;
};

const start = () => {
  setState("connecting", "Connecting");
  source = new EventSource("/v1/events?from=latest");
  source.addEventListener("open", () => setState("live", "Live"));
  source.addEventListener("error", () => setState("connecting", "Reconnecting"));
  source.addEventListener("decision", (event) => {
    queue.push(JSON.parse(event.data));
    if (queue.length > 1_000) queue.splice(0, 500);
    if (!isScheduled) {
      isScheduled = true;
      requestAnimationFrame(flush);
    }
  });
};

const stop = () => {
  source?.close();
  source = null;
  setState("paused", "Paused");
};

// Numbers

const showNumbers = (overview) => {
  for (const element of document.querySelectorAll("[data-count]")) {
    const name = element.dataset.count;
    const value = overview[name];
    element.textContent = name === "per_second" ? formatRate(value) : formatCount(value);
  }
  for (const stage of overview.stages) {
    const row = document.querySelector(`[data-stage="${CSS.escape(stage.name)}"]`);
    if (row === null) continue;
    row.querySelector("[data-stage-rate]").textContent = formatRate(stage.per_second);
    row.querySelector("[data-stage-total]").textContent = `${formatCount(stage.processed)} so far`;
  }
  if (overview.images > 0) {
    const share = (overview.duplicates / overview.images) * 100;
    document.querySelector(".share-copies").setAttribute("width", share.toFixed(2));
    document
      .getElementById("share")
      .setAttribute("aria-label", `${share.toFixed(1)} percent of the pictures are copies`);
  }
};

const poll = async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch("/v1/overview");
    if (answer.ok) showNumbers(await answer.json());
  } catch {
    // The server is away; the stream's state says so.
  }
};

if (list === null) {
  // Nothing has been decided yet: the first decision brings the real page.
  new EventSource("/v1/events?from=beginning&limit=1").addEventListener("decision", () => location.reload());
} else {
  button.hidden = false;
  button.addEventListener("click", () => {
    const isLive = source !== null;
    button.setAttribute("aria-pressed", String(!isLive));
    if (isLive) stop();
    else start();
  });
  start();
  setInterval(poll, 2_000);
}
