// @ts-check
// What is rising and what is most used, as rows that can be added to the chart.

import { cameWith } from "./hashtags_api.js";
import { arrange, isInHand } from "./row_motion.js";
import { number, text } from "./texts.js";
import { counted, decimal } from "./wording.js";

/** @typedef {{tag: string, name: string, posts: number, people: number, usual: number | null, hour: number[]}} Listed  posts and people of ten minutes; usual: posts; hour: posts in twelve parts */
/** @typedef {{at: number, since: number, rising: Listed[], used: Listed[], hidden?: Record<string, number>}} Board  hidden: how many are not listed, by why */
/** @typedef {"rising" | "used" | "with"} List */
/** @typedef {{tag: string, name: string, about: string, times: string, title: string, hour: number[]}} Entry  of any list, in words */
/** @typedef {{item: HTMLLIElement, button: HTMLButtonElement, name: Text, rank: Text, about: Text, times: Text, line: SVGElement}} Row */

const LEAST_USUAL = 0.5; // posts: what has less is new rather than so many times as usual
const [WIDTH, HEIGHT] = [60, 20]; // of a line, in its own units

export class BoardPanel {
  /**
   * @param {HTMLElement} panel
   * @param {{tags: () => string[], selected: () => string, rowsChanged: () => void}} shown  the hashtags of the chart; and what is called when rows are others, or say something else
   * @param {(tag: string) => void} ontoggle
   */
  constructor(panel, shown, ontoggle) {
    this.panel = panel;
    this.shown = shown;
    this.ontoggle = ontoggle;
    /** @type {List} */
    this.list = "rising";
    /** @type {Board | null} */
    this.board = null;
    /** The hashtag of the list "with". */
    this.selected = "";
    /** @type {import("./hashtags_api.js").With[]} what came with it */
    this.others = [];
    /** @type {Map<string, Row>} those that are there, by their hashtag */
    this.rows = new Map();
    this.body = /** @type {HTMLElement} */ (panel.querySelector("ol"));
    for (const button of panel.querySelectorAll(/** @type {"button"} */ (".choices button"))) {
      button.addEventListener("click", () => this.choose(/** @type {List} */ (button.value)));
    }
    this.body.addEventListener("pointerleave", () => this.show());
    this.body.addEventListener("focusout", () => this.show());
    this.press();
    this.choose(this.list);
  }

  /** @param {List} list */
  choose(list) {
    this.list = list;
    for (const button of this.panel.querySelectorAll(/** @type {"button"} */ (".choices button"))) {
      button.setAttribute("aria-pressed", String(button.value === list));
    }
    this.rows.clear();
    this.body.replaceChildren();
    if (list === "with") void this.ask();
    this.show();
  }

  /** @private  Ask what came with the hashtag. */
  async ask() {
    const { selected } = this;
    const found = await cameWith(selected).catch(() => []);
    if (selected !== this.selected) return; // another one meanwhile
    this.others = found;
    this.show();
  }

  /** @param {Board} board  the newest */
  hear(board) {
    this.board = board;
    if (this.list === "with") void this.ask();
    this.show();
  }

  /** @private @returns {Entry[]} */
  get listed() {
    return this.list === "with" ? this.others.map(inWords) : (this.board?.[this.list] ?? []).map(comparedInWords);
  }

  /** Show the newest board; under a hand, rows stay where they are. */
  show() {
    const { listed } = this;
    const inHand = this.rows.size > 0 && isInHand(this.body);
    for (const one of listed) if (!inHand || this.rows.has(one.tag)) this.write(one);
    if (!inHand) this.order(listed.map(({ tag }) => tag));
    this.press();
    this.say(listed.length);
    this.shown.rowsChanged();
  }

  /** Show which of them are in the chart, and the name of the one of which is asked what came with it. */
  press() {
    const shown = this.shown.tags();
    const selected = this.shown.selected();
    if (selected !== this.selected) this.select(selected);
    for (const [tag, { button }] of this.rows) set(button, "aria-pressed", String(shown.includes(tag)));
  }

  /** @private @param {string} tag */
  select(tag) {
    this.selected = tag;
    this.others = [];
    const button = /** @type {HTMLElement} */ (this.panel.querySelector("[value=with]"));
    button.textContent = button.dataset.words = text("board.with", { tag });
    if (this.list === "with") this.choose("with");
  }

  /** @private @param {string[]} tags */
  order(tags) {
    for (const tag of this.rows.keys()) if (!tags.includes(tag)) this.rows.delete(tag);
    const rows = tags.map((tag) => /** @type {Row} */ (this.rows.get(tag)));
    rows.forEach(({ rank }, i) => put(rank, number(i + 1)));
    const items = rows.map(({ item }) => item);
    const { children } = this.body;
    if (items.length !== children.length || items.some((item, i) => item !== children[i])) arrange(this.body, items, true);
  }

  /** @private @param {number} listed */
  say(listed) {
    const hidden = this.list === "with" ? {} : (this.board?.hidden ?? {});
    const out = Object.values(hidden).reduce((sum, n) => sum + n, 0);
    const parts = this.board && !listed ? [text("board.none")] : [];
    if (out) parts.push(counted("board.out", out));
    const words = parts.join(" ");
    const place = /** @type {HTMLElement} */ (this.panel.querySelector(".about"));
    if (place.textContent !== words) place.textContent = words;
  }

  /** @private @param {Entry} entry */
  write({ tag, name, about, times, title, hour }) {
    const row = this.rows.get(tag) ?? this.add(tag);
    put(row.name, `#${name}`);
    put(row.about, about);
    put(row.times, times);
    if (row.button.title !== title) row.button.title = title;
    set(row.line, "d", path(hour));
  }

  /** @private @param {string} tag @returns {Row} */
  add(tag) {
    const item = document.createElement("li");
    const button = item.appendChild(document.createElement("button"));
    button.type = "button";
    button.addEventListener("click", () => this.ontoggle(tag));
    const [rank, name, about, times] = ["span", "bdi", "small", "b"].map((kind) => {
      const part = button.appendChild(document.createElement(kind));
      return /** @type {Text} */ (part.appendChild(new Text()));
    });
    const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    picture.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    picture.setAttribute("preserveAspectRatio", "none");
    picture.setAttribute("aria-hidden", "true");
    const line = picture.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    button.append(picture);
    const row = { item, button, rank, name, about, times, line };
    this.rows.set(tag, row);
    return row;
  }
}

/** @param {Listed} listed @returns {Entry} */
function comparedInWords({ tag, name, posts, people, usual, hour }) {
  const about = text("board.about", { people: counted("counted.people", people), posts: counted("counted.posts", posts) });
  const title = usual === null ? "" : text("board.usual", { posts: counted("counted.posts", posts), usual: decimal(usual) });
  return { tag, name, about, times: times(posts, usual), title, hour };
}

/** @param {import("./hashtags_api.js").With} other @returns {Entry} */
function inWords({ tag, name, people, lift }) {
  const about = counted("board.both", people);
  return { tag, name, about, times: times(lift, 1), title: text("board.lift", { times: times(lift, 1) }), hour: [] };
}

/** @param {number} posts @param {number | null} usual  as far as that is known @returns {string} how many times the usual that is */
export function times(posts, usual) {
  if (usual === null) return "";
  if (usual < LEAST_USUAL) return text("board.new");
  const many = posts / usual;
  return text("board.times", { times: many < 10 ? decimal(many) : number(many) });
}

/** @param {number[]} values @returns {string} a line through them, the largest at the top */
export function path(values) {
  if (!values.length) return "";
  const most = Math.max(1, ...values);
  const step = WIDTH / Math.max(1, values.length - 1);
  const points = values.map((value, i) => `${(i * step).toFixed(1)} ${(HEIGHT - 1 - ((HEIGHT - 2) * value) / most).toFixed(1)}`);
  return `M${points.join("L")}`;
}

/** What stays the same is no work for the browser. @param {Element} element @param {string} name @param {string} value */
function set(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** @param {Text} node @param {string} words */
function put(node, words) {
  if (node.data !== words) node.data = words;
}
