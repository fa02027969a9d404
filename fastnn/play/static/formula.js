// The current step in numbers: what one unit computes for the chosen sample, forward and backward.

import { make, byId, inFormula, inputName, shown, subscript } from "./dom.js";

// Longer sums are shortened to this many terms.
const MAX_TERMS = 4;
const MAX_NEXT_TERMS = 3;
// Kinds of cells: coloured by the sign as the lines of the network; in brackets if negative.
const WEIGHT = { coloured: true };
const FACTOR = { bracketed: true };

/** Return a number without zeros at its end, with the digits that a calculation by hand needs. */
const trimmed = (value, digits = 3) =>
  shown(value, digits)
    .replace(/(\.\d*?)0+(?=·|$)/, "$1")
    .replace(/\.(?=·|$)/, "")
    .replace(/^1·/, "");
const exact = (value) => trimmed(value, 5);
/** Return a factor or a term of a calculation: in brackets if it is negative. */
const term = (value) => (value < 0 ? `(${exact(value)})` : exact(value));

const root = (value) => `√${exact(value)}`;
/** Return the new running mean of an optimizer: of the squares of g, or of g itself. */
const running = (old, share, value) => share * old + (1 - share) * value;

const SQUARES = "Running mean of the squared gradients.";

/** Return the rows of Adam's two running means, and the texts of its step from the weight `first`. */
function adam(first, firstNumbers) {
  const m = ({ state, betas, g }) => running(state[0], betas[0], g);
  const s = ({ state, betas, g }) => running(state[1], betas[1], g * g);
  return (_, state) => ({
    memory: [
      [
        "Mean", "Running mean of the gradients.", "m ← β₁ m + (1 − β₁) g",
        (k) => `= ${exact(k.betas[0])}·${term(k.state[0])} + ${exact(1 - k.betas[0])}·${term(k.g)} = ${exact(m(k))}`,
      ],
      [
        "Squares", SQUARES, "s ← β₂ s + (1 − β₂) g²",
        (k) => `= ${exact(k.betas[1])}·${exact(k.state[1])} + ${exact(1 - k.betas[1])}·${term(k.g)}² = ${exact(s(k))}`,
      ],
    ],
    symbols: state.eps_hat
      ? `${first(_)} − η m / (1 − β₁ᵗ) · √(1 − β₂ᵗ) / (√s + ε)`
      : `${first(_)} − η m / (1 − β₁ᵗ) / (√(s / (1 − β₂ᵗ)) + ε)`,
    numbers: (k) => {
      const [one, two] = k.betas.map((beta) => exact(1 - beta ** k.t));
      const head = `${firstNumbers(k)} − ${exact(k.rate)}·${term(m(k))} / ${one}`;
      const tail = state.eps_hat
        ? `√${two} / (${root(s(k))} + ${exact(k.eps)})`
        : `(√(${exact(s(k))} / ${two}) + ${exact(k.eps)})`;
      return `${head} ${state.eps_hat ? "·" : "/"} ${tail} with t = ${k.t}`;
    },
  });
}

/** Return the factor of the gradient in the velocity of a momentum; only one without look-ahead is damped. */
const factor = (k) => (k.rate_in_velocity ? k.rate : 1) * (k.step ? 1 - (k.dampening ?? 0) : 1);
const newVelocity = (k) => k.momentum * k.state[0] + factor(k) * k.g;

/** Return the row of the velocity of a momentum. */
const velocity = ({ rate_in_velocity: rated, dampening }) => [
  "Velocity", "The gradients add up, and fade.", `v ← μ v + ${rated ? "η " : ""}${dampening ? "(1 − d) " : ""}g`,
  (k) => `= ${exact(k.momentum)}·${term(k.state[0])} + ${exact(factor(k))}·${term(k.g)} = ${exact(newVelocity(k))}`,
];

/** Rows of each optimizer's numbers (title, why, symbols, numbers) and texts of its step. Others: `onlyResult`. */
const RULES = {
  sgd: (name) => ({
    memory: [],
    symbols: `${name} ← ${name} − η g`,
    numbers: ({ w, rate, g }) => `${exact(w)} − ${exact(rate)}·${term(g)}`,
  }),
  momentum: (name, state) => ({
    memory: [velocity(state)],
    symbols: `${name} ← ${name} − ${state.rate_in_velocity ? "" : "η "}v`,
    numbers: (k) => `${exact(k.w)} − ${k.rate_in_velocity ? "" : `${exact(k.rate)}·`}${term(newVelocity(k))}`,
  }),
  nesterov: (name, state) => ({
    memory: [velocity({ ...state, dampening: 0 })],
    symbols: `${name} ← ${name} − ${state.rate_in_velocity ? "(η g" : "η (g"} + μ v)`,
    numbers: (k) => {
      const [outer, inner] = k.rate_in_velocity ? ["", `${exact(k.rate)}·`] : [`${exact(k.rate)}·`, ""];
      return `${exact(k.w)} − ${outer}(${inner}${term(k.g)} + ${exact(k.momentum)}·${term(newVelocity(k))})`;
    },
  }),
  adagrad: (name, state) => {
    const s = (k) => k.state[0] + k.g * k.g;
    const decayed = (k) => (k.lr_decay ? ` / (1 + ${k.step}·${exact(k.lr_decay)})` : "");
    return {
      memory: [
        [
          "Squares", "Sum of the squared gradients.", "s ← s + g²",
          (k) => `= ${exact(k.state[0])} + ${term(k.g)}² = ${exact(s(k))}`,
        ],
      ],
      symbols: `${name} ← ${name} − η${state.lr_decay ? " / (1 + (t − 1) d)" : ""} g / (√s + ε)`,
      numbers: (k) =>
        `${exact(k.w)} − ${exact(k.rate)}${decayed(k)}·${term(k.g)} / (${root(s(k))} + ${exact(k.eps)})`,
    };
  },
  rmsprop: (name) => {
    const s = (k) => running(k.state[0], k.alpha, k.g * k.g);
    const v = (k) => k.momentum * k.state[1] + k.g / (Math.sqrt(s(k)) + k.eps);
    return {
      memory: [
        [
          "Squares", SQUARES, "s ← α s + (1 − α) g²",
          (k) => `= ${exact(k.alpha)}·${exact(k.state[0])} + ${exact(1 - k.alpha)}·${term(k.g)}² = ${exact(s(k))}`,
        ],
        [
          "Velocity", "Gradients by the root of their mean square, which add up and fade.", "v ← μ v + g / (√s + ε)",
          (k) =>
            `= ${exact(k.momentum)}·${term(k.state[1])} + ${term(k.g)} / (${root(s(k))} + ${exact(k.eps)}) = ${exact(v(k))}`,
        ],
      ],
      symbols: `${name} ← ${name} − η v`,
      numbers: (k) => `${exact(k.w)} − ${exact(k.rate)}·${term(v(k))}`,
    };
  },
  adam: adam((name) => `${name} ← ${name}`, (k) => exact(k.w)),
  adamw: adam(
    (name) => `${name} ← (1 − η d) ${name}`,
    (k) => `(1 − ${exact(k.rate)}·${exact(k.weight_decay)})·${term(k.w)}`,
  ),
};

/** Return the texts of a step whose optimizer has no entry in `RULES`: the page shows only its result. */
const onlyResult = (optimizer) => (name) => ({
  memory: [],
  symbols: `${name} ← ${optimizer}(${name}, g)`,
  numbers: null,
});

const range = (count) => [...Array(count).keys()];

/** Names of a unit's quantities, and functions that read their numbers from a frame. */
export class Unit {
  constructor(started, { layer, to, from }) {
    this.started = started;
    this.dims = started.layers_dim;
    this.layer = layer;
    this.to = to;
    this.chosen = from ?? 0;
    this.isOutput = layer === this.dims.length - 2;
    this.activation = started.activations[layer];
    // Outputs of several classes have the numbers of their classes, as in the documentation.
    this.isSingle = this.dims.at(-1) === 1;
    this.isOfClass = this.isOutput && started.kind === "classes" && !this.isSingle;
    this.tag = subscript(this.isOfClass ? to : to + 1);
    this.p = this.isSingle ? "p" : `p${this.tag}`;
    this.z = this.entry(`sample.z.${layer}`, to);
    this.a = this.entry(`sample.a.${layer}`, to);
    this.derivative = this.entry(`sample.d.${layer}`, to);
  }

  /** Return the function that reads one entry of an array of the frame. */
  entry(name, k) {
    return (frame) => frame.arrays[name]?.[k] ?? NaN;
  }

  parameter(name, k) {
    const entry = this.started.layout.find((each) => each.name === name);
    return (frame) => (entry ? frame.arrays.weights[entry.offset + k] : 0);
  }

  /** Return the function that reads one number of the chosen weight's next step; NaN while none is known. */
  ofStep(name) {
    const { offset } = this.started.layout.find((each) => each.name === `W${this.layer}`);
    return this.entry(`update.${name}`, offset + this.chosen * this.dims[this.layer + 1] + this.to);
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
    return this.layer > 0 ? `h${subscript(i + 1)}` : inputName(this.started.features[i]);
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
    if (all.length <= MAX_TERMS) return all;
    return [...new Set([...all.slice(0, MAX_TERMS - 1), this.chosen])];
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
  }

  start(started) {
    this.started = started;
    this.key = null;
  }

  /** Write the formulas of a frame. `selected`: {layer, to, from}; `state`: the training's settings. */
  draw(frame, selected, state) {
    if (!this.started) return;
    const key = frame.sample ? JSON.stringify([selected, frame.sample.index, this.started.run]) : "none";
    const isNew = key !== this.key;
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
      ...this.step(unit, state),
    ];
    const which = unit.isOfClass ? `The output of class ${classes[unit.to]}` : `Unit ${unit.to + 1} of ${where}`;
    return [
      make("p.quiet", {}, `${which}, ${what}.`),
      make("ol.steps", {}, ...rows.filter((row) => row !== null)),
    ];
  }

  sum(unit, isNormalised) {
    const { tag, terms } = unit;
    const more = unit.dims[unit.layer] - terms.length;
    const joined = (nodes) => terms.flatMap((i, k) => [...(k ? [" + "] : []), ...nodes(i)]);
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
        [`${unit.p} = e^${score}${tag} / Σ e^${score}`],
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
      const single = unit.isSingle;
      const p = single
        ? (frame) => Math.abs(1 - target - unit.prediction(0)(frame))
        : unit.prediction(target);
      const name = !single ? `p${subscript(target)}` : target ? "p" : "(1 − p)";
      [symbols, numbers] = [`L = −ln ${name}`, ["= −ln ", this.cell(p), " = "]];
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
    const truth = unit.isSingle ? target : Number(target === to);
    const isPlain = this.isEntropy && unit.activation === "identity";
    return this.row(
      "Backward",
      "Derivative of the loss with respect to the sum z.",
      [`δ${tag} = ∂L/∂z${tag}`, isPlain ? ` = ${unit.p} − ${truth}` : ""],
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
    const next = range(Math.min(count, MAX_NEXT_TERMS));
    const more = count - next.length;
    const terms = next.flatMap((k) => [
      ...(k ? [" + "] : []),
      this.cell(unit.nextWeight(k), WEIGHT),
      "·",
      this.cell(unit.entry(`sample.d.${layer + 1}`, k), FACTOR),
    ]);
    const slope = this.cell((frame) => unit.slope(frame));
    const chain = ["= ", slope, "·(", ...terms, more ? ` + ${more} more) ` : ") "];
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
    const product = (frame) => derivative(frame) * input(frame);
    return this.row(
      "Gradient",
      "How the loss changes with this weight, for this sample.",
      [`∂L/∂${unit.weightName(chosen)} = δ${unit.tag} ${unit.inputName(chosen)}`],
      isNormalised
        ? ["through the normalisation"]
        : ["= ", this.cell(derivative, FACTOR), "·", this.cell(input, FACTOR), " = ", this.result(product)],
    );
  }

  /** Return the rows of the next step: the gradient of its batch, the optimizer's numbers, the weight. */
  step(unit, state) {
    const name = unit.weightName(unit.chosen);
    const weight = unit.weight(unit.chosen);
    if (state.optimizer === "lbfgs")
      return [
        this.row(
          "Step",
          "The gradients of the whole batch, of this step and of past steps, give the direction d. A line search finds the length α.",
          [`${name} ← ${name} + α d`],
          [this.cell(weight, WEIGHT), " + α·d"],
        ),
      ];
    const gradient = unit.ofStep("g");
    const next = unit.ofStep("next");
    /** Return the gradient with its penalties, as numbers of a frame. */
    const g = (frame) => {
      const { l2 = 0, l1 = 0 } = frame.update ?? {};
      return gradient(frame) + l2 * weight(frame) + l1 * Math.sign(weight(frame));
    };
    const sum = state.reduction === "sum" ? "Σ" : "mean of";
    const penalty = (frame) => {
      const { l2, l1 } = frame.update ?? {};
      return (l2 ? ` + ${exact(l2)}·${term(weight(frame))}` : "") + (l1 ? ` + ${term(l1 * Math.sign(weight(frame)))}` : "");
    };
    const rule = (RULES[state.optimizer] ?? onlyResult(state.optimizer))(name, state);
    /** Return a cell with a text of a frame's numbers, which are not known while the training runs. */
    const text = (write, unknown = "") =>
      this.cell((frame) => (frame.update ? write(frame, numbersOf(frame)) : unknown));
    const numbersOf = (frame) => {
      const known = { ...frame.update, w: weight(frame), g: g(frame), t: frame.update.step + 1 };
      known.state = [0, 1].map((k) => unit.ofStep(`state.${k}`)(frame));
      return known;
    };
    const limits = [
      state.clip_norm ? `, the gradient cut to the norm ${exact(state.clip_norm)}` : "",
      state.max_norm ? `, then the weights into the unit cut to the norm ${exact(state.max_norm)}` : "",
    ];
    return [
      this.row(
        "Batch",
        "The gradients of all samples of the next step, and the penalty.",
        [`g = ${sum} ∂L/∂${name}${this.started.l2 ? ` + λ ${name}` : ""}${state.l1 ? ` + λ₁ sign ${name}` : ""}`],
        [
          text(
            (frame) => `= ${exact(gradient(frame))}${penalty(frame)} = ${exact(g(frame))}`,
            "numbers come when the training rests",
          ),
          this.cell((frame) => (frame.update ? ` for ${frame.update.n} samples${limits[0]}` : "")),
        ],
      ),
      ...rule.memory.map(([title, why, symbols, write]) =>
        this.row(title, why, [symbols], [text((_, known) => write(known))]),
      ),
      this.row(
        "Step",
        "The rule of the optimizer moves the weight.",
        [rule.symbols],
        [
          text((_, known) => (rule.numbers ? `= ${rule.numbers(known)} = ` : "= ")),
          this.result((frame) => (frame.update ? exact(next(frame)) : "")),
          limits[1],
        ],
      ),
    ];
  }
}
