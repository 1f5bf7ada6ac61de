// @ts-check
// The tab's end of the stream: through the worker that all tabs share, or else one of its own.

import { Feed } from "./feed.js";

/** @typedef {import("./feed.js").Listener} Listener */
/** @typedef {import("./feed.js").Wish} Wish */
/** @typedef {{open(wish: Wish): void, change(wish: Wish, fresh: string[]): void, wake(): void}} Source */

const LOOK = 5000; // milliseconds, as the worker's
const MOST_QUIET = 3; // looks in a row at which it had said nothing: it hangs, or was ended

export class Link {
  /** @param {string} url @param {Listener} listener */
  constructor(url, listener) {
    this.url = url;
    this.listener = listener;
    /** @type {Wish | null} */
    this.wish = null;
    /** Looks since the worker said something; for its first word it has one. */
    this.quiet = MOST_QUIET;
    /** @type {MessagePort | undefined} to the worker */
    this.port = undefined;
    /** Whether the worker told totals, and how often one may be started anew. */
    this.spoke = false;
    this.left = 3;
    this.source = this.shared() ?? this.own();
    addEventListener("pagehide", () => this.port?.postMessage({ bye: true }));
    addEventListener("pageshow", (event) => event.persisted && this.port?.postMessage({ here: true }));
  }

  /** @param {Wish} wish */
  open(wish) {
    this.wish = wish;
    this.source.open(wish);
  }

  /** Go on with another wish. @param {Partial<Wish>} part  of it @param {string[]} fresh  hashtags of which the past is to come first */
  change(part, fresh = []) {
    this.wish = { tags: [], seconds: 0, extras: [], ...this.wish, ...part };
    this.source.change(this.wish, fresh);
  }

  /** Lose no time: something changed for the better. */
  wake() {
    this.source.wake();
  }

  /** @private @returns {Source} */
  own() {
    this.port = undefined;
    const feed = new Feed(this.url, this.listener);
    return {
      open: (wish) => feed.open(wish),
      change: (wish, fresh) => feed.open(wish, feed.lastId, fresh),
      wake: () => feed.wake(),
    };
  }

  /** @private @returns {Source | null} */
  shared() {
    try {
      const worker = new SharedWorker(new URL("./hub.js", import.meta.url), { type: "module" });
      const lost = () => this.lose(worker.port, looking);
      const looking = setInterval(() => ++this.quiet > MOST_QUIET && lost(), LOOK);
      worker.onerror = lost;
      return this.through(worker.port);
    } catch {
      return null; // not in this browser, or not here
    }
  }

  /** @private  The worker is not there; one that was may be started anew. @param {MessagePort} port @param {number} looking */
  lose(port, looking) {
    clearInterval(looking);
    if (!port.onmessage) return; // that was so before
    port.onmessage = null;
    port.postMessage({ bye: true });
    const again = this.spoke && this.left-- > 0 && this.shared();
    this.source = again || this.own();
    if (this.wish) this.source.open(this.wish);
  }

  /** @private @param {MessagePort} port @returns {Source} */
  through(port) {
    [this.port, this.quiet, this.spoke] = [port, this.spoke ? 0 : MOST_QUIET, false];
    port.onmessage = ({ data }) => {
      this.quiet = 0;
      if (data.ask) port.postMessage({ here: true });
      if (data.again && this.wish) this.source.open(this.wish);
      if (data.link) this.listener.link(data.link);
      if (data.history) this.listener.history(data.history);
      if (data.past) this.listener.past(data.past);
      if (data.counts) this.listener.counts(data.counts);
      this.spoke ||= Boolean(data.counts);
      if (data.extra) this.listener.extra(data.extra[0], data.extra[1]);
    };
    return {
      open: (open) => port.postMessage({ url: this.url, open }),
      change: (change, fresh) => port.postMessage({ url: this.url, change, fresh }),
      wake: () => port.postMessage({ wake: true }),
    };
  }
}
