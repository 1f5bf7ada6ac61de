// @ts-check
// What is known of each hashtag: its running totals over time, and the rates they mean. Pure.

/** @typedef {[at: number, total: number, since: number]} Known  a total, and since when without a gap */
/** @typedef {{at: number, tick?: number, series: Record<string, [number, number | null][]>}} History */
/** @typedef {"rate" | "total"} View */

const MINUTE = 60_000;
const ENOUGH = 10_000; // a shorter stretch than this says nothing about a rate

export class Past {
  /**
   * @param {number} keep   milliseconds to remember
   * @param {number} apart  totals further apart than this have a gap between them
   * @param {number} step   totals nearer than this replace each other (0: all are kept)
   */
  constructor(keep, apart, step = 0) {
    this.keep = keep;
    this.apart = apart;
    this.step = step;
    /** @type {Map<string, Known[]>} */
    this.series = new Map();
    /** When the newest totals were taken; 0 before the first. */
    this.at = 0;
    /** When the newest were taken that none will replace. */
    this.firm = 0;
    /** Over how long a rate is taken: a minute, or one step where steps are longer. */
    this.window = Math.max(MINUTE, step);
  }

  /** @param {History} history  replaces all that was known */
  replace(history) {
    this.series = new Map();
    this.at = history.at;
    for (const [tag, points] of Object.entries(history.series)) {
      for (const [at, total] of points) if (total !== null) this.put(tag, at, total);
    }
  }

  /**
   * One tick's totals; what is not newer than the newest is known already.
   * @param {number} at
   * @param {Record<string, number>} counts
   * @returns {boolean} whether it was news
   */
  add(at, counts) {
    if (at <= this.at) return false;
    this.at = at;
    for (const [tag, total] of Object.entries(counts)) this.put(tag, at, total);
    return true;
  }

  /** @private @param {string} tag @param {number} at @param {number} total */
  put(tag, at, total) {
    let points = this.series.get(tag);
    if (!points) this.series.set(tag, (points = []));
    const last = points.at(-1);
    const steady = last && at - last[0] <= this.apart;
    points.push([at, total, steady ? last[2] : at]);
    const before = points.at(-3);
    if (this.step && before && at - before[0] <= this.step) points.splice(-2, 1);
    this.firm = this.step ? (points.at(-2)?.[0] ?? 0) : at;
    // now and then rather than each time: dropping from the front moves all that follow
    if (at - points[0][0] > this.keep + MINUTE) points.splice(0, index(points, at - this.keep));
  }

  /** @param {string} tag @param {number} at @returns {number | null} the running total then */
  total(tag, at) {
    const points = this.series.get(tag) ?? [];
    const point = points[index(points, at)];
    return point && at - point[0] <= this.apart ? point[1] : null;
  }

  /** @param {string} tag @param {number} at @returns {number} since when, then, without a gap */
  since(tag, at) {
    const points = this.series.get(tag) ?? [];
    return points[index(points, at)]?.[2] ?? NaN;
  }

  /**
   * Posts in the minute before a moment; where less of it is known, what that part comes to.
   * @param {string} tag
   * @param {number} at
   * @returns {number | null} null where too little is known
   */
  rate(tag, at) {
    const points = this.series.get(tag) ?? [];
    const last = points[index(points, at)];
    if (!last || at - last[0] > this.apart) return null;
    const start = index(points, at - this.window);
    const whole = start >= 0 && points[start][2] === last[2];
    const first = whole ? points[start] : points[index(points, last[2])];
    const span = whole && !this.step ? this.window : at - first[0];
    return span < ENOUGH ? null : ((last[1] - first[1]) * MINUTE) / span;
  }

  /** @param {View} view @param {string} tag @param {number} at */
  value(view, tag, at) {
    return view === "rate" ? this.rate(tag, at) : this.total(tag, at);
  }

  /**
   * The line of a hashtag in its unbroken stretches.
   * @param {View} view
   * @param {string} tag
   * @param {number} from
   * @returns {[number, number][][]}
   */
  line(view, tag, from) {
    /** @type {[number, number][][]} */
    const stretches = [];
    let since = NaN;
    for (const point of this.newer(view, tag, from)) {
      const begun = this.since(tag, point[0]);
      if (begun !== since) stretches.push([]);
      since = begun;
      stretches[stretches.length - 1].push(point);
    }
    return stretches;
  }

  /**
   * What is drawn of a line after a moment. A stretch begins with its first known rate.
   * @param {View} view @param {string} tag @param {number} after
   * @returns {[number, number][]}
   */
  newer(view, tag, after) {
    const points = this.series.get(tag) ?? [];
    /** @type {[number, number][]} */
    const line = [];
    for (let i = index(points, after) + 1; i < points.length; i++) {
      const [at, , since] = points[i];
      const value = this.value(view, tag, at);
      if (value === null) continue;
      const first = at > since && this.value(view, tag, points[i - 1][0]) === null;
      if (first) line.push([since, value]);
      line.push([at, value]);
    }
    return line;
  }

  /** Forget what was known of a time in which nothing was counted. @param {number} from @param {number} to */
  cut(from, to) {
    if (to - from <= this.apart) return;
    for (const [tag, points] of this.series) {
      const kept = points.filter(([at]) => at <= from || at >= to);
      if (kept.length === points.length) continue;
      this.series.set(tag, []);
      for (const [at, total] of kept) this.put(tag, at, total);
    }
  }

  /** All that is known, as the server tells it. @returns {History} */
  told() {
    /** @type {History} */
    const history = { at: this.at, series: {} };
    for (const [tag, points] of this.series) history.series[tag] = points.map(([at, total]) => [at, total]);
    return history;
  }

  /** @returns {{from: number, to: number}[]} where nothing is known of any hashtag, between what is */
  holes() {
    const [points] = [...this.series.values()].sort((a, b) => b.length - a.length);
    const holes = [];
    for (let i = 1; i < (points?.length ?? 0); i++) {
      if (points[i][2] !== points[i - 1][2]) holes.push({ from: points[i - 1][0], to: points[i][0] });
    }
    return holes;
  }
}

/** @param {Known[]} points @param {number} at @returns {number} of the last at or before; or -1 */
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
