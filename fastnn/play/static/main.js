// The playground's page: keeps the state, and connects the training, address, controls and pictures.

import { Address, format, parse, same } from "./address.js";
import { Boundary } from "./boundary.js";
import { Controls } from "./controls.js";
import { Curves } from "./curves.js";
import { byId, inputName, make, whole } from "./dom.js";
import { Formula } from "./formula.js";
import { isLocal, LocalConnection } from "./local.js";
import { clearProblems, lost, news, problem, warning } from "./messages.js";
import { Network } from "./network.js";
import { Palette } from "./palette.js";
import { Parameter } from "./parameter.js";
import { Readouts } from "./readouts.js";
import { copy, listenToDialogs, listenToMenu, listenToShapes, listenToShortcuts } from "./shell.js";
import { listenToTable, listenToTheme, showScript, showTable } from "./shell.js";
import { Connection } from "./socket.js";
import { Undo } from "./undo.js";

// Steps per second at the stops of the slider; null is as fast as it goes.
const SPEEDS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 20000, null];
const VIEWS = ["classes", "probability"];
const VIEW_DEFAULTS = { view: "classes", speed: 7, sample: 0, hide: [] };
// Pixels along the sides of pictures: of the plane at most, as many as the screen has, and of a unit.
const MAX_RESOLUTION = 1024;
const UNIT_RESOLUTION = 32;
// Milliseconds that the plane keeps a new size before a picture of this size is asked for.
const RESIZE_DELAY = 250;
// With fewer painted points there is nothing to learn.
const MIN_POINTS = 2;
// Milliseconds that a brush may rest before its points are sent.
const PAINT_DELAY = 120;
// Largest file of a table that is opened.
const MAX_TABLE_BYTES = 20e6;
// Units of the first layer that is added to a network without any.
const FIRST_WIDTH = 3;

// What the user has set: the run's state, and how it is looked at.
let hello = null;
let state = {};
let view = { ...VIEW_DEFAULTS };
// The number of the last run that was asked for, and what the server has said of the run that is shown.
let run = 0;
let started = null;
let playing = false;
let isPending = false;
let isBlank = false;
let trainsOn = false; // the training ran when the plane became empty, and continues with its first points
// Milliseconds between texts and curves, which nobody reads faster, and which the browser lays out anew.
const TEXT_EVERY = 200;
let writtenAt = 0;
// The frames that wait for the next repaint, and the last one that was drawn.
let waiting = [];
let isDrawing = false;
let last = null;
// The unit whose numbers are shown, and the one under the mouse.
let selected = { layer: 0, to: 0, from: 0 };
let hovered = null;
let changedAt = null;
let paintTimer = null;
let resizeTimer = null;
let resolution = null;
let controls = null;
// The table that the user has opened, and true while another one is read.
let table = null;
let isOpening = false;

const palette = new Palette();
const curves = new Curves(palette);
const formula = new Formula();
const readouts = new Readouts();
const undo = new Undo();
const parameter = new Parameter(
  (index, value, name) => {
    // The server says what is wrong with a number that it refuses: there is nothing to take back.
    if (Math.abs(value) <= started.max_parameter) undo.push("number", name, () => setParameter(index, null));
    setParameter(index, value);
  },
  (unit) => showNumbersOf(unit),
);
const boundary = new Boundary(palette, {
  choose: chooseSample,
  painted: () => (state.dataset === "painted" ? (state.points ?? []) : null),
  testShare: () => state.test_share,
  paint: (points, isFirst) => {
    if (isFirst) keepState("plane", "paint");
    // The plane keeps its edges, in thousandths as the points in the address, and the points their places.
    const window = state.dataset === "painted" ? state.window : started.limits.map((edge) => Math.round(edge * 1000));
    boundary.preview(points);
    state = { ...state, dataset: "painted", points, window };
    clearTimeout(paintTimer);
    paintTimer = setTimeout(start, PAINT_DELAY);
  },
});
const network = new Network(palette, {
  select: (layer, to, from) => showNumbersOf({ layer, to, from }),
  hover: (depth, unit) => {
    hovered = unit === null ? null : { depth, unit };
    showHovered();
  },
  addUnit: (layer) => changeWidth(layer, +1),
  removeUnit: (layer) => changeWidth(layer, -1),
  activate: (layer, name) =>
    change({ activations: state.activations.map((old, k) => (k === layer ? name : old)) }),
});
const address = new Address(
  () => format(state, view, hello.choices, VIEW_DEFAULTS),
  () => {
    if (!hello) return;
    keepState("settings", "address");
    readAddress();
    start();
  },
);

// --- the server's messages ---

const connection = new (isLocal ? LocalConnection : Connection)({
  hello: (message) => {
    const isFirst = hello === null;
    hello = message;
    lost(null);
    byId("version").textContent = `fastnn ${hello.version}.`;
    controls = new Controls(hello, { change }, palette);
    if (isFirst) {
      listen(); // a command that came before would reach a server without a run
      readAddress();
    } else if (isOpening) {
      state = complete({ ...hello.state });
      sendView();
    } else {
      sendView();
      const connected = isLocal ? "" : "Connected again. ";
      news(`${connected}The training has begun anew, without what was set by hand.`);
    }
    isOpening = false;
    start();
  },
  started: (message) => {
    if (message.run < started?.run) return; // the plane has been emptied meanwhile
    isBlank = false;
    isPending &&= message.run !== run;
    // The newer run may be refused, and then this one continues: it is shown in any case.
    show(message);
    if (message.run !== run) return;
    clearMarks();
  },
  changed: ({ run: number, ...changes }) => {
    if (number !== started?.run) return;
    Object.assign(started, changes);
    formula.start(started);
    clearMarks();
  },
  frame: (frame) => {
    // While a new run is awaited, drawing the old one would only delay it; but its samples come only once.
    if (frame.run !== started?.run || (isPending && frame.frame > 0)) {
      drawn(frame);
      return;
    }
    waiting.push(frame);
    if (!isDrawing) {
      isDrawing = true;
      requestAnimationFrame(draw);
    }
  },
  error: ({ field, text, further = [] }) => refuse([{ field, text }, ...further]),
  ended: (message) => {
    if (message.run !== started?.run) return;
    parameter.end();
    undo.forget("number"); // nothing can be set any more
    if (isPending) return; // `playing` is what the new run was told
    setPlaying(false);
    (message.failed ? problem : news)(controls.inWords(message.why));
  },
  warning: (message) => {
    if (message.run === started?.run) warning(controls.inWords(message.text));
  },
  script: ({ text }) => showScript(text),
  saved: ({ name, arrays: { content } }) => {
    const url = URL.createObjectURL(new Blob([content]));
    make("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
    news(`Saved ${name}.`);
  },
  table: (message) => {
    isOpening &&= !message.problem;
    if (message.problem) problem(message.problem);
    else table = message;
    if (message.notes?.length) news(`${message.name}: ${message.notes.join("; ")}.`);
    showTable(table); // a target that is refused is taken back
  },
  lost: ({ text, remedy }) => {
    setPlaying(false);
    lost(text, remedy, () => connection.open());
  },
});

const drawn = (frame) => connection.send("drawn", { frame: frame.frame, run: frame.run });

/** Return the pixels of the screen along the side of the plane. */
function screenSide() {
  const side = Math.round(byId("boundary").clientWidth * (window.devicePixelRatio || 1));
  return Math.max(1, Math.min(MAX_RESOLUTION, side));
}

function sendView() {
  const { view: mode, sample } = view;
  resolution = screenSide();
  const sizes = { resolution, unit_resolution: UNIT_RESOLUTION };
  connection.send("view", { mode, ...sizes, sample, shapes: byId("shapes").checked });
  connection.send("speed", { steps_per_second: SPEEDS[view.speed] });
}

// --- the state ---

/** Fill in what belongs to a state: an activation for every hidden layer, a loss that fits the data. */
function complete(next) {
  const { activations, loss } = hello.choices;
  const given = next.activations ?? [];
  next.activations = next.layers.map((_, k) => given[k] ?? given.at(-1) ?? activations.default[0]);
  const chosen = loss.values.find(({ name }) => name === next.loss);
  if (chosen && chosen.kind !== controls.kindOf(next)) next.loss = null;
  return next;
}

/** Say why the state is refused: {field, text} of each problem. The run that is shown continues. */
function refuse(problems) {
  isPending = false;
  if (!started) setPlaying(false);
  changedAt = null;
  const isOfFields = problems.some(({ field }) => field !== null);
  const inWords = isOfFields ? controls.mark(problems) : problems.map(({ text }) => controls?.inWords(text) ?? text);
  const texts = inWords.join("; ");
  // A page for which the server has no room is told so in place of `hello`.
  if (!started && hello && restore(problems.map(({ field }) => field))) {
    controls.mark([]); // the usual values are in these fields now
    const usual = problems.length > 1 ? "The usual values are taken." : "The usual value is taken.";
    news(`The address could not be used as it is: ${texts}. ${usual}`);
    return;
  }
  problem(texts);
}

/** Return the field whose value is written with the most characters. */
function longestField() {
  const length = (field) => JSON.stringify(state[field]).length;
  return Object.keys(state).reduce((longest, field) => (length(field) > length(longest) ? field : longest));
}

/** Begin with the usual values of fields that were refused; return false if they have these already. */
function restore(fields) {
  const { state: usual } = hello;
  const refused = fields.filter((field) => field in usual && !same(state[field], usual[field]));
  state = complete({ ...state, ...Object.fromEntries(refused.map((field) => [field, usual[field]])) });
  if (refused.length) start();
  return refused.length > 0;
}

/** Return a number of the state within the limits of its field: an address may hold anything. */
function within({ minimum = 0, maximum }, value) {
  return Math.max(minimum, Math.min(maximum, Math.trunc(Number(value)) || minimum));
}

/** Take over changed fields; Ctrl+Z takes them back, at once if a slider has changed them many times. */
function change(changes, isSliding = false, place = "settings") {
  keepState(place, Object.keys(changes).join(), isSliding);
  state = complete({ ...state, ...changes });
  apply();
}

/** Keep the state, so that it comes back after a change. */
function keepState(place, what, isSliding = false) {
  const before = state;
  const back = () => {
    state = before;
    apply();
  };
  undo.push(place, what, back, isSliding);
}

/** Continue with the present state where the run can: where only fields have changed that are live. */
function apply() {
  const isOther = (name) => !same(state[name], started?.state[name]);
  const others = Object.keys(state).filter(isOther);
  const canContinue = started?.run === run && !isBlank && !parameter.hasEnded && state.optimizer !== "lbfgs";
  if (!canContinue || !others.every((name) => hello.choices[name].live)) {
    start();
    return;
  }
  showState();
  if (others.length) connection.send("change", { state, run });
  else clearMarks();
}

/** Take back what was said about settings that were refused. */
function clearMarks() {
  clearProblems();
  controls.mark([]);
}

function changeWidth(layer, step) {
  change({ layers: state.layers.map((count, k) => (k === layer ? count + step : count)) });
}

/** Begin a new run with the present state. */
function start() {
  clearTimeout(paintTimer);
  run += 1;
  changedAt = performance.now();
  showState();
  if (state.dataset === "painted" && (state.points ?? []).length < MIN_POINTS) {
    showBlank();
    return;
  }
  boundary.invite(null);
  isPending = true;
  if (!connection.send("start", { state, run })) {
    const field = longestField();
    refuse([{ field, text: `${field} is too long` }]);
    return;
  }
  if (trainsOn) setPlaying(true);
  trainsOn = false;
  if (playing) connection.send("play");
}

function showState() {
  controls.show(state, view.hide);
  showLayerCount();
  address.write();
  byId("clear").hidden = state.dataset !== "painted";
}

function readAddress() {
  const parsed = parse(location.hash, hello.choices);
  // An address that names its data set means the same with every server: it builds on the fields' defaults.
  const defaults = Object.entries(hello.choices).map(([name, choice]) => [name, choice.default]);
  const first = "dataset" in parsed.state ? Object.fromEntries(defaults) : hello.state;
  state = complete({ ...first, ...parsed.state });
  view = { ...VIEW_DEFAULTS, ...parsed.view };
  if (!VIEWS.includes(view.view)) view.view = VIEW_DEFAULTS.view;
  if (!(Number.isInteger(view.speed) && SPEEDS[view.speed] !== undefined)) view.speed = VIEW_DEFAULTS.speed;
  if (!Number.isInteger(view.sample)) view.sample = null;
  if (parsed.unknown.length)
    news(`The address has unknown settings: ${parsed.unknown.join(", ")}. They are left out.`);
  showView();
}

/** Change how the run is looked at. */
function changeView(changes) {
  view = { ...view, ...changes };
  showView();
  address.write();
}

function chooseSample(sample) {
  changeView({ sample });
  writtenAt = 0;
}

function select(unit) {
  selected = unit;
  network.choose(selected);
  parameter.choose(selected);
  if (last) parameter.draw(last);
}

/** Select a unit and one of its numbers, and show its formulas. */
function showNumbersOf(unit) {
  select(unit);
  if (last) formula.draw(last, selected, state);
}

function setParameter(index, value) {
  connection.send("parameter", { run, index, value });
}

// --- what is shown ---

/** Show the run that has begun, still without a frame. */
function show(message) {
  started = message;
  undo.forget("number"); // they were of the run before
  last = null;
  waiting = [];
  for (const picture of [boundary, curves, formula, parameter, readouts]) picture.start(started);
  const { activations, layers } = hello.choices;
  network.build(started, { values: activations.values, chosen: started.state.activations }, layers);
  const { layer, to, from } = selected;
  const dims = started.layers_dim;
  if (layer > dims.length - 2) select({ layer: Math.max(0, dims.length - 3), to: 0, from: null });
  else
    select({
      layer,
      to: Math.min(to, dims[layer + 1] - 1),
      from: from !== null && from < dims[layer] ? from : null,
    });
}

/** Show the empty plane and invite to paint: there is nothing to train on yet. */
function showBlank() {
  trainsOn ||= playing;
  setPlaying(false);
  connection.send("pause");
  isBlank = true;
  isPending = false;
  const points = state.points ?? [];
  const { layers, features, window: plane } = hello.choices;
  const [left, right, bottom, top] = state.window;
  const edges = left < right && bottom < top ? state.window : plane.default;
  const n_classes = Math.max(2, ...points.map(([, , label]) => within(hello.choices.points, label) + 1));
  const hidden = state.layers.slice(0, layers.max_length).map((width) => within(layers, width));
  const inputs = features.values.filter(({ name }) => state.features.includes(name));
  const dims = [inputs.length, ...hidden, n_classes];
  show({
    run,
    state,
    layers_dim: dims,
    activations: [],
    layout: [],
    kind: "classes",
    output: "",
    loss: "",
    inputs: ["x1", "x2"],
    features: inputs.map(({ title }) => title),
    classes: Array.from({ length: n_classes }, (_, k) => String(k)),
    limits: edges.map((edge) => edge / 1000),
    n_parameters: dims.slice(1).reduce((sum, width, k) => sum + width * (dims[k] + 1), 0),
    n_train: points.length,
    n_test: 0,
  });
  if (boundary.tool === "look") boundary.use("0");
  network.clear();
  readouts.clear();
  curves.draw();
  formula.draw({ arrays: {} }, selected, state);
  boundary.blank(points);
  boundary.invite("Choose a colour below, and paint some points.");
  Object.assign(byId("boundary").dataset, { run, step: 0 });
}

function showHovered() {
  if (!hovered) {
    boundary.showUnit(null);
    return;
  }
  const { depth, unit } = hovered;
  const name = depth === 0 ? `Input ${inputName(started.features[unit])}` : `Unit ${unit + 1} of hidden layer ${depth}`;
  boundary.showUnit(network.pictureOf(depth, unit), name);
}

function showLayerCount() {
  const count = state.layers.length;
  byId("layer-count").textContent = `${count} hidden layer${count === 1 ? "" : "s"}`;
  byId("fewer-layers").disabled = count === 0;
  byId("more-layers").disabled = count >= hello.choices.layers.max_length;
}

/** Show the view's settings, and tell the server. */
function showView() {
  const steps = SPEEDS[view.speed];
  const speed = byId("speed");
  const text = steps === null ? "as fast as it goes" : `${whole(steps)} step${steps > 1 ? "s" : ""} per second`;
  speed.value = view.speed;
  speed.title = text;
  speed.setAttribute("aria-valuetext", text);
  byId("speed-text").replaceChildren(
    ...(steps === null ? ["fastest"] : [whole(steps), make("span.word", {}, " steps"), "/s"]),
  );
  for (const input of byId("view").querySelectorAll("input")) input.checked = input.value === view.view;
  byId("sample-name").textContent = view.sample === null ? "no sample" : `sample ${view.sample + 1}`;
  boundary.choose(view.sample);
  sendView();
}

/** Draw the newest frame; the curves take the records of all. */
function draw(now) {
  isDrawing = false;
  const frames = waiting;
  const frame = frames.at(-1);
  waiting = [];
  if (!frame) return;
  for (const { arrays, input_ranges } of frames) {
    curves.add(arrays.curves);
    // Of two frames, the first may be the one that carries the data.
    for (const name of ["points", "labels", "targets", "is_test", "inputs"])
      if (arrays[name]) frame.arrays[name] ??= arrays[name];
    frame.input_ranges ??= input_ranges;
  }
  boundary.draw(frame);
  network.draw(frame);
  if (hovered) showHovered();
  if (!last || !frame.playing || now - writtenAt > TEXT_EVERY) {
    writtenAt = now;
    network.write(frame);
    curves.draw();
    formula.draw(frame, selected, state);
    parameter.draw(frame);
    readouts.draw(frame, now);
  }
  last = frame;
  drawn(frame);
  const { points } = frame.arrays;
  if (points && view.sample !== null && view.sample >= points.shape[0]) chooseSample(0);
  mark(frame);
}

/** Note on the picture which frame it shows, and how long the first frame of a change took. */
function mark({ frame, run: number, step }) {
  const { dataset } = byId("boundary");
  Object.assign(dataset, { frame, run: number, step, drawn: Number(dataset.drawn ?? 0) + 1 });
  if (changedAt !== null && number === run) {
    dataset.latency = (performance.now() - changedAt).toFixed(1);
    changedAt = null;
  }
}

// --- what can be done ---

function setPlaying(now) {
  playing = now;
  document.body.classList.toggle("playing", now);
  byId("play").setAttribute("aria-label", now ? "Pause" : "Play");
  if (!now) readouts.speak();
}

/** Send a command to the training; say so if there is nothing to train on. */
function command(name, plays = false) {
  if (isBlank) {
    news("There is nothing to learn yet: paint some points.");
    return;
  }
  if (playing && name !== "pause") connection.send("pause");
  connection.send(name);
  setPlaying(plays && connection.alive);
}

const actions = {
  play: () => (playing ? command("pause") : command("play", true)),
  step: () => command("step"),
  epoch: () => command("epoch"),
  // The beginning is a new run with the same seed: its number tells its frames from those under way.
  reset: () => {
    if (playing) command("pause");
    start();
  },
  faster: () => changeView({ speed: Math.min(view.speed + 1, SPEEDS.length - 1) }),
  slower: () => changeView({ speed: Math.max(view.speed - 1, 0) }),
  view: () => changeView({ view: VIEWS.find((name) => name !== view.view) }),
  test: () => byId("show-test").click(),
  script: () => connection.send("script"),
  theme: () => byId("theme").click(),
  help: () => byId("help-dialog").showModal(),
  tool: (name) => boundary.use(name),
  undo: () => undo.undo(),
};

/** Listen to everything that needs a run or the server's choices. */
function listen() {
  for (const name of ["play", "step", "epoch", "reset", "script"])
    byId(name).addEventListener("click", () => actions[name]());
  byId("speed").addEventListener("input", (event) => changeView({ speed: Number(event.target.value) }));
  byId("view").addEventListener("change", (event) => changeView({ view: event.target.value }));
  byId("fewer-layers").addEventListener("click", () => change({ layers: state.layers.slice(0, -1) }));
  byId("more-layers").addEventListener("click", () =>
    change({ layers: [...state.layers, state.layers.at(-1) ?? FIRST_WIDTH] }),
  );
  byId("clear").addEventListener("click", () => {
    if (state.points?.length) change({ points: [] }, false, "plane");
  });
  for (const [id, step] of [
    ["previous-sample", -1],
    ["next-sample", 1],
  ]) {
    byId(id).addEventListener("click", () => {
      const count = boundary.points?.count ?? 0;
      if (count) chooseSample(((view.sample ?? -step) + step + count) % count);
    });
  }
  listenToShortcuts(actions);
}

byId("help").addEventListener("click", actions.help);
new ResizeObserver(() => {
  clearTimeout(resizeTimer);
  resizeTimer = setTimeout(() => {
    if (hello && screenSide() !== resolution) sendView();
  }, RESIZE_DELAY);
}).observe(byId("boundary"));
listenToShapes((areShown) => {
  boundary.setShapesShown(areShown);
  if (hello) sendView();
});
byId("show-test").addEventListener("change", (event) => boundary.setTestShown(event.target.checked));
listenToTheme(() => {
  palette.refresh();
  boundary.recolour();
  network.recolour();
  curves.draw();
  controls?.drawThumbnails();
});
listenToMenu(
  (what) => {
    connection.send("save", { what });
    news(what === "gif" ? "The training is drawn anew for the GIF; that takes a moment." : "Saving …");
  },
  () => copy(hello ? address.current : location.href, "The address is copied."),
);
listenToDialogs();
listenToTable((file, target) => {
  if (file?.size > MAX_TABLE_BYTES) {
    problem(`${file.name} is larger than 20 MB: the playground draws at most 5,000 rows.`);
    return;
  }
  isOpening = true;
  connection.openTable(file, target);
});
connection.open();
