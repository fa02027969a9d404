// The settings: controls for every field of the state, drawn from the server's description of the choices.

import { same } from "./address.js";
import { make, byId, inputName } from "./dom.js";

const DATA_FIELDS =
  "x_column y_column function surface arms turns classes n_samples noise test_share seed features".split(" ");
// Drawn elsewhere: in the buttons of the data sets, in the network, on the plane.
const ELSEWHERE = new Set(["dataset", "layers", "activations", "points", "window"]);
// Selects and ranges that matter most come first; the others follow in the server's order.
const TRAINING_FIELDS = "optimizer learning_rate schedule batch_size loss l2 l1 dropout batch_norm".split(" ");
// What an empty field of an optional number means; "usual" for the others.
const EMPTY = { batch_size: "all", passes: "no end", clip_norm: "none", max_norm: "none" };

const DEBOUNCE = 90;

const TITLES = {
  features: "Inputs",
  n_samples: "Points",
  test_share: "Test fraction",
  l1: "L1",
  l2: "L2",
  batch_norm: "Batch normalisation",
  output_activation: "Output",
  init: "First weights",
  clip_norm: "Clip gradient",
  max_norm: "Clip weights",
  x_column: "Along x",
  y_column: "Along y",
  dtype: "Precision",
  reduction: "Batch loss",
  beta1: "Beta 1",
  beta2: "Beta 2",
  eps: "Epsilon",
  eps_hat: "Epsilon in the root",
  maxcor: "Past steps",
  ftol: "Loss tolerance",
  gtol: "Gradient tolerance",
  maxls: "Line search, at most",
};

// Settings that messages call by the names of Python's arguments.
const ARGUMENTS = { epsilon: "learning_rate", reg_lambda: "l2", num_passes: "passes" };

const human = (name) => {
  const text = name.replaceAll("_", " ");
  return text[0].toUpperCase() + text.slice(1);
};

/** Return the values 1, 2, 5, 10, ... from low to high: the stops of a logarithmic slider. */
function ladder(low, high) {
  const stops = low <= 0 ? [0] : [];
  for (
    let exponent = Math.floor(Math.log10(low > 0 ? low : 1e-6));
    exponent <= Math.ceil(Math.log10(high));
    exponent++
  ) {
    for (const digit of [1, 2, 5]) {
      const value = Number(`${digit}e${exponent}`);
      if (value >= low && value <= high) stops.push(value);
    }
  }
  return stops;
}

const nearest = (stops, value) =>
  stops.reduce(
    (best, stop, k) =>
      Math.abs(Math.log((stop || 1e-9) / (value || 1e-9))) <
      Math.abs(Math.log((stops[best] || 1e-9) / (value || 1e-9)))
        ? k
        : best,
    0,
  );

export class Controls {
  /** `actions.change(changes)`: fields the user has changed, by name. */
  constructor(hello, actions, palette) {
    this.choices = hello.choices;
    this.datasets = hello.datasets;
    this.palette = palette;
    this.actions = actions;
    this.fields = {};
    this.timers = {};
    this.buildDatasets();
    const isData = (name) => DATA_FIELDS.includes(name);
    const order = (first) => (a, b) => {
      const place = (name) => (first.includes(name) ? first.indexOf(name) : first.length);
      return place(a) - place(b);
    };
    const names = Object.keys(this.choices).filter((name) => !ELSEWHERE.has(name));
    byId("data-fields").replaceChildren(
      ...names
        .filter(isData)
        .sort(order(DATA_FIELDS))
        .map((name) => this.field(name)),
    );
    const training = names.filter((name) => !isData(name)).sort(order(TRAINING_FIELDS));
    const main = (name) => TRAINING_FIELDS.includes(name);
    byId("training-fields").replaceChildren(...training.filter(main).map((name) => this.field(name)));
    this.more = make(
      "details.more",
      {},
      make("summary", {}, "More settings"),
      make("div.fields", {}, ...training.filter((name) => !main(name)).map((name) => this.field(name))),
    );
    byId("training-fields").append(this.more);
  }

  buildDatasets() {
    this.thumbnails = [];
    byId("datasets").replaceChildren(
      ...this.datasets.map(({ name, title, thumbnail, kind }) => {
        const canvas = make("canvas", { width: 96, height: 96, "aria-hidden": "true" });
        this.thumbnails.push({ canvas, thumbnail, kind });
        return make(
          "label.dataset",
          { title },
          make("input", {
            type: "radio",
            name: "dataset",
            value: name,
            onchange: () => this.actions.change({ dataset: name }),
          }),
          canvas,
          make("span", {}, title),
        );
      }),
    );
    this.drawThumbnails();
  }

  drawThumbnails() {
    for (const { canvas, thumbnail, kind } of this.thumbnails) {
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, 96, 96);
      for (const [x, y, value] of thumbnail) {
        context.beginPath();
        context.arc(10 + x * 76, 86 - y * 76, kind === "regression" ? 5 : 4.2, 0, 2 * Math.PI);
        context.fillStyle =
          kind === "regression" ? this.palette.responseAt(value) : this.palette.classes[value % 10];
        context.fill();
      }
    }
  }

  changed(name, value, slowly = false) {
    clearTimeout(this.timers[name]);
    const send = () => this.actions.change({ [name]: value }, slowly);
    if (slowly) this.timers[name] = setTimeout(send, DEBOUNCE);
    else send();
  }

  field(name) {
    const choice = this.choices[name];
    const id = `field-${name}`;
    const title = TITLES[name] ?? human(name);
    const label = make("label", { htmlFor: id, title: choice.line }, title);
    const problem = make("p.field-problem", { id: `${id}-problem`, hidden: true });
    let control;
    let elements;
    if (choice.kind === "choice") {
      control = make("select", {
        id,
        onchange: () => this.changed(name, control.value === "" ? null : control.value),
      });
      elements = [label, control];
      this.fields[name] = { show: (value, state) => this.fillSelect(control, choice, value, state) };
    } else if (choice.kind === "flag") {
      control = make("input", { id, type: "checkbox", onchange: () => this.changed(name, control.checked) });
      elements = [label, control];
      this.fields[name] = {
        show: (value) => {
          control.checked = Boolean(value);
        },
      };
    } else if (choice.kind === "choices") {
      [control, elements] = this.toggles(name, choice, title);
    } else {
      [control, elements] = this.numberField(name, choice, id, label);
    }
    control.setAttribute("aria-describedby", problem.id);
    const { only, otherwise } = choice;
    const reason = otherwise ? make("p.field-reason", { id: `${id}-reason`, hidden: true }, otherwise) : null;
    const row = make(
      `div.field.${choice.kind}`,
      { title: choice.line, dataset: { field: name } },
      ...elements,
      ...(reason ? [reason] : []),
      problem,
    );
    Object.assign(this.fields[name], { title, row, control, problem, reason, only });
    return row;
  }

  /** Return a group of check boxes, of which at least one stays checked. */
  toggles(name, { values, line }, title) {
    const boxes = values.map((value) => make("input", { type: "checkbox", value: value.name }));
    const choose = ({ target }) => {
      const chosen = boxes.filter(({ checked }) => checked).map(({ value }) => value);
      if (chosen.length) this.changed(name, chosen);
      else target.checked = true;
    };
    const control = make(
      "div.toggles",
      { role: "group", "aria-label": title, onchange: choose },
      ...values.map((value, k) =>
        make("label", { title: value.line }, boxes[k], make("span", {}, inputName(value.title))),
      ),
    );
    this.fields[name] = {
      show: (value) => {
        for (const box of boxes) box.checked = value.includes(box.value);
      },
    };
    return [control, [make("span", { title: line }, title), control]];
  }

  numberField(name, choice, id, label) {
    const whole = choice.kind === "integer";
    const { minimum = 0, maximum } = choice;
    const input = make("input", {
      id,
      type: "number",
      step: "any",
      inputMode: whole ? "numeric" : "decimal",
      placeholder: choice.optional ? (EMPTY[name] ?? "usual") : "",
    });
    const read = () =>
      input.value === "" ? (choice.optional ? null : this.state?.[name]) : Number(input.value);
    input.addEventListener("change", () => this.changed(name, read()));
    const elements = [label];
    let slide = null;
    let stops = null;
    if (name === "seed") {
      elements.push(
        make(
          "button.small.dice",
          {
            type: "button",
            title: "Another seed",
            "aria-label": "Another seed",
            onclick: () => this.changed(name, ((this.state?.seed ?? 0) + 1) % (maximum + 1)),
          },
          "⟳",
        ),
      );
    } else if (maximum !== undefined && (!choice.optional || name === "batch_size")) {
      stops = choice.scale === "log" || (whole && maximum > 200) ? ladder(minimum, maximum) : null;
      slide = make("input.slide", { type: "range", tabIndex: -1, "aria-hidden": "true" });
      if (stops) Object.assign(slide, { min: choice.optional ? -1 : 0, max: stops.length - 1, step: 1 });
      else
        Object.assign(slide, {
          min: minimum,
          max: maximum,
          step: whole ? 1 : (maximum - minimum) / (maximum <= 1 ? maximum * 20 : 20),
        });
      slide.addEventListener("input", () => {
        const k = Number(slide.value);
        const value = stops ? (k < 0 ? null : stops[k]) : Number(k.toFixed(6));
        input.value = value ?? "";
        this.changed(name, value, true);
      });
      elements.push(slide);
    } else elements.push(make("span"));
    elements.push(input);
    this.fields[name] = {
      show: (value) => {
        if (document.activeElement !== input || Number(input.value) !== value) input.value = value ?? "";
        if (slide && document.activeElement !== slide)
          slide.value = stops ? (value === null ? -1 : nearest(stops, value)) : (value ?? minimum);
      },
    };
    return [input, elements];
  }

  fillSelect(select, choice, value, state) {
    const kind = this.kindOf(state);
    const options = choice.values.filter((option) => !option.kind || option.kind === kind);
    const key = options.map(({ name }) => name).join();
    if (select.dataset.options !== key) {
      select.dataset.options = key;
      select.replaceChildren(
        ...(choice.optional ? [make("option", { value: "" }, "usual")] : []),
        ...options.map(({ name, title, line }) => make("option", { value: name, title: line }, title)),
      );
    }
    select.value = value ?? "";
  }

  kindOf(state) {
    return this.datasets.find(({ name }) => name === state.dataset)?.kind ?? "classes";
  }

  /** Show a state in all controls but those, and the cards, whose names are hidden, as in a lesson. */
  show(state, hidden) {
    this.state = state;
    for (const card of document.querySelectorAll(".card"))
      card.hidden = hidden.includes(card.getAttribute("aria-labelledby").replace("-title", ""));
    for (const input of byId("datasets").querySelectorAll("input"))
      input.checked = input.value === state.dataset;
    for (const [name, field] of Object.entries(this.fields)) {
      const hasEffect = allowed(field.only, state);
      if (field.reason) this.disable(field, !hasEffect);
      field.row.hidden = hidden.includes(name) || !(hasEffect || field.reason);
      field.show(state[name], state);
    }
    this.showBest(state);
    if (hidden.includes("best")) byId("best").hidden = true;
  }

  /** Disable a field that has no effect, and show why; or enable it. */
  disable({ row, control, problem, reason }, disabled) {
    for (const element of row.querySelectorAll("input, select, button")) element.disabled = disabled;
    reason.hidden = !disabled;
    control.setAttribute("aria-describedby", disabled ? `${reason.id} ${problem.id}` : problem.id);
  }

  /** Offer the settings that are known to work for the data set, each with a word on why. */
  showBest(state) {
    const dataset = this.datasets.find(({ name }) => name === state.dataset);
    const { best = {}, why } = dataset ?? {};
    const isUsed = Object.entries(best).every(([name, value]) => same(state[name], value));
    byId("best").hidden = !dataset;
    byId("best").replaceChildren(
      make("h3", {}, "Best known settings"),
      make("p", {}, why),
      make(
        "button.plain",
        { type: "button", disabled: isUsed, onclick: () => this.actions.change(best) },
        isUsed ? "In use" : "Use them",
      ),
    );
  }

  /** Return a message of the server with the labels of settings in place of their names. */
  inWords(text) {
    return text.replace(/(?<!['\w])(?:epsilon|[a-z]+[0-9_]\w*)\b/g, (name) => {
      const field = this.fields[ARGUMENTS[name] ?? name];
      return field ? `“${field.title}”` : name;
    });
  }

  /** Mark the fields of problems {field, text}, and no others; return the texts in the words of the labels. */
  mark(problems) {
    for (const { control, problem } of Object.values(this.fields)) {
      control.removeAttribute("aria-invalid");
      problem.hidden = true;
    }
    return problems.map(({ field: name, text }) => {
      const field = this.fields[name];
      if (!field) return this.inWords(text);
      const isNamed = text.startsWith(`${name} `);
      const words = isNamed ? field.title + this.inWords(text.slice(name.length)) : this.inWords(text);
      field.control.setAttribute("aria-invalid", "true");
      field.problem.textContent = words;
      field.problem.hidden = false;
      if (this.more.contains(field.row)) this.more.open = true;
      return words;
    });
  }
}

function allowed(only, state) {
  return Object.entries(only).every(([field, values]) => values.includes(state[field]));
}
