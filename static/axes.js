// @ts-check
// What the lines are drawn on: grid, times, gaps with their reasons, and the name at each line's end.

import { spread, times, values } from "./scale.js";
import { minuteOf, number, span, text, time } from "./texts.js";

/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {import("./chart.js").Shown} Shown */
/** @typedef {import("./history_api.js").Gap} Gap */
/** @typedef {{text: string, muted: string, grid: string, gap: string, panel: string, font: string, size: number}} Look */

const MINUTE = 60_000;
const ROWS = 3;
const FAINT = 0.45; // a line's end that is not of now, or not of the line that is looked at
const MANY = 8; // lines, whose names have no room beside their ends

export class Axes {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Chart} chart
   * @param {() => Gap[]} gaps
   * @param {(tag: string) => string} named
   */
  constructor(canvas, chart, gaps, named) {
    this.canvas = canvas;
    this.chart = chart;
    this.gaps = gaps;
    this.empty = true; // of lines
    this.reasons = 0; // of gaps, in rows
    /** How many of the canvas's pixels one of the page's is; 0: as the screen has it. */
    this.ratio = 0;
    // isolated, so that a name of right-to-left letters keeps to itself
    this.label = (/** @type {string} */ tag) => `\u2068#${named(tag)}\u2069`;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.left = this.right = this.width = 0;
    this.look = lookOf(canvas);
  }

  /** Colours and letters may have changed. */
  restyle() {
    this.look = lookOf(this.canvas);
    this.left = this.right = 0;
  }

  paint() {
    const { canvas, context } = this;
    const shown = this.chart.shown;
    const [width, height] = [canvas.offsetWidth, canvas.offsetHeight];
    if (!width || !shown) return;
    const ratio = this.ratio || devicePixelRatio;
    if (canvas.width !== Math.floor(width * ratio)) canvas.width = Math.floor(width * ratio);
    if (canvas.height !== Math.floor(height * ratio)) canvas.height = Math.floor(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const lines = shown.tags.filter((tag) => !shown.hidden.has(tag));
    this.leaveRoom(lines, width);
    const box = this.box;
    this.drawGaps(shown, box);
    this.drawValues(box);
    this.drawTimes(shown, box);
    this.drawEnds(shown, lines, box);
  }

  /** Where in this canvas the lines are. */
  get box() {
    const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = this.chart.canvas;
    return { left: offsetLeft, top: offsetTop, width: offsetWidth, height: offsetHeight };
  }

  /** @private  The margins only grow, so that nothing jumps as numbers change. */
  leaveRoom(/** @type {string[]} */ lines, /** @type {number} */ width) {
    const { size } = this.look;
    if (width !== this.width) this.left = this.right = 0; // a phone was turned, a window resized
    const resized = this.width && width !== this.width;
    this.width = width;
    this.letter(size);
    const widest = (/** @type {string[]} */ words) =>
      Math.max(0, ...words.map((word) => this.context.measureText(word).width));
    const left = Math.ceil((widest(values(this.chart.bounds).map(number)) + size) / 8) * 8;
    this.letter(size, "bold");
    const right = Math.min(widest(lines.map(this.label)) + (0.8 + this.space(lines)) * size, width * 0.3, 13 * size);
    if (left <= this.left && right <= this.right) return;
    this.left = Math.max(left, this.left);
    this.right = Math.max(Math.ceil(right), this.right);
    const { style } = this.chart.canvas;
    style.left = `${this.left}px`;
    style.width = `${width - this.left - this.right}px`;
    // how near each other points may be depends on the width
    if (resized && this.chart.shown) this.chart.show(this.chart.shown);
  }

  /** @private */
  drawGaps(/** @type {Shown} */ { range }, /** @type {Box} */ box) {
    const edge = this.chart.edge;
    const place = (/** @type {number} */ at) =>
      box.left + box.width * Math.min(1, Math.max(0, 1 - (edge - at) / range));
    const seen = this.gaps()
      .map((gap) => ({ gap, x0: place(gap.from), x1: place(gap.to) }))
      .filter(({ x0, x1 }) => x1 - x0 >= 1);
    this.context.fillStyle = this.look.gap;
    for (const { gap, x0, x1 } of seen) {
      this.context.globalAlpha = gap.kind === "start" ? 0 : gap.all === false ? 0.5 : 1; // 0.5: another source went on
      this.context.fillRect(x0, box.top, x1 - x0, box.height);
    }
    this.context.globalAlpha = 1;
    /** @type {number[]} where the last reason in each row ends */
    const rows = [];
    for (const { gap, x0, x1 } of seen) {
      if (gap.kind === "start") this.drawStart(gap, x0, x1, box);
      else this.drawReason(gap, (x0 + x1) / 2, box, rows);
    }
    this.reasons = rows.length;
  }

  /** @private  Above; reasons near each other are in rows of their own. */
  drawReason(/** @type {Gap} */ gap, /** @type {number} */ centre, /** @type {Box} */ box, /** @type {number[]} */ rows) {
    const { context, look } = this;
    this.letter(look.size * 0.9);
    const whole = `${gap.reason} · ${span(gap.to - gap.from)}`;
    const words = context.measureText(whole).width < 0.7 * box.width ? whole : this.cut(gap.reason, box.width);
    const half = context.measureText(words).width / 2;
    const middle = Math.min(Math.max(centre, box.left + half), box.left + box.width - half);
    const free = rows.findIndex((end) => end < middle - half);
    const row = free < 0 ? rows.length : free;
    if (row === ROWS) return;
    rows[row] = middle + half + look.size;
    context.fillStyle = look.muted;
    context.textAlign = "center";
    context.fillText(words, middle, box.top + look.size * (1.4 * row - 0.5));
  }

  /** @private  Before all counting nothing is wrong, so nothing is shaded. */
  drawStart(/** @type {Gap} */ gap, /** @type {number} */ x0, /** @type {number} */ x1, /** @type {Box} */ box) {
    const { context, look } = this;
    context.fillStyle = look.muted;
    for (let y = box.top; y < box.top + box.height; y += 7) context.fillRect(Math.round(x1), y, 1, 3);
    const words = [text(gap.people ? "began.people" : "began", { time: minuteOf(gap.to, this.chart.edge) })];
    if (this.empty && !gap.people) words.push(text("soon"));
    this.letter(look.size);
    context.textAlign = "center";
    if (Math.max(...words.map((word) => context.measureText(word).width)) > x1 - x0 - look.size) return;
    const y = box.top + box.height * 0.38; // between two lines of the grid
    words.forEach((word, i) => context.fillText(word, (x0 + x1) / 2, y + (i - 0.5) * 1.5 * look.size));
  }

  /** @private */
  drawValues(/** @type {Box} */ box) {
    const { context, look } = this;
    this.letter(look.size);
    context.textAlign = "right";
    for (const value of this.gridValues()) {
      const y = box.top + this.heightOf(value, box);
      if (y < box.top - 1 || y > box.top + box.height + 1) continue;
      context.fillStyle = look.grid;
      context.fillRect(box.left, Math.round(y), box.width, 1);
      context.fillStyle = look.muted;
      context.fillText(number(value), box.left - look.size * 0.6, y + look.size * 0.35);
    }
  }

  /** @private  Round values: those of the scale that the chart is moving to. */
  gridValues() {
    const { min, max } = this.chart.smoothie.valueRange ?? this.chart.bounds;
    return values({ min, max });
  }

  /** @param {number} value @param {Box} box */
  heightOf(value, box) {
    const { min, max } = this.chart.bounds;
    return box.height * (1 - (value - min) / (max - min || 1));
  }

  /** @private */
  drawTimes(/** @type {Shown} */ { range }, /** @type {Box} */ box) {
    const { context, look } = this;
    const edge = this.chart.edge;
    const live = this.chart.frozen === null;
    const y = box.top + box.height + look.size * 1.7;
    const word = context.measureText(time(edge, range / 100)).width + 2 * look.size;
    const minute = range > MINUTE ? (MINUTE / range) * box.width - 1 : 0; // no seconds where they do not matter
    const found = times(edge - range, edge, box.width, Math.max(word, minute));
    const nowFrom = box.left + box.width - look.size * 4.2;
    context.fillStyle = look.muted;
    context.textAlign = "center";
    for (const at of found.times) {
      const x = box.left + box.width * (1 - (edge - at) / range);
      if (!live || x < nowFrom) context.fillText(time(at, found.step), x, y);
    }
    if (live) context.fillText(text("now"), box.left + box.width, y);
  }

  /** @private */
  drawEnds(/** @type {Shown} */ shown, /** @type {string[]} */ lines, /** @type {Box} */ box) {
    const { context, look } = this;
    const ends = lines.flatMap((tag) => {
      const now = this.chart.valueAt(tag, this.chart.edge);
      const value = now ?? this.chart.endOf(tag);
      return value === null ? [] : [{ tag, y: this.heightOf(value, box), pen: shown.pen(tag), known: now !== null }];
    });
    this.empty = lines.length > 0 && ends.length === 0;
    if (!lines.length && shown.tags.length) this.drawHint(box);
    const size = Math.min(look.size * 1.05, box.height / Math.max(1, ends.length));
    const places = spread(ends.map((end) => end.y), size * 1.35, box.height);
    const x = box.left + box.width;
    this.letter(size, "bold");
    context.textAlign = "left";
    const space = this.space(lines) * look.size;
    ends.forEach(({ tag, y, pen, known }, i) => {
      context.globalAlpha = known && (this.chart.front ?? tag) === tag ? 1 : FAINT;
      this.dot(x, box.top + y, pen);
      if (lines.length >= MANY) this.drawLeader(x + pen.width * 2.2, box.top + y, x + space * 0.9, box.top + places[i], pen.colour);
      const label = this.cut(this.label(tag), this.right - space - look.size * 0.3);
      context.fillText(label, x + space, box.top + places[i] + size * 0.35);
    });
    context.globalAlpha = 1;
  }

  /** @private  Between a line's end and its name, in ems: more where names are far from their ends. */
  space(/** @type {string[]} */ lines) {
    return lines.length >= MANY ? 1.7 : 0.8;
  }

  /** @private  From a line's end to its name. */
  drawLeader(/** @type {number} */ x0, /** @type {number} */ y0, /** @type {number} */ x1, /** @type {number} */ y1, /** @type {string} */ colour) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
  }

  /** On a line. @param {number} x @param {number} y @param {import("./chart.js").Pen} pen  the line's */
  dot(x, y, { colour, width }) {
    const { context } = this;
    context.fillStyle = colour;
    context.beginPath();
    context.arc(x, y, width * 2.2, 0, 2 * Math.PI);
    context.fill();
  }

  /** @private  Where all lines are hidden. */
  drawHint(/** @type {Box} */ box) {
    const { context, look } = this;
    this.letter(look.size);
    context.textAlign = "center";
    context.fillStyle = look.muted;
    context.fillText(this.cut(text("allHidden"), box.width), box.left + box.width / 2, box.top + box.height * 0.38);
  }

  /** @private @param {string} words @param {number} room */
  cut(words, room) {
    if (this.context.measureText(words).width <= room) return words;
    const letters = [...words];
    while (letters.length > 3 && this.context.measureText(`${letters.join("")}…`).width > room) letters.pop();
    return `${letters.join("")}…`;
  }

  /** @private @param {number} size @param {string} weight */
  letter(size, weight = "normal") {
    this.context.font = `${weight} ${size}px ${this.look.font}`;
  }
}

/** @param {Element} element @returns {Look} what the style sheet says of it */
function lookOf(element) {
  const style = getComputedStyle(element);
  const own = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return {
    text: own("--text"),
    muted: own("--muted"),
    grid: own("--grid"),
    gap: own("--gap"),
    panel: own("--panel"),
    font: style.fontFamily,
    size: parseFloat(style.fontSize),
  };
}

/** @typedef {{left: number, top: number, width: number, height: number}} Box */
