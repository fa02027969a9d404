// Undo: what was painted, cleared, set by hand or chosen is taken back, the last first.

import { byId } from "./dom.js";

// More steps than this are forgotten, the oldest first.
const MAX_STEPS = 50;

export class Undo {
  constructor() {
    this.steps = [];
    this.buttons = { plane: byId("undo-plane"), number: byId("undo-number") };
    for (const button of Object.values(this.buttons)) button.addEventListener("click", () => this.undo());
    this.show();
  }

  /**
   * Note a step: `place` is "plane", "number" or "settings", `what` says what is taken back by calling `back`.
   * A slider is one step, however often it notes one.
   */
  push(place, what, back, isSliding = false) {
    const last = this.steps.at(-1);
    if (isSliding && last?.isSliding && last.what === what) return;
    this.steps = [...this.steps, { place, what, back, isSliding }].slice(-MAX_STEPS);
    this.show();
  }

  undo() {
    this.steps.pop()?.back();
    this.show();
  }

  /** Forget the steps of a place: there is nothing left that they could take back. */
  forget(place) {
    this.steps = this.steps.filter((step) => step.place !== place);
    this.show();
  }

  /** Show the button of the place where the last step was. */
  show() {
    const last = this.steps.at(-1);
    for (const [place, button] of Object.entries(this.buttons)) {
      button.hidden = place !== last?.place;
      if (!button.hidden) button.title = `Undo: ${last.what} (Ctrl+Z)`;
    }
  }
}
