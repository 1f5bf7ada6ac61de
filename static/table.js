// @ts-check
// The readable list: the same numbers as the chart, for eyes, ears and fingers.

import { arrange, isInHand } from "./moving.js";
import { change, inShort, number, percent, text } from "./texts.js";

/** @typedef {import("./colours.js").Stroke} Stroke */
/** @typedef {{tag: string, total: number | null, rate: number | null, posts: number | null, before: number | null, people: number | null}} Reading  posts: in the shown time; before: in the time before that; people: today */
/** @typedef {{row: HTMLTableRowElement, button: HTMLButtonElement, name: Text, rate: Text, bar: HTMLElement, posts: Text, change: HTMLElement, people: Text, total: Text}} Row */

const CALM = 5000; // milliseconds between two changes of the order, at least
const SPOKEN = 5;
const AHEAD = 1.1; // times the rate of the one above, to overtake it
const LONG = 10_000_000; // what a narrow column has no room for
const narrow = globalThis.matchMedia?.("(max-width: 46rem)");

export class Table {
  /**
   * @param {HTMLElement} body
   * @param {(tag: string) => Stroke} strokeOf
   * @param {(tag: string) => string} named
   * @param {(tag: string) => void} ontoggle
   * @param {(tag: string | null) => void} onmark  a hashtag is looked at, or none
   */
  constructor(body, strokeOf, named, ontoggle, onmark) {
    this.onmark = onmark;
    this.body = body;
    this.strokeOf = strokeOf;
    this.named = named;
    this.ontoggle = ontoggle;
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    this.sorted = 0;
  }

  /** @param {Reading[]} readings */
  update(readings) {
    const most = Math.max(1, ...readings.map(({ rate }) => rate ?? 0));
    const all = Math.max(1, readings.reduce((sum, { rate }) => sum + (rate ?? 0), 0));
    this.keep(readings);
    for (const { tag, total, rate, posts, before, people } of readings) {
      const row = this.rows.get(tag) ?? this.add(tag);
      if (put(row.name, `#${this.named(tag)}`)) row.button.title = text("toggle", { tag: this.named(tag) });
      const whole = number(total);
      const isLong = narrow?.matches && (total ?? 0) >= LONG;
      if (put(row.total, isLong ? inShort(total ?? 0) : whole)) row.total.parentElement?.setAttribute("title", whole);
      put(row.rate, number(rate === null ? null : Math.round(rate)));
      put(row.posts, number(posts));
      put(row.people, number(people));
      const differs = posts === null || before === null ? null : posts - before;
      put(/** @type {Text} */ (row.change.firstChild), change(differs));
      row.change.className = `change ${Math.sign(differs ?? 0) > 0 ? "up" : ""}`;
      row.bar.style.transform = `scaleX(${((rate ?? 0) / most).toFixed(3)})`;
      const share = text("share.of", { share: percent((rate ?? 0) / all) });
      if (row.bar.title !== share) row.bar.title = row.bar.ariaLabel = share;
    }
    this.sort(readings);
  }

  /** Say over which time posts are counted. @param {string} range */
  head(range) {
    for (const name of /** @type {const} */ (["posts", "change"])) {
      const head = this.body.parentElement?.querySelector(`th.${name}`);
      if (head) head.textContent = text(`table.${name}`, { range });
    }
  }

  /** @param {Set<string>} hidden */
  hide(hidden) {
    for (const [tag, { button }] of this.rows) button.setAttribute("aria-pressed", String(!hidden.has(tag)));
  }

  /** @param {Reading[]} readings @returns {string} the busiest, to be read aloud */
  summary(readings) {
    const known = readings.filter(({ rate }) => rate !== null);
    known.sort((a, b) => (b.rate ?? 0) - (a.rate ?? 0));
    const parts = known.slice(0, SPOKEN).map(({ tag, rate }) => text("summary.one", { tag: this.named(tag), rate: number(Math.round(rate ?? 0)) }));
    return parts.join(", ");
  }

  /** @param {string | null} tag  to look at, or none */
  mark(tag) {
    for (const [each, { row }] of this.rows) row.classList.toggle("marked", each === tag);
  }

  /** @private  Hashtags that are shown no more have no row. @param {Reading[]} readings */
  keep(readings) {
    if (readings.length === this.rows.size && readings.every(({ tag }) => this.rows.has(tag))) return;
    const tags = new Set(readings.map(({ tag }) => tag));
    for (const [tag, { row }] of this.rows) {
      if (!tags.has(tag)) row.remove();
      if (!tags.has(tag)) this.rows.delete(tag);
    }
  }

  /** The hashtags in the order in which they stand. */
  get order() {
    const rows = [...this.body.children];
    return [...this.rows].sort(([, a], [, b]) => rows.indexOf(a.row) - rows.indexOf(b.row)).map(([tag]) => tag);
  }

  /** @private @param {string} tag @returns {Row} */
  add(tag) {
    const row = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    const button = name.appendChild(document.createElement("button"));
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => this.ontoggle(tag));
    for (const [begin, end] of [["pointerenter", "pointerleave"], ["focusin", "focusout"]]) {
      row.addEventListener(begin, () => this.onmark(tag));
      row.addEventListener(end, () => this.onmark(null));
    }
    const word = document.createElement("bdi");
    word.append("");
    button.append(swatch(this.strokeOf(tag)), word);
    const [rate, bar, posts, differs, people, total] = ["rate", "bar", "posts", "change", "people", "total"].map((column) => {
      const cell = document.createElement("td");
      cell.className = column;
      return cell;
    });
    const share = bar.appendChild(document.createElement("div"));
    share.role = "img";
    paint(share, this.strokeOf(tag));
    row.append(name, rate, bar, posts, differs, people, total);
    this.body.append(row);
    differs.append("");
    const written = /** @type {Text} */ (word.firstChild);
    const [perMinute, inRange, today, all] = [rate, posts, people, total].map((cell) => cell.appendChild(new Text()));
    const added = { row, button, name: written, rate: perMinute, bar: share, posts: inRange, change: differs, people: today, total: all };
    this.rows.set(tag, added);
    return added;
  }

  /** @private  The busiest first; but calmly, and never under a hand. @param {Reading[]} readings */
  sort(readings) {
    const now = performance.now();
    if (this.sorted && now - this.sorted < CALM) return;
    if (isInHand(this.body)) return;
    const rate = new Map(readings.map((reading) => [reading.tag, reading.rate ?? 0]));
    if (!readings.some((reading) => reading.rate !== null)) return;
    const order = calmly(this.order, rate, this.sorted ? AHEAD : 1);
    const rows = order.map((tag) => /** @type {Row} */ (this.rows.get(tag)).row);
    if (order.join() !== this.order.join()) arrange(this.body, rows, this.sorted > 0);
    this.sorted = now;
  }
}

/**
 * Sort by rate, but let none overtake that is only a little ahead. Pure.
 * @param {string[]} order
 * @param {Map<string, number>} rate
 * @param {number} ahead
 */
export function calmly(order, rate, ahead) {
  const sorted = [...order];
  const of = (/** @type {string} */ tag) => rate.get(tag) ?? 0;
  for (let i = 1; i < sorted.length; i++) {
    for (let j = i; j > 0 && of(sorted[j]) > of(sorted[j - 1]) * ahead; j--) {
      [sorted[j - 1], sorted[j]] = [sorted[j], sorted[j - 1]];
    }
  }
  return sorted;
}

/** @param {Text} node @param {string} words @returns {boolean} whether they are others than before */
function put(node, words) {
  if (node.data === words) return false;
  node.data = words;
  return true;
}

/** @param {Stroke} stroke @returns {SVGElement} a short piece of the line */
export function swatch(stroke) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", "0 0 28 8");
  picture.setAttribute("aria-hidden", "true");
  const line = picture.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  line.setAttribute("d", "M3 4H25");
  line.setAttribute("stroke-dasharray", stroke.dash.map((length) => length * 0.9).join(" "));
  paint(picture, stroke);
  return picture;
}

/** @param {HTMLElement | SVGElement} element @param {Stroke} stroke */
function paint(element, { light, dark }) {
  element.style.setProperty("--light", light);
  element.style.setProperty("--dark", dark);
}
