// @ts-check
// The hashtags that are shown, each with its colour, its name and a way to take it off the page.

import { judge } from "./hashtags_api.js";
import { swatch } from "./table.js";
import { $, proper, text } from "./texts.js";

/** @typedef {import("./ask.js").Shown} Shown */
/** @typedef {{item: HTMLElement, button: HTMLElement, name: Text, without: HTMLElement}} Chip */

export class Chips {
  /**
   * @param {HTMLElement} list
   * @param {Shown} shown
   * @param {(tag: string) => void} onremove
   */
  constructor(list, shown, onremove) {
    this.list = list;
    this.shown = shown;
    this.onremove = onremove;
    /** @type {Map<string, Chip>} */
    this.chips = new Map();
    /** @type {Map<string, string[]>} the networks that were never asked for a hashtag */
    this.without = new Map();
    this.update();
  }

  /** Show what is shown: after each change, and when the spelling of one may be another. */
  update() {
    const tags = this.shown.tags();
    for (const [tag, { item }] of this.chips) {
      if (tags.includes(tag)) continue;
      item.remove();
      this.chips.delete(tag);
      this.without.delete(tag);
    }
    const items = tags.map((tag) => this.write(tag));
    if (items.some((item, i) => this.list.children[i] !== item)) this.list.append(...items);
    const unknown = tags.filter((tag) => !this.shown.tracked().includes(tag) && !this.without.has(tag));
    if (unknown.length) void this.look(unknown);
  }

  /** @private @param {string} tag @returns {HTMLElement} its chip, with what is true now */
  write(tag) {
    const { item, name, button, without } = this.chips.get(tag) ?? this.add(tag);
    const named = this.shown.named(tag);
    if (name.data !== `#${named}`) {
      name.data = `#${named}`;
      button.ariaLabel = text("ask.remove", { tag: named });
    }
    const words = (this.without.get(tag) ?? []).map((source) => text("ask.without", { source: proper(source) })).join(", ");
    if (without.textContent !== words) without.textContent = words;
    return item;
  }

  /** @private  The one that came with the page, where it has one. @param {string} tag @returns {Chip} */
  add(tag) {
    const { content } = /** @type {HTMLTemplateElement} */ ($("chip"));
    const items = /** @type {HTMLElement[]} */ ([...this.list.children]);
    const fresh = /** @type {HTMLElement} */ (content.firstElementChild?.cloneNode(true));
    const item = items.find((one) => one.dataset.tag === tag) ?? fresh;
    item.dataset.tag = tag;
    const [line, word, without, button] = /** @type {HTMLElement[]} */ ([...item.children]);
    line.replaceWith(swatch(this.shown.strokeOf(tag)));
    word.textContent = ""; // so that it is written anew, and its button's name with it
    word.append("");
    button.addEventListener("click", () => this.onremove(tag));
    const chip = { item, button, name: /** @type {Text} */ (word.firstChild), without };
    this.chips.set(tag, chip);
    return chip;
  }

  /** @param {import("./hashtags_api.js").Counted[]} counted */
  learn(counted) {
    for (const { tag, without } of counted) this.without.set(tag, without);
  }

  /** @private  Which networks were never asked for them. @param {string[]} tags */
  async look(tags) {
    this.learn(tags.map((tag) => ({ tag, without: [] }))); // asked once
    this.learn((await judge(tags)).counted);
    this.update();
  }

  get hasFocus() {
    return this.list.contains(document.activeElement);
  }

  /** @param {string} tag @returns {HTMLElement | null | undefined} the button of the one that follows */
  after(tag) {
    return this.chips.get(tag)?.item.nextElementSibling?.querySelector("button");
  }
}
