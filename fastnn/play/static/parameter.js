// The number under the network: the weight or bias that is chosen there, which can be set by hand.

import { byId, make } from "./dom.js";
import { Unit } from "./formula.js";

const DIGITS = 4;
const BIAS = "bias";

export class Parameter {
  /** `set(index, value, name)`: a number of the flat vector has been typed; `select(unit)`: one is chosen. */
  constructor(set, select) {
    this.label = byId("parameter-name");
    this.choice = byId("parameter-choice");
    this.input = byId("parameter");
    this.index = this.value = this.started = null;
    this.isTyped = this.hasEnded = false;
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
    this.input.addEventListener("blur", () => {
      this.isTyped = false;
      this.write();
    });
    this.choice.addEventListener("change", () => {
      const { value } = this.choice;
      select({ ...this.unit, from: value === BIAS ? null : Number(value) });
    });
  }

  /** Begin a new run, of which a parameter is chosen next. */
  start(started) {
    this.started = started;
    this.hasEnded = false;
  }

  /** Take no number any more: the run has ended. */
  end() {
    this.hasEnded = true;
    this.enable();
  }

  /** Show another weight {layer, to, from} or, if `from` is null, the bias of a unit. */
  choose({ layer, to, from }) {
    const unit = new Unit(this.started, { layer, to, from });
    const isBias = from === null;
    const entry = this.started.layout.find(({ name }) => name === `${isBias ? "b" : "W"}${layer}`);
    this.index = entry ? entry.offset + (isBias ? to : from * entry.shape[1] + to) : null;
    this.name = isBias ? `b${unit.tag}` : unit.weightName(from);
    this.unit = { layer, to };
    this.label.textContent = `${isBias ? "Bias" : "Weight"} ${this.name}`;
    const inputs = Array.from({ length: this.started.layers_dim[layer] }, (_, k) => k);
    this.choice.replaceChildren(
      make("option", { value: BIAS }, `Bias b${unit.tag}`),
      ...inputs.map((k) => make("option", { value: k }, `Weight ${unit.weightName(k)}`)),
    );
    this.choice.value = isBias ? BIAS : from;
    this.value = null;
    this.isTyped = false;
    this.enable();
    this.write();
  }

  /** Enable the input if the chosen parameter can be set, and say why not otherwise. */
  enable() {
    let reason = null;
    if (this.started.state.optimizer === "lbfgs") reason = "L-BFGS continues from its past steps.";
    else if (this.hasEnded) reason = "The training has ended.";
    this.input.disabled = this.index === null || reason !== null;
    this.input.title = reason ?? "Type another number.";
  }

  /** Follow the training, unless a number is being typed. */
  draw({ playing, arrays: { weights } }) {
    this.value = this.index === null ? null : weights[this.index];
    if (document.activeElement !== this.input || !(playing || this.isTyped)) this.write();
  }

  write() {
    this.input.value = this.value === null ? "" : Number(this.value.toFixed(DIGITS));
  }
}
