// @ts-check
// Where something is missing, and why, in the reader's language. Pure.

import { WORKING } from "./feed.js";
import { has, language, proper, text } from "./texts.js";

/** @typedef {import("./history_api.js").Gap} Gap */
/** @typedef {import("./feed.js").Tick} Tick */

const MOST = 200;
const ENOUGH_SAID = new Set(["budget", "polling", "unknown"]); // no reason adds to it

export class Gaps {
  constructor() {
    /** @type {Gap[]} */
    this.told = [];
    /** @type {Map<string, Gap>} the sources that are out at this moment */
    this.out = new Map();
  }

  /** @param {Gap[]} gaps  the server's own list */
  replace(gaps) {
    this.told = gaps.flatMap(inWords);
  }

  /** @param {Tick} tick */
  hear(tick) {
    if (tick.gap) this.told = [...this.told, ...inWords(tick.gap)].slice(-MOST);
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

  /** @param {Gap | null} present  from the newest that is known until now @returns {Gap[]} */
  all(present) {
    return merge([...this.told, ...this.out.values(), ...(present ? [present] : [])]);
  }
}

/**
 * The time before all counting, as far as it was asked for: the stream's lines just begin.
 * @param {import("./series.js").History} history
 * @param {number} seconds
 * @returns {Gap[]}
 */
export function start({ at, series, gaps = [] }, seconds) {
  const from = at - seconds * 1000;
  const begins = Object.values(series).map((points) => points[0]?.[0] ?? at);
  const to = Math.min(at, ...begins, ...gaps.map((gap) => gap.from)); // a gap has something before it
  return to > from ? [{ from, to, reason: "", kind: "start", all: true }] : [];
}

/** @param {Gap} gap @returns {Gap[]} one for each reason, in the words of the page */
function inWords(gap) {
  if (!gap.tags) return reasons(gap).map((reason) => ({ ...gap, reason }));
  const tags = gap.tags.map((tag) => `#${tag}`).join(", ");
  return reasons(gap).map((reason) => ({ ...gap, reason: text("gap.of", { tags, reason }), all: false }));
}

/** @param {Gap} gap @returns {string[]} one for each source that was out, as a tick's states give them */
function reasons({ kind, sources, reason }) {
  if (!kind) return [reason];
  if (!sources) return [text(`gap.${kind}`)];
  return Object.entries(sources).map(([name, { state, reason }]) => said(name, state, reason));
}

/** What a source says of itself. @param {string} source @param {string} state @param {string} reason  the server's own, of a trouble */
export function said(source, state, reason) {
  const name = proper(source);
  if (source === "demo" && state === "live") return text("demo");
  if (source !== "replay" && state === "live") return text("source.live", { name });
  const isTold = reason && !ENOUGH_SAID.has(state) && (source === "replay" || !language || language === "en"); // as reasons are
  return has(`source.${state}`) && !isTold ? text(`source.${state}`, { name }) : text("source.said", { name, reason: reason || state });
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
