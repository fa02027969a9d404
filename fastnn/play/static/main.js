// The playground's page: keeps the state, and connects the server, the address, the controls and the pictures.

import { format, parse } from "./address.js";
import { Boundary } from "./boundary.js";
import { Controls } from "./controls.js";
import { Curves } from "./curves.js";
import { byId, make, shown, whole } from "./dom.js";
import { Formula } from "./formula.js";
import { SHORTCUTS, listenToKeys } from "./keys.js";
import { clearProblems, compiling, lost, news, problem } from "./messages.js";
import { Network } from "./network.js";
import { Palette } from "./palette.js";
import { Connection } from "./socket.js";

// Steps a second at the stops of the slider; null is as fast as it goes.
const SPEEDS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 20000, null];
const VIEW_DEFAULTS = { view: "classes", speed: 7, sample: 0 };
// With fewer points there is nothing to learn.
const FEWEST_POINTS = 2;
const RESOLUTION = 256, UNIT_RESOLUTION = 32;
// Milliseconds between spoken scores, between texts of the head, between changes of the address, and before
// painted points are sent.
const SPOKEN_EVERY = 5000, TEXT_EVERY = 80, ADDRESS_EVERY = 350, PAINT_DELAY = 120;

const palette = new Palette();
let hello = null, controls = null, started = null;
let state = {}, view = { ...VIEW_DEFAULTS };
let run = 0, playing = false, waiting = [], changedAt = null, drawing = false, last = null;
let selected = { layer: 0, to: 0, from: 0 }, spokenAt = 0, textAt = 0, paintTimer = null, addressTimer = null, addressAt = -Infinity;

const boundary = new Boundary(palette, {
  choose: chooseSample,
  painted: () => (state.dataset === "painted" ? (state.points ?? []) : null),
  paint: (points) => {
    boundary.preview(points);
    state = { ...state, dataset: "painted", points };
    clearTimeout(paintTimer);
    paintTimer = setTimeout(start, PAINT_DELAY);
  },
});
const network = new Network(palette, {
  select: (layer, to, from) => { selected = { layer, to, from }; network.choose(selected); if (last) formula.draw(last, selected, state, performance.now(), true); },
  hover: (depth, unit) => {
    hovered = unit === null ? null : { depth, unit };
    showHovered();
  },
  addUnit: (layer) => changeLayer(layer, +1),
  removeUnit: (layer) => changeLayer(layer, -1),
  activate: (layer, name) => change({ activations: state.activations.map((old, k) => (k === layer ? name : old)) }),
});
const curves = new Curves(palette);
const formula = new Formula();
let hovered = null;

function showHovered() {
  const picture = hovered && network.pictureOf(hovered.depth, hovered.unit);
  const name = hovered && (hovered.depth === 0 ? `Input ${hovered.unit + 1}` : `Unit ${hovered.unit + 1} of hidden layer ${hovered.depth}`);
  boundary.showUnit(picture, name);
}

// --- the server's messages ---

const connection = new Connection({
  hello: (message) => {
    const first = hello === null;
    hello = message;
    lost(null);
    byId("version").textContent = `fastnn ${hello.version}.`;
    if (first) {
      controls = new Controls(hello, { change }, palette);
      readAddress();
    } else sendView();
    start();
  },
  started: (message) => {
    if (message.run !== run) return;
    show(message);
    clearProblems();
    controls.problem(null);
  },
  frame: (frame) => {
    if (frame.run !== run) { connection.send("drawn", { frame: frame.frame, run: frame.run }); return; }
    waiting.push(frame);
    if (!drawing) { drawing = true; requestAnimationFrame(draw); }
  },
  compiling: (message) => { if (message.run === run) compiling(message.busy); },
  problem: ({ field, text }) => {
    setPlaying(false);
    if (field === "points") state = { ...state, points: (state.points ?? []).slice(0, hello.choices.points?.max_length ?? 1000) };
    controls?.problem(field, text);
    problem(text);
    changedAt = null;
  },
  ended: (message) => {
    if (message.run !== run) return;
    setPlaying(false);
    (message.failed ? problem : news)(message.why);
  },
  script: ({ text }) => showScript(text),
  saved: ({ url, name }) => {
    const link = make("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    news(`Saved ${name}.`);
  },
  lost: ({ greeted, reason }) => {
    setPlaying(false);
    compiling(false);
    lost(reason ? reason : greeted ? "The server has stopped. What you see is its last picture."
      : "No server answers. Start “fastnn playground” and open the address it prints.", () => { connection.open(); });
  },
});

// --- the state ---

/** Fill in what the lists of a state need: an activation for every hidden layer, a loss that fits the data. */
function complete(next) {
  const { activations } = hello.choices, usual = activations.default?.[0] ?? activations.values[0].name;
  const given = Array.isArray(next.activations) ? next.activations : [];
  next.activations = next.layers.map((_, k) => given[k] ?? given.at(-1) ?? usual);
  const loss = hello.choices.loss?.values.find(({ name }) => name === next.loss);
  if (loss?.kind && controls.kindOf(next) !== loss.kind) {
    next.loss = hello.choices.loss.optional ? null : hello.choices.loss.values.find(({ kind }) => kind === controls.kindOf(next)).name;
  }
  return next;
}

/** Take over changed fields and start anew. */
function change(changes) {
  state = complete({ ...state, ...changes });
  start();
}

/** Begin a new run with the present state. */
function start() {
  clearTimeout(paintTimer);
  run += 1;
  changedAt = performance.now();
  controls.show(state);
  showLayers();
  writeAddress();
  if (state.dataset === "painted" && (state.points ?? []).length < FEWEST_POINTS) { showBlank(); return; }
  boundary.invite(null);
  connection.send("start", { state, run });
  if (playing) connection.send("play");
}

/** Show the pictures of a run that has begun, still without a frame. */
function show(message) {
  started = message;
  last = null;
  waiting = [];
  boundary.start(started);
  curves.start(started);
  formula.start(started);
  const dims = started.layers_dim;
  if (selected.layer > dims.length - 2) selected = { layer: Math.max(0, dims.length - 3), to: 0, from: null };
  if (selected.to >= dims[selected.layer + 1]) selected.to = dims[selected.layer + 1] - 1;
  if (selected.from !== null && selected.from >= dims[selected.layer]) selected.from = 0;
  network.build(started, { values: hello.choices.activations.values, chosen: state.activations }, hello.choices.layers);
  network.choose(selected);
  showStarted();
}

/** Show the empty plane and invite to paint: there is nothing to train on yet. */
function showBlank() {
  setPlaying(false);
  connection.send("pause");
  const points = state.points ?? [], dims = [2, ...state.layers, Math.max(2, ...points.map(([, , label]) => label + 1))];
  const parameters = dims.slice(1).reduce((sum, width, k) => sum + width * (dims[k] + 1), 0);
  show({
    run, layers_dim: dims, kind: "classes", classes: Array.from({ length: dims.at(-1) }, (_, k) => String(k)), limits: boundary.paintedLimits,
    inputs: ["x1", "x2"], layout: [], n_parameters: parameters, n_train: points.length, n_test: 0, activations: [], loss: "", output: "",
  });
  if (boundary.tool === "look") boundary.use("0");
  boundary.blank(points);
  boundary.invite("Choose a colour below, and paint some points.");
  Object.assign(byId("boundary").dataset, { run, step: 0 });
}

function readAddress() {
  const parsed = parse(location.hash, hello.choices);
  state = complete({ ...hello.state, ...parsed.state });
  view = { ...VIEW_DEFAULTS, ...parsed.view };
  if (!["classes", "probability"].includes(view.view)) view.view = VIEW_DEFAULTS.view;
  if (!(view.speed in SPEEDS)) view.speed = VIEW_DEFAULTS.speed;
  if (!Number.isInteger(view.sample)) view.sample = null;
  if (parsed.unknown.length) news(`The address has unknown settings: ${parsed.unknown.join(", ")}. They are left out.`);
  boundary.choose(view.sample);
  byId("speed").value = view.speed;
  for (const input of byId("view").querySelectorAll("input")) input.checked = input.value === view.view;
  showSpeed();
  sendView();
  sendSpeed();
}

/** Write the address, at most every `ADDRESS_EVERY` milliseconds: browsers refuse pages that do so more often. */
function writeAddress() {
  if (addressTimer !== null) return;
  addressTimer = setTimeout(() => {
    addressTimer = null;
    addressAt = performance.now();
    const fragment = format(state, view, hello.choices, hello.state, VIEW_DEFAULTS);
    history.replaceState(null, "", `${location.pathname}${location.search}${fragment ? `#${fragment}` : ""}`);
  }, Math.max(0, addressAt + ADDRESS_EVERY - performance.now()));
}

function sendView() { connection.send("view", { mode: view.view, resolution: RESOLUTION, unit_resolution: UNIT_RESOLUTION, sample: view.sample }); }
function sendSpeed() { connection.send("speed", { steps_per_second: SPEEDS[view.speed] }); }

function changeLayer(layer, step) {
  change({ layers: state.layers.map((count, k) => (k === layer ? count + step : count)) });
}

function chooseSample(row) {
  view.sample = row;
  boundary.choose(row);
  showSample();
  writeAddress();
  sendView();
}

// --- playing ---

function setPlaying(now) {
  playing = now;
  document.body.classList.toggle("playing", now);
  const button = byId("play");
  button.setAttribute("aria-label", now ? "Pause" : "Play");
  if (!now && last) speak(last);
}

const actions = {
  play: () => { connection.send(playing ? "pause" : "play"); setPlaying(!playing && connection.alive); },
  step: () => { if (playing) { connection.send("pause"); setPlaying(false); } connection.send("step"); },
  epoch: () => { if (playing) { connection.send("pause"); setPlaying(false); } connection.send("epoch"); },
  // The beginning is a new run with the same seed: its number tells its frames from those under way.
  reset: () => { setPlaying(false); start(); },
  faster: () => moveSpeed(1),
  slower: () => moveSpeed(-1),
  view: () => setView(view.view === "classes" ? "probability" : "classes"),
  test: () => byId("show-test").click(),
  script: () => connection.send("script"),
  theme: () => byId("theme").click(),
  help: () => byId("help-dialog").showModal(),
  tool: (name) => boundary.use(name),
};

function moveSpeed(step) {
  view.speed = Math.max(0, Math.min(SPEEDS.length - 1, view.speed + step));
  byId("speed").value = view.speed;
  showSpeed(); sendSpeed(); writeAddress();
}

function setView(mode) {
  view.view = mode;
  for (const input of byId("view").querySelectorAll("input")) input.checked = input.value === mode;
  sendView(); writeAddress();
}

// --- what is shown ---

function showSpeed() {
  const steps = SPEEDS[view.speed], text = steps === null ? "as fast as it goes" : `${whole(steps)} step${steps > 1 ? "s" : ""} a second`;
  byId("speed-text").textContent = steps === null ? "fastest" : `${whole(steps)}/s`;
  byId("speed").setAttribute("aria-valuetext", text);
  byId("speed").title = text;
}

function showLayers() {
  const count = state.layers.length, limits = hello.choices.layers;
  byId("layer-count").textContent = `${count} hidden layer${count === 1 ? "" : "s"}`;
  byId("fewer-layers").disabled = count === 0;
  byId("more-layers").disabled = count >= (limits.max_length ?? 8);
}

function showStarted() {
  byId("network-size").textContent = `${started.layers_dim.join(" – ")} · ${whole(started.n_parameters)} parameters`;
  byId("score-name").textContent = started.kind === "classes" ? "Accuracy, test" : "R², test";
  byId("boundary-title").textContent = started.kind === "classes" ? "Decision boundary" : "Surface";
  byId("view").hidden = started.kind !== "classes";
  const legend = byId("classes-legend");
  if (started.kind === "classes") {
    legend.replaceChildren(...started.classes.map((name, k) => {
      const dot = make("i.dot");
      dot.style.setProperty("--swatch", `var(--class-${k % 10})`);
      return make("span", {}, dot, name.length > 20 ? `${name.slice(0, 19)}…` : name);
    }));
  } else {
    const [low, high] = started.target_limits;
    legend.replaceChildren(make("span", {}, shown(low)), make("i.ramp"), make("span", {}, shown(high)));
  }
  byId("train-count").textContent = `${whole(started.n_train)} training`;
  byId("test-count").textContent = `${whole(started.n_test)} test`;
  byId("clear").hidden = state.dataset !== "painted";
  showSample();
}

function showSample() {
  byId("sample-name").textContent = view.sample === null ? "no sample" : `sample ${view.sample + 1}`;
}

const percent = (value) => (Number.isFinite(value ?? NaN) ? `${(value * 100).toFixed(1)} %` : "–");

function showTexts(frame) {
  const score = started.kind === "classes" ? percent : (value) => shown(value, 3);
  byId("score-train").textContent = score(frame.score[0]);
  byId("score-test").textContent = score(frame.score[1]);
  byId("loss-train").textContent = shown(frame.loss[0], 3);
  byId("loss-test").textContent = shown(frame.loss[1], 3);
  byId("epoch-count").textContent = whole(frame.epoch);
  byId("step-count").textContent = whole(frame.step);
  byId("pace").textContent = frame.playing && frame.passes_per_second ? whole(frame.passes_per_second) : "–";
}

/** Say the score to people who listen to the page. */
function speak(frame) {
  if (!started) return;
  const name = started.kind === "classes" ? "accuracy" : "R squared", score = started.kind === "classes" ? percent : (value) => shown(value, 3);
  byId("spoken").textContent = `Step ${whole(frame.step)}: test ${name} ${score(frame.score[1])}, training ${score(frame.score[0])}.`;
}

/** Draw the newest frame; the curves take the records of all. */
function draw(now) {
  drawing = false;
  const frames = waiting;
  waiting = [];
  const frame = frames.at(-1);
  if (!frame) return;
  for (const each of frames) {
    if (each.arrays.curves) curves.add(each.arrays.curves);
    // An older frame of the pair may be the one that carries the data.
    if (each !== frame && each.arrays.points) for (const name of ["points", "labels", "targets", "is_test"]) frame.arrays[name] ??= each.arrays[name];
  }
  const count = frame.arrays.points?.shape[0];
  boundary.draw(frame);
  network.draw(frame);
  network.tell();
  if (hovered) showHovered();
  curves.draw();
  formula.draw(frame, selected, state, now, !frame.playing);
  if (now - textAt > TEXT_EVERY || !frame.playing) { textAt = now; showTexts(frame); }
  if (!frame.playing || now - spokenAt > SPOKEN_EVERY) { spokenAt = now; speak(frame); }
  if (count !== undefined && view.sample !== null && view.sample >= count) chooseSample(count ? 0 : null);
  last = frame;
  connection.send("drawn", { frame: frame.frame, run: frame.run });
  const marks = byId("boundary").dataset;
  marks.frame = frame.frame; marks.run = frame.run; marks.step = frame.step;
  marks.drawn = Number(marks.drawn ?? 0) + 1;
  if (changedAt !== null) { marks.latency = (performance.now() - changedAt).toFixed(1); changedAt = null; }
}

function showScript(text) {
  byId("script-text").textContent = text;
  byId("script-dialog").showModal();
  copy(text, "The script is copied.");
}

async function copy(text, done) {
  try { await navigator.clipboard.writeText(text); news(done); }
  catch {
    // The browser forbids the clipboard: select the text, so that one key copies it.
    if (byId("script-dialog").open) getSelection().selectAllChildren(byId("script-text"));
    news("The browser does not let the page copy: press Ctrl+C.");
  }
}

// --- the page's own controls ---

for (const name of ["play", "step", "epoch", "reset", "script", "help"]) byId(name).addEventListener("click", () => actions[name]());
byId("speed").addEventListener("input", () => { view.speed = Number(byId("speed").value); showSpeed(); sendSpeed(); writeAddress(); });
byId("view").addEventListener("change", (event) => setView(event.target.value));
byId("show-test").addEventListener("change", (event) => { boundary.showTest = event.target.checked; boundary.drawPoints(); });
byId("fewer-layers").addEventListener("click", () => change({ layers: state.layers.slice(0, -1) }));
byId("more-layers").addEventListener("click", () => change({ layers: [...state.layers, state.layers.at(-1) ?? 3] }));
byId("clear").addEventListener("click", () => change({ points: [] }));
byId("copy-script").addEventListener("click", () => copy(byId("script-text").textContent, "The script is copied."));
byId("copy-address").addEventListener("click", () => {
  closeMenu();
  byId("save").focus();
  copy(location.href, "The address is copied.");
});
for (const [id, step] of [["previous-sample", -1], ["next-sample", 1]]) {
  byId(id).addEventListener("click", () => {
    const count = boundary.points?.count ?? 0;
    if (count) chooseSample(((view.sample ?? -step) + step + count) % count);
  });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").setAttribute("aria-pressed", String(theme === "dark"));
  palette.refresh();
  boundary.recolour(); network.recolour(); curves.draw(); controls?.drawThumbnails();
}
byId("theme").setAttribute("aria-pressed", String(document.documentElement.dataset.theme === "dark"));
byId("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("fastnn-theme", theme); } catch { /* Without storage, the theme lasts as long as the page. */ }
  setTheme(theme);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
  let saved = null;
  try { saved = localStorage.getItem("fastnn-theme"); } catch { /* No storage, nothing saved. */ }
  if (!saved) setTheme(event.matches ? "dark" : "light");
});

const menu = byId("save-menu");
function closeMenu() { menu.hidden = true; byId("save").setAttribute("aria-expanded", "false"); }
byId("save").addEventListener("click", () => {
  menu.hidden = !menu.hidden;
  byId("save").setAttribute("aria-expanded", String(!menu.hidden));
  if (!menu.hidden) menu.querySelector("button").focus();
});
menu.addEventListener("click", (event) => {
  const what = event.target.closest("[data-save]")?.dataset.save;
  if (!what) return;
  closeMenu();
  byId("save").focus();
  connection.send("save", { what });
  news(what === "gif" ? "The training is drawn anew for the GIF; that takes a moment." : "Saving …");
});
menu.addEventListener("keydown", (event) => {
  const items = [...menu.querySelectorAll("button")], at = items.indexOf(document.activeElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (next !== undefined) { items[(next + items.length) % items.length].focus(); event.preventDefault(); }
  if (event.key === "Escape" || event.key === "Tab") { closeMenu(); if (event.key === "Escape") byId("save").focus(); }
  event.stopPropagation();
});
document.addEventListener("pointerdown", (event) => { if (!event.target.closest(".menu")) closeMenu(); });
for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

byId("keys").replaceChildren(...SHORTCUTS.map(({ shown: keys, what }) => make("tr", {}, make("th", { scope: "row" }, ...keys.map((key) => make("kbd", {}, key))), make("td", {}, what))));
listenToKeys(actions, byId("shortcuts"));
window.addEventListener("hashchange", () => {
  if (!hello) return;
  clearTimeout(addressTimer);
  addressTimer = null;
  readAddress();
  start();
});
connection.open();
