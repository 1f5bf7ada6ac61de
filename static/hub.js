// @ts-check
// Few event streams for all tabs of a browser: it allows six connections to a host, and no more.

import { Feed } from "./feed.js";
import { Series } from "./series.js";

/** @typedef {{tags: string[], seconds: number}} Wish  no tags: all that are tracked */
/** @typedef {{postMessage(message: unknown): void, onmessage: any}} Port */
/** @typedef {(url: string, listener: import("./feed.js").Listener) => Feed} FeedOf */
/** @typedef {import("./feed.js").Tick} Tick */

const REMEMBERED = 17 * 60_000;
const MOST_TAGS = 20; // in one stream, as the server has it

export class Hub {
  /** @param {FeedOf} feedOf */
  constructor(feedOf = (url, listener) => new Feed(url, listener)) {
    this.feedOf = feedOf;
    /** @type {Map<Port, Stream>} */
    this.streams = new Map();
  }

  /** @param {Port} port  of a tab that came */
  join(port) {
    port.onmessage = (/** @type {{data: unknown}} */ { data }) => this.hear(port, data);
    port.postMessage({}); // that we are here, before there is any news
  }

  /** @private @param {Port} port @param {any} said */
  hear(port, said) {
    if (said.open) this.want(port, said.url, said.open);
    if (said.wake) this.streams.get(port)?.feed.wake();
    if (said.bye) this.leave(port);
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

  /** @private @param {Port} port */
  leave(port) {
    this.streams.get(port)?.leave(port);
    this.streams.delete(port);
  }
}

/** One event stream, the tabs that share it, and all that it told. */
class Stream {
  /** @param {FeedOf} feedOf @param {string} url */
  constructor(feedOf, url) {
    /** @type {Map<Port, Wish>} */
    this.wishes = new Map();
    /** @type {Wish | null} what the stream brings */
    this.open = null;
    this.series = new Series(REMEMBERED, 8000);
    /** @type {Tick | null} */
    this.tick = null;
    /** @type {import("./feed.js").Link} */
    this.link = "connecting";
    this.feed = feedOf(url, {
      history: (history) => {
        this.series.replace(history);
        this.all({ history });
      },
      counts: (tick) => {
        this.series.hear(tick);
        this.all({ counts: (this.tick = tick) });
      },
      link: (link) => this.link !== link && this.all({ link: (this.link = link) }),
    });
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
      this.feed.open(together.tags.join(","), together.seconds);
    }
    return true;
  }

  /** @param {Port} port  of a tab that is gone, or wants something else */
  leave(port) {
    this.wishes.delete(port);
    if (!this.wishes.size) this.feed.close();
  }

  /** @private @param {Port} port  all that is known, as if it had been there */
  tell(port) {
    port.postMessage({ link: this.link });
    if (this.series.at) port.postMessage({ history: this.series.told() });
    if (this.tick) port.postMessage({ counts: this.tick });
  }

  /** @private @param {unknown} message */
  all(message) {
    for (const port of this.wishes.keys()) port.postMessage(message);
  }
}

/** @param {Wish} have @param {Wish} wish */
function covers(have, wish) {
  const tags = wish.tags.length ? wish.tags.every((tag) => have.tags.includes(tag)) : !have.tags.length;
  return tags && have.seconds >= wish.seconds;
}

/** @param {Wish[]} wishes @returns {Wish | null} one that covers them all, if one stream can */
function union(wishes) {
  const tags = [...new Set(wishes.flatMap((wish) => wish.tags))];
  // what is tracked only the server knows, and a hashtag that is asked for need not be
  const mixed = tags.length > 0 && wishes.some((wish) => !wish.tags.length);
  if (mixed || tags.length > MOST_TAGS) return null;
  return { tags, seconds: Math.max(...wishes.map((wish) => wish.seconds)) };
}
