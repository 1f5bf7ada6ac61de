// @ts-check
// Ticks into lines that scroll. The only file that knows smoothie.

import { around } from "./scale.js";

/** @typedef {import("./series.js").Series} Series */
/** @typedef {import("./series.js").View} View */
/** @typedef {import("./scale.js").Bounds} Bounds */
/** @typedef {{data: [number, number][], disabled: boolean, append(at: number, value: number): void, dropOldData(oldest: number, least: number): void, resetBounds(): void}} TimeSeries */
/** @typedef {{colour: string, dash: number[], width: number}} Pen */
/** @typedef {{series: Series, view: View, range: number, tags: string[], hidden: Set<string>, pen: (tag: string) => Pen}} Shown */

const CLEAR = "rgba(0, 0, 0, 0)";
const CROWDED = 2; // pixels
const FAINT = "38"; // of 255, in hexadecimal: behind a colour, how much of it is seen
const SOFT = ["30", "08"]; // the same, of areas, from top to bottom
const FEW = 3; // lines, whose areas do not hide each other

/** Whether the library is there: it is put beside us by `make setup`. */
export const ready = () => "SmoothieChart" in globalThis;

const smoothie = /** @type {any} */ (globalThis);

export class Chart {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{now(): number}} clock
   * @param {{delay: number, patience: number, still: boolean}} manner  delay: milliseconds, so that a line's end
   *   is drawn before it comes into view; patience: for so many milliseconds the newest totals hold while nothing
   *   is heard; still: whether to step once a second rather than scroll
   */
  constructor(canvas, clock, { delay, patience, still }) {
    this.canvas = canvas;
    this.clock = clock;
    this.delay = delay;
    this.patience = patience;
    /** @type {Map<string, TimeSeries[]>} one for each unbroken stretch of a hashtag's line */
    this.lines = new Map();
    /** @type {WeakMap<TimeSeries, number>} when the stretch that it shows began */
    this.begins = new WeakMap();
    /** @type {Map<string, number>} in a race, the total at the left edge */
    this.starts = new Map();
    /** @type {number | null} the moment at which the picture stands still */
    this.frozen = null;
    /** @type {string | null} the hashtag that is looked at: the others are faint */
    this.marked = null;
    this.onpaint = () => {};
    this.smoothie = new smoothie.SmoothieChart({
      responsive: true,
      interpolation: "linear", // its curves would overshoot
      grid: { fillStyle: CLEAR, strokeStyle: CLEAR, verticalSections: 0, millisPerLine: 0, borderVisible: false },
      labels: { disabled: true },
      yRangeFunction: (/** @type {Bounds} */ { min, max }) =>
        this.isFromZero ? around(0, max * 1.02) : around(min, max),
    });
    this.draw = this.smoothie.render.bind(this.smoothie);
    this.rests = false; // whether the next frame is left out
    this.smoothie.render = () => this.rests ? (this.rests = false) : this.render();
    this.smoothie.streamTo(canvas, 0);
    this.still = still;
  }

  set still(/** @type {boolean} */ still) {
    this.smoothie.options.limitFPS = still ? 1 : 0;
    this.smoothie.options.scaleSmoothing = still ? 1 : 0.125;
  }

  /** The time at the right edge. */
  get edge() {
    return this.frozen ?? this.clock.now() - this.delay;
  }

  /** @returns {Bounds} of the values, as they are drawn at this moment */
  get bounds() {
    const { currentVisMinValue: min, currentValueRange: range } = this.smoothie;
    return { min, max: min + range };
  }

  /** @private  Whether the lowest value is 0. */
  get isFromZero() {
    return this.shown?.view === "rate" || this.shown?.view === "race";
  }

  /** @param {Shown} shown  what to draw from now on, all of it anew */
  show(shown) {
    const other = this.shown && (shown.view !== this.shown.view || shown.series !== this.shown.series);
    this.shown = shown;
    for (const all of this.lines.values()) for (const one of all) this.smoothie.removeTimeSeries(one);
    this.lines.clear();
    this.starts.clear();
    for (const tag of shown.tags) {
      this.lines.set(tag, []);
      this.drawFrom(tag, this.edge - shown.range - 2 * shown.series.patience);
    }
    this.known = shown.series.firm;
    this.extend();
    if (other || !this.settled) this.settle();
  }

  /**
   * @param {Shown} shown  other hashtags than before; the lines of those that stay are not touched
   * @param {string[]} fresh  of which other points are known now
   */
  change(shown, fresh) {
    this.shown = shown;
    for (const [tag, all] of this.lines) {
      if (shown.tags.includes(tag) && !fresh.includes(tag)) continue;
      for (const one of all) this.smoothie.removeTimeSeries(one);
      this.lines.delete(tag);
      this.starts.delete(tag);
    }
    for (const tag of shown.tags.filter((tag) => !this.lines.has(tag))) {
      this.lines.set(tag, []);
      this.drawFrom(tag, this.edge - shown.range - 2 * shown.series.patience);
    }
    this.colour(); // more lines than before may be too many for areas
  }

  /** @private  Take the right scale at once: only small changes are grown into. */
  settle() {
    this.smoothie.updateValueRange();
    const { min, max } = this.smoothie.valueRange;
    Object.assign(this.smoothie, { currentVisMinValue: min, currentValueRange: max - min });
    this.settled = (this.known ?? 0) > 0;
    this.smoothie.lastChartTimestamp = 0; // draw at once
  }

  /** A tick has come: each line grows by it. */
  grow() {
    if (!this.shown || this.frozen !== null) return;
    const known = this.known ?? 0;
    this.each((tag, all) => {
      forget(all, known);
      this.drawFrom(tag, known);
    });
    this.known = this.shown.series.firm;
  }

  /** @private @param {string} tag @param {number} from  what is drawn there already stays */
  drawFrom(tag, from) {
    const { series, view } = /** @type {Shown} */ (this.shown);
    for (const { begin, points } of series.lines(view, tag, from)) {
      const line = this.lineOf(tag, begin) ?? this.begin(tag, begin);
      for (const [at, value] of points) this.put(line, at, value - this.startOf(tag));
    }
  }

  /** Draw each line on to this moment, as if nothing were posted; where no tick comes for long, that goes again. */
  extend() {
    if (!this.shown || this.frozen !== null) return;
    const { series, view } = this.shown;
    const now = this.clock.now();
    if (now <= series.at) return;
    if (series.idle || now - series.at >= this.patience) return this.each((_, all) => forget(all, series.at));
    this.each((tag) => {
      const value = series.value(view, tag, now);
      if (value !== null) this.lineOf(tag, series.since(tag, now))?.append(now, value - this.startOf(tag));
    });
  }

  /** @private @param {string} tag @param {number | undefined} begin @returns {TimeSeries | undefined} */
  lineOf(tag, begin) {
    return this.lines.get(tag)?.find((line) => this.begins.get(line) === begin);
  }

  /** @private  Points that would crowd in a pixel or two replace each other.
   * @param {TimeSeries} line @param {number} at @param {number} value */
  put(line, at, value) {
    const { data } = line;
    if (data.length && at <= data[data.length - 1][0]) return;
    const crowd = (CROWDED * (this.shown?.range ?? 0)) / (this.canvas.offsetWidth || 1);
    if (data.length > 1 && at - data[data.length - 2][0] <= crowd) data.pop();
    line.append(at, value);
  }

  /** @private @param {(tag: string, all: TimeSeries[]) => void} act */
  each(act) {
    for (const [tag, all] of this.lines) act(tag, all);
  }

  /** @private @param {string} tag @param {number} at @returns {TimeSeries} for a stretch that begins then */
  begin(tag, at) {
    const line = new smoothie.TimeSeries();
    const shown = /** @type {Shown} */ (this.shown);
    this.begins.set(line, at);
    const pen = shown.pen(tag);
    line.disabled = shown.hidden.has(tag);
    const interpolation = shown.view === "rate" ? "linear" : "step";
    this.smoothie.addTimeSeries(line, { lineWidth: pen.width, interpolation });
    Object.assign(this.smoothie.getTimeSeriesOptions(line), this.coloursOf(tag)); // it would copy what is drawn with
    this.dash(line, pen);
    this.lines.get(tag)?.push(line);
    return line;
  }

  /** @private @param {string} tag  of the line and, where there are few lines, the area below it */
  coloursOf(tag) {
    const { hidden, pen, tags } = /** @type {Shown} */ (this.shown);
    const { colour } = pen(tag);
    if ((this.front ?? tag) !== tag) return { strokeStyle: `${colour}${FAINT}`, fillStyle: undefined };
    const few = this.isFromZero && tags.filter((one) => !hidden.has(one)).length <= FEW;
    if (!few) return { strokeStyle: colour, fillStyle: undefined };
    const area = this.canvas.getContext("2d")?.createLinearGradient(0, 0, 0, this.canvas.offsetHeight);
    SOFT.forEach((part, i) => area?.addColorStop(i, colour + part));
    return { strokeStyle: colour, fillStyle: area };
  }

  /** @private  Give all lines the colours that they are to have now. */
  colour() {
    this.each((tag, all) => {
      for (const line of all) Object.assign(this.smoothie.getTimeSeriesOptions(line), this.coloursOf(tag));
    });
    this.smoothie.lastChartTimestamp = 0; // draw at once
  }

  /** @returns {string | null} the hashtag whose line is looked at, and drawn */
  get front() {
    const { marked, shown } = this;
    return marked !== null && shown?.tags.includes(marked) && !shown.hidden.has(marked) ? marked : null;
  }

  /** @param {string | null} tag  to look at, or none */
  mark(tag) {
    if (!this.shown || tag === this.marked) return;
    this.marked = tag;
    this.each((each, all) => {
      if (each === this.front) for (const line of all) this.smoothie.bringToFront(line);
    });
    this.colour();
  }

  /** @private  smoothie has no dashes, but reads a line's width between save() and restore().
   * @param {TimeSeries} line @param {Pen} pen */
  dash(line, pen) {
    if (!pen.dash.length) return;
    const pattern = pen.dash.map((length) => (length * pen.width) / 2);
    const whole = pattern.reduce((sum, length) => sum + length, 0);
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    let gone = 0;
    Object.defineProperty(this.smoothie.getTimeSeriesOptions(line), "lineWidth", {
      get() {
        context.setLineDash(pattern);
        context.lineCap = "round";
        context.lineDashOffset = gone;
        return pen.width;
      },
    });
    // the dashes start at the line's first point: when it is dropped, they must not jump
    const drop = line.dropOldData.bind(line);
    line.dropOldData = (oldest, least) => {
      if (!(line.data[1]?.[0] < oldest)) return;
      const before = line.data.slice(0, 50);
      const length = line.data.length;
      drop(oldest, least);
      const dropped = before.slice(0, length - line.data.length + 1);
      gone = (gone + this.lengthOf(dropped)) % whole;
    };
  }

  /** @private @param {[number, number][]} points @returns {number} in pixels */
  lengthOf(points) {
    const { currentValueRange, clientHeight, options } = this.smoothie;
    const high = clientHeight / (currentValueRange || 1);
    let length = 0;
    for (let i = 1; i < points.length; i++) {
      const dx = (points[i][0] - points[i - 1][0]) / options.millisPerPixel;
      const dy = (points[i][1] - points[i - 1][1]) * high;
      length += this.shown?.view === "rate" ? Math.hypot(dx, dy) : dx + Math.abs(dy);
    }
    return length;
  }

  /** @private @param {string} tag @returns {number} what its line counts from: in a race, its total at the left edge */
  startOf(tag) {
    const { range, series, view } = /** @type {Shown} */ (this.shown);
    if (view !== "race") return 0;
    if (!this.starts.has(tag)) this.starts.set(tag, series.totalFrom(tag, this.edge - range) ?? 0);
    return this.starts.get(tag) ?? 0;
  }

  /** @private  In a race the left edge moves on, and each line falls by what it leaves behind. */
  startAnew() {
    this.each((tag, all) => {
      const before = this.startOf(tag);
      this.starts.delete(tag);
      const left = this.startOf(tag) - before;
      if (!left) return;
      for (const line of all) {
        for (const point of line.data) point[1] -= left;
        line.resetBounds();
      }
    });
  }

  /** @private  In place of smoothie's own: by the server's time, and never without room. */
  render() {
    const width = this.canvas.offsetWidth;
    if (!width || !this.shown) return; // it would drop all history
    this.smoothie.options.millisPerPixel = this.shown.range / width;
    if (this.shown.view === "race") this.startAnew();
    const before = this.smoothie.lastRenderTimeMillis;
    this.draw(this.canvas, this.edge);
    if (this.smoothie.lastRenderTimeMillis === before) return;
    this.prune(this.edge - this.shown.range);
    this.onpaint();
  }

  /** @private @param {number} oldest  stretches that ended before are out of sight */
  prune(oldest) {
    this.each((_, all) => {
      while (all.length > 1 && (all[0].data.at(-1)?.[0] ?? 0) < oldest) {
        this.smoothie.removeTimeSeries(all.shift());
      }
    });
  }

  /** @param {string} tag @param {number} at @returns {number | null} the line's height there, as drawn */
  valueAt(tag, at) {
    for (const { data } of this.lines.get(tag) ?? []) {
      const before = data.findLastIndex((point) => point[0] <= at);
      if (before >= 0 && data[before][0] === at) return data[before][1];
      if (before < 0 || before === data.length - 1) continue;
      const [[t0, v0], [t1, v1]] = [data[before], data[before + 1]];
      return this.shown?.view === "rate" ? v0 + ((v1 - v0) * (at - t0)) / (t1 - t0) : v0;
    }
    return null;
  }

  /** @param {string} tag @returns {number | null} the height at which its line ends, where that is in sight */
  endOf(tag) {
    const [at, value] = this.lines.get(tag)?.at(-1)?.data.at(-1) ?? [0, 0];
    return at >= this.edge - (this.shown?.range ?? 0) ? value : null;
  }

  /** @param {Set<string>} hidden */
  hide(hidden) {
    this.each((tag, all) => all.forEach((one) => (one.disabled = hidden.has(tag))));
    this.colour();
  }

  /** @param {number} ratio  of the canvas's pixels to the page's, until the next frame */
  drawSharply(ratio) {
    const { canvas, smoothie } = this;
    canvas.width = Math.floor(canvas.offsetWidth * ratio);
    canvas.height = Math.floor(canvas.offsetHeight * ratio);
    canvas.getContext("2d")?.scale(ratio, ratio);
    this.drawNow();
    smoothie.lastWidth = smoothie.lastHeight = 0; // what it goes by to see that the canvas changed
  }

  /** Draw, whatever the time. */
  drawNow() {
    this.smoothie.lastChartTimestamp = this.smoothie.lastRenderTimeMillis = 0;
    this.render();
  }

  start() {
    this.smoothie.start();
  }

  stop() {
    this.smoothie.stop();
  }
}

/** @param {TimeSeries[]} all @param {number} after  what was only assumed since then */
function forget(all, after) {
  const data = all.at(-1)?.data ?? [];
  while (data.length > 1 && data[data.length - 1][0] > after) data.pop();
}
