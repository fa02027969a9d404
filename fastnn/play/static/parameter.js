// The number under the network: the weight or bias that is chosen there, which can be set by hand.

import { byId } from "./dom.js";
import { Unit } from "./formula.js";

const DIGITS = 4;

export class Parameter {
  /** `set(index, value, name)`: a number of the flat vector has been typed; `undo()`: it is taken back. */
  constructor(set, undo) {
    this.label = byId("parameter-name");
    this.input = byId("parameter");
    this.index = this.value = null;
    this.isTyped = false;
    this.input.addEventListener("input", () => {
      this.isTyped = true;
    });
    this.input.addEventListener("change", () => {
      this.isTyped = false;
      const value = Number(this.input.value);
      if (this.index !== null && this.value !== null && this.input.value !== "")
        set(this.index, value, this.name);
      else this.write();
    });
    this.input.addEventListener("blur", () => this.write());
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || this.isTyped) return;
      event.preventDefault();
      undo();
    });
  }

  /** Show another weight {layer, to, from} or, if `from` is null, the bias of a unit. */
  choose(started, { layer, to, from }) {
    const unit = new Unit(started, { layer, to, from });
    const isBias = from === null;
    const entry = started.layout.find(({ name }) => name === `${isBias ? "b" : "W"}${layer}`);
    this.index = entry ? entry.offset + (isBias ? to : from * entry.shape[1] + to) : null;
    this.name = isBias ? `b${unit.tag}` : unit.weightName(from);
    this.label.textContent = `${isBias ? "Bias" : "Weight"} ${this.name}`;
    const isSearched = started.state.optimizer === "lbfgs";
    this.input.disabled = this.index === null || isSearched;
    this.input.title = isSearched ? "L-BFGS continues from its own past steps." : "Type another number.";
    this.value = null;
    this.isTyped = false;
    this.write();
  }

  /** Follow the training, unless a number is being typed. */
  draw({ arrays: { weights } }) {
    this.value = this.index === null ? null : weights[this.index];
    if (document.activeElement !== this.input) this.write();
  }

  write() {
    this.input.value = this.value === null ? "" : Number(this.value.toFixed(DIGITS));
  }
}
