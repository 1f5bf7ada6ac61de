// @ts-check
// A time of the past that is shown in place of the present: the address, the lines, the table.

import { read, write } from "./address.js";
import { Gaps } from "./gaps.js";
import { askHistory, seriesOf } from "./history_api.js";
import { Series } from "./series.js";
import { notice, text } from "./texts.js";
import { between } from "./wording.js";

/** @typedef {import("./zoom.js").Time} Time */
/** @typedef {import("./history_api.js").Answer} Answer */
/** @typedef {import("./history_api.js").Gap} Gap */

const MINUTE = 60_000;
const ENOUGH = 10_000; // of a shorter time no rate is told
const REST = 300; // milliseconds: a wheel or two fingers that move on meanwhile have not come to rest
const BEFORE = 1.25 * MINUTE; // what a rate at the beginning needs
const MINUTES_KEPT = 8 * 86_400_000; // before, there are hours
const OLDEST = 400 * 86_400_000 - 60 * MINUTE; // of nothing before is anything kept

export class Moment {
  /** @param {import("./page.js").Page} page @param {(words: string) => void} tell */
  constructor(page, tell) {
    this.page = page;
    this.tell = tell;
    /** @type {Series} what is known of the shown time */
    this.series = new Series(0, 0);
    /** @type {Series | null} of which that is a part, where it is none of the page's own */
    this.whole = null;
    /** @type {Gaps | null} in that */
    this.told = null;
    /** For which time and which hashtags that is known, or was asked for. */
    this.asked = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.resting = undefined;
  }

  /** @returns {Time | null} what is shown; null: the present */
  get time() {
    return this.page.choice.moment;
  }

  /** In place of what the chart has of the present. @returns {Partial<import("./chart.js").Shown>} */
  get shown() {
    const { people } = this.page.state;
    if (!this.time) return {};
    const series = this.page.choice.view === "people" ? part(people, this.time) : this.series;
    return { range: this.time[1] - this.time[0], series };
  }

  /** @returns {Gap[] | undefined} in what was asked for */
  get gaps() {
    return this.time ? this.told?.all(null) : undefined;
  }

  /**
   * Show it at once; soon, when it has come to rest, the address has it, and what is lacking is asked for.
   * @param {Time | null} time
   * @param {boolean} isMoving  whether others follow at once
   */
  show(time, isMoving = false) {
    const { chart, choice } = this.page;
    choice.moment = time;
    chart.frozen = time && time[1];
    this.cut();
    this.page.redraw();
    clearTimeout(this.resting);
    if (isMoving) this.resting = setTimeout(() => this.rest(true), REST);
    else this.rest(false);
  }

  /** @private @param {boolean} wasMoving */
  rest(wasMoving) {
    const { page, time } = this;
    this.resting = undefined;
    const { moment } = read(location.search);
    // of all that a wheel shows on its way the back button knows the present alone; a frame's is another page's
    const isNew = String(moment) !== String(time) && !(wasMoving && moment) && !page.config.embed;
    if (isNew) history.pushState({ tags: page.tags }, "", page.address);
    page.choose();
    notice(page.config.problem);
    if (time) this.tell(text("moment.shown", { time: between(time) }));
    else if (!page.isLive && page.state.long?.range !== page.choice.range) page.askMore(); // that failed, and was not said
    this.update();
  }

  /** Whether others follow at once. */
  get isMoving() {
    return this.resting !== undefined;
  }

  /** Other hashtags may be shown than before. */
  update() {
    const { page, time } = this;
    const asked = `${time} ${page.tags}`;
    if (!time || asked === this.asked || this.isMoving) return;
    this.asked = asked;
    if (this.isLive(time)) this.whole = this.told = null;
    else void this.ask(time, asked);
    this.cut();
    page.redraw();
  }

  /** Whether the page knows all of it by itself, to the half second. @private @param {Time} time */
  isLive([from]) {
    const { live } = this.page.state;
    return this.page.tags.every((tag) => (live.points(tag)[0]?.[0] ?? Infinity) <= from - MINUTE);
  }

  /** @private @param {Time} time @param {string} asked */
  async ask(time, asked) {
    const { clock, config, named, tags } = this.page;
    const oldest = clock.now() - OLDEST;
    if (time[1] < oldest) return notice(text("moment.gone"));
    const begin = withBefore(time, clock.now());
    const step = stepOf([begin, time[1]], clock.now());
    const more = { from: String(Math.max(begin - 2 * step, Math.ceil(oldest))), to: String(time[1] + step) };
    /** @type {Answer | Error} */
    const answer = await askHistory(tags, "", more).catch((error) => error); // a sentence: it has no other
    if (asked !== this.asked) return;
    if (answer instanceof Error) return notice(text("moment.failed", { time: between(time), reason: answer.message }));
    const newest = Object.values(answer.series).map((line) => line.at(-1)?.[0] ?? 0);
    this.whole = seriesOf({ ...answer, at: Math.max(0, ...newest) });
    this.told = new Gaps();
    this.told.replace(answer.gaps);
    notice(lost(answer.gaps, time, tags.map(named)) || config.problem);
    this.cut();
    this.page.redraw();
  }

  /** @private  Take what is known of the time: until more has come, what the page showed before. */
  cut() {
    const { page, time } = this;
    if (!time) [this.whole, this.told, this.asked] = [null, null, ""];
    else this.series = part(this.isLive(time) ? page.state.live : (this.whole ?? page.series), time);
  }

  /** What the table says of it. @returns {import("./table.js").Reading[] | undefined} */
  readings() {
    const { time } = this;
    return time ? this.page.tags.map((tag) => ({ tag, people: null, before: this.before(tag, time), ...reading(this.series, tag, time) })) : undefined;
  }

  /** @private @param {string} tag @param {Time} time @returns {number | null} posts in as long a time before it */
  before(tag, [from, to]) {
    const series = this.whole ?? this.page.state.live;
    const [until, begin] = [series.total(tag, from), series.total(tag, 2 * from - to)];
    return until === null || begin === null ? null : until - begin;
  }

  /** Say of which time the table's posts are. */
  head() {
    for (const [column, key] of [["posts", "moment.posts"], ["change", "moment.change"]]) {
      const head = document.querySelector(`th.${column}`);
      if (head) head.textContent = text(key);
    }
  }

  /** The page's address by which exactly what is shown now is shown again. */
  get address() {
    const { chart, choice, selection } = this.page;
    const range = chart.shown?.range ?? 0;
    const moment = this.time ?? /** @type {Time} */ ([Math.round(chart.edge - range), Math.round(chart.edge)]);
    return new URL(write(selection.wished, { ...choice, moment, kiosk: false }), location.href).href;
  }
}

/** @param {Time} time @param {number} now @returns {number} milliseconds between two of the server's points, or a little more */
const stepOf = ([from, to], now) => Math.max(now - from < MINUTES_KEPT ? MINUTE : 60 * MINUTE, Math.ceil((to - from) / 500));

/** The table compares with as long a time before. @param {Time} time @param {number} now @returns {number} since when to ask: not where that would cost the minutes */
function withBefore([from, to], now) {
  const begin = 2 * from - to;
  return now - begin < MINUTES_KEPT || now - from >= MINUTES_KEPT ? begin : from;
}

/** What is known of a time, and a little more, so that its lines reach its edges. Pure. @param {Series} series @param {Time} time @returns {Series} */
export function part({ stretches, step, patience, at }, [from, to]) {
  const found = new Series(to - from, patience, step);
  const first = from - Math.max(BEFORE, 2 * step);
  for (const [tag, all] of stretches) {
    const inside = all.map(({ begin, end, points }) => {
      const last = step ? points.findIndex((point) => point[0] >= to) : points.findLastIndex((point) => point[0] <= to);
      const kept = points.slice(Math.max(0, points.findLastIndex((point) => point[0] <= first)), step && last < 0 ? Infinity : last + 1);
      return { begin, end, points: kept };
    });
    found.stretches.set(tag, inside.filter(({ end, points }) => points.length && end > first));
  }
  found.at = found.firm = step ? at : Math.min(at, to);
  return found;
}

/** @param {Series} series @param {string} tag @param {Time} time @returns {{total: number | null, rate: number | null, posts: number | null}} */
export function reading(series, tag, [from, to]) {
  const total = series.points(tag).findLast(([at]) => at <= to)?.[1] ?? null;
  const first = series.totalFrom(tag, from);
  let counted = 0;
  for (const { end, points } of series.stretches.get(tag) ?? []) {
    counted += Math.max(0, Math.min(end, to, series.at) - Math.max(points[0][0], from));
  }
  const posts = total === null || first === null || !counted ? null : Math.max(0, total - first);
  return { total, posts, rate: posts === null || counted < ENOUGH ? null : (posts * MINUTE) / counted };
}

/** @param {Gap[]} gaps @param {Time} time @param {string[]} names  of all hashtags @returns {string} a sentence, where some of it is not kept any more */
function lost(gaps, [from, to], names) {
  const gone = gaps.filter((gap) => gap.kind === "kept" && gap.from < to && gap.to > from);
  if (!gone.length) return "";
  if (gone.some((gap) => !gap.tags && gap.from <= from && gap.to >= to)) return text("moment.gone");
  const tags = gone.every((gap) => gap.tags) ? gone.flatMap((gap) => gap.tags ?? []) : names;
  return text("moment.partly", { tags: [...new Set(tags)].map((tag) => `#${tag}`).join(", ") });
}
