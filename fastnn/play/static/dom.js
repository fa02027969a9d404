// Small helpers for building the page.

/** Return a new element: `make("button.small", {type: "button"}, "text", child)`. */
export function make(selector, properties = {}, ...children) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name in element && !name.startsWith("aria") && name !== "list") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Return a number with about `digits` significant digits, with a true minus sign. */
export function shown(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  let text;
  if (size === 0) text = "0";
  else if (size >= 1e5 || size < 1e-3) {
    const [mantissa, exponent] = value.toExponential(Math.min(digits - 1, 2)).split("e");
    text = `${mantissa}·10${superscript(Number(exponent))}`;
  } else text = value.toFixed(Math.max(0, Math.min(digits + 1, digits - 1 - Math.floor(Math.log10(size)))));
  return text.replace("-", "−");
}

/** Return a number for formulas: with two decimals, or in powers of ten where these would say nothing. */
export function inFormula(value) {
  const size = Math.abs(value);
  if (size === 0 || (size >= 0.01 && size < 1000)) return (value || 0).toFixed(2).replace("-", "−");
  return shown(value, 2);
}

export const subscript = (number) =>
  [...String(number)].map((digit) => "₀₁₂₃₄₅₆₇₈₉"[digit] ?? digit).join("");

/** Return the name of an input with its numbers as subscripts: x₁, x₁², x₁·x₂. */
export const inputName = (name) => name.replace(/\d+(?=[²·]|$)/g, subscript);

export const superscript = (number) =>
  [...String(number)].map((digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])).join("");

export const whole = (number) => Math.round(number).toLocaleString("en-US");

// Sizes of canvases: to read one that a frame's texts might have changed lays out the page once more.
const sizes = new WeakMap();
const measure = ({ target }) => sizes.set(target, [target.clientWidth, target.clientHeight]);
const resized = new ResizeObserver((entries) => entries.forEach(measure));

function sizeOf(canvas) {
  if (!sizes.has(canvas)) {
    measure({ target: canvas });
    resized.observe(canvas);
  }
  return sizes.get(canvas);
}

/** Size a canvas for the screen; return its context in CSS pixels, its width and its height. */
export function fit(canvas, [width, height] = sizeOf(canvas)) {
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height };
}
