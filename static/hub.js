// @ts-check
// Few event streams for all tabs of a browser: it allows six connections to a host, and no more. Runs beside the tabs, once for all of them.

import { Feed } from "./feed.js";
import { Series } from "./series.js";

/** @typedef {import("./feed.js").Wish} Wish */
/** @typedef {{postMessage(message: unknown): void, onmessage: any}} Port */
/** @typedef {(url: string, listener: import("./feed.js").Listener) => Feed} FeedOf */
/** @typedef {import("./feed.js").Tick} Tick */

const REMEMBERED = 17 * 60_000;
const MOST_TAGS = 20; // in one stream, as the server has it
const LOOK = 5000;
const MOST_QUIET = 24; // looks: a tab that crashed, or was discarded, says no goodbye

export class Hub {
  /** @param {FeedOf} feedOf */
  constructor(feedOf = (url, listener) => new Feed(url, listener)) {
    this.feedOf = feedOf;
    /** @type {Map<Port, Stream>} */
    this.streams = new Map();
    /** @type {Map<Port, number>} looks since each tab was heard of */
    this.quiet = new Map();
  }

  /** @param {Port} port  of a tab that came */
  join(port) {
    port.onmessage = (/** @type {{data: unknown}} */ { data }) => this.hear(port, data);
    this.quiet.set(port, 0);
    port.postMessage({ ask: true }); // it hears that we are here, before there is any news
  }

  /** Ask the tabs whether they are there. */
  look() {
    for (const [port, looks] of this.quiet) {
      if (looks >= MOST_QUIET) this.part(port);
      else {
        this.quiet.set(port, looks + 1);
        port.postMessage({ ask: true });
      }
    }
  }

  /** @private @param {Port} port @param {any} said */
  hear(port, said) {
    if ((said.here || said.wake) && !this.quiet.has(port)) port.postMessage({ again: true }); // it was frozen
    this.quiet.set(port, 0);
    if (said.open) this.want(port, said.url, said.open);
    if (said.change) this.change(port, said.url, said.change, said.fresh);
    if (said.wake) this.streams.get(port)?.feed.wake();
    if (said.bye) this.part(port);
  }

  /** @private @param {Port} port */
  part(port) {
    this.leave(port);
    this.quiet.delete(port);
  }

  /** @private @param {Port} port @param {string} url @param {Wish} wish */
  want(port, url, wish) {
    if (this.streams.get(port)?.take(port, wish)) return;
    this.leave(port);
    const open = [...new Set(this.streams.values())];
    const stream = open.find((one) => one.take(port, wish)) ?? new Stream(this.feedOf, url);
    this.streams.set(port, stream);
    if (!open.includes(stream)) stream.take(port, wish);
  }

  /** @private  Go on without a break. @param {Port} port @param {string} url @param {Wish} wish @param {string[]} fresh */
  change(port, url, wish, fresh) {
    const before = this.streams.get(port);
    if (!before) return this.want(port, url, wish);
    if (before.change(port, wish, fresh)) return;
    const own = new Stream(this.feedOf, url, before); // it goes not together with what other tabs want
    own.change(port, wish, fresh);
    this.leave(port);
    this.streams.set(port, own);
  }

  /** @private @param {Port} port */
  leave(port) {
    this.streams.get(port)?.leave(port);
    this.streams.delete(port);
  }
}

/** One event stream, the tabs that share it, and all that it told. */
class Stream {
  /** @param {FeedOf} feedOf @param {string} url @param {Stream} [before]  the one that it goes on from */
  constructor(feedOf, url, before) {
    /** @type {Map<Port, Wish>} */
    this.wishes = new Map();
    /** @type {Wish | null} what the stream brings */
    this.open = null;
    this.series = new Series(REMEMBERED, 8000);
    /** @type {Tick | null} */
    this.tick = null;
    /** @type {Map<string, unknown>} what a tab that comes late is to be told: the board, and for each hashtag its alert */
    this.extras = new Map();
    /** @type {import("./feed.js").Link} */
    this.link = "connecting";
    this.feed = feedOf(url, {
      history: (history) => {
        this.series.replace(history);
        this.all({ history });
      },
      past: (past) => {
        this.series.add(past);
        this.all({ past });
      },
      counts: (tick) => {
        this.series.hear(tick);
        this.all({ counts: (this.tick = tick) });
      },
      extra: (name, told) => {
        if (name === "board" || name === "alert") this.extras.set(told.tag ?? "", [name, told]);
        this.all({ extra: [name, told] });
      },
      link: (link) => this.link !== link && this.all({ link: (this.link = link) }),
    });
    if (before) this.follow(before);
  }

  /** @private  Know what another one knows. @param {Stream} before */
  follow({ open, series, tick, extras, feed }) {
    this.open = open;
    this.series.replace(series.told());
    this.tick = tick;
    this.extras = new Map(extras);
    this.feed.lastId = feed.lastId;
  }

  /** @param {Port} port @param {Wish} wish @returns {boolean} whether this stream can bring that, too */
  take(port, wish) {
    const wishes = new Map(this.wishes).set(port, wish);
    const together = union([...wishes.values()]);
    if (!together) return false;
    this.wishes = wishes;
    if (this.open && covers(this.open, wish)) this.tell(port);
    else {
      this.open = together;
      this.feed.open(together);
    }
    return true;
  }

  /**
   * A tab wants something else, and goes on with those that it had.
   * @param {Port} port
   * @param {Wish} wish
   * @param {string[]} fresh  of which it has no past
   * @returns {boolean} whether this stream can bring that, too
   */
  change(port, wish, fresh) {
    const wishes = new Map(this.wishes).set(port, wish);
    const together = union([...wishes.values()]);
    if (!together || !this.open) return false;
    this.wishes = wishes;
    if (!covers(this.open, wish) || this.brings(together)) this.goOn(together, fresh);
    else if (fresh.length) port.postMessage({ past: this.series.told(fresh) });
    return true;
  }

  /** @private  Whether it brings extras that nobody wants any more. @param {Wish} together */
  brings(together) {
    return this.open?.extras.some((name) => !together.extras.includes(name));
  }

  /** @private  Without a break. @param {Wish} together @param {string[]} fresh */
  goOn(together, fresh) {
    const { tags } = together;
    this.open = { ...together, seconds: Math.max(this.open?.seconds ?? 0, together.seconds) };
    if (tags.length) this.series.keepOnly(tags);
    for (const tag of this.extras.keys()) if (tag && tags.length && !tags.includes(tag)) this.extras.delete(tag);
    const unknown = tags.filter((tag) => !this.series.stretches.has(tag));
    this.feed.open(this.open, this.feed.lastId, [...new Set([...fresh, ...unknown])]);
  }

  /** @param {Port} port  of a tab that is gone, or wants something else */
  leave(port) {
    this.wishes.delete(port);
    if (!this.wishes.size) return this.feed.close();
    const together = union([...this.wishes.values()]);
    if (together && this.brings(together)) this.goOn(together, []);
  }

  /** @private @param {Port} port  all that is known, as if it had been there */
  tell(port) {
    port.postMessage({ link: this.link });
    if (this.series.at) port.postMessage({ history: this.series.told() });
    if (this.tick) port.postMessage({ counts: this.tick });
    for (const extra of this.extras.values()) port.postMessage({ extra });
  }

  /** @private @param {unknown} message */
  all(message) {
    for (const port of this.wishes.keys()) port.postMessage(message);
  }
}

/** @param {Wish} have @param {Wish} wish */
function covers(have, wish) {
  const tags = wish.tags.length ? wish.tags.every((tag) => have.tags.includes(tag)) : !have.tags.length;
  return tags && have.seconds >= wish.seconds && wish.extras.every((name) => have.extras.includes(name));
}

/** @param {Wish[]} wishes @returns {Wish | null} one that covers them all, if one stream can */
function union(wishes) {
  const tags = [...new Set(wishes.flatMap((wish) => wish.tags))];
  // what is tracked only the server knows, and a hashtag that is asked for need not be
  const mixed = tags.length > 0 && wishes.some((wish) => !wish.tags.length);
  if (mixed || tags.length > MOST_TAGS) return null;
  const extras = [...new Set(wishes.flatMap((wish) => wish.extras))];
  return { tags, seconds: Math.max(...wishes.map((wish) => wish.seconds)), extras };
}

if ("onconnect" in globalThis) {
  const hub = new Hub();
  setInterval(() => hub.look(), LOOK);
  Object.assign(globalThis, { onconnect: (/** @type {MessageEvent} */ event) => hub.join(event.ports[0]) });
}
