// @ts-check
// Reading the chart at one moment: by pointer, finger or arrow keys.

import { instant } from "./texts.js";

/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {{plot: HTMLElement, cross: HTMLElement, values: HTMLElement}} Places */

/** @typedef {{number: (value: number | null) => string, named: (tag: string) => string, swatch: (tag: string) => Element}} Say */

const LINES = 10; // in a column, at most

export class Crosshair {
  /**
   * @param {Places} places
   * @param {Chart} chart
   * @param {Say} say
   * @param {(reading: boolean) => void} onread  the chart must stand still meanwhile
   */
  constructor(places, chart, say, onread) {
    this.places = places;
    this.chart = chart;
    this.say = say;
    this.onread = onread;
    /** @type {number | null} */
    this.at = null;
    this.away = false;
    const { plot } = places;
    plot.addEventListener("pointermove", (event) => this.point(event));
    plot.addEventListener("pointerdown", (event) => this.point(event));
    plot.addEventListener("pointerleave", (event) => {
      this.away = false;
      if (event.pointerType !== "touch") this.stop();
    });
    plot.addEventListener("blur", () => this.stop());
    plot.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("pointerdown", (event) => {
      if (!plot.contains(/** @type {Node} */ (event.target))) this.stop();
    });
  }

  /** No more, until the pointer has left and come back. */
  dismiss() {
    this.away = true;
    this.stop();
  }

  stop() {
    if (this.at === null) return;
    this.at = null;
    this.places.cross.hidden = this.places.values.hidden = true;
    this.onread(false);
  }

  /** @private @param {PointerEvent} event */
  point(event) {
    const target = /** @type {Element} */ (event.target);
    if (this.away || !this.chart.shown || target.closest("button")) return;
    const box = this.chart.canvas.getBoundingClientRect();
    const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    this.read(this.chart.edge - this.chart.shown.range * (1 - part));
  }

  /** @private @param {KeyboardEvent} event */
  key(event) {
    const shown = this.chart.shown;
    const way = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (!way || !shown) return;
    event.preventDefault();
    this.read((this.at ?? this.chart.edge) + (way * shown.range) / 100);
  }

  /** @private @param {number} at */
  read(at) {
    if (this.at === null) this.onread(true);
    const { edge, shown } = this.chart;
    const range = shown?.range ?? 1;
    this.at = Math.min(edge, Math.max(edge - range, at));
    this.list(range);
    this.place(1 - (edge - this.at) / range);
  }

  /** @private @param {number} range */
  list(range) {
    const { shown } = this.chart;
    const at = /** @type {number} */ (this.at);
    const when = document.createElement("p");
    when.textContent = instant(at, range);
    const list = document.createElement("ul");
    const found = (shown?.tags ?? [])
      .filter((tag) => !shown?.hidden.has(tag))
      .map((tag) => ({ tag, value: this.chart.valueAt(tag, at) }))
      .sort((a, b) => (b.value ?? -1) - (a.value ?? -1));
    const columns = Math.ceil(found.length / LINES);
    list.style.setProperty("--lines", String(Math.ceil(found.length / columns) || 1));
    for (const { tag, value } of found) {
      const name = document.createElement("bdi");
      name.textContent = `#${this.say.named(tag)}`;
      const item = list.appendChild(document.createElement("li"));
      item.append(this.say.swatch(tag), name, this.say.number(value));
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
}
