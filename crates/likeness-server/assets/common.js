// Helpers of the other modules. Text from users goes through `textContent`, never through HTML.

const SVG = "http://www.w3.org/2000/svg";

export const imagePage = (id) => `/images/${encodeURIComponent(id)}`;
export const thumbnailUrl = (id) => `/v1/images/${encodeURIComponent(id)}/thumbnail`;

/** Whole numbers with their thousands set apart, as the server writes them. */
export const formatCount = (value) => new Intl.NumberFormat("en").format(value);

/** A rate with as many digits as are worth reading. */
export const formatRate = (perSecond) =>
  perSecond >= 100 ? perSecond.toFixed(0) : perSecond >= 0.05 ? perSecond.toFixed(1) : "0";

/** Cut, not rounded: 0.9999 is not certainty. */
export const formatScore = (score) => (Math.floor(score * 1000 + 1e-4) / 1000).toFixed(3);

export const formatBytes = (count) => {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${count >= 100 || Number.isInteger(count) ? count.toFixed(0) : count.toFixed(1)} ${units[unit]}`;
};

const STEPS = [
  [60, 1, "second"],
  [3600, 60, "minute"],
  [86400, 3600, "hour"],
  [30 * 86400, 86400, "day"],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

const formatRelative = (ms) => {
  const seconds = (ms - Date.now()) / 1000;
  const age = Math.abs(seconds);
  if (age < 5) return "just now";
  for (const [below, size, unit] of STEPS) {
    if (age < below) return relative.format(Math.round(seconds / size), unit);
  }
  return new Date(ms).toLocaleDateString();
};

/** Writes one `<time data-ms>` relative to now, its tooltip in local time. */
export const showTime = (element, ms) => {
  if (ms !== undefined) element.dataset.ms = String(ms);
  const moment = Number(element.dataset.ms);
  const date = new Date(moment);
  element.dateTime = date.toISOString();
  element.title = date.toLocaleString();
  element.textContent = formatRelative(moment);
};

export const showAllTimes = () => {
  for (const element of document.querySelectorAll("time[data-ms]")) showTime(element);
};

const VERDICTS = { new_cluster: "First of its kind", joined: "Near-copy", rejected: "Not a picture" };
const KINDS = { new_cluster: "new", joined: "joined", rejected: "rejected" };

/** Writes what was decided into a `.verdict`. */
export const showVerdict = (element, decision) => {
  const isExact = decision.kind === "joined" && decision.exact_copy;
  element.textContent = isExact ? "Exact copy" : VERDICTS[decision.kind];
  element.dataset.kind = KINDS[decision.kind];
};

/** The same bar as the server draws. */
export const scoreBar = (score, threshold) => {
  const svg = document.createElementNS(SVG, "svg");
  const set = (element, attributes) => {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const percent = (value) => (Math.min(1, Math.max(0, value)) * 100).toFixed(1);
  set(svg, {
    class: score >= threshold ? "bar over" : "bar",
    viewBox: "0 0 100 8",
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": `score ${formatScore(score)}, threshold ${formatScore(threshold)}`,
  });
  for (const [name, x, y, width, height] of [
    ["bar-track", 0, 2, 100, 4],
    ["bar-fill", 0, 2, percent(score), 4],
    ["bar-tick", percent(threshold), 0, 0.8, 8],
  ]) {
    const rect = document.createElementNS(SVG, "rect");
    svg.append(set(rect, { class: name, x, y, width, height }));
  }
  return svg;
};
