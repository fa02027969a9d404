// A line turned by hand: the weights of a neuron are the arrow on its line, and its bias puts the line there.

import { X, y } from "./moons.js";
import { byId, shown } from "./static/dom.js";

const LENGTH = 4; // of w, per length of the arrow
const KEYS = { ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0], ArrowUp: [0, 0.05], ArrowDown: [0, -0.05] };

const plane = byId("plane");
let foot = [0.5, 0.25]; // where the arrow stands on the line
let w = [1, 0];

const add = ([a, b], [c, d], factor = 1) => [a + factor * c, b + factor * d];
const dot = ([a, b], [c, d]) => a * c + b * d;
const findTip = () => add(foot, w, 1 / LENGTH);
const place = ([a, b]) => [100 * (a + 2), 100 * (2 - b)];
const read = ({ clientX, clientY }, { left, top, width } = plane.getBoundingClientRect()) =>
  [-2 + (5 * (clientX - left)) / width, 2 - (5 * (clientY - top)) / width];

function set(id, names, values) {
  names.split(" ").forEach((name, k) => byId(id).setAttribute(name, values[k]));
}

function draw() {
  const [length, b, tip] = [Math.hypot(...w), -dot(w, foot), findTip()];
  const ends = (vector, factor) => [-factor, factor].flatMap((side) => place(add(foot, vector, side)));
  set("line", "x1 y1 x2 y2", ends([-w[1], w[0]], 9 / length));
  set("probability", "x1 y1 x2 y2", ends(w, 4 / length ** 2)); // to where z is -4 and 4
  set("arrow", "x1 y1 x2 y2", [...place(foot), ...place(tip)]);
  set("tip", "cx cy", place(tip));
  const margins = X.map((x, k) => (y[k] ? 1 : -1) * (dot(w, x) + b)); // above 0 if right
  const correct = margins.filter((margin) => margin > 0).length / X.length;
  const loss = margins.reduce((sum, margin) => sum + Math.log1p(Math.exp(-margin)), 0) / X.length;
  const percent = Math.round(100 * correct);
  byId("result").textContent =
    `w = (${w.map((value) => shown(value)).join(", ")}), b = ${shown(b)}: ${percent}% correct, loss ${loss.toFixed(4)}`;
}

/** Put the tip of the arrow or its foot somewhere; without weights there is no line. */
function move(isTip, [a, b]) {
  const to = [Math.min(Math.max(a, -2), 3), Math.min(Math.max(b, -1.5), 2)];
  const arrow = add(to, foot, -1);
  if (!isTip) foot = to;
  else if (Math.hypot(...arrow) > 0.02) w = arrow.map((value) => LENGTH * value);
  draw();
}

plane.addEventListener("pointerdown", (event) => {
  const isTip = event.target.id === "tip";
  plane.onpointermove = (moved) => move(isTip, read(moved));
  plane.setPointerCapture(event.pointerId);
});
plane.addEventListener("lostpointercapture", () => (plane.onpointermove = null));
plane.addEventListener("keydown", ({ key, shiftKey }) => {
  if (KEYS[key]) move(shiftKey, add(shiftKey ? findTip() : foot, KEYS[key]));
});
const circles = X.map(place).map(([a, b], k) => `<circle cx="${a}" cy="${b}" r="4" class="of-${y[k]}" />`);
byId("samples").innerHTML = circles.join("");
draw();
