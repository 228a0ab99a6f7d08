// Live numbers of pins: counts as they are committed, tables and chart every two seconds while someone looks.

import { formatCount, formatRate } from "./common.js";

const GAP_MS = 2_000;

const button = document.getElementById("live");
const setState = (state, text) => {
  button.dataset.state = state;
  button.querySelector("[data-live-text]").textContent = text;
};

const showCounts = (status) => {
  const behind = status.topics.reduce((sum, topic) => sum + (topic.records ?? 0), 0);
  const seconds = Math.max(...status.topics.map((topic) => topic.seconds));
  const texts = {
    pins: formatCount(status.pins),
    late: formatCount(status.late),
    rejected: formatCount(status.rejected),
    behind: formatCount(behind),
    seconds: formatRate(seconds),
  };
  for (const element of document.querySelectorAll("[data-pins]")) {
    element.textContent = texts[element.dataset.pins];
  }
};

// The page itself, asked for again, has everything else: its parts are put in the place of those that are there.
const refresh = async () => {
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-fresh]")) {
    const fresh = page.querySelector(`[data-fresh="${CSS.escape(part.dataset.fresh)}"]`);
    // What someone has opened or holds the focus in stays as it is.
    const isInUse = part.contains(document.activeElement) || part.querySelector("details[open]") !== null;
    if (fresh !== null && !isInUse) part.replaceChildren(...fresh.childNodes);
  }
};

let isStale = false;
let isWaiting = false;
const schedule = () => {
  if (isWaiting || !isStale || document.hidden || source === null) return;
  isWaiting = true;
  isStale = false;
  refresh()
    .catch(() => {
      // The server is away; the stream's state says so.
    })
    .finally(() =>
      setTimeout(() => {
        isWaiting = false;
        schedule();
      }, GAP_MS),
    );
};

let source = null;
const start = () => {
  setState("connecting", "Connecting");
  source = new EventSource("/v1/pins/live");
  source.addEventListener("open", () => setState("live", "Live"));
  source.addEventListener("error", () => setState("connecting", "Reconnecting"));
  let isFirst = true;
  source.addEventListener("status", (event) => {
    const status = JSON.parse(event.data);
    const hasSome = status.pins + status.geolocations + status.users + status.rejected > 0;
    const isOther = document.getElementById("pins-empty") !== null && hasSome;
    if (isOther || (document.getElementById("pins-waits") !== null && status.waits_for === null)) {
      // The page has no parts to fill yet.
      location.reload();
      return;
    }
    showCounts(status);
    isStale = !isFirst;
    isFirst = false;
    schedule();
  });
};

button.hidden = false;
button.addEventListener("click", () => {
  const isLive = source !== null;
  button.setAttribute("aria-pressed", String(!isLive));
  if (isLive) {
    source.close();
    source = null;
    setState("paused", "Paused");
  } else {
    start();
  }
});
document.addEventListener("visibilitychange", schedule);
start();
