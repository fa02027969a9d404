// The network: a column a layer, a picture a unit, a line a weight.

import { make, byId, fit, subscript } from "./dom.js";

const CURVE_POINTS = 12;
const NEAR = 7;
// More lines than this are drawn without the faintest, which nobody could tell apart.
const MANY_LINES = 2500;

/** Return the distance of (x, y) from the line of a weight, a curve from (x0, y0) to (x1, y1). */
function distance(x, y, [x0, y0, x1, y1]) {
  let nearest = Infinity;
  for (let k = 0; k <= CURVE_POINTS; k++) {
    const t = k / CURVE_POINTS;
    const s = 1 - t;
    const middle = (x0 + x1) / 2;
    const px = s * s * s * x0 + 3 * s * s * t * middle + 3 * s * t * t * middle + t * t * t * x1;
    const py = s * s * s * y0 + 3 * s * s * t * y0 + 3 * s * t * t * y1 + t * t * t * y1;
    nearest = Math.min(nearest, (px - x) ** 2 + (py - y) ** 2);
  }
  return Math.sqrt(nearest);
}

// Share of the time that the drawing of pictures and lines may take: larger networks are drawn less often.
const SHARE = 0.3;

/** Keeps a costly drawing to a share of the time. */
class Pace {
  constructor() {
    this.next = 0;
  }

  /** Draw, unless the last drawing was so long that it is too early; `must` draws in any case. */
  draw(must, drawing) {
    const began = performance.now();
    if (!must && began < this.next) return;
    drawing();
    const ended = performance.now();
    this.next = ended + (ended - began) * (1 / SHARE - 1);
  }
}

export class Network {
  /** `actions`: select(layer, unit, input), hover(layer, unit or null), addUnit, removeUnit, activate. */
  constructor(palette, actions) {
    this.palette = palette;
    this.actions = actions;
    this.root = byId("network");
    this.columns = make("div.columns");
    this.links = make("canvas.links", { "aria-hidden": "true" });
    this.root.append(this.links, this.columns);
    this.tooltip = byId("tooltip");
    this.selected = null;
    this.pointed = null;
    this.geometry = [];
    this.picturePace = new Pace();
    this.linkPace = new Pace();
    this.root.addEventListener("pointermove", (event) => this.point(event));
    this.root.addEventListener("pointerleave", () => this.point(null));
    this.root.addEventListener("click", (event) => {
      if (this.pointed && !event.target.closest("button, select"))
        this.actions.select(this.pointed.layer, this.pointed.to, this.pointed.from);
    });
    new ResizeObserver(() => this.measure()).observe(this.columns);
    this.root.addEventListener("scroll", () => this.point(null), { passive: true });
  }

  /** Build the columns for a started training. `activations`: {values, chosen: one per hidden layer}. */
  build(started, activations, limits) {
    const dims = started.layers_dim;
    const last = dims.length - 1;
    const signature = JSON.stringify([
      dims,
      started.inputs,
      started.classes,
      started.kind,
      activations.chosen,
    ]);
    this.started = started;
    this.weights = null;
    if (signature === this.signature) {
      this.inputPictures();
      return;
    }
    this.signature = signature;
    const focused = document.activeElement?.dataset?.key;
    this.units = [];
    this.scores = [];
    const columns = dims.map((count, depth) => {
      const hidden = depth > 0 && depth < last;
      const column = make("div.layer", { role: "group" });
      if (depth === 0) column.append(make("div.layer-head", {}, make("span.layer-name", {}, "Inputs")));
      else if (depth === last)
        column.append(
          make(
            "div.layer-head",
            {},
            make("span.layer-name", {}, started.kind === "classes" ? "Classes" : "Output"),
          ),
        );
      else column.append(this.head(depth, count, activations, limits));
      column.setAttribute(
        "aria-label",
        depth === 0 ? "Inputs" : depth === last ? "Output layer" : `Hidden layer ${depth}`,
      );
      const stack = make("div.stack");
      for (let unit = 0; unit < count; unit++) stack.append(this.unit(depth, unit, last, started, hidden));
      column.append(stack);
      return column;
    });
    this.columns.replaceChildren(...columns);
    this.columns.classList.toggle("dense", Math.max(...dims) > 10);
    this.columns.classList.toggle("crowded", Math.max(...dims) > 24);
    this.columns.classList.toggle("packed", Math.max(...dims) > 48);
    this.columns.classList.toggle("many", dims.length > 6);
    if (this.selected && (this.selected.layer >= last || this.selected.to >= dims[this.selected.layer + 1]))
      this.selected = null;
    this.inputPictures();
    this.measure();
    this.mark();
    if (focused) this.columns.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  head(depth, count, activations, limits) {
    const layer = depth - 1;
    const select = make(
      "select",
      {
        "aria-label": `Activation of hidden layer ${depth}`,
        dataset: { key: `activation-${layer}` },
        onchange: () => this.actions.activate(layer, select.value),
      },
      ...activations.values.map(({ name, title, line }) =>
        make(
          "option",
          { value: name, title: line, selected: name === activations.chosen[layer] },
          title ?? name,
        ),
      ),
    );
    return make(
      "div.layer-head",
      {},
      make(
        "div.stepper",
        { role: "group", "aria-label": `Units of hidden layer ${depth}` },
        make(
          "button.small",
          {
            type: "button",
            disabled: count <= limits.minimum,
            "aria-label": `Remove a unit from hidden layer ${depth}`,
            dataset: { key: `fewer-${layer}` },
            onclick: () => this.actions.removeUnit(layer),
          },
          "−",
        ),
        make("span.count", {}, String(count)),
        make(
          "button.small",
          {
            type: "button",
            disabled: count >= limits.maximum,
            "aria-label": `Add a unit to hidden layer ${depth}`,
            dataset: { key: `more-${layer}` },
            onclick: () => this.actions.addUnit(layer),
          },
          "+",
        ),
      ),
      select,
    );
  }

  unit(depth, unit, last, started, hidden) {
    if (depth === last) {
      const score = make("span.score");
      this.scores.push(score);
      // A single output tells two classes apart: it is the probability of the second.
      const label = this.started.layers_dim[last] === 1 ? 1 : unit;
      const name = started.kind === "classes" ? started.classes[label] : "ŷ";
      const swatch = make("span.swatch");
      if (started.kind === "classes") swatch.style.setProperty("--swatch", `var(--class-${label % 10})`);
      else swatch.classList.add("response");
      return this.keep(
        depth,
        unit,
        make(
          "button.unit.output",
          { type: "button" },
          swatch,
          make(
            "span.name",
            {},
            make("span.hidden", {}, started.kind === "classes" ? "Output unit of class " : "Output unit "),
            name,
          ),
          score,
        ),
      );
    }
    const canvas = make("canvas", { width: 32, height: 32, "aria-hidden": "true" });
    const label = hidden ? `Unit ${unit + 1} of hidden layer ${depth}` : `Input ${started.inputs[unit]}`;
    const button = make("button.unit", { type: "button", "aria-label": label }, canvas);
    if (!hidden) {
      button.classList.add("input");
      button.append(
        make(
          "span.name",
          {},
          started.inputs[unit].replace(/(\d+)$/, (digits) => subscript(digits)),
        ),
      );
    }
    button.canvas = canvas;
    return this.keep(depth, unit, button);
  }

  keep(depth, unit, button) {
    button.dataset.key = `unit-${depth}-${unit}`;
    (this.units[depth] ??= []).push(button);
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
    button.addEventListener("click", () => {
      if (depth > 0) this.actions.select(depth - 1, unit, null);
    });
    return button;
  }

  /** Draw what the inputs answer over the plane: their own values. */
  inputPictures() {
    this.units[0]?.forEach((button, axis) => {
      const picture = new Uint8Array(32 * 32);
      for (let row = 0; row < 32; row++) {
        for (let column = 0; column < 32; column++)
          picture[row * 32 + column] = Math.round(((axis === 0 ? column : 31 - row) / 31) * 255);
      }
      this.paint(button, picture, 32);
    });
  }

  /** Draw a unit's picture; `signed`: the values run from below zero to above, not from zero up. */
  paint(button, picture, side, signed = true) {
    const canvas = button.canvas;
    if (canvas.width !== side) {
      canvas.width = canvas.height = side;
      button.image = null;
    }
    button.context ??= canvas.getContext("2d");
    button.image ??= button.context.createImageData(side, side);
    const pixels = new Uint32Array(button.image.data.buffer);
    const table = signed ? this.palette.units : this.palette.positiveUnits;
    for (let k = 0; k < pixels.length; k++) pixels[k] = table[picture[k]];
    button.context.putImageData(button.image, 0, 0);
    button.picture = picture;
    button.side = side;
    button.signed = signed;
  }

  /** Draw a frame: the units' pictures and the lines. */
  draw(frame) {
    const { units, weights, "sample.p": p } = frame.arrays;
    const must = !frame.playing || this.weights === null;
    if (units) this.picturePace.draw(must, () => this.drawPictures(units, frame.unit_ranges));
    this.scores.forEach((element, k) => {
      element.textContent = p ? p[k].toFixed(2).replace("-", "−") : "";
    });
    if (weights) {
      this.weights = weights;
      this.linkPace.draw(must, () => this.drawLinks());
    }
    this.tell();
  }

  drawPictures(units, ranges) {
    const [, side] = units.shape;
    let k = 0;
    for (const column of this.units.slice(1, -1)) {
      for (const button of column) {
        this.paint(
          button,
          units.subarray(k * side * side, (k + 1) * side * side),
          side,
          !(ranges?.[k]?.[0] >= 0),
        );
        k++;
      }
    }
  }

  /** Draw all pictures again with the colours of another theme. */
  recolour() {
    for (const column of this.units ?? [])
      for (const button of column)
        if (button.picture) this.paint(button, button.picture, button.side, button.signed);
    this.drawLinks();
  }

  /** Measure where the units stand: the lines begin and end there. */
  measure() {
    if (!this.units) return;
    const origin = this.columns.getBoundingClientRect();
    this.width = this.columns.scrollWidth;
    this.height = this.columns.scrollHeight;
    this.links.style.width = `${this.width}px`;
    this.links.style.height = `${this.height}px`;
    const places = this.units.map((column) =>
      column.map((button) => {
        const box = (button.canvas ?? button.firstChild).getBoundingClientRect();
        return {
          left: box.left - origin.left,
          right: box.right - origin.left,
          middle: box.top + box.height / 2 - origin.top,
        };
      }),
    );
    this.geometry = [];
    for (let layer = 0; layer + 1 < places.length; layer++) {
      const lines = [];
      for (const from of places[layer])
        for (const to of places[layer + 1]) lines.push([from.right + 1, from.middle, to.left - 1, to.middle]);
      this.geometry.push(lines);
    }
    this.drawLinks();
  }

  matrix(layer) {
    const entry = this.started.layout.find(({ name }) => name === `W${layer}`);
    return this.weights && entry
      ? this.weights.subarray(entry.offset, entry.offset + entry.shape[0] * entry.shape[1])
      : null;
  }

  drawLinks() {
    if (!this.geometry.length) return;
    const { context } = fit(this.links, this.width, this.height);
    context.clearRect(0, 0, this.width, this.height);
    if (!this.weights) return;
    const total = this.geometry.reduce((sum, lines) => sum + lines.length, 0);
    const { hovered, selected, pointed } = this;
    for (let layer = 0; layer < this.geometry.length; layer++) {
      const lines = this.geometry[layer];
      const W = this.matrix(layer);
      const outputs = this.started.layers_dim[layer + 1];
      if (!W || W.length !== lines.length) continue;
      let largest = 0;
      for (const value of W) largest = Math.max(largest, Math.abs(value));
      const scale = Math.max(largest, 1);
      for (let k = 0; k < lines.length; k++) {
        const from = Math.floor(k / outputs);
        const to = k % outputs;
        const value = W[k];
        const size = Math.min(1, Math.abs(value) / scale);
        const touched =
          (hovered &&
            ((hovered.depth === layer && hovered.unit === from) ||
              (hovered.depth === layer + 1 && hovered.unit === to))) ||
          (pointed && pointed.layer === layer && pointed.from === from && pointed.to === to);
        const chosen =
          selected &&
          selected.layer === layer &&
          selected.to === to &&
          (selected.from === null || selected.from === from);
        if (total > MANY_LINES && size < 0.15 && !touched && !chosen) continue;
        const [x0, y0, x1, y1] = lines[k];
        const middle = (x0 + x1) / 2;
        context.beginPath();
        context.moveTo(x0, y0);
        context.bezierCurveTo(middle, y0, middle, y1, x1, y1);
        context.lineWidth = 0.6 + 5.4 * size + (touched ? 1 : 0);
        context.strokeStyle = value < 0 ? this.palette.negative : this.palette.positive;
        const quiet = hovered && !touched;
        context.globalAlpha = touched || chosen ? 0.95 : (0.18 + 0.55 * size) * (quiet ? 0.35 : 1);
        context.stroke();
      }
    }
    context.globalAlpha = 1;
  }

  /** Follow the mouse: the value of the line under it is shown. */
  point(event) {
    let found = null;
    if (event && this.weights && !event.target.closest("button, select")) {
      const origin = this.columns.getBoundingClientRect();
      const x = event.clientX - origin.left;
      const y = event.clientY - origin.top;
      let nearest = NEAR;
      this.geometry.forEach((lines, layer) => {
        if (!lines.length || x < lines[0][0] - 4 || x > lines[0][2] + 4) return;
        const outputs = this.started.layers_dim[layer + 1];
        lines.forEach((line, k) => {
          const far = distance(x, y, line);
          if (far < nearest) {
            nearest = far;
            found = { layer, from: Math.floor(k / outputs), to: k % outputs, index: k };
          }
        });
      });
    }
    const key = found && `${found.layer}/${found.index}`;
    if (key !== (this.pointed && `${this.pointed.layer}/${this.pointed.index}`)) {
      this.pointed = found;
      this.drawLinks();
    }
    this.root.classList.toggle("pointing", Boolean(found));
    this.tooltip.hidden = !found;
    if (found) {
      this.pointedAt = [event.clientX, event.clientY];
      this.tell();
    }
  }

  /** Write the value of the line under the mouse; called again with every frame. */
  tell() {
    if (!this.pointed || !this.weights) return;
    const { layer, index, from, to } = this.pointed;
    const W = this.matrix(layer);
    if (!W || index >= W.length) return;
    const value = W[index].toFixed(4).replace("-", "−");
    this.tooltip.textContent = `weight ${subscript(from + 1)}→${subscript(to + 1)}  ${value}`;
    const [x, y] = this.pointedAt;
    this.tooltip.style.left = `${Math.min(x + 14, innerWidth - this.tooltip.offsetWidth - 8)}px`;
    this.tooltip.style.top = `${y + 16}px`;
  }

  choose(selected) {
    this.selected = selected;
    this.mark();
    this.drawLinks();
  }

  mark() {
    this.units?.forEach((column, depth) =>
      column.forEach((button, unit) => {
        const on = Boolean(this.selected && this.selected.layer === depth - 1 && this.selected.to === unit);
        button.classList.toggle("chosen", on);
        if (depth > 0) button.setAttribute("aria-pressed", String(on));
      }),
    );
  }

  pictureOf(depth, unit) {
    const button = this.units?.[depth]?.[unit];
    return button?.picture ? { picture: button.picture, side: button.side, signed: button.signed } : null;
  }
}
