// Curves: loss, score, gradient norm and update ratio over the steps.

import { make, byId, fit, shown, superscript, whole } from "./dom.js";

// Columns of a record.
const STEP = 0;
const TRAIN_LOSS = 1;
const TEST_LOSS = 2;
const TRAIN_SCORE = 3;
const TEST_SCORE = 4;
const GRADIENT = 5;
const UPDATE = 6;
const COLUMNS = 7;
// More records than this are thinned: every second one goes.
const MAXIMUM = 1600;
const HEALTHY = [3e-4, 3e-3];

const CHARTS = [
  { key: "loss", title: "Loss", columns: [TRAIN_LOSS, TEST_LOSS] },
  { key: "score", title: "Accuracy", columns: [TRAIN_SCORE, TEST_SCORE] },
  { key: "gradient", title: "Gradient norm", columns: [GRADIENT], log: true },
  { key: "update", title: "Update ratio", columns: [UPDATE], log: true, band: HEALTHY },
];

const PAD = { left: 40, right: 8, top: 8, bottom: 17 };

/** Return a power of ten as a short label. */
const power = (value) => {
  const exponent = Math.round(Math.log10(value));
  return Math.abs(exponent) < 3 ? String(Number(value.toPrecision(1))) : `10${superscript(exponent)}`;
};

export class Curves {
  constructor(palette) {
    this.palette = palette;
    this.clear();
    this.charts = CHARTS.map((chart) => {
      const canvas = make("canvas", { role: "img" });
      const under = make("span");
      const parts = chart.columns.map((_, k) =>
        make(chart.columns.length > 1 ? `span.${["train", "test"][k]}` : "span"),
      );
      const name = make("span", {}, chart.title);
      const figure = make(
        "figure",
        {},
        make("figcaption", {}, name, make("span.value", {}, under, ...parts)),
        canvas,
      );
      canvas.addEventListener("pointermove", (event) => {
        this.under = event.offsetX / canvas.clientWidth;
        this.draw();
      });
      canvas.addEventListener("pointerleave", () => {
        this.under = null;
        this.draw();
      });
      return { ...chart, canvas, parts, under, name, figure };
    });
    byId("curves").replaceChildren(...this.charts.map(({ figure }) => figure));
    new ResizeObserver(() => this.draw()).observe(byId("curves"));
  }

  clear() {
    this.records = [];
    this.stride = 1;
    this.seen = 0;
    this.under = null;
  }

  start(started) {
    this.clear();
    this.regression = started.kind === "regression";
    this.charts[1].name.textContent = this.regression ? "R²" : "Accuracy";
  }

  add(curves) {
    for (let k = 0; k < curves.length; k += COLUMNS) {
      this.seen += 1;
      this.latest = curves.subarray(k, k + COLUMNS);
      if (this.seen % this.stride === 0 || this.records.length === 0)
        this.records.push(Array.from(this.latest));
    }
    while (this.records.length > MAXIMUM) {
      this.records = this.records.filter((_, k) => k % 2 === 0);
      this.stride *= 2;
    }
  }

  draw() {
    for (const chart of this.charts) this.drawChart(chart);
  }

  drawChart({ canvas, parts, under, columns, log, band, title, key }) {
    if (!canvas.clientWidth) return;
    const { context, width, height } = fit(canvas);
    const { palette } = this;
    context.clearRect(0, 0, width, height);
    const rows =
      this.latest && this.records.length && this.records.at(-1)[STEP] !== this.latest[STEP]
        ? [...this.records, this.latest]
        : this.records;
    const [left, right, top, bottom] = [PAD.left, width - PAD.right, PAD.top, height - PAD.bottom];
    let low = Infinity;
    let high = -Infinity;
    for (const row of rows) {
      for (const column of columns) {
        const v = row[column];
        if (Number.isFinite(v) && (!log || v > 0)) {
          low = Math.min(low, v);
          high = Math.max(high, v);
        }
      }
    }
    const empty = low > high;
    if (empty) [low, high] = log ? [1e-4, 1e-1] : [0, 1];
    if (key === "score") {
      high = this.regression ? Math.max(1, high) : 1;
      low = this.regression ? Math.max(-1, Math.min(0, low)) : Math.min(0.5, Math.floor(low * 10) / 10);
    } else if (log) {
      if (band) {
        low = Math.min(low, 1e-4);
        high = Math.max(high, 1e-2);
      }
      low = 10 ** Math.floor(Math.log10(low));
      high = 10 ** Math.ceil(Math.log10(high) + 1e-9);
    } else {
      low = 0;
      high = Math.max(high, 1e-6) * 1.05;
    }
    const scale = (v) =>
      log ? (Math.log(v) - Math.log(low)) / (Math.log(high) - Math.log(low)) : (v - low) / (high - low || 1);
    const y = (v) => bottom - Math.max(0, Math.min(1, scale(v))) * (bottom - top);
    // Steps run on a logarithmic axis: most happens at the beginning, and a fast training would hide it.
    const lastStep = Math.max(10, rows.length ? rows.at(-1)[STEP] : 1);
    const x = (step) => left + (Math.log1p(step) / Math.log1p(lastStep)) * (right - left);

    if (band) {
      context.fillStyle = palette.band;
      context.fillRect(left, y(band[1]), right - left, y(band[0]) - y(band[1]));
    }
    context.font = "10.5px system-ui, sans-serif";
    context.fillStyle = palette.muted;
    context.strokeStyle = palette.line;
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of log
      ? [low, Math.sqrt(low * high), high].map((v) => 10 ** Math.round(Math.log10(v)))
      : [low, (low + high) / 2, high]) {
      const py = Math.round(y(tick)) + 0.5;
      context.beginPath();
      context.moveTo(left, py);
      context.lineTo(right, py);
      context.stroke();
      context.fillText(
        log
          ? power(tick)
          : key === "score" && !this.regression
            ? `${Math.round(tick * 100)} %`
            : shown(tick, 2),
        left - 5,
        py,
      );
    }
    context.textBaseline = "top";
    context.textAlign = "center";
    const decades = Math.floor(Math.log10(lastStep));
    const every = Math.ceil((decades + 1) / 5);
    context.fillText("0", left, bottom + 5);
    for (let decade = decades; decade >= 0; decade -= every) {
      const px = x(10 ** decade);
      if (px > left + 14)
        context.fillText(
          decade < 4 ? String(10 ** decade) : `10${superscript(decade)}`,
          Math.min(px, right - 7),
          bottom + 5,
        );
    }

    const colours = columns.length > 1 ? [palette.train, palette.test] : [palette.train];
    columns.forEach((column, k) => {
      context.beginPath();
      let open = false;
      for (const row of rows) {
        const v = row[column];
        if (!Number.isFinite(v) || (log && v <= 0)) {
          open = false;
          continue;
        }
        if (open) context.lineTo(x(row[STEP]), y(v));
        else context.moveTo(x(row[STEP]), y(v));
        open = true;
      }
      context.strokeStyle = colours[k];
      context.lineWidth = 1.6;
      context.lineJoin = "round";
      context.stroke();
    });

    let row = rows.at(-1);
    if (this.under !== null && rows.length) {
      const step = Math.expm1(((this.under * width - left) / (right - left)) * Math.log1p(lastStep));
      row = rows.reduce((best, candidate) =>
        Math.abs(candidate[STEP] - step) < Math.abs(best[STEP] - step) ? candidate : best,
      );
      context.strokeStyle = palette.muted;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(x(row[STEP]), top);
      context.lineTo(x(row[STEP]), bottom);
      context.stroke();
    }
    const percent = key === "score" && !this.regression;
    const texts = row
      ? columns.map((column) =>
          percent && Number.isFinite(row[column])
            ? `${(row[column] * 100).toFixed(row[column] === 1 ? 0 : 1)} %`
            : shown(row[column], 3),
        )
      : [];
    parts.forEach((part, k) => {
      part.textContent = texts[k] ?? "";
    });
    under.textContent = this.under !== null && row ? `step ${whole(row[STEP])}` : "";
    const text = texts
      .map((each, k) => (texts.length > 1 ? `${["training", "test"][k]} ${each}` : each))
      .join(", ");
    canvas.setAttribute("aria-label", `${title} over the steps${text ? `, now ${text}` : ""}`);
  }
}
