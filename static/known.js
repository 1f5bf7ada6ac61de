// @ts-check
// All that the page knows: the stream's past, what the server remembers, the gaps, and how fresh it is.

import { LIVE } from "./address.js";
import { Gaps } from "./gaps.js";
import { pastOf, remembered, trouble } from "./long.js";
import { Past } from "./past.js";
import { living } from "./status.js";
import { text } from "./texts.js";

/** @typedef {import("./clock.js").Clock} Clock */
/** @typedef {import("./feed.js").Tick} Tick */
/** @typedef {import("./feed.js").Link} Link */

const MINUTE = 60_000;
const OVERDUE = 5000;
const ASK_AGAIN = 10_000;

export class Known {
  /** @param {Clock} clock @param {number} tick  milliseconds @param {string[]} tags  none for all */
  constructor(clock, tick, tags) {
    this.clock = clock;
    this.tags = tags;
    this.live = new Past(LIVE + 2 * MINUTE, Math.max(8000, 4 * tick));
    this.gaps = new Gaps();
    /** @type {{range: string, past: Past} | null} */
    this.long = null;
    /** @type {Tick | null} */
    this.tick = null;
    /** @type {Link} */
    this.link = "connecting";
    this.lag = 0;
    this.cutAt = clock.now();
    this.why = "";
    this.asked = 0;
  }

  /** @param {import("./past.js").History} history */
  replace(history) {
    this.clock.learn(history.at);
    this.live.replace(history);
  }

  /** @param {Tick} tick @returns {boolean} whether the lines grow by it */
  hear(tick) {
    this.clock.learn(tick.at);
    if (tick.at !== this.tick?.at) this.lag = this.clock.now() - tick.at;
    this.tick = tick;
    this.gaps.hear(tick);
    if (!living(tick)) return false; // its totals stand still because nobody counts
    this.long?.past.add(tick.at, tick.counts);
    return this.live.add(tick.at, tick.counts);
  }

  /** @param {string} tag @returns {string} as most people write it: a tick says where that is otherwise */
  named(tag) {
    const names = this.tick?.names ?? {};
    return Object.hasOwn(names, tag) ? names[tag] : tag;
  }

  /** @param {Link} link */
  linked(link) {
    if (link === this.link) return;
    if (this.link === "open") this.cutAt = this.clock.now();
    if (link === "open" && this.clock.now() - this.cutAt > OVERDUE) void this.clock.ask("healthz").catch(() => {});
    this.link = link;
  }

  /** @param {string} range @param {boolean} isLive @returns {Past} */
  past(range, isLive) {
    return !isLive && this.long?.range === range ? this.long.past : this.live;
  }

  /** Ask the server for what it remembers; of the live ranges only the gaps are wanted.
   * @param {string} range @param {boolean} isLive */
  async remember(range, isLive) {
    const tags = isLive ? [...this.live.series.keys()].slice(0, 1) : this.tags;
    const told = await remembered(tags, isLive ? "15m" : range);
    this.gaps.replace(told.gaps);
    for (const gap of told.gaps) if (gap.all) this.live.cut(gap.from, gap.to);
    if (!isLive) this.long = { range, past: pastOf(told) };
  }

  /** The present as far as it is missing. @returns {import("./long.js").Gap | null} */
  missing() {
    const { at, apart } = this.live;
    const now = this.clock.now();
    if (!at || now - at < apart || (this.tick && !living(this.tick))) return null;
    return { from: at, to: now, reason: this.link === "open" ? text("gap.ingester") : text("noConnection") };
  }

  /** @param {Past} past  the one that is drawn */
  shownGaps(past) {
    const gaps = this.gaps.all(past.holes(), text("gap.ingester"), this.missing());
    return gaps.filter((gap) => gap.to - gap.from >= this.live.apart); // no line breaks for less
  }

  /** Find out what is wrong, when something is. */
  async ask() {
    const now = this.clock.now();
    const late = !this.tick || now - this.tick.at > OVERDUE;
    if (!late) this.why = "";
    else if (now - this.asked > ASK_AGAIN) {
      this.asked = now;
      this.why = await trouble();
    }
  }
}
