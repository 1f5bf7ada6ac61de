// @ts-check
// The colour and the dashes of each hashtag's line: the same ones every time. Pure.

/** @typedef {{light: string, dark: string, dash: number[]}} Stroke */

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
export const [COLOURS, STROKES] = [PAIRS.length, PAIRS.length * DASHES.length];

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
