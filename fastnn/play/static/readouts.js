// Words and numbers of a run: scores, losses, counters, the legend, and what is said to listeners.

import { byId, make, shown, whole } from "./dom.js";
import { markClass } from "./palette.js";

// Milliseconds between spoken scores.
const SPOKEN_EVERY = 5000;
const LONGEST_NAME = 20;

const percent = (value) => (Number.isFinite(value ?? NaN) ? `${(value * 100).toFixed(1)} %` : "–");
const write = (id, text) => {
  byId(id).textContent = text;
};

export class Readouts {
  constructor() {
    this.spokenAt = 0;
    this.latest = null;
  }

  start(started) {
    const isClasses = started.kind === "classes";
    this.latest = null;
    this.scoreName = isClasses ? "accuracy" : "R squared";
    this.score = isClasses ? percent : (value) => shown(value, 3);
    write("network-size", `${started.layers_dim.join(" – ")} · ${whole(started.n_parameters)} parameters`);
    write("score-name", isClasses ? "Accuracy, test" : "R², test");
    write("boundary-title", isClasses ? "Decision boundary" : "Surface");
    write("train-count", `${whole(started.n_train)} training`);
    write("test-count", `${whole(started.n_test)} test`);
    byId("view").hidden = byId("shapes").parentElement.hidden = !isClasses;
    const { max_probability: most, activations } = started;
    byId("cap").hidden = !most;
    write("cap", most ? `Outputs of ${activations.at(-1)} allow no probability above ${percent(most)}.` : "");
    byId("classes-legend").replaceChildren(...(isClasses ? this.names(started) : this.scale(started)));
  }

  names({ classes }) {
    return classes.map((name, k) => {
      const dot = make("i.dot");
      markClass(dot, k);
      const shortened = `${name.slice(0, LONGEST_NAME - 1)}…`;
      return make("span", {}, dot, name.length > LONGEST_NAME ? shortened : name);
    });
  }

  scale({ target_limits: limits, target_units: units }) {
    const [low, high] = limits.map((value) => shown(units ? value * units.scale + units.centre : value));
    return [make("span", {}, low), make("i.ramp"), make("span", {}, high)];
  }

  /** Show no numbers: there is no network that they could be of. */
  clear() {
    for (const id of ["score-train", "score-test", "loss-train", "loss-test", "pace"]) write(id, "–");
    for (const id of ["epoch-count", "step-count"]) write(id, "0");
    write("spoken", "");
  }

  draw(frame, now) {
    this.latest = frame;
    ["train", "test"].forEach((subset, k) => {
      write(`score-${subset}`, this.score(frame.score[k]));
      write(`loss-${subset}`, shown(frame.loss[k], 3));
    });
    write("epoch-count", whole(frame.epoch));
    write("step-count", whole(frame.step));
    write("pace", frame.playing && frame.steps_per_second ? whole(frame.steps_per_second) : "–");
    if (now - this.spokenAt > SPOKEN_EVERY || !frame.playing) this.speak(now);
  }

  /** Say the score to people who listen to the page. */
  speak(now = performance.now()) {
    if (!this.latest) return;
    this.spokenAt = now;
    const { step, score } = this.latest;
    const [train, test] = score.map(this.score);
    write("spoken", `Step ${whole(step)}: test ${this.scoreName} ${test}, training ${train}.`);
  }
}
