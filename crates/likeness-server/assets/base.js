// On every page: times, theme, keyboard.

import { imagePage, showAllTimes } from "./common.js";

showAllTimes();
setInterval(showAllTimes, 10_000);

for (const element of document.querySelectorAll("[data-origin]")) {
  element.textContent = location.origin;
}

// Theme

const root = document.documentElement;
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

const switchTheme = () => {
  const current = root.dataset.theme ?? (systemIsDark.matches ? "dark" : "light");
  root.dataset.theme = current === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("likeness-theme", root.dataset.theme);
  } catch {
    // Storage is switched off; the choice lasts as long as the page.
  }
};

const themeButton = document.getElementById("theme");
themeButton.hidden = false;
themeButton.addEventListener("click", switchTheme);

// Search: the form works without this, by a redirect.

const search = document.getElementById("search");
search.form.addEventListener("submit", (event) => {
  const id = search.value.trim();
  if (id === "") return;
  event.preventDefault();
  location.assign(imagePage(id));
});

// Keyboard

const help = document.getElementById("help");
const helpButton = document.getElementById("help-open");
helpButton.hidden = false;
helpButton.addEventListener("click", () => help.showModal());
help.addEventListener("click", (event) => {
  // The dialog's own box is its backdrop; its content is inside.
  if (event.target === help) help.close();
});

const PLACES = { o: "/", c: "/clusters", v: "/review", r: "/corrections", b: "/banks", a: "/alarms", p: "/pins", q: "/sql", u: "/upload" };
let goUntil = 0;

const items = () => [...document.querySelectorAll(".gallery [data-item]")];

/** Moves the focus by `step` items, or to the first one. */
const moveBy = (step) => {
  const all = items();
  const at = all.indexOf(document.activeElement);
  const next = at === -1 ? all[step > 0 ? 0 : all.length - 1] : all[at + step];
  next?.focus();
};

/** Moves the focus to the item nearest above (-1) or below (1). */
const moveRow = (direction) => {
  const current = document.activeElement?.getBoundingClientRect();
  if (!document.activeElement?.matches(".gallery [data-item]")) {
    moveBy(direction);
    return;
  }
  let best = null;
  let bestDistance = Infinity;
  for (const item of items()) {
    const box = item.getBoundingClientRect();
    const down = (box.top - current.top) * direction;
    if (down < 8) continue;
    const distance = down * 4 + Math.abs(box.left - current.left);
    if (distance < bestDistance) {
      best = item;
      bestDistance = distance;
    }
  }
  best?.focus();
};

const isInGallery = () => document.activeElement?.matches(".gallery [data-item]") ?? false;

const onKey = (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.target.closest?.("input:not([type=checkbox]), textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (performance.now() < goUntil && event.key in PLACES) {
    location.assign(PLACES[event.key]);
    return;
  }
  goUntil = 0;
  const arrows = {
    ArrowLeft: () => moveBy(-1),
    ArrowRight: () => moveBy(1),
    ArrowUp: () => moveRow(-1),
    ArrowDown: () => moveRow(1),
  };
  // Arrows scroll the page as ever, unless a picture has the focus.
  if (event.key in arrows && isInGallery()) {
    event.preventDefault();
    arrows[event.key]();
    return;
  }
  switch (event.key) {
    case "/":
      event.preventDefault();
      search.focus();
      search.select();
      break;
    case "g":
      goUntil = performance.now() + 1_500;
      break;
    case "j":
      moveBy(1);
      break;
    case "k":
      moveBy(-1);
      break;
    case "t":
      switchTheme();
      break;
    case "?":
      help.showModal();
      break;
  }
};
document.addEventListener("keydown", onKey);

// A picture that does not load leaves its plate, not a torn icon.

const markBroken = (image) => image.closest(".plate, .mosaic, .mat")?.classList.add("broken");
document.addEventListener(
  "error",
  (event) => {
    if (event.target instanceof HTMLImageElement) markBroken(event.target);
  },
  true,
);
