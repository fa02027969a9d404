// Sets the theme before the first paint, so that a dark page does not flash: a classic script in the head.
(() => {
  let saved = null;
  try {
    saved = localStorage.getItem("fastnn-theme");
  } catch {
    /* Storage may be forbidden: follow the system. */
  }
  const dark = saved ? saved === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.documentElement.toggleAttribute("data-embedded", parent !== window);
})();
