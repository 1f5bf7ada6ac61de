// @ts-check
// The field in which a visitor asks for hashtags: what is typed is completed, judged by the server, and shown.

import { Chips } from "./chips.js";
import { complete, judge } from "./hashtags_api.js";
import { MOST } from "./selection.js";
import { $, number, text } from "./texts.js";

/** @typedef {import("./hashtags_api.js").Offer} Offer */
/**
 * @typedef {object} Shown  what the page shows, and how that is changed
 * @property {() => string[]} tags
 * @property {() => string[]} tracked
 * @property {(tags: string[]) => void} select
 * @property {(tag: string) => string} named
 * @property {(tag: string) => import("./selection.js").Stroke} strokeOf
 * @property {(tag: string) => boolean} isRising
 */

const OFFERED = 8;
const BETWEEN = /[\s,;，、；]+/u;
const ENDS = /[,;，、；]/u; // a word: the next begins
const MARKS = /^[#＃]+/u;
const LONGEST = 101; // letters of a word, one more than a hashtag has

export class Ask {
  /** @param {Shown} shown */
  constructor(shown) {
    this.shown = shown;
    this.field = /** @type {HTMLInputElement} */ ($("typed"));
    this.list = $("offers");
    /** @type {Offer[]} */
    this.offers = [];
    this.active = -1;
    this.chips = new Chips($("chips"), shown, (tag) => this.remove(tag));
    this.asking = new AbortController();
    const { field, list } = this;
    field.addEventListener("input", (event) => this.typed(/** @type {InputEvent} */ (event).isComposing));
    field.addEventListener("compositionend", () => this.typed(false));
    field.addEventListener("keydown", (event) => this.key(event));
    field.addEventListener("paste", (event) => this.pasted(event));
    field.addEventListener("blur", () => this.leave());
    list.addEventListener("pointerdown", (event) => event.preventDefault()); // the focus stays in the field
    list.addEventListener("click", (event) => this.clicked(/** @type {Element} */ (event.target)));
    $("ask").addEventListener("click", (event) => event.target === event.currentTarget && field.focus());
    document.addEventListener("keydown", (event) => this.shortcut(event));
    if (field.value) this.typed(false); // somebody was quicker than we
  }

  /** Show what is shown, as it is written now. */
  update() {
    this.chips.update();
  }

  /** @private @param {boolean} composing  an input method has not finished its word */
  typed(composing) {
    const { value } = this.field;
    if (composing) return;
    this.say("");
    if (ENDS.test(value)) void this.take(words(value));
    else if (value.trim()) void this.offer(value);
    else this.close();
  }

  /** @private  Offer what begins so. @param {string} typed */
  async offer(typed) {
    this.asking.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    const found = await complete(typed, signal).catch(() => []);
    if (!signal.aborted) this.open(offersOf(found, typed, this.shown.tags()));
  }

  /** @private @param {Offer[]} offers */
  open(offers) {
    this.offers = offers;
    this.active = -1;
    this.list.replaceChildren(...offers.map((offer, i) => this.option(offer, i)));
    this.list.hidden = offers.length === 0;
    this.point();
  }

  /** @private */
  close() {
    this.asking.abort();
    this.open([]);
  }

  /** @private  What was said of words that are gone is no more to be read. */
  clear() {
    this.field.value = "";
    this.say("");
  }

  /** @private */
  leave() {
    this.close();
    if (!this.field.value.trim()) this.clear();
  }

  /** @private @param {Offer} offer @param {number} i @returns {HTMLElement} */
  option({ tag, name, posts }, i) {
    const item = document.createElement("li");
    item.role = "option";
    item.id = `offer-${i}`;
    const word = document.createElement("bdi");
    word.textContent = `#${name}`;
    const about = document.createElement("span");
    const told = posts === null ? text("ask.exactly") : text("ask.posts", { posts: number(posts) });
    about.textContent = this.shown.isRising(tag) ? `${told} · ${text("ask.rising")}` : told;
    item.append(word, about);
    return item;
  }

  /** @private  Show and tell which offer is meant. */
  point() {
    const { field, list, active } = this;
    field.setAttribute("aria-expanded", String(!list.hidden));
    [...list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === active)));
    list.children[active]?.scrollIntoView({ block: "nearest" });
    if (active < 0) field.removeAttribute("aria-activedescendant");
    else field.setAttribute("aria-activedescendant", `offer-${active}`);
  }

  /** @private @param {KeyboardEvent} event */
  key(event) {
    const { field } = this;
    if (event.isComposing) return;
    const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (way) this.move(way);
    else if (event.key === "Enter") void this.take(this.meant());
    else if (event.key === "Escape" && this.offers.length) this.close();
    else if (event.key === "Escape") this.clear();
    else if (event.key === "Backspace" && !field.value) return this.takeBack();
    else return;
    event.preventDefault();
  }

  /** @private @param {number} way  down or up */
  move(way) {
    const { length } = this.offers;
    if (!length) return void this.offer(this.field.value);
    // the field itself is one of the places
    this.active = ((this.active + 1 + way + length + 1) % (length + 1)) - 1;
    this.point();
  }

  /** @private @returns {string[]} */
  meant() {
    const offer = this.offers[this.active];
    return offer ? [offer.tag] : words(this.field.value);
  }

  /** @private @param {ClipboardEvent} event */
  pasted(event) {
    const list = words(event.clipboardData?.getData("text") ?? "");
    if (list.length < 2) return;
    event.preventDefault();
    void this.take(list);
  }

  /** @private @param {Element} target */
  clicked(target) {
    const option = target.closest("[role=option]");
    const offer = this.offers[option ? [...this.list.children].indexOf(option) : -1];
    if (offer) void this.take([offer.tag]);
  }

  /** @private @param {KeyboardEvent} event */
  shortcut(event) {
    const { key, ctrlKey, metaKey, altKey, target } = event;
    const command = (ctrlKey || metaKey) && key.toLowerCase() === "k";
    const slash = key === "/" && !ctrlKey && !metaKey && !altKey && !(target instanceof HTMLInputElement);
    if ((!command && !slash) || !this.field.checkVisibility()) return;
    event.preventDefault();
    this.field.focus();
  }

  /** @private  What was typed: what is no hashtag stays in the field. @param {string[]} typed */
  async take(typed) {
    this.close();
    this.field.value = "";
    if (!typed.length) return;
    const refused = await this.add(typed);
    this.field.value ||= refused.join(" "); // unless somebody went on typing
  }

  /** Take a hashtag off the page, or show it, too. @param {string} tag */
  async toggle(tag) {
    if (this.shown.tags().includes(tag)) this.remove(tag);
    else await this.add([tag]);
  }

  /** @private  Show these, too, if they are hashtags. @param {string[]} words @returns {Promise<string[]>} those that are none */
  async add(words) {
    const { counted, refused, sentence } = await judge(words.slice(0, MOST));
    const before = this.shown.tags();
    const fresh = counted.filter(({ tag }) => !before.includes(tag));
    const tags = [...before, ...fresh.map(({ tag }) => tag)];
    this.chips.learn(fresh);
    if (fresh.length && before.length < MOST) this.select(tags.slice(0, MOST));
    const many = tags.length > MOST || words.length > MOST ? text("ask.most", { most: MOST }) : "";
    const known = counted.length && !fresh.length ? text("ask.there", { tag: this.shown.named(counted[0].tag) }) : "";
    if (sentence || many || known) this.say(sentence || many || known);
    return refused;
  }

  /** @private */
  takeBack() {
    const last = this.shown.tags().at(-1);
    if (last !== undefined) this.remove(last);
  }

  /** @private @param {string} tag */
  remove(tag) {
    const tags = this.shown.tags();
    if (tags.length === 1) return this.say(text("ask.last"));
    if (this.chips.hasFocus) (this.chips.after(tag) ?? this.field).focus();
    this.select(tags.filter((one) => one !== tag));
  }

  /** @private @param {string[]} tags */
  select(tags) {
    const before = this.shown.tags();
    this.shown.select(tags);
    const changed = [...tags.filter((tag) => !before.includes(tag)), ...before.filter((tag) => !tags.includes(tag))];
    const names = changed.map((tag) => `#${this.shown.named(tag)}`).join(", ");
    this.say(text(tags.length > before.length ? "ask.added" : "ask.removed", { tags: names }), false);
  }

  /** @private @param {string} words  none: nothing to say @param {boolean} seen  or only heard: who sees, sees it anyway */
  say(words, seen = true) {
    const answer = $("answer");
    answer.className = seen ? "" : "unseen";
    if (answer.textContent !== words) answer.textContent = words;
  }
}

/** @param {string} typed  or pasted @returns {string[]} what may be hashtags, each once */
export function words(typed) {
  const found = typed.split(BETWEEN).map((word) => [...word.slice(0, 3 * LONGEST)].slice(0, LONGEST).join(""));
  return [...new Set(found.filter((word) => word.replace(MARKS, "")))];
}

/**
 * What is offered: nothing that is shown already, and at last what was typed, where it is none of those found.
 * @param {Offer[]} found
 * @param {string} typed
 * @param {string[]} shown
 * @returns {Offer[]}
 */
export function offersOf(found, typed, shown) {
  const name = typed.trim().replace(MARKS, "");
  const tag = name.normalize("NFKC").toLowerCase();
  const offers = found.filter((offer) => !shown.includes(offer.tag)).slice(0, OFFERED);
  const known = shown.includes(tag) || found.some((offer) => offer.tag === tag);
  return name && !known ? [...offers, { tag, name, posts: null }] : offers;
}
