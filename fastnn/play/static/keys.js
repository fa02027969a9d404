// Shortcuts: Ctrl+Z, and single keys, which can be switched off in the help.

export const SHORTCUTS = [
  { keys: [" "], action: "play", shown: ["space"], what: "Play or pause" },
  { keys: ["s"], action: "step", shown: ["S"], what: "One step" },
  { keys: ["e"], action: "epoch", shown: ["E"], what: "One epoch" },
  { keys: ["r"], action: "reset", shown: ["R"], what: "Back to the beginning" },
  { keys: ["+", "="], action: "faster", shown: ["+"], what: "Faster" },
  { keys: ["-"], action: "slower", shown: ["−"], what: "Slower" },
  { keys: ["v"], action: "view", shown: ["V"], what: "Classes or probability" },
  { keys: ["t"], action: "test", shown: ["T"], what: "Show or hide test data" },
  {
    keys: ["1", "2", "3", "4", "5"],
    action: "tool",
    shown: ["1", "…", "5"],
    what: "Paint points of a class",
  },
  { keys: ["x"], action: "tool", shown: ["X"], what: "Erase painted points" },
  { keys: ["z"], withControl: true, action: "undo", shown: ["Ctrl", "Z"], what: "Undo what was painted, typed or chosen" },
  { keys: ["0"], action: "tool", shown: ["0"], what: "Choose samples again" },
  { keys: ["p"], action: "script", shown: ["P"], what: "Copy as Python" },
  { keys: ["d"], action: "theme", shown: ["D"], what: "Light or dark" },
  { keys: ["?"], action: "help", shown: ["?"], what: "This help" },
];

const toolOf = (key) => (key === "x" ? "erase" : key === "0" ? "look" : String(Number(key) - 1));

// The field in which something has been typed that is not in the state yet.
let typed = null;

/** Return true if the element needs the key itself. */
function needs(element, key, withControl) {
  if (element.closest("dialog, [role=menu]")) return true;
  if (withControl) return element === typed; // the browser takes back what was typed
  if (element.matches("textarea, select")) return true;
  if (element.matches("input")) return !["range", "radio", "checkbox"].includes(element.type) || key === " ";
  return key === " " && element.matches("button, a, summary");
}

/** Call the action of a shortcut; `areOn()` tells whether single keys are wanted. */
export function listenToKeys(actions, areOn) {
  document.addEventListener("input", ({ target }) => {
    typed = target;
  });
  for (const name of ["change", "focusout"])
    document.addEventListener(name, () => {
      typed = null;
    });
  document.addEventListener("keydown", (event) => {
    const withControl = event.ctrlKey || event.metaKey;
    if (event.altKey || (withControl && event.shiftKey)) return;
    if (needs(event.target, event.key, withControl) || !(withControl || areOn())) return;
    const key = event.key.toLowerCase();
    const shortcut = SHORTCUTS.find((each) => each.keys.includes(key) && Boolean(each.withControl) === withControl);
    if (!shortcut || (event.repeat && key === " ")) return;
    event.preventDefault();
    actions[shortcut.action](toolOf(key));
  });
}
