// SQL: runs queries and shows their answers, as a table and, where they are numbers with labels, as a chart.

import { formatCount } from "./common.js";

const SVG = "http://www.w3.org/2000/svg";
const LIMIT = 1_000;
const ROWS_PER_PAGE = 100;
const MAX_BARS = 30;
/** Longest query that still fits an address, percent-encoded. */
const MAX_ADDRESS = 3_000;

const form = document.getElementById("sql");
const editor = document.getElementById("sql-text");
const button = document.getElementById("sql-run");
const status = document.getElementById("sql-status");
const answer = document.getElementById("sql-answer");
const runLabel = [...button.childNodes];

const node = (tag, options = {}, ...children) => {
  const { attributes = {}, ...properties } = options;
  const element = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

const show = (kind, text) => {
  status.dataset.kind = kind;
  status.textContent = text;
};

// Values

/** A number of an answer, or null: great whole numbers come as text. */
const toNumber = (value) => {
  if (typeof value === "number") return value;
  if (typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value)) return Number(value);
  return null;
};
const isNumeric = (column) => /^(U?Int|Float|Decimal)/.test(column.type);
const isTime = (column) => /^(Timestamp|Date)/.test(column.type);
const textOf = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));

// Table

const cell = (value, column) => {
  if (value === null) return node("td", { className: "muted" }, "null");
  return node("td", { className: isNumeric(column) ? "number" : "" }, textOf(value));
};

const table = ({ columns, rows }) => {
  const body = node("tbody");
  const place = node("span", { className: "muted" });
  const back = node("button", { className: "button", type: "button" }, "Previous");
  const on = node("button", { className: "button", type: "button" }, "Next");
  let first = 0;
  const turn = (to) => {
    first = to;
    const page = rows.slice(first, first + ROWS_PER_PAGE);
    body.replaceChildren(
      ...page.map((row) => node("tr", {}, ...row.map((value, number) => cell(value, columns[number])))),
    );
    place.textContent = `${formatCount(first + 1)} to ${formatCount(first + page.length)} of ${formatCount(rows.length)}`;
    back.disabled = first === 0;
    on.disabled = first + ROWS_PER_PAGE >= rows.length;
  };
  back.addEventListener("click", () => turn(first - ROWS_PER_PAGE));
  on.addEventListener("click", () => turn(first + ROWS_PER_PAGE));
  turn(0);
  const head = columns.map((column) =>
    node("th", { className: isNumeric(column) ? "number" : "", title: column.type, scope: "col" }, column.name),
  );
  const scroll = node("div", { className: "scroll" }, node("table", {}, node("thead", {}, node("tr", {}, ...head)), body));
  if (rows.length <= ROWS_PER_PAGE) return [scroll];
  return [scroll, node("nav", { className: "pager", attributes: { "aria-label": "Rows" } }, back, place, on)];
};

// Chart

const drawing = (name, attributes, ...children) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

/** Which columns a chart shows: those of the report, else the first one and the first number beside it. */
const chosen = ({ columns }) => {
  const { label, value } = form.dataset;
  const isReport = label !== undefined && editor.value.trim() === reportText;
  const [at, of] = isReport ? [Number(label), Number(value)] : [0, columns.findIndex((it, number) => number > 0 && isNumeric(it))];
  if (of < 0 || at >= columns.length || of >= columns.length) return null;
  if (!isReport && isNumeric(columns[0])) return null;
  return { at, of };
};

const bars = (points, low, high) => {
  const width = (value) => ((value - low) / (high - low)) * 100;
  const list = points.map(({ label, value }) => {
    const [from, to] = [width(Math.min(value, 0)), width(Math.max(value, 0))];
    const bar = drawing(
      "svg",
      { class: "sql-bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      drawing("rect", { class: "sql-fill", x: from.toFixed(2), y: 0, width: (to - from).toFixed(2), height: 10 }),
    );
    return node("li", {}, node("span", { className: "sql-label", title: label }, label), bar, node("span", { className: "number" }, formatCount(value)));
  });
  return node("ol", { className: "sql-bars" }, ...list);
};

const line = (points, low, high) => {
  const at = ({ value }, number) =>
    `${((number / (points.length - 1)) * 100).toFixed(2)},${((1 - (value - low) / (high - low)) * 40).toFixed(2)}`;
  const path = drawing("polyline", { class: "sql-line", points: points.map(at).join(" "), "vector-effect": "non-scaling-stroke" });
  return node(
    "div",
    {},
    drawing("svg", { class: "sql-lines", viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" }, path),
    node("div", { className: "sql-ends muted" }, node("span", {}, points[0].label), node("span", {}, points.at(-1).label)),
  );
};

const chart = (result) => {
  const columns = chosen(result);
  if (columns === null) return [];
  const { at, of } = columns;
  const points = result.rows
    .map((row) => ({ label: row[at] === null ? "null" : textOf(row[at]), value: toNumber(row[of]) }))
    .filter((point) => point.value !== null && Number.isFinite(point.value));
  if (points.length < 2) return [];
  const isLine = isTime(result.columns[at]) && points.length > 2;
  // Times come in any order that the query has; a line goes from left to right.
  if (isLine) points.sort((one, other) => (one.label < other.label ? -1 : 1));
  const shown = isLine ? points : points.slice(0, MAX_BARS);
  const values = shown.map((point) => point.value);
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  if (low === high) return [];
  const [name, by] = [result.columns[of].name, result.columns[at].name];
  const rest = points.length > shown.length ? `, the first ${shown.length} of ${formatCount(points.length)}` : "";
  const caption = `${name} by ${by}, from ${formatCount(Math.min(...values))} to ${formatCount(Math.max(...values))}${rest}`;
  const drawn = isLine ? line(shown, low, high) : bars(shown, low, high);
  return [node("figure", { id: "sql-chart", attributes: { "aria-label": caption } }, drawn, node("figcaption", { className: "muted" }, caption))];
};

// Running

const showResult = (result) => {
  const { columns, rows, is_truncated: isTruncated } = result;
  if (rows.length === 0) {
    const names = columns.map((column) => column.name).join(", ");
    answer.replaceChildren(node("p", { className: "muted", id: "sql-none" }, `No rows. The columns would be: ${names}.`));
    return;
  }
  const parts = [...chart(result), ...table(result)];
  if (isTruncated) {
    const text = `These are the first ${formatCount(rows.length)} rows; there are more. CSV, NDJSON and Parquet have all of them.`;
    parts.unshift(node("p", { className: "notice", id: "sql-more" }, text));
  }
  answer.replaceChildren(...parts);
};

const remember = () => {
  const text = editor.value.trim();
  if (text === reportText && form.dataset.label !== undefined) return;
  const address = `/sql?q=${encodeURIComponent(text)}`;
  history.replaceState(null, "", address.length > MAX_ADDRESS ? "/sql" : address);
};

let running = null;

const run = async () => {
  if (running !== null) {
    // Closing the connection ends the query.
    running.abort();
    return;
  }
  if (!form.reportValidity()) return;
  running = new AbortController();
  const started = performance.now();
  button.replaceChildren("Stop");
  show("busy", "Running …");
  remember();
  try {
    const response = await fetch("/v1/sql", {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify({ sql: editor.value, limit: LIMIT }),
      signal: running.signal,
    });
    const result = await response.json();
    if (!response.ok) throw new Error(result.error?.message ?? `status ${response.status}`);
    showResult(result);
    const seconds = ((performance.now() - started) / 1_000).toFixed(2);
    const more = result.is_truncated ? "first " : "";
    show("good", `${more}${formatCount(result.rows.length)} ${result.rows.length === 1 ? "row" : "rows"} in ${seconds} s`);
  } catch (error) {
    if (error.name === "AbortError") {
      show("", "Stopped.");
      return;
    }
    show("bad", "");
    // A fetch that never got an answer throws a TypeError that says little.
    const text = error instanceof TypeError ? "The server did not answer." : error.message;
    answer.replaceChildren(node("p", { className: "notice", id: "sql-error", attributes: { role: "alert" } }, text));
  } finally {
    running = null;
    button.replaceChildren(...runLabel);
  }
};

const reportText = "run" in form.dataset ? editor.value.trim() : null;

button.hidden = false;
button.addEventListener("click", run);
editor.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (running === null) run();
  }
});
for (const control of document.querySelectorAll("[data-insert]")) {
  control.addEventListener("click", () => {
    editor.setRangeText(control.dataset.insert, editor.selectionStart, editor.selectionEnd, "end");
    editor.focus();
  });
}
if (reportText !== null) run();
