// @ts-check
// Which hashtags the page shows, and the colour and the dashes of each: the same ones every time. Pure.

/** @typedef {{light: string, dark: string, dash: number[]}} Stroke */

/** Hashtags in one request, at most, as the server has it. */
export const MOST = 20;

// After Okabe and Ito, darkened or lightened until also small text in them can be read (AA),
// and in an order that keeps neighbours apart for colour-blind people.
const PAIRS = [
  ["#0072b2", "#56b4e9"],
  ["#c04e00", "#ff8c42"],
  ["#00805d", "#2dd4a0"],
  ["#4a3aa7", "#a99cff"],
  ["#806600", "#f0d13c"],
  ["#4d5560", "#c3cad4"],
  ["#b3261e", "#ff7a70"],
  ["#a6418a", "#e79ac9"],
  ["#6b4423", "#cfa376"],
];

const DASHES = [[], [9, 5], [0.1, 5], [11, 5, 0.1, 5]];

/** So many there are, and so many that differ in colour or dashes. */
const [COLOURS, STROKES] = [PAIRS.length, PAIRS.length * DASHES.length];

export class Selection {
  /**
   * @param {string[]} tracked
   * @param {string[]} wished  none: all that are tracked
   */
  constructor(tracked, wished) {
    this.tracked = tracked;
    this.wished = wished;
    /** @type {Set<string>} of which the past has not come yet */
    this.owed = new Set();
    /** @type {Map<string, number>} where the colour and the dashes of each come from */
    this.places = new Map();
    this.settle();
  }

  /** @returns {string[]} */
  get tags() {
    return this.wished.length ? this.wished : this.tracked;
  }

  /** @param {string[]} tags  from now on @returns {string[]} those of which the past is to be asked for */
  change(tags) {
    const before = this.tags;
    this.wished = tags.join() === this.tracked.join() ? [] : tags;
    this.owed = new Set(tags.filter((tag) => this.owed.has(tag) || !before.includes(tag)));
    this.settle();
    return [...this.owed];
  }

  /** @param {string[]} tracked  by the server from now on; they are shown, as nothing else was asked for */
  adopt(tracked) {
    this.tracked = tracked;
    this.owed.clear();
    this.settle();
  }

  /** @param {string[]} tags  of which the past has come */
  told(tags) {
    for (const tag of tags) this.owed.delete(tag);
  }

  /** @param {string} tag @returns {Stroke} */
  strokeOf(tag) {
    return strokeOf(this.places.get(tag) ?? placeOf(tag, this.tracked));
  }

  /** @private  Each keeps the place that it has; a new one whose colour is taken gets the next that is free. */
  settle() {
    const places = new Map([...this.places].filter(([tag]) => this.tags.includes(tag)));
    const fresh = this.tags.filter((tag) => !places.has(tag));
    // those that are tracked first: they are to have the colour that they have everywhere
    fresh.sort((a, b) => Number(this.tracked.includes(b)) - Number(this.tracked.includes(a)));
    for (const tag of fresh) places.set(tag, free(placeOf(tag, this.tracked), [...places.values()]));
    this.places = places;
  }
}

/** @param {number} place @param {number[]} taken @returns {number} it, or the next of another colour; or, if all are taken, of another stroke */
function free(place, taken) {
  const colours = new Set(taken.map((one) => one % COLOURS));
  const kinds = colours.size < COLOURS ? COLOURS : STROKES;
  const others = new Set(taken.map((one) => one % kinds));
  while (others.size < kinds && others.has(place % kinds)) place++;
  return place;
}

/** @param {number} place @returns {Stroke} no two of the first 36 are the same */
export function strokeOf(place) {
  const [light, dark] = PAIRS[place % PAIRS.length];
  return { light, dark, dash: DASHES[place % DASHES.length] };
}

/**
 * A tracked hashtag has its place in the server's list, any other one by its name.
 * @param {string} tag
 * @param {string[]} tracked
 */
export function placeOf(tag, tracked) {
  const place = tracked.indexOf(tag);
  if (place >= 0) return place;
  let sum = 0;
  for (const char of tag) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 65_521;
  return sum;
}
