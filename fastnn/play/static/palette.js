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

export const MAXIMUM_CLASSES = 10;

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
    this.pair = ramp([
      mix(plane, low, 0.74),
      mix(plane, low, 0.38),
      plane,
      mix(plane, high, 0.38),
      mix(plane, high, 0.74),
    ]);
    this.units = ramp([low, mix(plane, low, 0.6), plane, mix(plane, high, 0.6), high]);
    this.positiveUnits = ramp([plane, mix(plane, high, 0.6), high]);
    this.response = ramp(
      ["low", "middle-low", "middle", "middle-high", "high"].map((name) => colour(`response-${name}`)),
    );
    // With more than two classes, certainty from 1/k to 1 runs from the empty plane to the class's colour.
    this.certain = classes.map((rgb) => ramp([plane, mix(plane, rgb, 0.72)]));
    this.level = pixel(colour("level"));
    const names = "text muted line train test band positive negative outline";
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
