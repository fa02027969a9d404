// Steps along a valley: the loss of two weights, and the way of an optimizer, by the playground's own modules.

import { Boundary } from "./static/boundary.js";
import { byId, make, shown } from "./static/dom.js";
import { LocalConnection } from "./static/local.js";
import { Palette } from "./static/palette.js";

// A linear neuron of two columns whose correlation is 12/13: across the valley, the loss of its weights is 25
// times as steep as along it. Both columns and the target are standardised.
const TABLE = "a,b,y\n5,5,0.0\n-5,-5,0.0\n1,-1,2.2\n-1,1,-2.2\n";
const CORRELATION = 12 / 13;
const MINIMUM = [Math.sqrt(6.5), -Math.sqrt(6.5)];
const SETTINGS = { dataset: "table", layers: [], activations: [], output_activation: "identity", reduction: "mean" };
const OPTIMIZERS = ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"];
const LIMITS = [-1.5, 4.5, -4.5, 1.5];
const SIDE = 256;
const LEVELS = 14;
const STEPS_PER_SECOND = 4;
const MAX_STEPS = 100;

const palette = new Palette();
let start = [-1, 0];
let run = 0;
let path = [];

/** Return the root of the loss of a pair of weights, as a share of the largest in the picture. */
function height(x, y) {
  const [dx, dy] = [x - MINIMUM[0], y - MINIMUM[1]];
  return Math.sqrt(dx * dx + dy * dy + 2 * CORRELATION * dx * dy) / 8;
}

const map = Uint8Array.from({ length: SIDE * SIDE }, (_, k) => {
  const [x0, x1, y0, y1] = LIMITS;
  const x = x0 + (((k % SIDE) + 0.5) / SIDE) * (x1 - x0);
  const y = y1 - ((Math.floor(k / SIDE) + 0.5) / SIDE) * (y1 - y0);
  return Math.min(255, (255 * Math.floor(LEVELS * height(x, y))) / LEVELS);
});
map.shape = [SIDE, SIDE];

class Valley extends Boundary {
  /** Begin where the plane is clicked. */
  pick([x, y]) {
    const [x0, x1, y0, y1] = LIMITS;
    const [left, top] = this.place(x0, y1);
    begin([x0 + ((x - left) / this.area.width) * (x1 - x0), y1 - ((y - top) / this.area.height) * (y1 - y0)]);
  }
}
const valley = new Valley(palette, {});

function draw() {
  const points = Float32Array.from(path.flat());
  points.shape = [path.length, 2];
  const targets = Float32Array.from(path, ([x, y]) => height(x, y));
  valley.draw({ arrays: { boundary: map, points, targets, is_test: new Uint8Array(path.length) } });
  const [x, y] = path.at(-1);
  byId("result").textContent = `Step ${path.length - 1}: w₁ = ${shown(x)}, w₂ = ${shown(y)}. Click to begin elsewhere.`;
}

const rate = () => 10 ** Number(byId("rate").value);

/** Begin at a pair of weights, by default at the weights before. */
function begin(weights = start) {
  [start, path, run] = [weights, [weights], run + 1];
  byId("rate-text").textContent = shown(rate(), 2);
  const state = { ...SETTINGS, optimizer: byId("optimizer").value, learning_rate: rate(), l2: 0, test_share: 0 };
  connection.send("start", { state, run });
  start.forEach((value, index) => connection.send("parameter", { run, index, value }));
  connection.send("speed", { steps_per_second: STEPS_PER_SECOND });
  connection.send("play");
  draw();
}

const connection = new LocalConnection({
  hello: () => begin(),
  frame: (frame) => {
    connection.send("drawn", { frame: frame.frame, run: frame.run });
    if (frame.run !== run || frame.step < path.length) return;
    path.push(Array.from(frame.arrays.weights.subarray(0, 2)));
    draw();
    if (path.length > MAX_STEPS) connection.send("pause");
  },
  ended: ({ why }) => byId("result").append(` ${why}`),
  lost: ({ text }) => valley.invite(text),
});
byId("optimizer").append(...OPTIMIZERS.map((name) => make("option", { value: name }, name)));
for (const name of ["optimizer", "rate"]) byId(name).addEventListener("input", () => begin());
valley.start({ limits: LIMITS, inputs: ["w1", "w2"], kind: "regression", target_limits: [0, 1] });
connection.table = { name: "valley.csv", content: new TextEncoder().encode(TABLE).buffer };
connection.open();
