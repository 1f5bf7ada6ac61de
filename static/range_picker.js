// @ts-check
// Choosing a time on the chart: by a drag, two fingers, the wheel or keys.

import { RANGES } from "./address.js";
import { text } from "./texts.js";
import { between } from "./wording.js";
import { chosen, isPresent, pinched, zoomed } from "./zoom.js";

/** @typedef {import("./zoom.js").Time} Time */

const DRAGGED = 6; // pixels: less is a click
const SPREAD = 0.2; // of their distance, by which two fingers zoom; before, they choose what is between them
const TURN = 0.0015; // of the picture, for each pixel that a page would scroll
const LINE = 20; // pixels, of wheels that count lines
const NEARER = 0.5; // times as long, with the key

export class RangePicker {
  /**
   * @param {HTMLElement} plot
   * @param {import("./page.js").Page} page
   * @param {import("./crosshair.js").Crosshair} crosshair
   * @param {(time: Time | null, isMoving: boolean) => void} onlook  at this time, null: at the present; isMoving: for now
   */
  constructor(plot, page, crosshair, onlook) {
    this.plot = plot;
    this.page = page;
    this.crosshair = crosshair;
    this.onlook = onlook;
    /** @type {number | null} the moment at which a choice began */
    this.begin = null;
    /** @type {number | null} the moment at which it ends as yet */
    this.end = null;
    /** Where a mouse went down, in pixels. */
    this.x = 0;
    /** @type {Map<number, number>} where fingers are, by their pointer's id: the part of the way from left to right */
    this.fingers = new Map();
    /** @type {Time | null} the moments that two fingers went down on */
    this.held = null;
    this.isPinching = false;
    /** What a wheel has turned since the last frame. */
    this.factor = 1;
    this.band = plot.appendChild(document.createElement("div"));
    Object.assign(this.band, { id: "band", hidden: true });
    for (const [name, act] of Object.entries(this.pointers)) plot.addEventListener(name, (event) => act(/** @type {PointerEvent} */ (event)));
    plot.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    plot.addEventListener("keydown", (event) => this.key(event));
    plot.addEventListener("blur", () => this.drop());
    plot.addEventListener("dblclick", () => page.chart.frozen !== null && onlook(null, false));
  }

  /** @private @returns {Record<string, (event: PointerEvent) => void>} what each event does */
  get pointers() {
    return {
      pointerdown: (event) => (event.pointerType === "touch" ? this.touch(event) : this.press(event)),
      pointermove: (event) => (this.fingers.has(event.pointerId) ? this.spread(event) : this.drag(event)),
      pointerup: (event) => (this.fingers.has(event.pointerId) ? this.lift(event) : this.release()),
      pointercancel: () => this.drop(),
    };
  }

  /** @private @param {PointerEvent} event */
  press(event) {
    this.drop();
    if (event.button !== 0 || this.crosshair.off) return;
    this.x = event.clientX;
    this.begin = this.momentAt(this.partOf(event));
  }

  /** @private @param {PointerEvent} event */
  drag(event) {
    if (!event.buttons || this.begin === null || (this.end === null && Math.abs(event.clientX - this.x) < DRAGGED)) return;
    if (this.end === null) this.plot.setPointerCapture(event.pointerId);
    this.end = this.momentAt(this.partOf(event));
    this.follow();
  }

  /** @private */
  release() {
    const { begin, end } = this;
    this.drop();
    if (begin !== null && end !== null) this.onlook(chosen(begin, end, this.now), false);
  }

  /** @private @param {PointerEvent} event */
  touch(event) {
    if (this.crosshair.off) return;
    this.fingers.set(event.pointerId, this.partOf(event));
    if (this.fingers.size !== 2) return this.drop(this.fingers);
    this.crosshair.dismiss();
    this.held = /** @type {Time} */ (this.parts.map((part) => this.momentAt(part)));
    [this.begin, this.end] = this.held;
    this.follow();
  }

  /** @private @param {PointerEvent} event */
  spread(event) {
    const before = this.parts;
    this.fingers.set(event.pointerId, this.partOf(event));
    const { held, parts } = this;
    if (!held) return;
    const apart = this.momentAt(parts[1]) - this.momentAt(parts[0]);
    this.isPinching ||= Math.abs(apart / (held[1] - held[0] || 1) - 1) > SPREAD;
    if (!this.isPinching) [this.begin, this.end] = parts.map((part) => this.momentAt(part));
    else this.begin = this.end = null;
    if (this.isPinching && String(before) !== String(parts)) this.onlook(pinched(held, /** @type {Time} */ (parts), this.now), true);
    this.follow();
  }

  /** @private @param {PointerEvent} event */
  lift(event) {
    const { begin, end, isPinching } = this;
    this.fingers.delete(event.pointerId);
    this.drop(this.fingers);
    if (isPinching) this.lookAt(this.page.choice.moment, false);
    else if (begin !== null && end !== null) this.onlook(chosen(begin, end, this.now), false);
  }

  /** Choose no more. @private @param {Map<number, number>} fingers  that are there still */
  drop(fingers = new Map()) {
    this.fingers = fingers;
    this.begin = this.end = this.held = null;
    this.isPinching = false;
    this.follow();
  }

  /**
   * A wheel over the chart is the page's, as everywhere; it zooms with Shift or Alt, and without them while a time of the
   * past is shown and the chart has the focus, as it has after a drag. With Ctrl it is the browser's own zoom.
   * @private @param {WheelEvent} event
   */
  wheel(event) {
    const isHere = this.page.choice.moment && document.activeElement === this.plot;
    if (event.ctrlKey || event.metaKey || this.crosshair.off || !(event.shiftKey || event.altKey || isHere)) return;
    event.preventDefault();
    const turned = (event.deltaY || event.deltaX) * (event.deltaMode ? LINE : 1); // with Shift some browsers turn it sideways
    if (this.factor === 1) requestAnimationFrame(() => this.turn(this.partOf(event)));
    this.factor *= Math.exp(turned * TURN);
  }

  /** @private @param {number} part  of the way from left to right, that stays where it is */
  turn(part) {
    const factor = Math.min(2, Math.max(0.5, this.factor));
    this.factor = 1;
    this.zoom(this.momentAt(part), factor);
  }

  /** @private @param {number} at @param {number} factor */
  zoom(at, factor) {
    const time = this.page.choice.moment;
    if (time || factor < 1) this.lookAt(zoomed(time ?? this.seen, at, factor, this.now), true);
  }

  /** @private  What is as wide as the present is the present. @param {Time | null} time @param {boolean} isMoving */
  lookAt(time, isMoving) {
    const isAll = !time || isPresent(time, RANGES[this.page.choice.range], this.now);
    this.onlook(isAll ? null : time, isMoving && !isAll);
  }

  /** @private @param {KeyboardEvent} event */
  key(event) {
    const { at } = this.crosshair;
    const { key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || this.crosshair.off) return;
    const { begin, end } = this;
    if (key === "+" || key === "=") this.zoom(at ?? this.momentAt(0.5), NEARER);
    else if (key === "-") this.zoom(at ?? this.momentAt(0.5), 1 / NEARER);
    else if (key === "Escape" && begin !== null) this.leave(event);
    else if (key === "Enter" && begin !== null && end !== null && begin !== end) this.onlook(chosen(begin, end, this.now), false);
    else return;
    event.preventDefault();
    this.drop();
  }

  /** @private  What is chosen, and nothing else that Escape leaves. @param {KeyboardEvent} event */
  leave(event) {
    event.stopPropagation();
    this.crosshair.stop();
  }

  /**
   * The keys that read the chart choose a time, too.
   * @param {number | null} before  the moment that was read, where it is chosen from there on
   * @param {number} at  the moment that is read now
   * @returns {string} what to say, where a time is chosen
   */
  extend(before, at) {
    if (before === null) this.begin = this.end = null;
    else [this.begin, this.end] = [this.begin ?? before, at];
    this.follow();
    return this.begin === null ? "" : text("moment.chosen", { time: between([Math.min(this.begin, at), Math.max(this.begin, at)]) });
  }

  /** The lines have moved on, or what is chosen has. */
  follow() {
    const { band, begin, end } = this;
    band.hidden = begin === null || end === null;
    if (begin === null || end === null) return;
    const { offsetLeft, offsetWidth } = this.page.canvas;
    const [left, right] = [begin, end].map((at) => (at - this.seen[0]) / (this.seen[1] - this.seen[0])).sort((a, b) => a - b);
    band.style.left = `${offsetLeft + offsetWidth * Math.max(0, left)}px`;
    band.style.width = `${offsetWidth * (Math.min(1, right) - Math.max(0, left))}px`;
  }

  /** @private @returns {number[]} where the fingers are, the left one first */
  get parts() {
    return [...this.fingers.values()].sort((a, b) => a - b);
  }

  /** @private @returns {Time} what the picture shows */
  get seen() {
    const { edge, shown } = this.page.chart;
    return [edge - (shown?.range ?? 0), edge];
  }

  /** @private */
  get now() {
    return this.page.clock.now() - this.page.chart.delay;
  }

  /** @private @param {number} part @returns {number} */
  momentAt(part) {
    const [from, to] = this.seen;
    return from + (to - from) * part;
  }

  /** @private @param {MouseEvent} event @returns {number} the part of the way from left to right at which it is */
  partOf({ clientX }) {
    const { left, width } = this.page.canvas.getBoundingClientRect();
    return Math.min(1, Math.max(0, (clientX - left) / width));
  }
}
