// @ts-check
// Times that are looked at closer: chosen, nearer, farther. All in milliseconds since 1970. Pure.

/** @typedef {[from: number, to: number]} Time */

const LEAST = 30_000;
const MOST = 30 * 86_400_000;

/** @param {number} one  end @param {number} other @param {number} now @returns {Time} between them, to the second; no less than can be read */
export function chosen(one, other, now) {
  const [from, to] = [Math.min(one, other), Math.max(one, other)];
  return inTime((from + to) / 2, 0.5, to - from, now);
}

/**
 * @param {Time} time
 * @param {number} at      of it, that stays where it is
 * @param {number} factor  how many times as long: less than 1 is nearer
 * @param {number} now
 * @returns {Time}
 */
export function zoomed([from, to], at, factor, now) {
  return inTime(at, (at - from) / (to - from), (to - from) * factor, now);
}

/**
 * Two fingers keep the moments that they are on.
 * @param {Time} moments  of the fingers, the left one first
 * @param {[left: number, right: number]} parts  of the way across the picture at which they are now
 * @param {number} now
 * @returns {Time}
 */
export function pinched([one, other], [left, right], now) {
  const apart = Math.max(0.02, right - left);
  return inTime((one + other) / 2, (left + right) / 2, (other - one) / apart, now);
}

/** @param {number} at @param {number} part  of the time, that is before it @param {number} length @param {number} now @returns {Time} */
function inTime(at, part, length, now) {
  const long = Math.min(MOST, Math.max(LEAST, length));
  const late = Math.max(0, at + long * (1 - part) - now); // nothing is known of the future
  const from = Math.round((at - long * part - late) / 1000) * 1000;
  return [from, from + Math.round(long / 1000) * 1000];
}

/** Whether a time is what the page shows by itself, or more. @param {Time} time @param {number} range @param {number} edge  of what is newest */
export function isPresent([from, to], range, edge) {
  return to - from >= range && to >= edge - Math.max(2000, (to - from) / 100);
}
