// The lines of the network: a curve per weight, from the unit that feeds it to the unit that reads it.

import { fit } from "./dom.js";

// Points of a curve that are compared with the mouse, and the distance in pixels that counts as on the line.
const CURVE_POINTS = 12;
const NEAR = 7;
// Of more lines than this, only the strongest of a layer are drawn, in bundles of about the same weight.
const MANY_LINES = 2500;
const STRONGEST = 700;
const BUNDLES = 8;
// How a line is drawn, in any combination: see `Links.draw`.
export const [TOUCHED, CHOSEN, QUIET] = [1, 2, 4];

/** Return the size of a weight from which on at most STRONGEST lines are drawn. */
function least(W, largest) {
  const counts = new Uint32Array(256);
  for (const value of W) counts[Math.min(255, Math.floor((Math.abs(value) / largest) * 256))] += 1;
  let bin = 256;
  for (let kept = 0; bin > 0 && kept + counts[bin - 1] <= STRONGEST; bin--) kept += counts[bin - 1];
  return (bin / 256) * largest;
}

/** Return the distance of (x, y) from the curve from (x0, y0) to (x1, y1). */
function distance(x, y, [x0, y0, x1, y1]) {
  let nearest = Infinity;
  for (let k = 0; k <= CURVE_POINTS; k++) {
    const t = k / CURVE_POINTS;
    const ease = t * t * (3 - 2 * t);
    // The control points have the mean of the ends as x, and the y of the nearer end.
    const px = x0 + (x1 - x0) * (1.5 * t - 1.5 * t * t + t * t * t);
    const py = y0 + (y1 - y0) * ease;
    nearest = Math.min(nearest, Math.hypot(px - x, py - y));
  }
  return nearest;
}

export class Links {
  constructor(canvas, palette) {
    this.canvas = canvas;
    this.palette = palette;
    this.layers = [];
  }

  get areMany() {
    return this.layers.reduce((sum, lines) => sum + lines.length, 0) > MANY_LINES;
  }

  /** Take over where the units stand: `places` has {left, right, middle} for the units of every layer. */
  measure(places, width, height) {
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    [this.width, this.height] = [width, height];
    this.layers = places
      .slice(1)
      .map((targets, layer) =>
        places[layer].flatMap((source) =>
          targets.map((target) => [source.right + 1, source.middle, target.left - 1, target.middle]),
        ),
      );
    this.outputs = places.slice(1).map((targets) => targets.length);
    this.reaches = this.layers.map((lines) => [
      lines.reduce((left, line) => Math.min(left, line[0]), Infinity) - NEAR,
      lines.reduce((right, line) => Math.max(right, line[2]), -Infinity) + NEAR,
    ]);
  }

  /** Return the line {layer, index, from, to} at a place, or null; `index` is its number in its layer. */
  at(x, y) {
    let nearest = NEAR;
    let found = null;
    this.layers.forEach((lines, layer) => {
      const outputs = this.outputs[layer];
      if (x < this.reaches[layer][0] || x > this.reaches[layer][1]) return;
      lines.forEach((line, index) => {
        const far = distance(x, y, line);
        if (far >= nearest) return;
        nearest = far;
        found = { layer, index, from: Math.floor(index / outputs), to: index % outputs };
      });
    });
    return found;
  }

  /**
   * Draw all lines. `weights(layer)` returns the weights of a layer or null; `emphasis(layer, from, to)` tells
   * whether a line is TOUCHED by the mouse, CHOSEN, or QUIET because another is touched.
   */
  draw(weights, emphasis) {
    const { context } = fit(this.canvas, [this.width, this.height]);
    context.clearRect(0, 0, this.width, this.height);
    const { areMany } = this;
    this.layers.forEach((lines, layer) => {
      const W = weights(layer);
      if (W?.length !== lines.length) return;
      const largest = W.reduce((size, value) => Math.max(size, Math.abs(value)), 1);
      const smallest = areMany ? least(W, largest) : 0;
      const outputs = this.outputs[layer];
      const bundles = [];
      const front = []; // touched and chosen lines, which are drawn over the others
      const style = (isNegative, size, kind) => {
        context.lineWidth = 0.6 + 5.4 * size + (kind & TOUCHED ? 1 : 0);
        context.strokeStyle = isNegative ? this.palette.negative : this.palette.positive;
        context.globalAlpha = kind & (TOUCHED | CHOSEN) ? 0.95 : (0.18 + 0.55 * size) * (kind & QUIET ? 0.35 : 1);
      };
      lines.forEach((line, index) => {
        const kind = emphasis(layer, Math.floor(index / outputs), index % outputs);
        const isInFront = kind & (TOUCHED | CHOSEN);
        if (Math.abs(W[index]) < smallest && !isInFront) return;
        const size = Math.abs(W[index]) / largest;
        if (areMany && !kind) {
          const bundle = Math.min(BUNDLES - 1, Math.floor(size * BUNDLES));
          (bundles[2 * bundle + Number(W[index] < 0)] ??= []).push(line);
        } else if (isInFront) front.push([line, W[index] < 0, size, kind]);
        else {
          style(W[index] < 0, size, kind);
          this.stroke(context, [line]);
        }
      });
      bundles.forEach((bundle, k) => {
        style(k % 2 === 1, (Math.floor(k / 2) + 0.5) / BUNDLES, 0);
        this.stroke(context, bundle);
      });
      for (const [line, ...look] of front) {
        style(...look);
        this.stroke(context, [line]);
      }
    });
    context.globalAlpha = 1;
  }

  stroke(context, lines) {
    context.beginPath();
    for (const [x0, y0, x1, y1] of lines) {
      const middle = (x0 + x1) / 2;
      context.moveTo(x0, y0);
      context.bezierCurveTo(middle, y0, middle, y1, x1, y1);
    }
    context.stroke();
  }
}
