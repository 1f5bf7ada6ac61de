// @ts-check
// The event stream and its lifetime: whatever ends it, it comes back and goes on where it was.

import { steady } from "./clock.js";

/** @typedef {import("./series.js").History} History */
/** @typedef {{since: number, reason: string}} Detail */
/** @typedef {import("./history_api.js").Gap} Gap */
/** @typedef {{at: number, counts: Record<string, number>, people?: Record<string, number | null>, names?: Record<string, string>, sources: Record<string, string>, details?: Record<string, Detail>, gap?: Gap}} Tick  people: authors today; gap: the pause before it */
/** @typedef {{tags: string[], seconds: number, extras: string[]}} Wish  tags: none for all that are tracked; seconds: of history; extras: what is wanted beside the totals, "board", "posts", "alerts" */
/** @typedef {"connecting" | "open" | "waiting" | number} Link  a number: full, and tried again at this time */
/**
 * @typedef {object} Listener
 * @property {(history: History) => void} history  replaces what is known
 * @property {(past: History) => void} past  of hashtags that are new, up to what is known of the others
 * @property {(tick: Tick) => void} counts
 * @property {(name: string, told: any) => void} extra  an event of the extras: a board, a post, posts that are gone, an alert
 * @property {(link: Link) => void} link
 */

/** The states of a source in which posts are counted. */
export const WORKING = new Set(["live", "polling"]);

/** @param {Tick} tick @returns {boolean} whether its totals mean anything: some source works, as far as is known */
export function living(tick) {
  const states = Object.values(tick.sources);
  return states.length === 0 || unheard(tick) || states.some((state) => WORKING.has(state));
}

/** @param {Tick} tick @returns {boolean} whether the server has heard nothing since, and tells it again */
export function unheard(tick) {
  return Object.values(tick.sources).includes("unknown");
}

const EXTRA_EVENTS = ["board", "post", "gone", "alert"];
const SILENCE = 12_000; // the server repeats itself every 5 s: by now the line is dead
const OVERDUE = 6000; // by now something should have come
const NAP = 4000; // between two looks that should be a second apart, by either clock: the machine was asleep
const LONGEST_WAIT = 15_000;
const LONGEST_FULL = 120; // seconds

export class Feed {
  /**
   * @param {string} url
   * @param {Listener} listener
   * @param {{EventSource?: any, random?: () => number, now?: () => number, wall?: () => number}} tools  for tests
   */
  constructor(url, listener, tools = {}) {
    this.url = url;
    this.listener = listener;
    this.EventSource = tools.EventSource ?? globalThis.EventSource;
    this.random = tools.random ?? Math.random;
    this.now = tools.now ?? steady;
    this.wall = tools.wall ?? Date.now;
    this.tags = "";
    /** The hashtags of the newest counts, where none are asked for. */
    this.tracked = "";
    /** @type {string[]} the hashtags of which the past is asked for */
    this.fresh = [];
    /** Whether that came. */
    this.hasPast = false;
    this.seconds = 0;
    /** @type {string[]} */
    this.extras = [];
    this.watching = 0;
    this.heard = this.looked = 0;
    /** How far the machine's clock is from the steady one. */
    this.apart = 0;
    this.patience = OVERDUE;
    /** @type {EventSource | undefined} */
    this.source = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.waiting = undefined;
    this.lastId = "";
    this.tries = 0;
    this.full = 0;
  }

  /**
   * Start, or start anew with another choice.
   * @param {Wish} wish
   * @param {string} lastId   of the event to go on from, such as our own; none: with the past
   * @param {string[]} fresh  the hashtags of which the past is wanted also then
   */
  open({ tags, seconds, extras }, lastId = "", fresh = []) {
    this.lastId = lastId;
    this.tracked = "";
    this.fresh = fresh;
    this.hasPast = false;
    this.tries = 0;
    this.tags = tags.join(",");
    this.seconds = seconds;
    this.extras = extras;
    this.looked = this.now();
    this.apart = this.wall() - this.looked;
    this.watching ||= Number(setInterval(() => this.watch(), 1000));
    this.connect();
  }

  close() {
    clearInterval(this.watching);
    this.watching = 0;
    this.drop();
  }

  /** Lose no time: the network is back, or the machine woke up. */
  wake() {
    if (this.now() < this.full) return;
    if (this.waiting || this.now() - this.heard > OVERDUE) this.connect();
  }

  /** @private */
  connect() {
    this.drop();
    if (this.hasPast) this.fresh = [];
    this.heard = this.now();
    this.full = 0;
    this.patience = OVERDUE; // until the server's first word, which comes before any history
    /** @type {EventSource} */
    const source = new this.EventSource(this.address());
    this.source = source;
    /** @param {string} name @param {(told: any) => void} tell */
    const on = (name, tell) =>
      source.addEventListener(name, (/** @type {any} */ event) => tell(this.hear(event)));
    on("history", (history) => {
      this.hasPast = true;
      if (this.isPast(history)) this.listener.past(history);
      else this.listener.history(history);
    });
    on("counts", (tick) => this.counts(tick));
    for (const name of EXTRA_EVENTS) on(name, (told) => this.listener.extra(name, told));
    source.onopen = () => {
      this.heard = this.now();
      this.patience = SILENCE;
    };
    source.onerror = () => {
      // the browser tries again by itself, but after any answer other than 200 it never does
      if (source.readyState === this.EventSource.CLOSED) this.refused();
      else this.listener.link("waiting");
    };
    this.listener.link("connecting");
  }

  /** @private */
  address() {
    const query = new URLSearchParams({ history: String(this.seconds) });
    if (this.tags) query.set("tags", this.tags);
    for (const name of this.extras) query.set(name, "1");
    if (this.lastId) query.set("last_event_id", this.lastId);
    if (this.lastId && this.fresh.length) query.set("new", this.fresh.join(","));
    return `${this.url}?${query}`;
  }

  /** @private  Whether it is of the new hashtags alone: where the server cannot go on, it is of all. @param {History} history */
  isPast({ series }) {
    const told = Object.keys(series);
    const all = this.tags !== "" && this.tags.split(",").length === told.length;
    return this.fresh.length > 0 && !all && told.every((tag) => this.fresh.includes(tag));
  }

  /** @private @param {MessageEvent} event */
  hear(event) {
    if (event.lastEventId) this.lastId = event.lastEventId;
    this.heard = this.now();
    this.tries = 0;
    this.listener.link("open");
    return JSON.parse(event.data);
  }

  /** @private  The server may track others since it was started anew: their past is still to come. @param {Tick} tick */
  counts(tick) {
    const before = this.tracked;
    this.tracked = this.tags ? "" : Object.keys(tick.counts).sort().join();
    if (before && before !== this.tracked) {
      this.lastId = "";
      this.fresh = [];
      this.connect();
    } else this.listener.counts(tick);
  }

  /** @private  A full server says when to come back, though not to an EventSource. */
  refused() {
    this.later();
    const { waiting } = this;
    const told = (/** @type {Response} */ answer) => {
      const seconds = Math.min(LONGEST_FULL, Number(answer.headers.get("Retry-After")));
      if (seconds > 0 && waiting === this.waiting) this.later(seconds * 1000 * (1 + this.random() / 2));
    };
    fetch(this.address(), { method: "HEAD" }).then(told, () => {});
  }

  /** @private  Try again after a wait that grows, and that is not the same for all pages. @param {number} full  or after so long */
  later(full = 0) {
    this.drop();
    const most = Math.min(LONGEST_WAIT, 1000 * 2 ** this.tries++);
    this.waiting = setTimeout(() => this.connect(), full || 100 + this.random() * most);
    this.full = full && this.now() + full;
    this.listener.link(this.full || "waiting");
  }

  /** @private  A connection may die without a word, above all while the machine sleeps. */
  watch() {
    const jump = this.wall() - this.now() - this.apart; // a sleep in which the steady clock stood still, or a clock that was set
    this.apart += jump;
    if (jump > NAP) this.heard -= jump;
    const slept = jump > NAP || this.now() - this.looked > NAP;
    this.looked = this.now();
    if (slept) this.wake();
    else if (!this.waiting && this.now() - this.heard > this.patience) this.later();
  }

  /** @private */
  drop() {
    clearTimeout(this.waiting);
    this.waiting = undefined;
    this.source?.close();
    this.source = undefined;
  }
}
