// @ts-check
// All that the page knows: totals, spellings, gaps, and how fresh it is.

import { LIVE } from "./address.js";
import { living, unheard } from "./feed.js";
import { Gaps, start } from "./gaps.js";
import { Series } from "./series.js";
import { text } from "./texts.js";

/** @typedef {import("./clock.js").Clock} Clock */
/** @typedef {import("./feed.js").Tick} Tick */
/** @typedef {import("./feed.js").Link} Link */
/** @typedef {import("./history_api.js").Gap} Gap */

const MINUTE = 60_000;
const OVERDUE = 5000;
const ASK_AGAIN = 10_000;
const FIRST_ASK = 2000; // by then a page that is slow to load has its first tick
const FAR = 300_000; // no tick is under way for so long
const MORE = 2 * MINUTE; // a rate at the left edge needs one
const PEOPLE_EVERY = 1000; // a pixel of the longest range

/** The first line needs none of it. */
const api = () => import("./history_api.js");

export class PageState {
  /** @param {Clock} clock @param {number} tick  milliseconds @param {string[]} tags  none for all */
  constructor(clock, tick, tags) {
    this.clock = clock;
    this.tags = tags;
    /** What the stream tells, as far as it was asked for. */
    this.live = new Series(LIVE + MORE, Math.max(8000, 4 * tick));
    /** People of today, once a second: the server has no past of them. */
    this.people = new Series(LIVE + MORE, this.live.patience);
    this.gaps = new Gaps();
    /** @type {{range: string, series: Series, gaps: Gaps} | null} what /api/history tells, of a longer range */
    this.long = null;
    /** @type {{range: string, series: Series} | null} what lies before the shown time, where the stream does not tell it */
    this.earlier = null;
    /** @type {Record<string, string>} */
    this.names = {};
    /** @type {Tick | null} */
    this.tick = null;
    /** @type {Link} */
    this.link = "connecting";
    this.lag = 0;
    this.cutAt = this.heard = clock.now();
    this.why = "";
    this.asked = clock.now() - ASK_AGAIN + FIRST_ASK;
  }

  /**
   * @param {import("./series.js").History} history  replaces what is known
   * @param {number} seconds  of it that were asked for
   */
  replace(history, seconds) {
    this.clock.learn(history.at);
    this.live.replace(history);
    this.live.keep = Math.max(5 * MINUTE, seconds * 1000) + MORE;
    if (history.at < this.people.at) this.people.replace({ at: 0, series: {} }); // another clock
    this.names = history.names ?? {};
    const gaps = history.gaps ?? [];
    this.gaps.replace([...start(history, seconds), ...gaps.filter(({ kind }) => kind)]);
    // a tab that joined another one's stream is told of breaks without their reasons
    if (gaps.some(({ kind }) => !kind)) void this.askReasons().catch(() => {});
  }

  /** @param {import("./series.js").History} history  of hashtags that are new here */
  add(history) {
    this.live.add(history);
    this.names = { ...this.names, ...history.names };
  }

  /** @param {Tick} tick @returns {boolean} whether the lines grow by it */
  hear(tick) {
    const known = this.tick?.at ?? 0;
    this.clock.learn(tick.at);
    if (tick.at !== known && this.link === "open" && !unheard(tick)) this.notice(tick.at, known);
    this.heard = this.clock.now();
    if (tick.at !== known) this.lag = this.clock.now() - tick.at;
    this.tick = tick;
    this.names = tick.names ?? {};
    this.gaps.hear(tick);
    this.long?.gaps.hear(tick);
    this.long?.series.hear(tick);
    this.earlier?.series.hear(tick);
    const people = Object.entries(tick.people ?? {}).filter(([, number]) => number !== null);
    if (tick.gap || tick.at - this.people.at >= PEOPLE_EVERY) {
      this.people.hear({ ...tick, counts: /** @type {Record<string, number>} */ (Object.fromEntries(people)) });
    }
    return this.live.hear(tick);
  }

  /**
   * Ticks that go back, or are of long ago when they come, are dated by another clock than those before.
   * @private @param {number} at  of a tick that has just come @param {number} known  of the one before it
   */
  notice(at, known) {
    if (at > known - OVERDUE && this.clock.now() - at < FAR) return;
    this.clock.set(at);
    this.asked = 0;
  }

  /** @param {string} tag @returns {string} as most people write it */
  named(tag) {
    return Object.hasOwn(this.names, tag) ? this.names[tag] : tag;
  }

  /** @param {Link} link */
  linked(link) {
    if (link === this.link) return;
    if (this.link === "open") this.cutAt = this.clock.now();
    if (link === "open" && this.clock.now() - this.cutAt > OVERDUE) void this.clock.ask("healthz").catch(() => {});
    this.link = typeof link === "number" ? link + this.clock.offset : link;
  }

  /** @param {string} range @returns {Series} its own, or as long as that is not there the stream's */
  series(range) {
    return this.long?.range === range ? this.long.series : this.live;
  }

  /**
   * Posts in the shown time, as far as it was counted, and in the time before; null where too little is known.
   * @param {string} tag
   * @param {string} range
   * @param {number} length  of it, milliseconds
   * @returns {{posts: number | null, before: number | null}}
   */
  posts(tag, range, length) {
    const series = this.series(range);
    const past = this.earlier?.range === range ? this.earlier.series : series;
    const [newest, begin] = [series.total(tag, series.at), series.at - length];
    const first = series.totalFrom(tag, begin);
    const [until, from] = [past.total(tag, begin), past.total(tag, begin - length)];
    return {
      posts: newest === null || first === null ? null : newest - first,
      before: until === null || from === null ? null : until - from,
    };
  }

  /** @private */
  async askReasons() {
    const { askHistory } = await api();
    const [tag] = this.live.stretches.keys();
    const { gaps } = await askHistory([tag], "15m");
    this.gaps.replace(gaps);
  }

  /** The present as far as it is missing. @returns {Gap | null} */
  missing() {
    const { at, patience } = this.live;
    const now = this.clock.now();
    if (!at || now - at < patience || (this.tick && !living(this.tick))) return null;
    // the server repeats itself also while the ingester is down
    const connected = this.link === "open" && now - this.heard < patience;
    return { from: at, to: now, reason: text(connected ? "gap.ingester" : "noConnection") };
  }

  /** @param {string} range @returns {Gap[]} but for those so short that nobody would see them */
  shownGaps(range) {
    const { gaps } = this.long?.range === range ? this.long : this;
    return gaps.all(this.missing()).filter((gap) => gap.to - gap.from >= this.live.patience);
  }

  /** Find out what is wrong, when something is. */
  async askWhy() {
    const now = this.clock.now();
    const late = !this.tick || now - this.tick.at > OVERDUE;
    if (!late || typeof this.link === "number") this.why = "";
    else if (now - this.asked > ASK_AGAIN) {
      this.asked = now;
      this.why = await api().then(({ askTrouble }) => askTrouble(this.tags), () => "");
    }
  }
}
