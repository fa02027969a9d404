// The network: a column per layer, a picture per unit, a line per weight.

import { make, byId, inputName, subscript } from "./dom.js";
import { CHOSEN, Links, QUIET, TOUCHED } from "./links.js";
import { markClass } from "./palette.js";

// Milliseconds between drawings of the units' pictures, and of lines: the browser composes other frames faster.
const EVERY = 50;
// Shares of the time that these drawings may take: larger networks are drawn less often.
// Lines are only recorded in that time; the browser fills their pixels later, which takes many times as long.
const PICTURE_SHARE = 0.3;
const LINE_SHARE = 0.05;
// The lines of a network with many are drawn once in `LINE_FRAMES` frames: that time is not in the shares.
const PICTURE_FRAMES = 3;
const LINE_FRAMES = 6;
// Style classes of networks with more units in a layer than this, and the units in a column of theirs:
// a layer of more units is folded into several columns, so that the card stays as high as the page.
const SIZES = { dense: [10, 12], crowded: [24, 16], packed: [48, 32] };
// Layers above which a network has the style class "many".
const MANY_LAYERS = 6;

/** Limits a drawing to every `EVERY` ms and a share of the time, and for a large network to one in `frames` frames. */
class FrameLimiter {
  constructor(share, frames) {
    this.share = share;
    this.frames = frames;
    this.next = this.passed = 0;
  }

  /** Draw, unless it is too early after the last drawing; `must` draws in any case. */
  draw(must, isLarge, drawing) {
    const began = performance.now();
    this.passed += 1;
    if (!must && (began < this.next || (isLarge && this.passed < this.frames))) return;
    this.passed = 0;
    drawing();
    const ended = performance.now();
    this.next = Math.max(began + EVERY, ended + (ended - began) * (1 / this.share - 1));
  }
}

export class Network {
  /** `actions`: select(layer, to, from), hover(depth, unit or null), addUnit, removeUnit, activate. */
  constructor(palette, actions) {
    this.palette = palette;
    this.actions = actions;
    this.root = byId("network");
    this.columns = make("div.columns");
    this.canvas = make("canvas.links", { "aria-hidden": "true" });
    this.root.append(this.canvas, this.columns);
    this.links = new Links(this.canvas, palette);
    this.tooltip = byId("tooltip");
    this.units = [];
    this.weights = this.selected = this.hovered = this.pointed = null;
    this.pictureLimiter = new FrameLimiter(PICTURE_SHARE, PICTURE_FRAMES);
    this.linkLimiter = new FrameLimiter(LINE_SHARE, LINE_FRAMES);
    new ResizeObserver(() => this.measure()).observe(this.columns);
    this.root.addEventListener("pointermove", (event) => this.point(event));
    this.root.addEventListener("pointerleave", () => this.point(null));
    this.root.addEventListener("scroll", () => this.point(null), { passive: true });
    this.root.addEventListener("click", ({ target }) => {
      if (this.pointed && !target.closest("button")) this.actions.select(this.pointed.layer, this.pointed.to, this.pointed.from);
    });
  }

  // --- the columns ---

  /** Build the columns of a run. `activations`: {values, chosen}; `limits`: {minimum, maximum} of widths. */
  build(started, activations, limits) {
    const { layers_dim: dims, features, classes, kind } = started;
    const signature = JSON.stringify([dims, features, classes, kind, activations.chosen]);
    this.started = started;
    this.weights = null;
    if (signature !== this.signature) {
      this.signature = signature;
      const focused = document.activeElement?.dataset?.key;
      this.scores = [];
      this.units = dims.map((count, depth) =>
        Array.from({ length: count }, (_, unit) => this.unit(depth, unit)),
      );
      this.columns.replaceChildren(...dims.map((_, depth) => this.column(depth, activations, limits)));
      const most = Math.max(...dims);
      for (const [name, [size, rows]] of Object.entries(SIZES)) {
        this.columns.classList.toggle(name, most > size);
        if (most > size) this.fold(rows);
      }
      this.columns.classList.toggle("many", dims.length > MANY_LAYERS);
      if (focused) this.columns.querySelector(`[data-key="${focused}"]`)?.focus();
    }
    this.measure();
  }

  /** Fold layers of more than `rows` units into columns of the same length. */
  fold(rows) {
    this.columns.querySelectorAll(".stack").forEach((stack, depth) => {
      const count = this.units[depth].length;
      stack.style.setProperty("--rows", Math.ceil(count / Math.ceil(count / rows)));
    });
  }

  isOutput(depth) {
    return depth === this.started.layers_dim.length - 1;
  }

  column(depth, activations, limits) {
    let name = `Hidden layer ${depth}`;
    let head;
    if (depth === 0 || this.isOutput(depth)) {
      name = depth === 0 ? "Inputs" : this.started.kind === "classes" ? "Classes" : "Output";
      head = make("span.layer-name", {}, name);
    } else head = this.controls(depth - 1, activations, limits);
    return make(
      "div.layer",
      { role: "group", "aria-label": name },
      make("div.layer-head", {}, head),
      make("div.stack", {}, ...this.units[depth]),
    );
  }

  /** Return the controls of a hidden layer: its number of units, and its activation. */
  controls(layer, { values, chosen }, { minimum, maximum }) {
    const count = this.started.layers_dim[layer + 1];
    const button = (sign, label, key, disabled, action) =>
      make(
        "button.small",
        {
          type: "button",
          disabled,
          "aria-label": `${label} hidden layer ${layer + 1}`,
          dataset: { key: `${key}-${layer}` },
          onclick: () => action(layer),
        },
        sign,
      );
    const select = make(
      "select",
      {
        "aria-label": `Activation of hidden layer ${layer + 1}`,
        dataset: { key: `activation-${layer}` },
        onchange: () => this.actions.activate(layer, select.value),
      },
      ...values.map(({ name, title, line }) => make("option", { value: name, title: line }, title)),
    );
    select.value = chosen[layer];
    return make(
      "div.layer-controls",
      {},
      make(
        "div.stepper",
        { role: "group", "aria-label": `Units of hidden layer ${layer + 1}` },
        button("−", "Remove a unit from", "fewer", count <= minimum, this.actions.removeUnit),
        make("span.count", {}, String(count)),
        button("+", "Add a unit to", "more", count >= maximum, this.actions.addUnit),
      ),
      select,
    );
  }

  unit(depth, unit) {
    const button = this.isOutput(depth) ? this.outputUnit(unit) : this.pictureUnit(depth, unit);
    button.dataset.key = `unit-${depth}-${unit}`;
    const hover = (on) => {
      this.hovered = on ? { depth, unit } : null;
      this.actions.hover(depth, on ? unit : null);
      this.drawLinks();
    };
    button.addEventListener("pointerenter", () => hover(true));
    button.addEventListener("pointerleave", () => hover(false));
    button.addEventListener("focus", () => {
      if (button.matches(":focus-visible")) hover(true);
    });
    button.addEventListener("blur", () => hover(false));
    if (depth > 0) button.addEventListener("click", () => this.actions.select(depth - 1, unit, null));
    return button;
  }

  pictureUnit(depth, unit) {
    const canvas = make("canvas", { "aria-hidden": "true" });
    const input = this.started.features[unit];
    const label = depth === 0 ? `Input ${input}` : `Unit ${unit + 1} of hidden layer ${depth}`;
    const button = make(
      "button.unit",
      { type: "button", "aria-label": label },
      canvas,
      depth === 0 ? make("span.name", {}, inputName(input)) : null,
    );
    button.mark = canvas;
    return button;
  }

  outputUnit(unit) {
    const { classes, layers_dim: dims } = this.started;
    // A single output of a classification is the probability of the second class.
    const label = dims.at(-1) === 1 ? 1 : unit;
    const swatch = make(classes ? "span.swatch" : "span.swatch.response");
    if (classes) markClass(swatch, label);
    const score = make("span.score");
    this.scores.push(score);
    const spoken = make("span.hidden", {}, classes ? "Output unit of class " : "Output unit ");
    const button = make(
      "button.unit.output",
      { type: "button" },
      swatch,
      make("span.name", {}, spoken, classes ? classes[label] : "ŷ"),
      score,
    );
    button.mark = swatch;
    return button;
  }

  // --- pictures ---

  /** Draw a frame: the units' pictures and the lines. */
  draw(frame) {
    const { inputs, units, weights } = frame.arrays;
    const must = !frame.playing || this.weights === null;
    this.weights = weights;
    if (inputs) this.drawUnits(this.units[0], inputs, frame.input_ranges);
    const { areMany } = this.links;
    this.pictureLimiter.draw(must, areMany, () =>
      this.drawUnits(this.units.slice(1, -1).flat(), units, frame.unit_ranges),
    );
    this.linkLimiter.draw(must, areMany, () => this.drawLinks());
    this.tell();
  }

  /** Write what the outputs are of the sample that is followed. */
  write({ arrays: { "sample.p": prediction } }) {
    this.scores.forEach((element, k) => {
      element.textContent = prediction ? prediction[k].toFixed(2).replace("-", "−") : "";
    });
  }

  /** Show neither pictures nor numbers: there are no data that a network could answer for. */
  clear() {
    for (const button of this.units.flat()) {
      button.context?.clearRect(0, 0, button.image.width, button.image.height);
      button.shown = null;
    }
    for (const element of this.scores) element.textContent = "";
  }

  drawUnits(buttons, pictures, ranges) {
    const size = pictures.shape[1] ** 2;
    buttons.forEach((button, k) => {
      this.paint(button, {
        picture: pictures.subarray(k * size, (k + 1) * size),
        signed: ranges[k][0] < 0,
      });
    });
  }

  /** Draw a unit's picture; `signed`: its values run from below zero to above, not from zero up. */
  paint(button, shown) {
    const canvas = button.mark;
    const side = Math.sqrt(shown.picture.length);
    if (button.image?.width !== side) {
      canvas.width = canvas.height = side;
      button.context = canvas.getContext("2d");
      button.image = button.context.createImageData(side, side);
    }
    this.palette.colourUnit(button.image, shown);
    button.context.putImageData(button.image, 0, 0);
    button.shown = shown;
  }

  /** Draw everything again with the colours of another theme. */
  recolour() {
    for (const button of this.units.flat()) if (button.shown) this.paint(button, button.shown);
    this.drawLinks();
  }

  /** Return what `paint` shows of a unit; null of an output, which has no picture. */
  pictureOf(depth, unit) {
    return this.units[depth]?.[unit]?.shown ?? null;
  }

  // --- lines ---

  /** Measure where the units stand: the lines begin and end there. */
  measure() {
    if (!this.units.length) return;
    const origin = this.columns.getBoundingClientRect();
    const places = this.units.map((column) =>
      column.map(({ mark }) => {
        const { left, right, top, height } = mark.getBoundingClientRect();
        return {
          left: left - origin.left,
          right: right - origin.left,
          middle: top + height / 2 - origin.top,
        };
      }),
    );
    this.links.measure(places, this.columns.scrollWidth, this.columns.scrollHeight);
    this.drawLinks();
  }

  weightsOf(layer) {
    const entry = this.started.layout.find(({ name }) => name === `W${layer}`);
    if (!entry || !this.weights) return null;
    return this.weights.subarray(entry.offset, entry.offset + entry.shape[0] * entry.shape[1]);
  }

  drawLinks() {
    const { hovered, selected, pointed } = this;
    this.links.draw(
      (layer) => this.weightsOf(layer),
      (layer, from, to) => {
        const isHovered =
          hovered !== null &&
          ((hovered.depth === layer && hovered.unit === from) ||
            (hovered.depth === layer + 1 && hovered.unit === to));
        const isPointed = pointed?.layer === layer && pointed.from === from && pointed.to === to;
        const chosen = selected?.layer === layer && selected.to === to && (selected.from ?? from) === from;
        return (
          (isHovered || isPointed ? TOUCHED : 0) |
          (chosen ? CHOSEN : 0) |
          (hovered !== null && !isHovered ? QUIET : 0)
        );
      },
    );
  }

  /** Follow the mouse: the value of the line under it is shown. */
  point(event) {
    let found = null;
    if (event && this.weights && !event.target.closest("button, select")) {
      const origin = this.columns.getBoundingClientRect();
      this.pointedAt = [event.clientX, event.clientY];
      found = this.links.at(event.clientX - origin.left, event.clientY - origin.top);
    }
    const isNew = found?.layer !== this.pointed?.layer || found?.index !== this.pointed?.index;
    this.pointed = found;
    this.root.classList.toggle("pointing", found !== null);
    this.tooltip.hidden = found === null;
    if (isNew) this.drawLinks();
    this.tell();
  }

  /** Write the value of the line under the mouse; called again with every frame. */
  tell() {
    if (!this.pointed) return;
    const { layer, index, from, to } = this.pointed;
    const value = this.weightsOf(layer)?.[index];
    if (value === undefined) return;
    const number = value.toFixed(4).replace("-", "−");
    this.tooltip.textContent = `weight ${subscript(from + 1)}→${subscript(to + 1)}  ${number}`;
    const [x, y] = this.pointedAt;
    this.tooltip.style.left = `${Math.min(x + 14, innerWidth - this.tooltip.offsetWidth - 8)}px`;
    this.tooltip.style.top = `${y + 16}px`;
  }

  /** Mark the unit {layer, to, from} whose numbers are shown. */
  choose(selected) {
    this.selected = selected;
    this.units.forEach((column, depth) =>
      column.forEach((button, unit) => {
        const isChosen = selected.layer === depth - 1 && selected.to === unit;
        button.classList.toggle("chosen", isChosen);
        if (depth > 0) button.setAttribute("aria-pressed", String(isChosen));
      }),
    );
    this.drawLinks();
  }
}
