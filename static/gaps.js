// @ts-check
// Where something is missing, and why, in the reader's language. Pure.

import { said } from "./status.js";
import { text } from "./texts.js";

/** @typedef {import("./long.js").Gap} Gap */
/** @typedef {import("./feed.js").Tick} Tick */

const WORKING = new Set(["live", "polling"]);
const MOST = 200;

export class Gaps {
  constructor() {
    /** @type {Gap[]} */
    this.told = [];
    /** @type {Map<string, Gap>} the sources that are out at this moment */
    this.out = new Map();
  }

  /** @param {Gap[]} gaps  the server's own list */
  replace(gaps) {
    this.told = gaps.flatMap((gap) => reasons(gap).map((reason) => ({ ...gap, reason })));
  }

  /** @param {Tick} tick */
  hear(tick) {
    const states = Object.entries(tick.sources);
    const all = states.every(([, state]) => !WORKING.has(state));
    for (const [name, state] of states) {
      const gap = this.out.get(name);
      if (WORKING.has(state)) {
        if (gap) this.told = [...this.told, gap].slice(-MOST);
        this.out.delete(name);
        continue;
      }
      const { since, reason } = { since: tick.at, reason: "", ...tick.details?.[name] };
      const from = gap?.from ?? Math.min(since, tick.at);
      this.out.set(name, { from, to: tick.at, reason: said(name, state, reason), all });
    }
  }

  /**
   * @param {{from: number, to: number}[]} holes  in what is known
   * @param {string} usual                        why, where nobody says
   * @param {Gap | null} present                  from the newest that is known until now
   * @returns {Gap[]}
   */
  all(holes, usual, present) {
    const known = [...this.told, ...this.out.values(), ...(present ? [present] : [])];
    const unexplained = holes.filter((hole) => !known.some((gap) => overlap(gap, hole)));
    return merge([...known, ...unexplained.map((hole) => ({ ...hole, reason: usual }))]);
  }
}

/** @param {Gap} gap @returns {string[]} one for each source that was out, as a tick's states give them */
function reasons({ kind, sources, reason }) {
  if (!kind) return [reason];
  if (!sources) return [text(`gap.${kind}`)];
  return Object.entries(sources).map(([name, { state, reason }]) => said(name, state, reason));
}

/** @param {Gap[]} gaps @returns {Gap[]} those that touch and have one reason are one */
export function merge(gaps) {
  /** @type {Gap[]} */
  const merged = [];
  for (const gap of [...gaps].sort((a, b) => a.from - b.from)) {
    const same = merged.find((other) => other.reason === gap.reason && gap.from <= other.to);
    if (same) same.to = Math.max(same.to, gap.to);
    else merged.push({ ...gap });
  }
  return merged;
}

/** @param {{from: number, to: number}} a @param {{from: number, to: number}} b */
function overlap(a, b) {
  return Math.min(a.to, b.to) - Math.max(a.from, b.from) > 0.5 * Math.min(a.to - a.from, b.to - b.from);
}
