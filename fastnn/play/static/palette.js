// Colours: read from the style sheet's variables, and turned into tables from bytes to pixels.

/** Return [red, green, blue] of a colour of the style sheet in the form #rrggbb. */
function parse(text) {
  const value = parseInt(text.trim().slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

const mix = (a, b, share) => a.map((channel, k) => channel + (b[k] - channel) * share);

// Pixels of ImageData are bytes red, green, blue, alpha: as one little-endian number, alpha comes first.
const pixel = ([red, green, blue]) =>
  ((255 << 24) | (Math.round(blue) << 16) | (Math.round(green) << 8) | Math.round(red)) >>> 0;

const css = (rgb) => `rgb(${rgb.map(Math.round).join(" ")})`;

/** Return a table of 256 pixels that runs through the given colours at equal distances. */
function ramp(colours) {
  const table = new Uint32Array(256);
  for (let k = 0; k < 256; k++) {
    const place = (k / 255) * (colours.length - 1);
    const left = Math.min(Math.floor(place), colours.length - 2);
    table[k] = pixel(mix(colours[left], colours[left + 1], place - left));
  }
  return table;
}

const MAXIMUM_CLASSES = 10;

/** Return [x, y] at a distance from 0, in a direction in turns from above, clockwise. */
const corner = (distance, turn) => [
  distance * Math.sin(2 * Math.PI * turn),
  -distance * Math.cos(2 * Math.PI * turn),
];
/** Return the corners of a polygon; every second one is nearer to 0 if `inner` is below 1. */
const polygon = (count, size, turn = 0, inner = 1) =>
  Array.from({ length: count }, (_, k) => corner(k % 2 ? size * inner : size, k / count + turn));
const plus = (turn) =>
  [0, 1 / 4, 1 / 2, 3 / 4].flatMap((side) => [
    corner(1.25, turn + side - 0.055),
    corner(1.25, turn + side + 0.055),
    corner(0.6, turn + side + 1 / 8),
  ]);
// Shapes of the classes, in the order of CLASS_MARKERS in fastnn/boundary/colours.py, of about the area of a
// disc of radius 1. The disc itself has no corners.
const SHAPES = [
  [],
  polygon(4, 1.25, 1 / 8),
  polygon(3, 1.5),
  polygon(4, 1.3),
  polygon(3, 1.5, 1 / 2),
  plus(0),
  plus(1 / 8),
  polygon(10, 1.6, 0, 0.45),
  polygon(5, 1.2),
  polygon(6, 1.15),
];

/** Add the outline of a class's shape around (x, y) to the path of a canvas. */
export function traceShape(context, label, x, y, size) {
  const corners = SHAPES[label % MAXIMUM_CLASSES];
  if (!corners.length) context.arc(x, y, size, 0, 2 * Math.PI);
  for (const [dx, dy] of corners) context.lineTo(x + size * dx, y + size * dy);
  context.closePath();
}

/** Give an element of the page the colour of a class, and its shape where the page shows shapes. */
export function markClass(element, label) {
  const corners = SHAPES[label % MAXIMUM_CLASSES];
  const reach = Math.max(...corners.flat().map(Math.abs));
  const places = corners.map((corner) => corner.map((place) => `${50 + (50 * place) / reach}%`).join(" "));
  element.style.setProperty("--swatch", `var(--class-${label % MAXIMUM_CLASSES})`);
  element.style.setProperty("--shape", places.length ? `polygon(${places})` : "circle()");
}

export class Palette {
  constructor() {
    this.refresh();
  }

  /** Read the variables anew: the theme has changed. */
  refresh() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => parse(style.getPropertyValue(`--${name}`));
    const classes = Array.from({ length: MAXIMUM_CLASSES }, (_, k) => colour(`class-${k}`));
    const plane = colour("plane");
    const [low, high] = [colour("class-0"), colour("class-1")];
    this.classes = classes.map(css);
    this.regions = Uint32Array.from(classes, (rgb) => pixel(mix(plane, rgb, 0.42)));
    this.edges = Uint32Array.from(classes, (rgb) => pixel(mix(plane, rgb, 0.95)));
    this.pair = ramp([mix(plane, low, 0.74), mix(plane, low, 0.38), plane, mix(plane, high, 0.38), mix(plane, high, 0.74)]);
    const [negative, positive] = [colour("negative"), colour("positive")];
    const towards = (rgb) => [mix(plane, rgb, 0.55), mix(plane, rgb, 0.85)];
    this.positiveUnits = ramp([plane, ...towards(positive)]);
    this.units = ramp([...towards(negative).reverse(), plane, ...towards(positive)]);
    this.response = ramp(
      ["low", "middle-low", "middle", "middle-high", "high"].map((name) => colour(`response-${name}`)),
    );
    // With more than two classes, certainty from 1/k to 1 runs from the empty plane to the class's colour.
    this.certain = classes.map((rgb) => ramp([plane, mix(plane, rgb, 0.72)]));
    this.level = pixel(colour("level"));
    const names = "text muted line train test band positive negative outline plane";
    for (const name of names.split(" ")) this[name] = css(colour(name));
  }

  /** Return the colour of a response, a share from 0 to 1 of its range. */
  responseAt(share) {
    const value = this.response[Math.max(0, Math.min(255, Math.round(share * 255)))];
    return css([value & 255, (value >> 8) & 255, (value >> 16) & 255]);
  }

  /** Fill an image with the colours of a unit's picture of bytes; `signed`: 0 is in their middle. */
  colourUnit(image, { picture, signed }) {
    const pixels = new Uint32Array(image.data.buffer);
    const table = signed ? this.units : this.positiveUnits;
    for (let k = 0; k < pixels.length; k++) pixels[k] = table[picture[k]];
  }
}
