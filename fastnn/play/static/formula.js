// The current step in numbers: what one unit computes for the chosen sample, forward and backward.

import { make, byId, inFormula, shown, subscript } from "./dom.js";

// Longer sums are shortened to this many terms.
const MOST_TERMS = 4;
const MOST_NEXT_TERMS = 3;
// Milliseconds between two readings: numbers that change faster cannot be read.
const UPDATE_EVERY = 100;
// Kinds of cells: coloured by the sign as the lines of the network; in brackets if negative.
const WEIGHT = { coloured: true };
const FACTOR = { bracketed: true };

/** Return a number without zeros at its end. */
const trimmed = (value) =>
  shown(value, 3)
    .replace(/(\.\d*?)0+(?=·|$)/, "$1")
    .replace(/\.(?=·|$)/, "")
    .replace(/^1·/, "");

const range = (count) => [...Array(count).keys()];

/** Names of a unit's quantities, and functions that read their numbers from a frame. */
class Unit {
  constructor(started, { layer, to, from }) {
    this.started = started;
    this.dims = started.layers_dim;
    this.layer = layer;
    this.to = to;
    this.chosen = from ?? 0;
    this.isOutput = layer === this.dims.length - 2;
    this.activation = started.activations[layer];
    this.tag = subscript(to + 1);
    this.z = this.entry(`sample.z.${layer}`, to);
    this.a = this.entry(`sample.a.${layer}`, to);
    this.derivative = this.entry(`sample.d.${layer}`, to);
  }

  /** Return the function that reads one entry of an array of the frame. */
  entry(name, k) {
    return (frame) => frame.arrays[name]?.[k] ?? NaN;
  }

  parameter(name, k) {
    const part = this.started.layout.find((each) => each.name === name);
    return (frame) => (part ? frame.arrays.weights[part.offset + k] : 0);
  }

  /** Return the weight from input i to this unit. */
  weight(i) {
    return this.parameter(`W${this.layer}`, i * this.dims[this.layer + 1] + this.to);
  }

  /** Return the weight from this unit to unit k of the next layer. */
  nextWeight(k) {
    return this.parameter(`W${this.layer + 1}`, this.to * this.dims[this.layer + 2] + k);
  }

  get bias() {
    return this.parameter(`b${this.layer}`, this.to);
  }

  input(i) {
    return this.layer === 0 ? this.entry("sample.x", i) : this.entry(`sample.a.${this.layer - 1}`, i);
  }

  inputName(i) {
    if (this.layer > 0) return `h${subscript(i + 1)}`;
    return this.started.inputs[i].replace(/\d+$/, (digits) => subscript(digits));
  }

  weightName(i) {
    return `w${subscript(i + 1)}${this.tag}`;
  }

  prediction(k) {
    return this.entry("sample.p", k);
  }

  /** Return the inputs whose terms are shown: the first ones, and the chosen one. */
  get terms() {
    const all = range(this.dims[this.layer]);
    if (all.length <= MOST_TERMS) return all;
    return [...new Set([...all.slice(0, MOST_TERMS - 1), this.chosen])];
  }

  /** Return the slope of the activation, from the derivatives that come back to the unit. */
  slope(frame) {
    const next = `sample.d.${this.layer + 1}`;
    const back = range(this.dims[this.layer + 2]).reduce(
      (sum, k) => sum + this.nextWeight(k)(frame) * this.entry(next, k)(frame),
      0,
    );
    return back === 0 ? "f′" : this.derivative(frame) / back;
  }
}

export class Formula {
  constructor() {
    this.root = byId("formula");
    this.cells = [];
    this.key = null;
    this.written = 0;
  }

  start(started) {
    this.started = started;
    this.key = null;
  }

  /** Write the formulas of a frame. `selected`: {layer, to, from}; `state`: the training's settings. */
  draw(frame, selected, state, now, force = false) {
    if (!this.started) return;
    const key = frame.sample ? JSON.stringify([selected, frame.sample.index, this.started.run]) : "none";
    const isNew = key !== this.key;
    if (!isNew && !force && now - this.written < UPDATE_EVERY) return;
    this.written = now;
    if (isNew) {
      this.key = key;
      this.cells = [];
      this.root.replaceChildren(
        ...(frame.sample
          ? this.build(frame, new Unit(this.started, selected), state)
          : [make("p.quiet", {}, "Click a point in the picture to follow it through the network.")]),
      );
    }
    for (const { element, value, coloured, bracketed } of this.cells) {
      const number = value(frame);
      let text = typeof number === "string" ? number : inFormula(number);
      if (bracketed && text.startsWith("−")) text = `(${text})`;
      if (element.textContent !== text) element.textContent = text;
      if (coloured) element.className = number < 0 ? "negative" : "positive";
    }
  }

  /** Return an element that every frame fills with a value. */
  cell(value, { coloured = false, bracketed = false } = {}) {
    const element = make(coloured ? "b" : "span");
    this.cells.push({ element, value, coloured, bracketed });
    return element;
  }

  result(value) {
    return make("strong", {}, this.cell(value));
  }

  row(name, why, symbols, numbers) {
    return make(
      "li",
      {},
      make("div.what", { title: why }, name),
      make("div.expression", {}, make("div.symbols", {}, ...symbols), make("div.numbers", {}, ...numbers)),
    );
  }

  build(frame, unit, state) {
    const { kind, classes } = this.started;
    const { target } = frame.sample;
    const where = unit.isOutput ? "the output layer" : `hidden layer ${unit.layer + 1}`;
    const what = kind === "classes" ? `a sample of class ${classes[target]}` : "one sample";
    const isNormalised = !unit.isOutput && state.batch_norm;
    const rows = [
      this.sum(unit, isNormalised),
      unit.isOutput && unit.activation === "identity" ? null : this.activation(unit),
      unit.isOutput ? this.prediction(unit) : null,
      this.loss(unit, target),
      unit.isOutput
        ? this.outputDerivative(unit, target)
        : this.hiddenDerivative(unit, isNormalised || state.dropout),
      this.gradient(unit, isNormalised),
      this.step(unit, state),
    ];
    return [
      make("p.quiet", {}, `Unit ${unit.to + 1} of ${where}, ${what}.`),
      make("ol.steps", {}, ...rows.filter((row) => row !== null)),
    ];
  }

  sum(unit, isNormalised) {
    const { tag, terms } = unit;
    const more = unit.dims[unit.layer] - terms.length;
    const joined = (parts) => terms.flatMap((i, k) => [...(k ? [" + "] : []), ...parts(i)]);
    const [open, close] = isNormalised ? ["norm(", ")"] : ["", ""];
    const inputs = unit.layer ? "what the layer before passes on" : "inputs";
    return this.row(
      "Sum",
      `Weights times ${inputs}, plus the bias.`,
      [
        `z${tag} = ${open}`,
        ...joined((i) => [`${unit.weightName(i)} ${unit.inputName(i)}`]),
        more ? " + …" : "",
        ` + b${tag}${close}`,
      ],
      [
        `= ${open}`,
        ...joined((i) => [this.cell(unit.weight(i), WEIGHT), "·", this.cell(unit.input(i), FACTOR)]),
        more ? ` + ${more} more` : "",
        " + ",
        this.cell(unit.bias),
        `${close} = `,
        this.result(unit.z),
      ],
    );
  }

  activation(unit) {
    const { tag, activation } = unit;
    return this.row(
      "Activation",
      "What the unit passes on.",
      [`a${tag} = ${activation}(z${tag})`],
      [`= ${activation}(`, this.cell(unit.z), ") = ", this.result(unit.a)],
    );
  }

  /** Return the row of the output's own function; null if there is none. */
  prediction(unit) {
    const { output, classes } = this.started;
    const { tag, to } = unit;
    const score = unit.activation === "identity" ? "z" : "a";
    if (output === "softmax") {
      return this.row(
        "Probability",
        "Softmax: the scores' exponentials, as shares of their sum.",
        [`p${tag} = e^${score}${tag} / Σ e^${score}`],
        [`for class ${classes[to]} = `, this.result(unit.prediction(to))],
      );
    }
    if (output === "identity") return null;
    return this.row(
      "Prediction",
      "The score on the scale of the answer.",
      [`p = ${output}(${score}${tag})`],
      ["= ", this.result(unit.prediction(to))],
    );
  }

  get isEntropy() {
    return this.started.kind === "classes" && this.started.loss.endsWith("cross_entropy");
  }

  loss(unit, target) {
    const { kind, classes, loss } = this.started;
    const value = this.result((frame) => frame.sample.loss);
    let symbols;
    let numbers;
    if (this.isEntropy) {
      const single = unit.dims.at(-1) === 1;
      const p = single
        ? (frame) => Math.abs(1 - target - unit.prediction(0)(frame))
        : unit.prediction(target);
      [symbols, numbers] = [`L = −ln p${subscript(target + 1)}`, ["= −ln ", this.cell(p), " = "]];
    } else if (kind === "classes") {
      [symbols, numbers] = [loss.replaceAll("_", " "), [`class ${classes[target]}, L = `]];
    } else {
      [symbols, numbers] = [
        `L: ${loss.replaceAll("_", " ")}`,
        ["ŷ = ", this.cell(unit.prediction(0)), ", y = ", this.cell(() => target), ", L = "],
      ];
    }
    return this.row("Loss", "How wrong the network is for this sample.", [symbols], [...numbers, value]);
  }

  outputDerivative(unit, target) {
    const { tag, to } = unit;
    const truth = unit.dims.at(-1) === 1 ? target : Number(target === to);
    const isPlain = this.isEntropy && unit.activation === "identity";
    return this.row(
      "Backward",
      "Derivative of the loss by the sum z.",
      [`δ${tag} = ∂L/∂z${tag}`, isPlain ? ` = p${tag} − ${truth}` : ""],
      [
        "= ",
        ...(isPlain ? [this.cell(unit.prediction(to)), ` − ${truth} = `] : []),
        this.result(unit.derivative),
      ],
    );
  }

  hiddenDerivative(unit, isHidden) {
    const { tag, layer } = unit;
    const count = unit.dims[layer + 2];
    const next = range(Math.min(count, MOST_NEXT_TERMS));
    const more = count - next.length;
    const terms = next.flatMap((k) => [
      ...(k ? [" + "] : []),
      this.cell(unit.nextWeight(k), WEIGHT),
      "·",
      this.cell(unit.entry(`sample.d.${layer + 1}`, k), FACTOR),
    ]);
    const chain = [
      "= ",
      this.cell((frame) => unit.slope(frame)),
      "·(",
      ...terms,
      more ? ` + ${more} more) ` : ") ",
    ];
    return this.row(
      "Backward",
      "The next layer's derivatives come back along the lines, times the activation's slope.",
      [`δ${tag} = f′(z${tag}) Σₖ w${tag}ₖ δₖ`],
      [...(isHidden ? [] : chain), "= ", this.result(unit.derivative)],
    );
  }

  gradient(unit, isNormalised) {
    const { chosen, derivative } = unit;
    const input = unit.input(chosen);
    return this.row(
      "Gradient",
      "How the loss changes with this weight, for this sample.",
      [`∂L/∂${unit.weightName(chosen)} = δ${unit.tag} ${unit.inputName(chosen)}`],
      isNormalised
        ? ["through the normalisation"]
        : [
            "= ",
            this.cell(derivative, FACTOR),
            "·",
            this.cell(input, FACTOR),
            " = ",
            this.result((frame) => derivative(frame) * input(frame)),
          ],
    );
  }

  step(unit, state) {
    const name = unit.weightName(unit.chosen);
    const weight = unit.weight(unit.chosen);
    const rule = state.optimizer === "sgd" ? "" : state.optimizer;
    if (state.optimizer === "lbfgs")
      return this.row(
        "Step",
        "The gradients of the whole batch, of this step and of past steps, give the direction d. A line search finds the length α.",
        [`${name} ← ${name} + α d`],
        [this.cell(weight, WEIGHT), " + α·d"],
      );
    return this.row(
      "Step",
      "The gradients of the whole batch move the weight.",
      [`${name} ← ${name} − η ${rule}(g${state.l2 ? ` + λ ${name}` : ""})`],
      [
        this.cell(weight, WEIGHT),
        " − ",
        this.cell((frame) => trimmed(frame.learning_rate ?? state.learning_rate)),
        `·${rule}(g`,
        ...(state.l2 ? [` + ${trimmed(state.l2)}·`, this.cell(weight, FACTOR)] : []),
        `), g: ${state.reduction} over the batch`,
      ],
    );
  }
}
