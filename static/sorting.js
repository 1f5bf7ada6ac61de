// @ts-check
// The table's rows, the busiest first; but calmly, so that eyes can follow, and never under a hand.

import { arrange, isInHand } from "./row_motion.js";

/** @typedef {import("./table.js").Reading} Reading */

const CALM = 5000; // milliseconds between two changes of the order, at least
const AHEAD = 1.1; // times the rate of the one above, to overtake it

export class Sorting {
  /** @param {import("./table.js").Table} table */
  constructor(table) {
    this.table = table;
    this.sorted = 0;
  }

  /** @param {Reading[]} readings  that the table shows */
  sort(readings) {
    const { body, order: before, rows } = this.table;
    const now = performance.now();
    if (this.sorted && now - this.sorted < CALM) return;
    if (isInHand(body)) return;
    const rate = new Map(readings.map((reading) => [reading.tag, reading.rate ?? 0]));
    if (!readings.some((reading) => reading.rate !== null)) return;
    const order = calmly(before, rate, this.sorted ? AHEAD : 1);
    const sorted = order.map((tag) => /** @type {import("./table.js").Row} */ (rows.get(tag)).row);
    if (order.join() !== before.join()) arrange(body, sorted, this.sorted > 0);
    this.sorted = now;
  }
}

/**
 * Sort by rate, but let none overtake that is only a little ahead. Pure.
 * @param {string[]} order
 * @param {Map<string, number>} rate
 * @param {number} ahead
 */
export function calmly(order, rate, ahead) {
  const sorted = [...order];
  const of = (/** @type {string} */ tag) => rate.get(tag) ?? 0;
  for (let i = 1; i < sorted.length; i++) {
    for (let j = i; j > 0 && of(sorted[j]) > of(sorted[j - 1]) * ahead; j--) {
      [sorted[j - 1], sorted[j]] = [sorted[j], sorted[j - 1]];
    }
  }
  return sorted;
}
