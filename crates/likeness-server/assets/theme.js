// Runs before the first paint: a theme that was chosen by hand overrides the system's.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("likeness-theme");
  } catch {
    // Storage is switched off; the system's theme it is.
  }
  if (theme === "light" || theme === "dark") {
    document.documentElement.dataset.theme = theme;
  }
})();
