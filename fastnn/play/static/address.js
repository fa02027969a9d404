// The address: everything that describes the run stands in the fragment, as `field=value&...`.
//
// The data set comes first, and fields that equal their defaults are left out: an address means the same
// whatever a server shows by itself. Lists are joined by commas, null is empty. Painted points are packed, in
// thousandths: four characters a point, of 12 bits a coordinate, and "." with a class before points of another class
// than the last. Where one is too far away, all are `x,y,class` joined by semicolons.

const EVERY = 350;
const VIEW_FIELDS = { view: "choice", speed: "number", sample: "integer", hide: "choices" };

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const HALF = 2048; // half the range of a packed coordinate

/** Return points [x, y, class] in thousandths as text. */
function pack(points) {
  const isNear = ([x, y, label]) => Math.min(x, y) >= -HALF && Math.max(x, y) < HALF && /^\d$/.test(label);
  if (!points.every(isNear)) return points.join(";");
  let last = 0;
  const digits = (at) => DIGITS[(at + HALF) >> 6] + DIGITS[(at + HALF) & 63];
  return points
    .map(([x, y, label]) => {
      const other = label === last ? "" : `.${label}`;
      last = label;
      return other + digits(x) + digits(y);
    })
    .join("");
}

/** Return the points [x, y, class] of a packed text; null if it is damaged. */
function unpack(text) {
  if (!/^(\.\d|[\w-]{4})*$/.test(text)) return null;
  let label = 0;
  const points = [];
  for (const [part] of text.matchAll(/\.\d|[\w-]{4}/g)) {
    const [a, b, c, d] = [...part].map((digit) => DIGITS.indexOf(digit));
    if (part[0] === ".") label = Number(part[1]);
    else points.push([64 * a + b - HALF, 64 * c + d - HALF, label]);
  }
  return points;
}

/** Return true if two values of a state are equal. */
export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** Return a value as the text it has in the address. */
function written(kind, value) {
  if (value === null || value === undefined) return "";
  if (kind === "points") {
    return pack(value.map(([x, y, label]) => [Math.round(x * 1000), Math.round(y * 1000), label]));
  }
  if (kind === "flag") return value ? "1" : "0";
  return Array.isArray(value) ? value.join(",") : String(value);
}

/** Return the value that a text of the address means; an unreadable text stays, for the server to refuse. */
function read(kind, text) {
  const number = (one) => (one.trim() !== "" && Number.isFinite(Number(one)) ? Number(one) : one);
  switch (kind) {
    case "flag":
      return text === "1" || text === "true" ? true : text === "0" || text === "false" ? false : text;
    case "integers":
      return text === "" ? [] : text.split(",").map(number);
    case "choices":
      return text === "" ? [] : text.split(",");
    case "points":
      return (unpack(text) ?? text.split(";").map((point) => point.split(",").map(number))).map(
        ([x, y, label]) => [x / 1000, y / 1000, label],
      );
    case "number":
    case "integer":
      return text === "" ? null : number(text);
    default:
      return text === "" ? null : text;
  }
}

/** Return the fragment of a state, without "#". */
export function format(state, view, choices, viewDefaults) {
  const fields = [];
  const add = (name, text) =>
    fields.push(`${name}=${encodeURIComponent(text).replace(/%2C/g, ",").replace(/%3B/g, ";")}`);
  for (const [name, choice] of Object.entries(choices)) {
    if (name === "dataset" || (name in state && !same(state[name], choice.default)))
      add(name, written(choice.kind, state[name]));
  }
  for (const name of Object.keys(VIEW_FIELDS)) {
    if (!same(view[name], viewDefaults[name])) add(name, written(VIEW_FIELDS[name], view[name]));
  }
  return fields.join("&");
}

/** Return {state, view, unknown} of a fragment: the fields it names, nothing else. */
export function parse(fragment, choices) {
  const state = {};
  const view = {};
  const unknown = [];
  for (const field of fragment.replace(/^#/, "").split("&")) {
    if (!field) continue;
    const [name, ...rest] = field.split("=");
    let text = rest.join("=");
    try {
      text = decodeURIComponent(text);
    } catch {
      /* A stray % stays as it is. */
    }
    if (Object.hasOwn(choices, name)) state[name] = read(choices[name].kind, text);
    else if (Object.hasOwn(VIEW_FIELDS, name)) view[name] = read(VIEW_FIELDS[name], text);
    else unknown.push(name);
  }
  return { state, view, unknown };
}

/** The address of the page. It follows within `EVERY` milliseconds: browsers refuse more frequent writes. */
export class Address {
  /** `fragment()` returns what the address is to hold; `pasted()` is called when the user has changed it. */
  constructor(fragment, pasted) {
    this.fragment = fragment;
    this.timer = null;
    this.writtenAt = -Infinity;
    window.addEventListener("hashchange", () => {
      clearTimeout(this.timer);
      this.timer = null;
      pasted();
    });
  }

  /** Return the whole address as it is now. */
  get current() {
    this.replace();
    return location.href;
  }

  write() {
    this.timer ??= setTimeout(() => this.replace(), Math.max(0, this.writtenAt + EVERY - performance.now()));
  }

  replace() {
    clearTimeout(this.timer);
    this.timer = null;
    this.writtenAt = performance.now();
    const fragment = this.fragment();
    history.replaceState(null, "", `${location.pathname}${location.search}${fragment ? `#${fragment}` : ""}`);
  }
}
