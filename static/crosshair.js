// @ts-check
// Reading the chart at one moment: by pointer, finger or arrow keys. The chart goes on meanwhile.

import { text } from "./texts.js";
import { instant, instants } from "./wording.js";

/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {{plot: HTMLElement, cross: HTMLElement, values: HTMLElement}} Places */

/** @typedef {{number: (value: number | null) => string, named: (tag: string) => string, swatch: (tag: string) => Element, earlier: (at: number) => [tag: string, words: string] | null}} Say  earlier: of a hashtag, what was a week before */
/** @typedef {{tag: string, value: number | null}[]} Found  the highest first */

const LINES = 10; // in a column, at most
const LIST_EVERY = 250; // milliseconds, as the lines go on under the pointer
const NEAR = 14; // pixels
const HUNDREDTHS = {
  ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageUp: -10, PageDown: 10, Home: -100, End: 100,
};

export class Crosshair {
  /**
   * @param {Places} places
   * @param {Chart} chart
   * @param {Say} say
   * @param {(tag: string | null) => void} onnear  a pointer is near this hashtag's line, or near none
   * @param {(before: number | null, at: number) => string} onkey  with Shift: from one moment to another; the words to say, if any
   */
  constructor(places, chart, say, onnear, onkey) {
    this.onnear = onnear;
    this.onkey = onkey;
    /** What is said while no moment is read. */
    this.rest = text("now");
    this.places = places;
    this.chart = chart;
    this.say = say;
    /** @type {number | null} the moment that is read */
    this.at = null;
    /** @type {number | null} the part of the way from left to right that a pointer is at; keys choose a moment */
    this.part = null;
    /** How far below the upper edge of the lines that pointer is, in pixels. */
    this.height = 0;
    this.listed = 0;
    /** Whether no pointer reads: until it has left and come back, or for as long as the page is on a wall. */
    this.away = this.off = false;
    const { plot } = places;
    plot.addEventListener("pointermove", (event) => this.point(event));
    plot.addEventListener("pointerdown", (event) => this.point(event));
    plot.addEventListener("pointerleave", (event) => {
      this.away = false;
      if (event.pointerType !== "touch") this.stop();
    });
    plot.addEventListener("blur", () => this.stop());
    plot.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.dismiss());
    document.addEventListener("pointerdown", (event) => {
      if (!plot.contains(/** @type {Node} */ (event.target))) this.stop();
    });
  }

  /** No more, until the pointer has left and come back. */
  dismiss() {
    this.away = this.part !== null;
    this.stop();
  }

  stop() {
    if (this.at === null) return;
    this.at = this.part = null;
    this.places.cross.hidden = this.places.values.hidden = true;
    this.onnear(null);
    this.tell(0, this.rest);
  }

  /** @param {string} words  what is said while no moment is read */
  restAt(words) {
    this.rest = words;
    if (this.at === null) this.tell(0, words);
  }

  /** The lines have moved on. @param {import("./axes.js").Axes} axes  newly painted */
  follow(axes) {
    const { edge, shown } = this.chart;
    if (this.at === null || !shown) return;
    const oldest = edge - shown.range;
    this.at = this.part === null ? Math.min(edge, Math.max(oldest, this.at)) : oldest + shown.range * this.part;
    if (performance.now() - this.listed > LIST_EVERY) this.list(this.found());
    if (this.part !== null) this.onnear(this.near());
    const part = 1 - (edge - this.at) / shown.range;
    this.place(part);
    for (const { tag, value } of this.found()) {
      const { box } = axes;
      if (value !== null) axes.dot(box.left + box.width * part, box.top + axes.heightOf(value, box), shown.pen(tag));
    }
  }

  /** @private @param {PointerEvent} event */
  point(event) {
    if (this.away || this.off || !this.chart.shown) return;
    const box = this.chart.canvas.getBoundingClientRect();
    this.part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    this.height = event.clientY - box.top;
    this.read(this.chart.edge - this.chart.shown.range * (1 - this.part));
    this.onnear(this.near());
  }

  /** @private @returns {string | null} the hashtag whose line is nearest, if it is near */
  near() {
    const { canvas, bounds } = this.chart;
    const { min, max } = bounds;
    const far = (/** @type {Found[0]} */ { value }) =>
      Math.abs(canvas.offsetHeight * (1 - ((value ?? 0) - min) / (max - min || 1)) - this.height);
    const known = this.found().filter(({ value }) => value !== null);
    const [nearest] = known.sort((a, b) => far(a) - far(b));
    return nearest && far(nearest) < NEAR ? nearest.tag : null;
  }

  /** @private @param {KeyboardEvent} event */
  key(event) {
    const { edge, shown } = this.chart;
    if (!shown || event.altKey || event.ctrlKey || event.metaKey || !Object.hasOwn(HUNDREDTHS, event.key)) return;
    event.preventDefault();
    this.part = null;
    const way = HUNDREDTHS[/** @type {keyof typeof HUNDREDTHS} */ (event.key)];
    const before = this.at ?? edge;
    const found = this.read(before + (way * shown.range) / 100);
    const earlier = this.say.earlier(/** @type {number} */ (this.at));
    const more = (/** @type {string} */ tag) => (tag === earlier?.[0] ? ` (${earlier[1]})` : "");
    const values = found.map(({ tag, value }) => `#${this.say.named(tag)} ${this.say.number(value)}${more(tag)}`).join(", ");
    const at = /** @type {number} */ (this.at);
    const when = instant(at, shown.range);
    const chosen = this.onkey(event.shiftKey ? before : null, at);
    this.tell(Math.round((at - edge) / 1000), chosen || text("reading", { when, values, view: text(shown.view) }));
  }

  /** @private @param {number} at @returns {Found} */
  read(at) {
    const { edge, shown } = this.chart;
    const range = shown?.range ?? 1;
    this.at = Math.min(edge, Math.max(edge - range, at));
    const found = this.found();
    this.list(found);
    this.place(1 - (edge - this.at) / range);
    return found;
  }

  /** @private @returns {Found} */
  found() {
    const { shown } = this.chart;
    const at = /** @type {number} */ (this.at);
    return (shown?.tags ?? [])
      .filter((tag) => !shown?.hidden.has(tag))
      .map((tag) => ({ tag, value: this.chart.valueAt(tag, at) }))
      .sort((a, b) => (b.value ?? -1) - (a.value ?? -1));
  }

  /** @private @param {Found} found */
  list(found) {
    this.listed = performance.now();
    const when = document.createElement("p");
    when.textContent = instants(/** @type {number} */ (this.at), this.chart.shown?.range ?? 1);
    const list = document.createElement("ul");
    const columns = Math.ceil(found.length / LINES);
    const earlier = this.say.earlier(/** @type {number} */ (this.at));
    list.style.setProperty("--lines", String(Math.ceil(found.length / columns) || 1));
    for (const { tag, value } of found) {
      const name = document.createElement("bdi");
      name.textContent = `#${this.say.named(tag)}`;
      const item = list.appendChild(document.createElement("li"));
      item.append(this.say.swatch(tag), name, this.say.number(value));
      if (tag === earlier?.[0]) item.appendChild(document.createElement("small")).textContent = earlier[1];
    }
    this.places.values.replaceChildren(when, list);
  }

  /** @private @param {number} part  of the way from left to right */
  place(part) {
    const { plot, cross, values } = this.places;
    cross.hidden = values.hidden = false;
    const lines = this.chart.canvas;
    const x = lines.offsetLeft + part * lines.offsetWidth;
    cross.style.transform = `translateX(${x}px)`;
    const left = x + 14 + values.offsetWidth > plot.offsetWidth ? x - 14 - values.offsetWidth : x + 14;
    values.style.transform = `translateX(${Math.max(0, left)}px)`;
  }

  /** @private  For those who hear it. @param {number} seconds  before now, negative @param {string} words */
  tell(seconds, words) {
    const { plot } = this.places;
    plot.setAttribute("aria-valuemin", String(Math.round(-(this.chart.shown?.range ?? 0) / 1000)));
    plot.setAttribute("aria-valuenow", String(seconds));
    plot.setAttribute("aria-valuetext", words);
  }
}
