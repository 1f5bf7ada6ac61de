// @ts-check
// One event stream for all tabs of a browser: it allows six connections to a host, and no more.

import { Feed } from "./feed.js";
import { Past } from "./past.js";

/** @typedef {{tags: string[], seconds: number}} Wish  no tags: all of them */
/** @typedef {{postMessage(message: unknown): void, onmessage: any}} Port */
/** @typedef {import("./feed.js").Tick} Tick */

const REMEMBERED = 17 * 60_000;

export class Hub {
  /** @param {(url: string, listener: import("./feed.js").Listener) => Feed} feedOf */
  constructor(feedOf = (url, listener) => new Feed(url, listener)) {
    this.feedOf = feedOf;
    /** @type {Map<Port, Wish | null>} */
    this.ports = new Map();
    /** @type {Feed | undefined} */
    this.feed = undefined;
    /** @type {Wish | null} what the stream brings */
    this.open = null;
    this.past = new Past(REMEMBERED, 8000);
    /** @type {Tick | null} */
    this.tick = null;
    /** @type {import("./feed.js").Link} */
    this.link = "connecting";
  }

  /** @param {Port} port  of a tab that came */
  join(port) {
    this.ports.set(port, null);
    port.onmessage = (/** @type {{data: unknown}} */ { data }) => this.hear(port, data);
    port.postMessage({ link: this.link }); // that we are here, before there is any news
  }

  /** @private @param {Port} port @param {any} said */
  hear(port, said) {
    if (said.open) this.want(port, said.url, said.open);
    if (said.wake) this.feed?.wake();
    if (said.bye) this.leave(port);
  }

  /** @private @param {Port} port @param {string} url @param {Wish} wish */
  want(port, url, wish) {
    const feed = (this.feed ??= this.feedOf(url, {
      history: (history) => {
        this.past.replace(history);
        this.all({ history });
      },
      counts: (tick) => {
        this.past.add(tick.at, tick.counts);
        this.all({ counts: (this.tick = tick) });
      },
      link: (link) => this.link !== link && this.all({ link: (this.link = link) }),
    }));
    this.ports.set(port, wish);
    if (this.open && covers(this.open, wish)) return this.tell(port);
    this.open = together([...this.ports.values()].filter((one) => one !== null));
    feed.open(this.open.tags.join(","), this.open.seconds);
  }

  /** @private @param {Port} port  all that is known, as if it had been there */
  tell(port) {
    port.postMessage({ link: this.link });
    if (this.past.at) port.postMessage({ history: this.past.told() });
    if (this.tick) port.postMessage({ counts: this.tick });
  }

  /** @private @param {unknown} message */
  all(message) {
    for (const [port, wish] of this.ports) if (wish) port.postMessage(message);
  }

  /** @private @param {Port} port */
  leave(port) {
    this.ports.delete(port);
    if (this.ports.size) return;
    this.feed?.close();
    this.feed = undefined;
    this.open = this.tick = null;
    this.past = new Past(REMEMBERED, 8000);
    this.link = "connecting";
  }
}

/** @param {Wish} have @param {Wish} wish */
function covers(have, wish) {
  const tags = !have.tags.length || (wish.tags.length > 0 && wish.tags.every((tag) => have.tags.includes(tag)));
  return tags && have.seconds >= wish.seconds;
}

/** @param {Wish[]} wishes @returns {Wish} one that covers them all */
export function together(wishes) {
  const all = wishes.some((wish) => !wish.tags.length);
  return {
    tags: all ? [] : [...new Set(wishes.flatMap((wish) => wish.tags))],
    seconds: Math.max(...wishes.map((wish) => wish.seconds)),
  };
}
