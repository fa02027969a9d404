// Messages: problems (role alert), news (role status), and the banner of a lost connection.

import { make, byId } from "./dom.js";

const SHOWN_FOR = 7000;

/** Show a message in place of the last one of its kind. */
function notice(place, text, kind, seconds) {
  const element = make(
    `div.notice.${kind}`,
    {},
    make("span", {}, text),
    make(
      "button.close",
      { type: "button", "aria-label": "Close this message", onclick: () => element.remove() },
      "×",
    ),
  );
  place.querySelector(`.${kind}`)?.remove();
  place.append(element);
  if (seconds) setTimeout(() => element.remove(), seconds);
  return element;
}

export const problem = (text) => notice(byId("problems"), text, "problem", 2 * SHOWN_FOR);
/** A warning stays until the settings change. */
export const warning = (text) => notice(byId("problems"), text, "warning");
export const news = (text) => notice(byId("notices"), text, "news", SHOWN_FOR);
export const clearProblems = () => byId("problems").replaceChildren();

/** Show what is being loaded, and how much of it has come if that is known; no text hides it. */
export function loading({ text, count, total }) {
  byId("loading").hidden = !text;
  byId("loading-text").textContent = text ? `${text} …` : "";
  const progress = byId("progress");
  if (count === undefined) progress.removeAttribute("value");
  else Object.assign(progress, { max: total, value: count });
}

/** Show that what trains is gone, and offer a remedy; null hides the banner. */
export function lost(text, remedy, again) {
  const banner = byId("lost");
  banner.hidden = text === null;
  document.body.classList.toggle("offline", text !== null);
  banner.replaceChildren(
    ...(text === null
      ? []
      : [
          make("span", {}, text),
          make("button.plain", { type: "button", id: "reconnect", onclick: again }, remedy),
        ]),
  );
}
