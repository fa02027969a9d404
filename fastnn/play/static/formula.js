// The current step in numbers: what one unit computes for the chosen sample, forward and backward.

import { make, byId, inFormula, shown, subscript } from "./dom.js";

const MAXIMUM_TERMS = 4;
const UPDATE_EVERY = 100; // milliseconds: numbers that change faster cannot be read

const WEIGHT = { tone: true }, FACTOR = { factor: true };

/** Return a number without zeros at its end. */
const trimmed = (value) => shown(value, 3).replace(/(\.\d*?)0+(?=·|$)/, "$1").replace(/\.(?=·|$)/, "").replace(/^1·/, "");

export class Formula {
  constructor() {
    this.root = byId("formula");
    this.cells = [];
    this.key = null;
    this.written = 0;
  }

  start(started) { this.started = started; this.key = null; }

  /** Write the formulas of a frame. `selected`: {layer, to, from}; `state`: the training's settings. */
  draw(frame, selected, state, now, force = false) {
    if (!this.started) return;
    if (!frame.arrays["sample.x"]) {
      if (this.key !== "empty") {
        this.key = "empty"; this.cells = [];
        this.root.replaceChildren(make("p.quiet", {}, "Click a point in the picture to follow it through the network."));
      }
      return;
    }
    const key = JSON.stringify([selected, frame.sample.index, this.started.run]);
    if (key !== this.key) { this.key = key; this.build(frame, selected, state); force = true; }
    if (!force && now - this.written < UPDATE_EVERY) return;
    this.written = now;
    this.frame = frame;
    for (const { element, value, tone, factor } of this.cells) {
      const number = value(frame);
      let text = typeof number === "string" ? number : inFormula(number);
      if (factor && text.startsWith("−")) text = `(${text})`;
      if (element.textContent !== text) element.textContent = text;
      if (tone) element.className = number < 0 ? "negative" : "positive";
    }
  }

  entry(name) { return this.started.layout.find((item) => item.name === name); }

  /** Return an element that every frame fills with a value. `tone`: coloured as the network's lines; `factor`: in brackets if negative. */
  cell(value, { tone = false, factor = false } = {}) {
    const element = make(tone ? "b" : "span");
    this.cells.push({ element, value, tone, factor });
    return element;
  }

  build(frame, { layer, to, from }, state) {
    this.cells = [];
    const dims = this.started.layers_dim, last = dims.length - 2, output = layer === last;
    const inputs = dims[layer];
    const b = this.entry(`b${layer}`);
    const weight = (i, j = to, l = layer) => (f) => { const entry = this.entry(`W${l}`); return f.arrays.weights[entry.offset + i * dims[l + 1] + j]; };
    const array = (name, k) => (f) => f.arrays[name]?.[k] ?? NaN;
    const input = (i) => (layer === 0 ? array("sample.x", i) : array(`sample.a.${layer - 1}`, i));
    const inputName = (i) => (layer === 0 ? this.started.inputs[i].replace(/(\d+)$/, (digits) => subscript(digits)) : `h${subscript(i + 1)}`);
    const tag = subscript(to + 1), z = array(`sample.z.${layer}`, to), a = array(`sample.a.${layer}`, to), d = array(`sample.d.${layer}`, to);
    const weightName = (i) => `w${subscript(i + 1)}${subscript(to + 1)}`;
    const chosen = from ?? 0, c = this.cell.bind(this);
    const activation = this.started.activations[layer];
    const normalised = !output && state.batch_norm;

    const order = [...Array(inputs).keys()];
    const terms = order.length <= MAXIMUM_TERMS ? order : [...new Set([...order.slice(0, MAXIMUM_TERMS - 1), chosen])].slice(0, MAXIMUM_TERMS);
    const more = inputs - terms.length;
    const joined = (make_, plus = " + ") => terms.flatMap((i, k) => [...(k ? [plus] : []), ...make_(i)]);

    const rows = [];
    const row = (name, why, symbols, numbers) => rows.push(make("li", {}, make("div.what", { title: why }, name), make("div.expression", {}, make("div.symbols", {}, ...symbols), make("div.numbers", {}, ...numbers))));
    const result = (value) => make("strong", {}, c(value));

    row("Sum", `Weights times ${layer ? "what the layer before passes on" : "inputs"}, plus the bias.`,
      [`z${tag} = ${normalised ? "norm(" : ""}`, ...joined((i) => [`${weightName(i)} ${inputName(i)}`]), more ? ` + … + b${tag}` : ` + b${tag}`, normalised ? ")" : ""],
      [`= ${normalised ? "norm(" : ""}`, ...joined((i) => [c(weight(i), WEIGHT), "·", c(input(i), FACTOR)]), more ? ` + ${more} more + ` : " + ", b ? c((f) => f.arrays.weights[b.offset + to]) : "0", normalised ? ") = " : " = ", result(z)]);

    if (!(output && activation === "identity")) {
      row("Activation", "What the unit passes on.", [`a${tag} = ${activation}(z${tag})`], [`= ${activation}(`, c(z), ") = ", result(a)]);
    }
    const scoreName = output && activation === "identity" ? "z" : "a";
    const { classes, kind, output: link } = this.started, prediction = (k) => array("sample.p", k);
    if (output && link === "softmax") {
      row("Probability", "Softmax: the scores' exponentials, as shares of their sum.", [`p${tag} = e^${scoreName}${tag} / Σ e^${scoreName}`], [`for class ${classes[to]} = `, result(prediction(to))]);
    } else if (output && link !== "identity") {
      row("Prediction", "The score on the scale of the answer.", [`p = ${link}(${scoreName}${tag})`], ["= ", result(prediction(to))]);
    }
    const sample = frame.sample;
    const answer = sample.target, entropy = /entropy/.test(this.started.loss), why = "How wrong the network is for this sample.";
    const loss = result((f) => f.sample.loss);
    if (kind === "classes" && entropy) {
      const p = dims.at(-1) > 1 ? prediction(answer) : (f) => (answer ? prediction(0)(f) : 1 - prediction(0)(f));
      row("Loss", why, [`L = −ln p${subscript(answer + 1)}`], ["= −ln ", c(p), " = ", loss]);
    } else if (kind === "classes") {
      row("Loss", why, [this.started.loss.replaceAll("_", " ")], [`class ${classes[answer]}, L = `, loss]);
    } else {
      row("Loss", why, ["L(ŷ, y)"], ["ŷ = ", c(prediction(0)), ", y = ", c(() => answer), ", L = ", loss]);
    }

    if (output) {
      const truth = dims.at(-1) > 1 ? Number(answer === to) : answer;
      const plain = kind === "classes" && activation === "identity" && entropy;
      row("Backward", "Derivative of the loss by the sum z.", plain ? [`δ${tag} = ∂L/∂z${tag} = p${tag} − ${truth}`] : [`δ${tag} = ∂L/∂z${tag}`],
        plain ? ["= ", c(prediction(to)), ` − ${truth} = `, result(d)] : ["= ", result(d)]);
    } else {
      const next = dims[layer + 2], shownNext = [...Array(next).keys()].slice(0, 3), rest = next - shownNext.length;
      const flow = (f) => { let sum = 0; for (let k = 0; k < next; k++) sum += weight(to, k, layer + 1)(f) * (f.arrays[`sample.d.${layer + 1}`]?.[k] ?? NaN); return sum; };
      const simple = !normalised && !state.dropout;
      row("Backward", "The next layer's derivatives come back along the lines, times the slope of the activation.",
        [`δ${tag} = f′(z${tag}) Σₖ w${tag}ₖ δₖ`],
        simple ? ["= ", c((f) => { const sum = flow(f); return sum === 0 ? "f′" : d(f) / sum; }), "·(", ...shownNext.flatMap((k) => [...(k ? [" + "] : []), c(weight(to, k, layer + 1), WEIGHT), "·", c(array(`sample.d.${layer + 1}`, k), FACTOR)]), rest > 0 ? ` + ${rest} more) = ` : ") = ", result(d)] : ["= ", result(d)]);
    }
    const gradient = (f) => d(f) * input(chosen)(f);
    row("Gradient", "How the loss changes with this weight, for this sample.", [`∂L/∂${weightName(chosen)} = δ${tag} ${inputName(chosen)}`],
      normalised ? ["through the normalisation"] : ["= ", c(d, FACTOR), "·", c(input(chosen), FACTOR), " = ", result(gradient)]);

    const plain = state.optimizer === "sgd", name = weightName(chosen), decay = state.l2 ? ` + λ ${name}` : "";
    const together = (state.reduction ?? "sum") === "sum" ? "sum" : "mean";
    row("Step", "The batch's gradients together move the weight.",
      [`${name} ← ${name} − η ${plain ? `(g${decay})` : `${state.optimizer}(g${decay})`}`],
      [c(weight(chosen), WEIGHT), " − ", c((f) => trimmed(f.learning_rate ?? state.learning_rate)), plain ? "·(g" : `·${state.optimizer}(g`, decay ? ` + ${trimmed(state.l2)}·` : "", decay ? c(weight(chosen), FACTOR) : "", `), g: ${together} over the batch`]);

    const where = output ? "the output layer" : `hidden layer ${layer + 1}`;
    this.root.replaceChildren(make("p.quiet", {}, `Unit ${to + 1} of ${where}, ${kind === "classes" ? `a sample of class ${classes[answer]}` : "one sample"}.`), make("ol.steps", {}, ...rows));
  }
}
