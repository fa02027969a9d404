// Curves: loss, score, gradient norm and update ratio over the steps.

import { make, byId, fit, shown, superscript, whole } from "./dom.js";

// Columns of a record, in the order of CURVE_COLUMNS in recording.py.
const STEP = 0;
const [TRAIN_LOSS, TEST_LOSS, TRAIN_SCORE, TEST_SCORE, GRADIENT, UPDATE] = [1, 2, 3, 4, 5, 6];
const COLUMNS = 7;
// Of more records than this, every second one goes.
const MAXIMUM = 1600;
// Update ratios around 1/1000 are healthy.
const HEALTHY = [3e-4, 3e-3];
// Most decades that the axis of the steps names.
const MAX_DECADES = 5;

// Lengths of the dashes of a test curve and of the gaps between them; a training curve is solid.
const DASHES = [5, 3];

const PAD = { left: 40, right: 8, top: 8, bottom: 17 };
const FONT = "10.5px system-ui, sans-serif";

const tenTo = (exponent) =>
  Math.abs(exponent) < 4 ? String(Number(`1e${exponent}`)) : `10${superscript(exponent)}`;

/** A linear axis from low to high. */
const linear = (low, high, name) => ({
  ticks: [low, (low + high) / 2, high].map((value) => [value, name(value)]),
  share: (value) => (value - low) / (high - low || 1),
  holds: Number.isFinite,
});

/** A logarithmic axis over whole decades that hold low and high. */
function logarithmic(low, high) {
  const first = Math.floor(Math.log10(low));
  const last = Math.max(first + 1, Math.ceil(Math.log10(high)));
  return {
    ticks: [...new Set([first, Math.round((first + last) / 2), last])].map((power) => [10 ** power, tenTo(power)]),
    share: (value) => (Math.log10(value) - first) / (last - first),
    holds: (value) => Number.isFinite(value) && value > 0,
  };
}

function percent(value) {
  if (!Number.isFinite(value)) return "–";
  return `${(value * 100).toFixed(value === 1 ? 0 : 1)} %`;
}

const LOSS = {
  title: "Loss",
  columns: [TRAIN_LOSS, TEST_LOSS],
  write: (value) => shown(value, 3),
  axis: (low, high) => linear(0, 1.05 * (high || 1), (value) => shown(value, 2)),
};
const ACCURACY = {
  title: "Accuracy",
  columns: [TRAIN_SCORE, TEST_SCORE],
  write: percent,
  axis: (low) =>
    linear(Math.min(0.5, Math.floor(low * 10) / 10), 1, (value) => `${Math.round(value * 100)} %`),
};
// A poor fit has a coefficient of determination far below zero: the axis ends at -1.
const DETERMINATION = {
  title: "R²",
  columns: [TRAIN_SCORE, TEST_SCORE],
  write: (value) => shown(value, 3),
  axis: (low) => linear(Math.max(-1, Math.min(0, low)), 1, (value) => shown(value, 2)),
};
const NORM = {
  title: "Gradient norm",
  columns: [GRADIENT],
  write: (value) => shown(value, 3),
  axis: logarithmic,
};
const RATIO = {
  title: "Update ratio",
  columns: [UPDATE],
  write: (value) => shown(value, 3),
  band: HEALTHY,
  axis: (low, high) => logarithmic(Math.min(low, 1e-4), Math.max(high, 1e-2)),
};

/** One chart: a canvas with a caption. */
class Chart {
  constructor(palette, moved) {
    this.palette = palette;
    this.canvas = make("canvas", { role: "img" });
    this.name = make("span");
    this.step = make("span");
    this.values = [make("span.train"), make("span.test")];
    this.figure = make(
      "figure",
      {},
      make("figcaption", {}, this.name, make("span.value", {}, this.step, ...this.values)),
      this.canvas,
    );
    this.canvas.addEventListener("pointermove", (event) => moved(event.offsetX));
    this.canvas.addEventListener("pointerleave", () => moved(null));
  }

  /** Draw records of what `content` describes; `under` is the place of the mouse in pixels, or null. */
  draw(content, rows, under) {
    const { context, width, height } = fit(this.canvas);
    if (!width) return;
    context.clearRect(0, 0, width, height);
    this.context = context;
    this.box = { left: PAD.left, right: width - PAD.right, top: PAD.top, bottom: height - PAD.bottom };
    this.axis = this.axisOf(content, rows);
    // Steps run on a logarithmic axis: most happens at the beginning, and a fast training would hide it.
    this.lastStep = Math.max(10, rows.at(-1)?.[STEP] ?? 0);
    if (content.band) this.drawBand(content.band);
    this.drawAxes();
    content.columns.forEach((column, k) =>
      this.drawCurve(rows, column, ...(k ? [this.palette.test, DASHES] : [this.palette.train, []])),
    );
    const row = under === null || !rows.length ? rows.at(-1) : this.drawCross(rows, under);
    this.write(content, row, under !== null);
  }

  axisOf({ axis, columns }, rows) {
    const { holds } = axis(1, 1);
    const values = rows.flatMap((row) => columns.map((column) => row[column]).filter(holds));
    return axis(
      ...values.reduce(
        ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
        values.length ? [Infinity, -Infinity] : [0.1, 1],
      ),
    );
  }

  x(step) {
    const { left, right } = this.box;
    return left + (Math.log1p(step) / Math.log1p(this.lastStep)) * (right - left);
  }

  y(value) {
    const { top, bottom } = this.box;
    return bottom - Math.max(0, Math.min(1, this.axis.share(value))) * (bottom - top);
  }

  drawBand([low, high]) {
    const { left, right } = this.box;
    this.context.fillStyle = this.palette.band;
    this.context.fillRect(left, this.y(high), right - left, this.y(low) - this.y(high));
  }

  drawAxes() {
    const { context, palette, box } = this;
    Object.assign(context, { font: FONT, fillStyle: palette.muted, textAlign: "right", textBaseline: "middle" });
    for (const [value, text] of this.axis.ticks) {
      const y = Math.round(this.y(value)) + 0.5;
      this.drawLine(box.left, y, box.right, y, palette.line);
      context.fillText(text, box.left - 5, y);
    }
    Object.assign(context, { textAlign: "center", textBaseline: "top" });
    context.fillText("0", box.left, box.bottom + 5);
    const decades = Math.floor(Math.log10(this.lastStep));
    for (let decade = decades; decade >= 0; decade -= Math.ceil((decades + 1) / MAX_DECADES)) {
      const x = this.x(10 ** decade);
      if (x > box.left + 14) context.fillText(tenTo(decade), Math.min(x, box.right - 7), box.bottom + 5);
    }
  }

  drawLine(x0, y0, x1, y1, colour) {
    const { context } = this;
    Object.assign(context, { strokeStyle: colour, lineWidth: 1 });
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
  }

  drawCurve(rows, column, colour, dashes) {
    const { context } = this;
    Object.assign(context, { strokeStyle: colour, lineWidth: 1.6, lineJoin: "round" });
    context.setLineDash(dashes);
    context.beginPath();
    let isOpen = false;
    for (const row of rows) {
      const holds = this.axis.holds(row[column]);
      if (holds && isOpen) context.lineTo(this.x(row[STEP]), this.y(row[column]));
      else if (holds) context.moveTo(this.x(row[STEP]), this.y(row[column]));
      isOpen = holds;
    }
    context.stroke();
    context.setLineDash([]);
  }

  /** Mark the record under the mouse, and return it. */
  drawCross(rows, under) {
    const { left, right, top, bottom } = this.box;
    const step = Math.expm1(((under - left) / (right - left)) * Math.log1p(this.lastStep));
    const far = (row) => Math.abs(row[STEP] - step);
    const row = rows.reduce((best, each) => (far(each) < far(best) ? each : best));
    const x = this.x(row[STEP]);
    this.drawLine(x, top, x, bottom, this.palette.muted);
    return row;
  }

  write({ title, columns, write }, row, withStep) {
    const texts = row ? columns.map((column) => write(row[column])) : [];
    this.name.textContent = title;
    this.step.textContent = row && withStep ? `step ${whole(row[STEP])}` : "";
    this.values.forEach((element, k) => {
      element.textContent = texts[k] ?? "";
    });
    const spoken = texts.length > 1 ? `training ${texts[0]}, test ${texts[1]}` : (texts[0] ?? "");
    this.canvas.setAttribute("aria-label", `${title} over the steps${spoken && `: ${spoken}`}`);
  }
}

export class Curves {
  constructor(palette) {
    this.under = null;
    const moved = (under) => {
      this.under = under;
      this.draw();
    };
    this.charts = Array.from({ length: 4 }, () => new Chart(palette, moved));
    this.start({ kind: "classes" });
    byId("curves").replaceChildren(...this.charts.map(({ figure }) => figure));
    new ResizeObserver(() => this.draw()).observe(byId("curves"));
  }

  start({ kind }) {
    this.contents = [LOSS, kind === "classes" ? ACCURACY : DETERMINATION, NORM, RATIO];
    this.records = [];
    this.latest = null;
    this.stride = 1;
    this.seen = 0;
  }

  /** Take over the records of a frame. */
  add(curves) {
    for (let k = 0; k < curves.length; k += COLUMNS) {
      this.latest = Array.from(curves.subarray(k, k + COLUMNS));
      if (this.seen % this.stride === 0) this.records.push(this.latest);
      this.seen += 1;
    }
    while (this.records.length > MAXIMUM) {
      this.records = this.records.filter((_, k) => k % 2 === 0);
      this.stride *= 2;
    }
  }

  draw() {
    const isThinned = this.latest !== null && this.records.at(-1) !== this.latest;
    const rows = isThinned ? [...this.records, this.latest] : this.records;
    this.charts.forEach((chart, k) => chart.draw(this.contents[k], rows, this.under));
  }
}
