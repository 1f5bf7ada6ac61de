// @ts-check
// The posts behind a line: the newest of them, no faster than they can be read, and none that was deleted.

import { keep, kept } from "./address.js";
import { ask, sentence } from "./history_api.js";
import { arrange, isInHand } from "./row_motion.js";
import { locale, proper, text } from "./texts.js";
import { counted } from "./wording.js";

/** @typedef {{id: string, source: string, at: number, tags: string[], text: string, name: string, handle: string, url: string}} Post  text: empty where only the address may be told */
/** @typedef {{posts: Post[], x: {posts: number, urls: Record<string, string>} | null, left_out: number}} Answer  the newest first; x: how many of X there are, and where */
/** @typedef {{item: HTMLLIElement, post: Post, age: Text}} Row */
/**
 * @typedef {object} Behind  the page behind whose lines they are
 * @property {() => string} selected   the hashtag whose posts are shown
 * @property {(tag: string) => string} named
 * @property {(tag: string) => number} total   of its posts
 * @property {() => number} now
 * @property {() => void} wantsChanged   posts are to be asked for from now on, or no more
 * @property {() => void} rowsChanged   there are others, or in another order
 */

const MOST = 20; // rows, as many as the server answers
const READ = 2500; // milliseconds, in which one can be read
const QUIET = 10_000; // milliseconds; by then one should have come, where there are new ones
const MARKED = 30; // hashtags of a post, as many as count
const HASHTAG = /([#＃][\p{L}\p{M}\p{N}_]+)/u;
const ALL = "*"; // the server does not know which of them are gone

const ages = new Intl.RelativeTimeFormat(locale, { style: "narrow" });

export class PostsPanel {
  /** @param {HTMLElement} panel @param {Behind} behind */
  constructor(panel, behind) {
    this.panel = panel;
    this.behind = behind;
    const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (panel.querySelector(name));
    [this.head, this.button, this.body, this.about, this.there] = ["h2", "button", "ol", ".about", ".there"].map(part);
    this.isOpen = kept("posts") !== "false";
    this.selected = "";
    /** @type {Map<string, Row>} by the posts' ids, the newest first */
    this.rows = new Map();
    /** @type {Post[]} that came since, the newest last; MOST of them */
    this.waiting = [];
    this.asking = new AbortController();
    /** @type {Set<string> | null} what is deleted while an answer is under way */
    this.deleted = null;
    /** Whether nobody knows if the rows are still there, and whether the last answer was none. */
    this.isStale = this.hasFailed = false;
    /** When the newest row came, and when anything did; the total of the hashtag then. */
    this.shown = this.heard = this.known = 0;
    this.button.addEventListener("click", () => this.open(!this.isOpen));
    this.show();
  }

  /** Or close; then nothing is asked for. @param {boolean} isOpen */
  open(isOpen) {
    this.isOpen = isOpen;
    keep("posts", String(isOpen));
    this.select("");
    this.behind.wantsChanged();
    this.show();
    this.update();
  }

  /** @private */
  show() {
    this.button.setAttribute("aria-expanded", String(this.isOpen));
    this.button.textContent = text(this.isOpen ? "posts.hide" : "posts.show");
    this.panel.classList.toggle("closed", !this.isOpen);
  }

  /** Time has gone on, and what is shown on the page may be something else. */
  update() {
    const selected = this.behind.selected();
    const head = text("posts.of", { tag: this.behind.named(selected) });
    if (this.head.textContent !== head) this.head.textContent = head;
    if (!this.isOpen) return;
    if (selected !== this.selected) {
      this.select(selected);
      void this.ask();
    } else if (this.isOverdue) void this.ask();
    this.showNext();
    const now = this.behind.now();
    for (const { age, post } of this.rows.values()) put(age, ago(now - post.at));
  }

  /** @private @param {string} tag  none: nothing is shown */
  select(tag) {
    this.asking.abort();
    this.selected = tag;
    this.waiting = [];
    this.arrange([], false);
    this.say("", null);
  }

  /** @private  Many hashtags share one stream: of one of few posts none may come. */
  get isOverdue() {
    const isNew = this.hasFailed || this.behind.total(this.selected) > this.known;
    return isNew && performance.now() - this.heard > QUIET;
  }

  /** @private  Something came, or was asked for. */
  hasHeard() {
    this.heard = performance.now();
    this.known = this.behind.total(this.selected);
  }

  /** @private  Ask the server for the newest. */
  async ask() {
    this.asking.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    this.deleted = new Set();
    this.hasHeard();
    try {
      const answer = await askPosts(this.selected, signal);
      if (!signal.aborted) this.answered(answer);
    } catch (error) {
      if (!signal.aborted) this.failed(error instanceof Error ? error.message : "");
    }
    if (!signal.aborted) this.deleted = null;
  }

  /** @private @param {Answer} answer */
  answered({ posts, x, left_out: out }) {
    this.isStale = this.hasFailed = false;
    const there = posts.filter(({ id }) => !this.deleted?.has(id));
    this.remove([...this.rows.keys()].filter((id) => !there.some((post) => post.id === id)));
    if (!this.isHeld) this.arrange(there, false);
    else this.waiting = there.filter(({ id }) => !this.rows.has(id)).reverse();
    const words = there.length ? text(out ? "posts.some" : "posts.all") : x ? "" : text("posts.none");
    this.say(words, x);
  }

  /** @private @param {string} reason  a sentence */
  failed(reason) {
    this.hasFailed = true;
    if (this.isStale) this.remove([...this.rows.keys()]);
    this.say(text("posts.failed", { reason }), null);
  }

  /** @param {Post} post  a new one, with one of the page's hashtags */
  hear(post) {
    if (!this.isOpen || !post.tags.includes(this.selected)) return;
    this.hasHeard();
    if (this.rows.has(post.id)) return;
    this.waiting = [...this.waiting.filter(({ id }) => id !== post.id), post].slice(-MOST);
  }

  /** @param {string[]} ids  of posts that were deleted */
  gone(ids) {
    if (!this.isOpen || !this.selected) return;
    if (ids.includes(ALL)) {
      this.isStale = true;
      return void this.ask();
    }
    for (const id of ids) this.deleted?.add(id);
    this.waiting = this.waiting.filter(({ id }) => !ids.includes(id));
    this.remove(ids);
  }

  /** @private  At once, whoever reads. @param {string[]} ids */
  remove(ids) {
    const hadFocus = this.body.contains(document.activeElement);
    for (const id of ids) {
      this.rows.get(id)?.item.remove();
      this.rows.delete(id);
    }
    if (hadFocus && !this.body.contains(document.activeElement)) this.button.focus();
  }

  /** @private  Whether somebody reads: a hand is on the list or, as fingers leave nothing there, it was scrolled, alone or with the page. */
  get isHeld() {
    const isScrolled = !matchMedia("(hover: hover)").matches && (this.body.scrollTop > 0 || this.body.getBoundingClientRect().top < 0);
    return this.rows.size > 0 && (isScrolled || isInHand(this.body));
  }

  /** @private  Of those that wait the newest: for the others there was no time. */
  showNext() {
    const newest = this.waiting.at(-1);
    if (!newest || performance.now() - this.shown < READ || this.isHeld) return;
    this.waiting = [];
    this.arrange([newest, ...[...this.rows.values()].map(({ post }) => post)].slice(0, MOST), true);
    this.say(text("posts.some"), undefined);
  }

  /** @private @param {Post[]} posts  that are shown from now on @param {boolean} seen  whether they are to be seen moving */
  arrange(posts, seen) {
    const now = this.behind.now();
    this.rows = new Map(posts.map((post) => [post.id, this.rows.get(post.id) ?? rowOf(post, now)]));
    arrange(this.body, [...this.rows.values()].map(({ item }) => item), seen);
    this.behind.rowsChanged();
    this.shown = performance.now();
  }

  /** @private @param {string} about @param {Answer["x"] | undefined} x  undefined: as before */
  say(about, x) {
    if (this.about.textContent !== about) this.about.textContent = about;
    if (x === undefined) return;
    const words = x ? counted("posts.x", x.posts) : "";
    const link = x && linkTo(x.urls[this.selected], words, words);
    this.there.replaceChildren(...(link ? [link] : []));
  }
}

/** @param {string} tag @param {AbortSignal} signal @returns {Promise<Answer>} rejected with a sentence */
async function askPosts(tag, signal) {
  const answer = await ask("api/posts", { tags: tag }, { cache: "no-store", signal }).catch(() => null);
  if (answer?.ok) return answer.json();
  throw new Error(answer ? await sentence(answer) : text("noConnection"));
}

/** @param {Post} post @param {number} now @returns {Row} */
function rowOf(post, now) {
  const item = document.createElement("li");
  const words = item.appendChild(document.createElement("p"));
  words.dir = "auto";
  const network = post.source === "demo" ? text("demo") : proper(post.source);
  if (post.text) words.append(...marked(post.text));
  else Object.assign(words, { className: "elsewhere", textContent: text("posts.elsewhere", { source: network }) });
  const from = item.appendChild(document.createElement("small"));
  const name = from.appendChild(document.createElement("bdi"));
  name.textContent = post.name || post.handle;
  name.title = post.handle;
  const age = new Text(ago(now - post.at));
  from.append(name.textContent ? ` · ${network} · ` : `${network} · `, age);
  const link = linkTo(post.url, text("posts.open"), text("posts.open.long", { name: name.textContent || network }));
  if (link) item.append(link);
  return { item, post, age };
}

/** @param {string} words  a stranger's @returns {(string | HTMLElement)[]} the same, its first hashtags in bold */
function marked(words) {
  const parts = words.split(HASHTAG);
  const rest = parts.splice(2 * MARKED).join(""); // each would be an element
  return [...parts.map((part, n) => (n % 2 ? Object.assign(document.createElement("b"), { textContent: part }) : part)), rest];
}

/** @param {string} url  a stranger's @param {string} words @param {string} label @returns {HTMLElement | null} none where it leads to no page */
function linkTo(url, words, label) {
  if (!/^https?:\/\//.test(url ?? "")) return null;
  const link = document.createElement("a");
  Object.assign(link, { href: url, target: "_blank", rel: "noopener noreferrer", textContent: words, ariaLabel: label });
  return link;
}

/** @param {number} passed  milliseconds @returns {string} */
export function ago(passed) {
  const seconds = Math.max(0, Math.round(passed / 1000));
  return seconds < 60 ? ages.format(-seconds, "second") : ages.format(-Math.floor(seconds / 60), "minute");
}

/** @param {Text} node @param {string} words */
function put(node, words) {
  if (node.data !== words) node.data = words;
}
