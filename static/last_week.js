// @ts-check
// The selected line as it was a week earlier: thin, behind it, as far as that is kept.

import { askHistory, seriesOf } from "./history_api.js";
import { number, text } from "./texts.js";

/** @typedef {[at: number, rate: number][]} Part  posts a minute, unbroken; by the time of a week later */

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const WEEK = 7 * DAY;
const MINUTES_KEPT = 8 * DAY - 10 * MINUTE; // of what is older only hours are told; less the time to ask
const AGAIN = 5 * MINUTE; // where it could not be had
const COARSE = 4; // times as long a time: its steps are too long
const THIN = 1.2; // pixels

export class LastWeek {
  /** @param {import("./page.js").Page} page @param {() => string} selected  the hashtag whose line it is behind */
  constructor(page, selected) {
    this.page = page;
    this.selected = selected;
    this.forget("");
  }

  /** @private  Nothing is known. @param {string} tag  that it is of from now on */
  forget(tag) {
    this.tag = tag;
    /** From when until when it is known, by the time of a week later, and for which range that was asked. */
    this.from = this.to = this.range = 0;
    /** When it may be asked for; performance.now(). */
    this.due = 0;
    /** @type {Part[]} */
    this.parts = [];
  }

  /** Whether there is a line that it can be behind. @private */
  get isWanted() {
    const { shown } = this.page.chart;
    return shown?.view === "rate" && !shown.hidden.has(this.selected());
  }

  /** Time has gone on, and what is shown on the page may be something else: ask for what is missing. */
  update() {
    if (!this.isWanted || document.hidden) return;
    const tag = this.selected();
    if (tag !== this.tag) this.forget(tag);
    const { edge, shown } = this.page.chart;
    const range = shown?.range ?? 0;
    const isThere = this.from <= edge - range && edge <= this.to && this.range <= COARSE * range;
    if (!isThere && performance.now() >= this.due) void this.ask(tag, edge - range, edge);
  }

  /** @private  For some time ahead, too: what came then is known. @param {string} tag @param {number} begin @param {number} edge */
  async ask(tag, begin, edge) {
    const range = edge - begin;
    const to = edge + Math.max(10 * MINUTE, range / 24);
    const wished = begin - Math.max(3 * MINUTE, range / 100);
    const kept = this.page.clock.now() - MINUTES_KEPT + WEEK;
    const from = range > DAY ? wished : Math.max(wished, kept);
    this.due = performance.now() + AGAIN;
    const query = { from: String(Math.floor(from - WEEK)), to: String(Math.ceil(to - WEEK)) };
    const answer = await askHistory([tag], "", query).catch(() => null); // then there is none
    if (tag !== this.tag || !answer) return;
    const lines = seriesOf(answer).lines("rate", tag, 0);
    this.parts = lines.map(({ points }) => points.map(([at, rate]) => [at + WEEK, rate]));
    Object.assign(this, { from: begin, to, range, due: 0 });
  }

  /** On what the lines are drawn on. @param {import("./axes.js").Axes} axes  newly painted @returns {boolean} whether any of it is in sight */
  draw(axes) {
    const { edge, shown } = this.page.chart;
    if (!shown || !this.isWanted || this.tag !== this.selected()) return false;
    const { box, context } = axes;
    const begin = edge - shown.range;
    const inSight = this.parts.filter((part) => part[0][0] < edge && part[part.length - 1][0] > begin);
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
    context.strokeStyle = shown.pen(this.tag).colour;
    context.lineWidth = THIN;
    context.beginPath();
    for (const part of inSight) {
      part.forEach(([at, rate], i) => {
        const [x, y] = [box.left + (box.width * (at - begin)) / shown.range, box.top + axes.heightOf(rate, box)];
        if (i) context.lineTo(x, y);
        else context.moveTo(x, y);
      });
    }
    context.stroke();
    context.restore();
    return inSight.length > 0;
  }

  /** @param {number} at @returns {[tag: string, words: string] | null} what was a week before; null where that is not known, or not shown */
  told(at) {
    const value = this.isWanted && this.tag === this.selected() ? this.valueAt(at) : null;
    return value === null ? null : [this.tag, text("usual.then", { posts: number(value) })];
  }

  /** @private @param {number} at @returns {number | null} */
  valueAt(at) {
    const part = this.parts.find((one) => one[0][0] <= at && at <= one[one.length - 1][0]);
    if (!part) return null;
    const next = part.findIndex(([time]) => time >= at);
    const [[t0, v0], [t1, v1]] = [part[Math.max(0, next - 1)], part[next]];
    return t1 > t0 ? v0 + ((v1 - v0) * (at - t0)) / (t1 - t0) : v1;
  }
}
