// The page around the pictures: theme, menu, dialogs, clipboard and shortcuts.

import { byId, make } from "./dom.js";
import { SHORTCUTS, listenToKeys } from "./keys.js";
import { news } from "./messages.js";

/** Values that outlive the page, where the browser allows it. */
const storage = {
  get(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(name, value);
    } catch {
      // Without storage, a choice lasts as long as the page.
    }
  },
};

export async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    news(done);
  } catch {
    // The browser forbids the clipboard: select the text, so that one key copies it.
    if (byId("script-dialog").open) getSelection().selectAllChildren(byId("script-text"));
    news("The browser does not let the page copy: press Ctrl+C.");
  }
}

export function showScript(text) {
  byId("script-text").textContent = text;
  byId("script-dialog").showModal();
  copy(text, "The script is copied.");
}

/** Show classes by shapes as well as by colours, if the reader wants so; `show` draws the points anew. */
export function listenToShapes(show) {
  const checkbox = byId("shapes");
  const set = () => {
    document.body.classList.toggle("shaped", checkbox.checked);
    show(checkbox.checked);
  };
  checkbox.checked = storage.get("fastnn-shapes") === "on";
  checkbox.addEventListener("change", () => {
    storage.set("fastnn-shapes", checkbox.checked ? "on" : "off");
    set();
  });
  set();
}

/** Switch between light and dark; follow the system until then. `recolour` draws everything anew. */
export function listenToTheme(recolour) {
  const root = document.documentElement;
  const button = byId("theme");
  const show = () => button.setAttribute("aria-pressed", String(root.dataset.theme === "dark"));
  const set = (theme) => {
    root.dataset.theme = theme;
    show();
    recolour();
  };
  button.addEventListener("click", () => {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    storage.set("fastnn-theme", theme);
    set(theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", ({ matches }) => {
    if (!storage.get("fastnn-theme")) set(matches ? "dark" : "light");
  });
  show();
}

/** Open and close the menu; `save(what)` is called for its files, `copyAddress()` for the address. */
export function listenToMenu(save, copyAddress) {
  const menu = byId("save-menu");
  const button = byId("save");
  const close = (focus = true) => {
    menu.hidden = true;
    button.setAttribute("aria-expanded", "false");
    if (focus) button.focus();
  };
  button.addEventListener("click", () => {
    menu.hidden = !menu.hidden;
    button.setAttribute("aria-expanded", String(!menu.hidden));
    if (!menu.hidden) menu.querySelector("button").focus();
  });
  menu.addEventListener("click", (event) => {
    const item = event.target.closest("button");
    if (!item) return;
    close();
    if (item.dataset.save) save(item.dataset.save);
    else copyAddress();
  });
  menu.addEventListener("keydown", (event) => {
    const items = [...menu.querySelectorAll("button")];
    const at = items.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (next !== undefined) {
      items[(next + items.length) % items.length].focus();
      event.preventDefault();
    } else if (event.key === "Escape") close();
    else if (event.key === "Tab") close(false);
    event.stopPropagation();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!menu.hidden && !event.target.closest(".menu")) close(false);
  });
}

/** Open a table, `open(file)`, or the one that is open with another target, `open(null, target)`. */
export function listenToTable(open) {
  byId("table-file").addEventListener("change", ({ target }) => {
    if (target.files.length) open(target.files[0]);
    target.value = ""; // the same file may be opened again
  });
  byId("table-target").addEventListener("change", ({ target }) => open(null, target.value));
}

/** Show the table that is open, {name, names, target}: its file, its columns, and the one that is learned. */
export function showTable(table) {
  byId("table-choice").hidden = !table;
  if (!table) return;
  byId("table-name").textContent = table.name;
  const options = table.names.map((name) => make("option", { value: name, selected: name === table.target }, name));
  byId("table-target").replaceChildren(...options);
}

/** Close dialogs by a click beside them. */
export function listenToDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }
  const text = byId("script-text");
  byId("copy-script").addEventListener("click", () => copy(text.textContent, "The script is copied."));
}

/** List the shortcuts in the help, and listen to them unless they are switched off there. */
export function listenToShortcuts(actions) {
  byId("keys").replaceChildren(
    ...SHORTCUTS.map(({ shown, what }) =>
      make(
        "tr",
        {},
        make("th", { scope: "row" }, ...shown.map((key) => make("kbd", {}, key))),
        make("td", {}, what),
      ),
    ),
  );
  const checkbox = byId("shortcuts");
  checkbox.checked = storage.get("fastnn-shortcuts") !== "off";
  checkbox.addEventListener("change", () => storage.set("fastnn-shortcuts", checkbox.checked ? "on" : "off"));
  listenToKeys(actions, () => checkbox.checked);
}
