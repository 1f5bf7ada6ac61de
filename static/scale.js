// @ts-check
// Where the lines of the grid go: round values, round times. Pure.

/** @typedef {{min: number, max: number}} Bounds */

const SECTIONS = 4;

/**
 * Round bounds around these, cut into four equal sections.
 * @param {number} min
 * @param {number} max
 * @returns {Bounds}
 */
export function around(min, max) {
  if (!(max >= min)) return { min: 0, max: SECTIONS };
  const least = Math.max(max - min, SECTIONS) / SECTIONS;
  for (const step of roundNumbers(least)) {
    const bottom = Math.floor(min / step) * step;
    if (bottom + SECTIONS * step >= max) return { min: bottom, max: bottom + SECTIONS * step };
  }
  return { min, max };
}

/** @param {number} least @returns {Generator<number>} 1, 2, 5, 10, 15, 20, 25, 30, 40 … from there on */
function* roundNumbers(least) {
  for (let power = 10 ** Math.floor(Math.log10(least)); ; power *= 10) {
    for (const digit of power < 10 ? [1, 2, 5] : [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8]) {
      if (digit * power >= least) yield digit * power;
    }
  }
}

/** @param {Bounds} bounds @returns {number[]} */
export function values({ min, max }) {
  return Array.from({ length: SECTIONS + 1 }, (_, i) => min + ((max - min) * i) / SECTIONS);
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const STEPS = [5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200]
  .map((seconds) => seconds * SECOND)
  .concat([1, 2, 4, 7].map((days) => days * 24 * HOUR));

/**
 * Round times of the reader's own clock, not nearer than so many pixels.
 * @param {number} from
 * @param {number} to
 * @param {number} width   of all that time, in pixels
 * @param {number} apart   pixels
 * @param {(at: number) => number} zone  minutes that local time is behind UTC
 * @returns {{step: number, times: number[]}}
 */
export function times(from, to, width, apart, zone = (at) => new Date(at).getTimezoneOffset()) {
  const least = ((to - from) * apart) / Math.max(1, width);
  const step = STEPS.find((candidate) => candidate >= least) ?? STEPS[STEPS.length - 1];
  const shift = zone(to) * MINUTE;
  const found = [];
  for (let at = (Math.ceil((from - shift) / step) - 1) * step + shift; at <= to; at += step) {
    // summer time may have begun or ended since
    const local = step > 2 * HOUR ? at + zone(at) * MINUTE - shift : at;
    if (local >= from && local <= to) found.push(local);
  }
  return { step, times: found };
}

/**
 * Places for labels that want to be at these heights, so that none covers another.
 * @param {number[]} wanted
 * @param {number} height  of one
 * @param {number} room    all the height there is
 * @returns {number[]} in the same order
 */
export function spread(wanted, height, room) {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b]);
  const gap = Math.min(height, room / Math.max(1, wanted.length));
  const places = [...wanted];
  let free = gap / 2;
  for (const i of order) {
    places[i] = Math.max(places[i], free);
    free = places[i] + gap;
  }
  free = room - gap / 2;
  for (const i of order.reverse()) {
    places[i] = Math.min(places[i], free);
    free = places[i] - gap;
  }
  return places;
}
