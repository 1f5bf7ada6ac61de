// @ts-check
// Which hashtags the page shows, and where each has its colour from. Pure.

import { COLOURS, placeOf, STROKES, strokeOf } from "./colours.js";

/** @typedef {import("./colours.js").Stroke} Stroke */

/** Hashtags in one request, at most, as the server has it. */
export const MOST = 20;

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
