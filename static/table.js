// @ts-check
// The readable list: the same numbers as the chart, for eyes, ears and fingers.

import { change, inShort, number, percent, text } from "./texts.js";

/** @typedef {import("./selection.js").Stroke} Stroke */
/** @typedef {{tag: string, total: number | null, rate: number | null, posts: number | null, before: number | null, people: number | null}} Reading  posts: in the shown time; before: in the time before that; people: today */
/** @typedef {{row: HTMLTableRowElement, button: HTMLButtonElement, name: Text, rate: Text, bar: HTMLElement, posts: Text, change: HTMLElement, people: Text, total: Text}} Row */

const LONG = 10_000_000; // what a narrow column has no room for
const narrow = globalThis.matchMedia?.("(max-width: 46rem)");

export class Table {
  /**
   * @param {HTMLElement} body
   * @param {(tag: string) => Stroke} strokeOf
   * @param {(tag: string) => string} named
   * @param {(tag: string, more: boolean) => void} onpick  its line is wanted alone; or, more: with the others, or not with them
   * @param {(tag: string | null) => void} onmark  a hashtag is looked at, or none
   */
  constructor(body, strokeOf, named, onpick, onmark) {
    this.onmark = onmark;
    this.body = body;
    this.strokeOf = strokeOf;
    this.named = named;
    this.onpick = onpick;
    /** @type {Map<string, Row>} */
    this.rows = new Map();
  }

  /** @param {Reading[]} readings  the first are put in order, the busiest first; sorting.js keeps them so */
  update(readings) {
    if (!this.rows.size) readings = [...readings].sort((a, b) => (b.rate ?? 0) - (a.rate ?? 0));
    const most = Math.max(...readings.map(({ rate }) => rate ?? 0)) || 1;
    const all = readings.reduce((sum, { rate }) => sum + (rate ?? 0), 0) || 1;
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
      const name = `change ${(differs ?? 0) > 0 ? "up" : ""}`;
      if (row.change.className !== name) row.change.className = name;
      row.bar.style.transform = `scaleX(${((rate ?? 0) / most).toFixed(2)})`;
      const share = text("share.of", { share: percent((rate ?? 0) / all) });
      if (row.bar.title !== share) row.bar.title = row.bar.ariaLabel = share;
    }
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
    button.addEventListener("click", ({ ctrlKey, metaKey }) => this.onpick(tag, ctrlKey || metaKey));
    button.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || (event.key !== "Enter" && event.key !== " ")) return;
      event.preventDefault(); // it is no click to every browser
      this.onpick(tag, true);
    });
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
