// @ts-check
// The running totals of hashtags over time, and the rates that follow from them. Pure.
//
// Only changes are kept: between two points the total is that of the earlier one, however far
// apart they are. A line ends only where counting did.

import { living } from "./feed.js";

/** @typedef {import("./feed.js").Tick} Tick */
/** @typedef {import("./history_api.js").Gap} Gap */
/** @typedef {[at: number, total: number]} Point */
/** @typedef {{begin: number, end: number, points: Point[]}} Stretch  counted without a break; end: Infinity while it goes on */
/** @typedef {{at: number, tick?: number, series: Record<string, [number, number | null][]>, gaps?: Gap[], names?: Record<string, string>}} History */
/** @typedef {"rate" | "people" | "total" | "race"} View  race: of totals, from where the picture begins */
/** @typedef {{begin: number, points: [at: number, value: number][]}} Line  a part of one that is unbroken */

const MINUTE = 60_000;
const ENOUGH = 10_000; // a shorter stretch than this says nothing about a rate
const SAMPLE = 500; // how often a rate is drawn: it also falls between two points, as posts leave its minute

export class Series {
  /**
   * @param {number} keep      milliseconds to remember
   * @param {number} patience  milliseconds for which the newest totals hold while nothing is heard
   * @param {number} step      totals nearer than this replace each other (0: every change is kept)
   */
  constructor(keep, patience, step = 0) {
    this.keep = keep;
    this.patience = patience;
    this.step = step;
    /** @type {Map<string, Stretch[]>} */
    this.stretches = new Map();
    /** When the newest totals were taken; 0 before the first. */
    this.at = 0;
    /** When the newest were taken that none will replace. */
    this.firm = 0;
    /** Whether no source works: where none does for longer, the lines have a break. */
    this.idle = false;
    /** Over how long a rate is taken: a minute, or one step where steps are longer. */
    this.window = Math.max(MINUTE, step);
  }

  /** @param {History} history  replaces all that was known */
  replace(history) {
    this.stretches = new Map();
    this.at = this.firm = history.at;
    this.idle = false;
    this.add(history);
    const [points] = Object.values(history.series);
    if (this.step) this.firm = points?.at(-2)?.[0] ?? 0;
  }

  /** @param {History} history  of some hashtags, up to what is known of the others */
  add({ series, gaps = [] }) {
    const holes = gaps.filter((gap) => gap.all);
    for (const [tag, points] of Object.entries(series)) {
      /** @param {Stretch[]} stretches @param {Gap} gap */
      const cut = (stretches, { from, to }) => stretches.flatMap((one) => without(one, from, to, this.at));
      this.stretches.set(tag, holes.reduce(cut, stretchesOf(points)));
    }
  }

  /** @param {string[]} tags  of all others nothing is to be known any more */
  keepOnly(tags) {
    for (const tag of this.stretches.keys()) if (!tags.includes(tag)) this.stretches.delete(tag);
  }

  /**
   * One tick's totals; what is not newer than the newest is known already.
   * @param {Tick} tick
   * @returns {boolean} whether the lines grow by it
   */
  hear(tick) {
    const { at, counts, gap } = tick;
    if (at <= this.at) return false;
    if (gap && at - gap.from > this.step) this.cut(gap.from, gap.to, at);
    if (this.idle && at - this.at > this.patience) this.cut(this.at, at);
    this.idle = !living(tick);
    if (this.idle) return false; // its totals stand still because nobody counts
    this.at = at;
    for (const [tag, total] of Object.entries(counts)) this.put(tag, at, total);
    return true;
  }

  /** @private @param {string} tag @param {number} at @param {number} total */
  put(tag, at, total) {
    let stretches = this.stretches.get(tag);
    if (!stretches) this.stretches.set(tag, (stretches = []));
    if (stretches.at(-1)?.end !== Infinity) stretches.push({ begin: at, end: Infinity, points: [] });
    const { points } = stretches[stretches.length - 1];
    if (this.step || points.at(-1)?.[1] !== total) points.push([at, total]);
    const before = points.at(-3);
    if (this.step && before && at - before[0] <= this.step) points.splice(-2, 1);
    this.firm = this.step ? (points.at(-2)?.[0] ?? 0) : at;
    this.forget(stretches, at - this.keep);
  }

  /** @private @param {Stretch[]} stretches @param {number} oldest  moment that may be asked for */
  forget(stretches, oldest) {
    while (stretches[0].end < oldest) stretches.shift();
    const [{ points }] = stretches;
    // now and then rather than each time: dropping from the front moves all that follow
    if (oldest - points[0][0] > MINUTE) points.splice(0, index(points, oldest));
  }

  /**
   * Nothing was counted between two moments.
   * @param {number} from
   * @param {number} to
   * @param {number} newest  until when the totals are known
   */
  cut(from, to, newest = this.at) {
    for (const [tag, stretches] of this.stretches) {
      this.stretches.set(tag, stretches.flatMap((stretch) => without(stretch, from, to, newest)));
    }
  }

  /** @private @param {string} tag @param {number} at @returns {Stretch | undefined} */
  stretch(tag, at) {
    const found = this.stretches.get(tag)?.findLast(({ points }) => points[0][0] <= at);
    return found && at <= Math.min(found.end, this.at + this.patience) ? found : undefined;
  }

  /** @param {string} tag @param {number} at @returns {number | null} the running total then */
  total(tag, at) {
    const points = this.stretch(tag, at)?.points;
    return points ? points[index(points, at)][1] : null;
  }

  /** @param {string} tag @param {number} at @returns {number | null} the running total then, or when counting went on after it */
  totalFrom(tag, at) {
    const later = this.stretches.get(tag)?.find(({ points }) => points[0][0] > at);
    return this.total(tag, at) ?? later?.points[0][1] ?? null;
  }

  /** @param {string} tag @param {number} at @returns {number | undefined} since when there was, then, no break */
  since(tag, at) {
    return this.stretch(tag, at)?.begin;
  }

  /**
   * Posts in the minute before a moment; where less of it is known, what that part comes to.
   * @param {string} tag
   * @param {number} at
   * @returns {number | null} null where too little is known
   */
  rate(tag, at) {
    const points = this.stretch(tag, at)?.points;
    if (!points) return null;
    const start = index(points, at - this.window);
    const [since, before] = points[Math.max(0, start)];
    const span = start >= 0 && !this.step ? this.window : at - since;
    const posts = Math.max(0, points[index(points, at)][1] - before); // a total that was spoilt begins anew
    return span < ENOUGH ? null : (posts * MINUTE) / span;
  }

  /** @param {View} view @param {string} tag @param {number} at */
  value(view, tag, at) {
    return view === "rate" ? this.rate(tag, at) : this.total(tag, at);
  }

  /**
   * What is drawn of a hashtag from a moment on, in unbroken lines: where a rate is not known yet, nothing.
   * @param {View} view
   * @param {string} tag
   * @param {number} from
   * @returns {Line[]}
   */
  lines(view, tag, from) {
    const lines = [];
    for (const stretch of this.stretches.get(tag) ?? []) {
      /** @type {[number, number][]} */
      const points = [];
      for (const at of this.moments(view, stretch, from)) {
        const value = this.value(view, tag, at);
        if (value !== null) points.push([at, value]);
      }
      if (points.length) lines.push({ begin: stretch.begin, points });
    }
    return lines;
  }

  /** @private @param {View} view @param {Stretch} stretch @param {number} from @returns {Generator<number>} */
  *moments(view, { points, end }, from) {
    const last = Math.min(end, this.at);
    if (last < from) return;
    if (this.step) {
      yield* points.slice(Math.max(0, index(points, from))).map(([at]) => at);
      return;
    }
    const first = Math.max(from, points[0][0]);
    const changes = points.slice(index(points, first) + 1).map(([at]) => at);
    yield first;
    for (const at of view === "rate" ? samples(first, last) : changes) if (at < last) yield at;
    if (last > first) yield last;
  }

  /** @param {string} tag @returns {Point[]} where its total began or changed, and the newest */
  points(tag) {
    const points = (this.stretches.get(tag) ?? []).flatMap((stretch) => stretch.points);
    const last = points.at(-1);
    return last && last[0] < this.at ? [...points, [this.at, last[1]]] : points;
  }

  /** All that is known, as the server tells it. @param {string[]} tags  or of these @returns {History} */
  told(tags = [...this.stretches.keys()]) {
    const known = tags.filter((tag) => this.stretches.has(tag));
    const series = Object.fromEntries(known.map((tag) => [tag, this.points(tag)]));
    return { at: this.at, series, gaps: this.holes().map((hole) => ({ ...hole, reason: "", all: true })) };
  }

  /** @returns {{from: number, to: number}[]} where nothing is known of any hashtag, between what is */
  holes() {
    const [stretches] = [...this.stretches.values()].sort((a, b) => b.length - a.length);
    return (stretches ?? []).slice(1).map(({ begin }, i) => ({ from: stretches[i].end, to: begin }));
  }
}

/** @param {[number, number | null][]} told  null where a hashtag was not counted @returns {Stretch[]} */
function stretchesOf(told) {
  /** @type {Stretch[]} */
  const stretches = [];
  /** @type {Stretch | undefined} */
  let last;
  told.forEach(([at, total], i) => {
    if (total === null) {
      // the newest of all is no break: its time has only begun
      if (last && i < told.length - 1) [last.end, last] = [told[i - 1][0], undefined];
    } else if (last) last.points.push([at, total]);
    else stretches.push((last = { begin: at, end: Infinity, points: [[at, total]] }));
  });
  return stretches;
}

/**
 * What is left of a stretch without the time between two moments.
 * @param {Stretch} stretch
 * @param {number} from
 * @param {number} to
 * @param {number} newest  nothing is known after it
 * @returns {Stretch[]}
 */
function without(stretch, from, to, newest) {
  const { begin, end, points } = stretch;
  const [[first]] = points; // later than the beginning, where that was forgotten
  if (to <= first || from >= end) return [stretch];
  const left = first <= from ? [{ begin, end: from, points: points.slice(0, index(points, from) + 1) }] : [];
  if (to >= Math.min(end, newest)) return left;
  const [, total] = points[index(points, to)];
  return [...left, { begin: to, end, points: [[to, total], ...points.slice(index(points, to) + 1)] }];
}

/** @param {number} from @param {number} to @returns {Generator<number>} round times, so that a line drawn anew has the same ones */
function* samples(from, to) {
  for (let at = (Math.floor(from / SAMPLE) + 1) * SAMPLE; at < to; at += SAMPLE) yield at;
}

/** @param {Point[]} points @param {number} at @returns {number} of the last at or before; or -1 */
function index(points, at) {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
