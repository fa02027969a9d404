// The plane: the network's answer for every point, the data on top, and the tools of the mouse.

import { make, byId, fit, inputName, superscript } from "./dom.js";
import { markClass, traceShape } from "./palette.js";

const MARGIN = { left: 52, bottom: 38, right: 1, top: 1 };
// Numbers of ticks along an axis, the first of which there is room for is chosen.
const TICKS = [6, 3, 2];
// Height of the name of an axis.
const TITLE = 16;
const TOOLS = ["look", "0", "1", "2", "3", "4", "erase"];
// Largest class of a painted point.
const MAX_LABEL = 5;
// Pixels of a picture for one pixel of the width of its lines.
const LINE_PIXELS = 256;
// Pixels of the screen: between points of a stroke, around the eraser, and between a click and its point.
const STROKE_GAP = 9;
const ERASER = 14;
const REACH = 12;

// Radius of the points, by their number.
const RADII = [
  { most: 800, radius: 3.6 },
  { most: 2000, radius: 2.7 },
  { most: Infinity, radius: 2 },
];

/** Return up to about `count` round numbers from low to high, with as many digits as tell them apart. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const unit = [1, 2, 5, 10].map((k) => k * power).find((step) => step >= rough);
  const first = Math.ceil(low / unit - 1e-9);
  const length = Math.floor(high / unit + 1e-9) - first + 1;
  const found = Array.from({ length }, (_, k) => (first + k) * unit);
  const last = Math.floor(Math.log10(unit) + 1e-9);
  const write = (value) => {
    if (value === 0 || (last < 5 && last > -5)) return String(Number(value.toFixed(Math.max(0, -last))));
    const digits = Math.max(0, Math.floor(Math.log10(Math.abs(value)) + 1e-9) - last);
    const [mantissa, exponent] = value.toExponential(Math.min(digits, 15)).split("e");
    return `${mantissa}·10${superscript(Number(exponent))}`;
  };
  return found.map((value) => ({ value, text: write(value).replace("-", "−") }));
}

/** Return about `count` ticks of the axis `k` from low to high; texts are in the units of a table's column. */
function axisTicks(low, high, count, k, units) {
  if (!units) return ticks(low, high, count);
  const [centre, scale] = [units.centre[k], units.scale[k]];
  return ticks(low * scale + centre, high * scale + centre, count).map(({ value, text }) => ({
    value: (value - centre) / scale,
    text,
  }));
}

/** Return a coordinate of a painted point, rounded as in the address. */
const painted = (place) => Math.round(place * 1000) / 1000;

/** Return true if the server tests the network with the painted point of this number. */
const isTested = (number, share) => Math.ceil((number + 1) * share) > Math.ceil(number * share);

export class Boundary {
  /**
   * `actions`: choose(row), painted() the painted points or null, testShare() the fraction that tests, and
   * paint(points, isFirst) all points anew; `isFirst` tells that a stroke begins.
   */
  constructor(palette, actions) {
    this.palette = palette;
    this.actions = actions;
    this.canvas = byId("boundary");
    this.overlay = byId("points");
    this.caption = byId("plane-caption");
    this.context = this.canvas.getContext("2d");
    this.tool = "look";
    this.cross = null;
    this.showTest = true;
    this.showShapes = false;
    this.chosen = null;
    this.buildTools();
    this.listen();
    new ResizeObserver(() => this.drawPoints()).observe(byId("plane"));
  }

  buildTools() {
    const texts = { look: ["Look", "Choose a sample (0)"], erase: ["Erase", "Erase painted points (X)"] };
    byId("tools").replaceChildren(
      ...TOOLS.map((tool) => {
        const dot = make("i.dot");
        if (!texts[tool]) markClass(dot, Number(tool));
        const paint = [`Paint class ${tool}`, `Paint points of class ${tool} (${Number(tool) + 1})`];
        const [name, title] = texts[tool] ?? paint;
        return make(
          "label",
          { title },
          make("input", {
            type: "radio",
            name: "tool",
            value: tool,
            checked: tool === "look",
            "aria-label": name,
            onchange: () => this.use(tool),
          }),
          make("span", {}, texts[tool] ? name : dot),
        );
      }),
    );
  }

  use(tool) {
    this.tool = tool;
    byId("tools").querySelector(`[value="${tool}"]`).checked = true;
    this.overlay.classList.toggle("painting", tool !== "look");
  }

  start(started) {
    this.started = started;
    this.points = null;
    this.frame = null;
  }

  draw(frame) {
    const { points, labels, targets, is_test: isTest } = frame.arrays;
    this.frame = frame;
    this.drawRegions();
    if (points) {
      this.points = { xy: points, values: labels ?? targets, isTest, count: points.shape[0] };
      this.drawPoints();
    }
  }

  setTestShown(isShown) {
    this.showTest = isShown;
    this.drawPoints();
  }

  setShapesShown(areShown) {
    this.showShapes = areShown;
    this.drawPoints();
  }

  recolour() {
    this.drawRegions();
    this.drawPoints();
  }

  /** Show the picture of a unit instead of the network's answer; null shows the answer again. */
  showUnit(picture, caption) {
    this.unit = picture;
    this.caption.hidden = !picture && !this.invitation;
    this.caption.textContent = picture ? caption : (this.invitation ?? "");
    this.drawRegions();
  }

  pixels(side) {
    if (this.canvas.width !== side) {
      this.canvas.width = this.canvas.height = side;
      this.image = null;
    }
    this.image ??= this.context.createImageData(side, side);
    return new Uint32Array(this.image.data.buffer);
  }

  drawRegions() {
    if (this.unit) {
      this.pixels(Math.sqrt(this.unit.picture.length));
      this.palette.colourUnit(this.image, this.unit);
      this.context.putImageData(this.image, 0, 0);
      return;
    }
    const values = this.frame?.arrays.boundary;
    if (!values) return;
    const side = values.shape[0];
    const pixels = this.pixels(side);
    const { confidence } = this.frame.arrays;
    const { palette } = this;
    const response = this.started.kind === "regression";
    const classes = this.started.classes?.length ?? 0;
    if (response) for (let k = 0; k < pixels.length; k++) pixels[k] = palette.response[values[k]];
    else if (confidence) this.drawCertainty(pixels, values, confidence, classes);
    else if (this.frame.mode === "probability" && classes === 2) {
      for (let k = 0; k < pixels.length; k++) pixels[k] = palette.pair[values[k]];
      this.drawEdges(pixels, side, (k, other) => values[k] > 127 !== values[other] > 127, () => palette.level);
    } else {
      for (let k = 0; k < pixels.length; k++) pixels[k] = palette.regions[values[k] % palette.regions.length];
      const colour = (k) => palette.edges[values[k] % palette.edges.length];
      this.drawEdges(pixels, side, (k, other) => values[k] !== values[other], colour);
    }
    this.context.putImageData(this.image, 0, 0);
  }

  drawCertainty(pixels, values, confidence, classes) {
    const { certain, level } = this.palette;
    const side = values.shape[0];
    const shares = new Uint8Array(256);
    for (let k = 0; k < 256; k++)
      shares[k] = Math.round(255 * Math.max(0, (k / 255 - 1 / classes) / (1 - 1 / classes)));
    for (let k = 0; k < pixels.length; k++)
      pixels[k] = certain[values[k] % certain.length][shares[confidence[k]]];
    this.drawEdges(pixels, side, (k, other) => values[k] !== values[other], () => level);
  }

  /** Mark the pixels whose right or lower neighbour differs. */
  drawEdges(pixels, side, differs, colour) {
    const width = Math.max(1, Math.round(side / LINE_PIXELS));
    for (let row = 0; row < side - width; row++) {
      for (let k = row * side, end = k + side - width; k < end; k++) {
        if (differs(k, k + width) || differs(k, k + width * side)) pixels[k] = colour(k);
      }
    }
  }

  /** Return the place on the screen, in pixels of the overlay, of a point of the plane. */
  place(x, y) {
    const [x0, x1, y0, y1] = this.started.limits;
    const { width, height } = this.area;
    return [MARGIN.left + ((x - x0) / (x1 - x0)) * width, MARGIN.top + ((y1 - y) / (y1 - y0)) * height];
  }

  drawPoints() {
    const { context, width, height } = fit(this.overlay);
    this.area = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
    context.clearRect(0, 0, width, height);
    if (!this.started) return;
    this.drawAxes(context, width, height);
    if (this.points) this.drawData(context);
    if (this.cross) this.drawCross(context);
  }

  drawData(context) {
    const { xy, values, isTest, count } = this.points;
    const { palette, started, area } = this;
    const largest = RADII.find(({ most }) => count <= most).radius;
    const radius = largest * Math.max(0.72, Math.min(1.15, area.width / 380));
    const [low, high] = started.target_limits ?? [0, 1];
    const colour = (value) =>
      started.kind === "classes"
        ? palette.classes[value % palette.classes.length]
        : palette.responseAt((value - low) / (high - low || 1));
    const hasShapes = this.showShapes && started.kind === "classes";
    const trace = (row, size) => {
      const [x, y] = this.place(xy[2 * row], xy[2 * row + 1]);
      context.beginPath();
      traceShape(context, hasShapes ? values[row] : 0, x, y, size);
    };
    const outline = (width, style) => {
      Object.assign(context, { lineWidth: width, strokeStyle: style });
      context.stroke();
    };
    // Colours of a regression may be as dark or as light as an outline: a rim separates the two.
    const rim = started.kind === "regression" ? 1.6 : 0;
    const rows = [...Array(count).keys()];
    for (const row of rows.filter((each) => !isTest[each])) {
      trace(row, radius);
      if (rim) outline(1 + 2 * rim, palette.plane);
      context.fillStyle = colour(values[row]);
      context.fill();
      outline(1, palette.outline);
    }
    // Test data are rings, drawn last: they are fewer.
    for (const row of rows.filter((each) => isTest[each] && this.showTest)) {
      trace(row, radius - 0.3);
      if (rim) outline(3.2 + 2 * rim, palette.plane);
      outline(3.4, palette.outline);
      outline(1.9, colour(values[row]));
    }
    if (this.chosen !== null && this.chosen < count) {
      const [x, y] = this.place(xy[2 * this.chosen], xy[2 * this.chosen + 1]);
      context.beginPath();
      context.arc(x, y, radius + 4.5, 0, 2 * Math.PI);
      outline(4, palette.plane);
      outline(2, palette.text);
    }
  }

  /** Draw the cross that the arrow keys move. */
  drawCross(context) {
    const [x, y] = this.cross;
    Object.assign(context, { lineWidth: 1.5, strokeStyle: this.palette.text });
    context.beginPath();
    for (const k of [-1, 1]) {
      context.moveTo(x + 4 * k, y);
      context.lineTo(x + 13 * k, y);
      context.moveTo(x, y + 4 * k);
      context.lineTo(x, y + 13 * k);
    }
    context.stroke();
  }

  drawAxes(context, width, height) {
    const { palette, area } = this;
    const { limits, inputs, column_units: units } = this.started;
    const [x0, x1, y0, y1] = limits;
    const [xName, yName] = units ? inputs : inputs.map(inputName);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = palette.muted;
    context.textAlign = "center";
    context.textBaseline = "top";
    const widthOf = ({ text }) => context.measureText(text).width;
    const widest = (found) => Math.max(...found.map(widthOf));
    const fitting = (low, high, k, length) =>
      TICKS.map((count) => axisTicks(low, high, count, k, units)).find(
        (found) => found.length * widest(found) < 0.75 * length,
      ) ?? [];
    for (const tick of fitting(x0, x1, 0, area.width)) {
      const [px] = this.place(tick.value, y0);
      if (px > MARGIN.left + 6 && px + widthOf(tick) / 2 < width)
        context.fillText(tick.text, px, height - MARGIN.bottom + 6);
    }
    context.textBaseline = "middle";
    const across = axisTicks(y0, y1, TICKS[0], 1, units);
    const room = MARGIN.left - TITLE - 8;
    // Numbers that are too long beside the axis are drawn along it.
    const isAlong = widest(across) > 1.3 * room;
    for (const tick of isAlong ? fitting(y0, y1, 1, area.height) : across) {
      const [, py] = this.place(x0, tick.value);
      const half = isAlong ? widthOf(tick) / 2 : 6;
      if (py < half || py > MARGIN.top + area.height + 2 - half) continue;
      if (isAlong) this.turned(context, tick.text, MARGIN.left - 12, py, area.height);
      else {
        context.textAlign = "right";
        context.fillText(tick.text, MARGIN.left - 6, py, room);
      }
    }
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillText(xName, MARGIN.left + area.width / 2, height - TITLE / 2, area.width);
    this.turned(context, yName, TITLE / 2, MARGIN.top + area.height / 2, area.height);
  }

  /** Write a text upwards, centred at a place. */
  turned(context, text, x, y, length) {
    context.save();
    context.translate(x, y);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText(text, 0, 0, length);
    context.restore();
  }

  // --- the mouse, the finger and the keys ---

  listen() {
    const { overlay } = this;
    overlay.addEventListener("pointerdown", (event) => {
      if (!this.started || event.button > 0) return;
      const at = this.inside(event);
      if (!at) return;
      this.cross = null;
      if (this.tool === "look") {
        this.pick(at);
        return;
      }
      overlay.setPointerCapture(event.pointerId);
      this.stroke = { last: null };
      this.apply(at);
    });
    overlay.addEventListener("pointermove", (event) => {
      if (!this.stroke) return;
      const at = this.inside(event);
      if (at) this.apply(at);
    });
    for (const name of ["pointerup", "pointercancel"])
      overlay.addEventListener(name, () => {
        this.stroke = null;
      });
    overlay.addEventListener("keydown", (event) => this.key(event));
    overlay.addEventListener("blur", () => {
      this.cross = null;
      this.drawPoints();
    });
  }

  inside(event) {
    const box = this.overlay.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    return x >= MARGIN.left &&
      x <= MARGIN.left + this.area.width &&
      y >= 0 &&
      y <= MARGIN.top + this.area.height
      ? [x, y]
      : null;
  }

  key(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (move && this.area) {
      const step = event.shiftKey ? 2 : 10;
      const [x, y] = this.cross ?? [MARGIN.left + this.area.width / 2, this.area.height / 2];
      this.cross = [
        Math.max(MARGIN.left, Math.min(MARGIN.left + this.area.width, x + step * move[0])),
        Math.max(1, Math.min(this.area.height, y + step * move[1])),
      ];
      this.drawPoints();
    } else if (event.key === "Enter" && this.cross) {
      if (this.tool === "look") this.pick(this.cross, Infinity);
      else {
        this.stroke = { last: null };
        this.apply(this.cross);
        this.stroke = null;
      }
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  pick([x, y], reach = REACH) {
    let nearest = reach;
    let found = null;
    for (let row = 0; row < (this.points?.count ?? 0); row++) {
      if (this.points.isTest[row] && !this.showTest) continue;
      const [px, py] = this.place(this.points.xy[2 * row], this.points.xy[2 * row + 1]);
      const far = Math.hypot(px - x, py - y);
      if (far < nearest) {
        nearest = far;
        found = row;
      }
    }
    if (found !== null) this.actions.choose(found);
  }

  choose(row) {
    this.chosen = row;
    this.drawPoints();
  }

  /** Return the data shown as painted points [x, y, class], ordered so that the same ones are tested, or chosen. */
  asPainted() {
    if (!this.points || this.started.kind !== "classes") return [];
    const { xy, values, isTest, count } = this.points;
    const rows = [...Array(count).keys()];
    const [train, test] = [0, 1].map((subset) => rows.filter((row) => isTest[row] === subset).values());
    const share = this.actions.testShare();
    const order = rows.map((k) => {
      const [first, second] = isTested(k, share) ? [test, train] : [train, test];
      return first.next().value ?? second.next().value;
    });
    if (this.chosen < count && this.chosen !== null) this.actions.choose(order.indexOf(this.chosen));
    return order.map((row) => [
      painted(xy[2 * row]),
      painted(xy[2 * row + 1]),
      Math.min(values[row], MAX_LABEL),
    ]);
  }

  /** Paint or erase at a place on the screen. */
  apply([x, y]) {
    const { width, height } = this.area;
    const own = this.actions.painted();
    if (!own && !this.points) return; // the samples of a new run have not come yet
    const all = own ?? this.asPainted();
    const [x0, x1, y0, y1] = this.started.limits;
    const px = painted(x0 + ((x - MARGIN.left) / width) * (x1 - x0));
    const py = painted(y1 - ((y - MARGIN.top) / height) * (y1 - y0));
    if (this.tool === "erase") {
      const kept = all.filter(
        ([a, b]) =>
          Math.hypot(((a - px) * width) / (x1 - x0), ((b - py) * height) / (y1 - y0)) > ERASER,
      );
      if (kept.length !== all.length) this.paint(kept);
      return;
    }
    const { last } = this.stroke;
    if (last && Math.hypot(last[0] - x, last[1] - y) < STROKE_GAP) return;
    this.stroke.last = [x, y];
    this.paint([...all, [px, py, Number(this.tool)]]);
  }

  paint(points) {
    this.actions.paint(points, !this.stroke.hasPainted);
    this.stroke.hasPainted = true;
  }

  /** Show a plane without an answer, with painted points. */
  blank(points) {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.preview(points);
  }

  /** Show a line of text on the plane; null hides it. */
  invite(text) {
    this.invitation = text;
    this.caption.hidden = !text;
    this.caption.textContent = text ?? "";
  }

  /** Show points at once that the server has not answered for yet. */
  preview(points) {
    if (!this.started) return;
    const xy = Float32Array.from(points.flatMap(([x, y]) => [x, y]));
    const values = Int32Array.from(points, ([, , label]) => label);
    const share = this.actions.testShare();
    const isTest = Uint8Array.from(points, (_, row) => isTested(row, share));
    this.points = { xy, values, isTest, count: points.length };
    if (this.started.kind === "classes") this.drawPoints();
  }
}
