// @ts-check
// What comes in, and what is shown of it. What a visitor does with it is in visitor.js, which is loaded after the first line.

import { kept, LIVE, RANGES, read, write } from "./address.js";
import { Axes } from "./axes.js";
import { Chart, ready } from "./chart.js";
import { Clock, offsetOfPage } from "./clock.js";
import { Link } from "./link.js";
import { Selection } from "./selection.js";
import { PageState } from "./state.js";
import { Table } from "./table.js";
import { $, notice, speak, text } from "./texts.js";

/** @typedef {{tracked: string[], tags: string[], problem: string, now: number, tick: number, embed: boolean, texts: Record<string, string>}} Config */

const MINUTE = 60_000;
const LIST_EVERY = 250; // nobody reads faster
const LATE = 2000; // milliseconds: by then a page without a line is not waited for
const MANY = 6; // rows, beside the chart rather than under it
const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

export class Page {
  /** @param {Config} config */
  constructor(config) {
    this.config = config;
    this.selection = new Selection(config.tracked, config.tags);
    this.choice = read(location.search);
    const [timing] = performance.getEntriesByType("navigation");
    this.clock = new Clock(offsetOfPage(config.now, /** @type {PerformanceNavigationTiming} */ (timing)));
    this.state = new PageState(this.clock, config.tick, config.tags);
    this.named = (/** @type {string} */ tag) => this.state.named(tag);
    this.canvas = /** @type {HTMLCanvasElement} */ ($("lines"));
    const { patience } = this.state.live;
    this.chart = new Chart(this.canvas, this.clock, { delay: config.tick + 500, patience, still: still.matches });
    this.axesCanvas = /** @type {HTMLCanvasElement} */ ($("axes"));
    this.axes = new Axes(this.axesCanvas, this.chart, () => this.gaps, this.named);
    this.chart.onpaint = () => this.painted();
    this.table = new Table($("rows"), (tag) => this.stroke(tag), this.named, (tag, more) => this.visitor?.pick(tag, more), (tag) => this.mark(tag));
    this.seconds = 0;
    this.printing = false;
    this.isDrawn = false;
    /** @type {[string, any][]} events of the extras that came before the visitor; the last 50 */
    this.told = [];
    /** @type {import("./visitor.js").Visitor | undefined} once it is loaded */
    this.visitor = undefined;
    /** @type {Promise<void> | undefined} */
    this.loading = undefined;
    /** @type {Event[]} clicks and keys before anything could be done; the last 50 until then */
    this.early = [];
    this.link = new Link(new URL("events", document.baseURI).href, {
      history: (history) => this.history(history),
      past: (past) => this.past(past),
      counts: (tick) => this.counts(tick),
      extra: (name, told) => this.extra(name, told),
      link: (link) => this.state.linked(link),
    });
  }

  start() {
    this.laidOut();
    notice(this.config.problem);
    this.chart.frozen = this.choice.moment && this.choice.moment[1];
    this.choose();
    if (this.choice.kiosk) this.load();
    for (const kind of ["click", "keydown"]) {
      addEventListener(kind, (event) => (this.early = this.visitor?.isWhole ? [] : [...this.early, event].slice(-50)));
    }
    document.addEventListener("visibilitychange", () => this.shownOrHidden());
    addEventListener("online", () => this.link.wake());
    dark.addEventListener("change", () => this.restyle());
    still.addEventListener("change", () => (this.chart.still = still.matches));
    setInterval(() => this.beat(), Math.min(1000, Math.max(LIST_EVERY, this.config.tick)));
  }

  /** On a kiosk's screen as many rows must fit as there are hashtags. */
  laidOut() {
    const { classList, style } = document.documentElement;
    classList.toggle("many", this.tags.length > MANY);
    style.setProperty("--rows", String(this.tags.length));
  }

  /** The hashtags that are shown. */
  get tags() {
    return this.selection.tags;
  }

  /** The totals over time that are drawn. */
  get series() {
    return this.state.series(this.choice.range);
  }

  /** Where something of them is not known. */
  get gaps() {
    return this.visitor?.gaps ?? this.state.shownGaps(this.choice.range);
  }

  /** Whether the stream's own history covers the range. */
  get isLive() {
    return RANGES[this.choice.range] <= LIVE;
  }

  /** @param {import("./series.js").History} history  replaces what is known: at first, and whenever the past has changed */
  history(history) {
    if (!this.selection.wished.length) this.adopt(Object.keys(history.series));
    this.selection.told(this.tags);
    this.state.replace(history, this.seconds);
    this.redraw();
    this.askMore();
    this.tell("history", history);
  }

  /** What the server shows by itself may be others since it was started anew. @param {string[]} tags */
  adopt(tags) {
    if (!tags.length || String([...tags].sort()) === String([...this.tags].sort())) return;
    this.selection.adopt(tags);
    this.laidOut();
    this.visitor?.tell(text("changed", { tags: tags.map((tag) => `#${this.named(tag)}`).join(", ") }));
  }

  /** @param {import("./series.js").History} past  of hashtags that are shown from now on */
  past(past) {
    const tags = Object.keys(past.series);
    this.selection.told(tags);
    this.state.add(past);
    this.chart.change(this.drawn, tags);
    this.list();
    this.tell("past", past);
  }

  /** @param {import("./feed.js").Tick} tick */
  counts(tick) {
    const first = !this.state.tick;
    if (this.state.hear(tick) && !document.hidden) this.chart.grow();
    if (first) this.visitor?.badge();
    if (first || this.config.tick >= LIST_EVERY) this.list();
    this.tell("tick", tick);
  }

  /** @param {string} name @param {any} told  see feed.js */
  extra(name, told) {
    if (this.visitor) this.visitor.hear(name, told);
    else this.told = [...this.told, /** @type {[string, any]} */ ([name, told])].slice(-50);
  }

  /** What is wanted beside the totals. @returns {string[]} */
  get extras() {
    return ["board", "posts", "alerts"].filter((name) => $(name) && kept(name) !== "false");
  }

  /** Twice a second or so: time goes on also when nothing comes. */
  beat() {
    this.visitor?.badge();
    void this.state.askWhy();
    if (document.hidden) return;
    this.chart.extend();
    this.list();
  }

  list() {
    const { tick } = this.state;
    this.load();
    this.visitor?.update();
    if (!tick || document.hidden) return;
    const { series } = this;
    const { range } = this.choice;
    const readings = this.visitor?.moment.readings() ?? this.tags.map((tag) => ({
      tag,
      total: tick.counts[tag] ?? this.state.live.total(tag, this.state.live.at),
      rate: series.rate(tag, series.at), // as the line has it
      people: tick.people?.[tag] ?? null,
      ...this.state.posts(tag, range, RANGES[range]),
    }));
    this.table.update(readings);
    this.visitor?.read(readings);
  }

  /** All anew: another choice, another history, or the page was hidden. */
  redraw() {
    this.chart.show(this.drawn);
    this.list();
  }

  /** What the chart is to show. @returns {import("./chart.js").Shown} */
  get drawn() {
    const { view, range, hidden } = this.choice;
    const series = view === "people" ? this.state.people : this.series;
    return { series, view, range: RANGES[range], tags: this.tags, hidden, pen: (tag) => this.pen(tag), ...this.visitor?.moment.shown };
  }

  restyle() {
    this.axes.restyle();
    this.redraw();
  }

  painted() {
    this.axes.paint();
    this.visitor?.follow();
    if (!this.state.live.at || !this.state.tick || this.isDrawn) return;
    this.isDrawn = true;
    performance.mark("first line");
    this.load();
  }

  /** Load what a visitor can do: at once on a wall, else after the first line; again with the next tick, where that fails. */
  load() {
    if (!this.isDrawn && !this.choice.kiosk && !this.choice.moment && performance.now() < LATE) return;
    this.loading ??= import("./visitor.js").then(({ prepared }) => prepared()).then(
      (Visitor) => {
        this.visitor = new Visitor(this);
        this.visitor.catchUp();
      },
      () => (this.loading = undefined),
    );
  }

  /** @param {string} tag */
  stroke(tag) {
    return this.selection.strokeOf(tag);
  }

  /** @param {string} tag */
  pen(tag) {
    const stroke = this.stroke(tag);
    const width = this.choice.kiosk ? Math.max(2, innerWidth / 450) : 2;
    const isDark = dark.matches && !this.printing;
    return { colour: isDark ? stroke.dark : stroke.light, dash: stroke.dash, width };
  }

  /** Ask for what the stream does not tell. */
  askMore() {
    if (2 * RANGES[this.choice.range] <= LIVE) return;
    import("./asking.js").then(({ askMore }) => askMore(this), () => this.isLive || this.choice.moment || notice(text("noConnection")));
  }

  /** Take over what is chosen: address, buttons, chart, stream. */
  choose() {
    const { choice, selection: { wished } } = this;
    history.replaceState({ tags: this.tags }, "", this.address);
    this.table.head(text(choice.range));
    this.visitor?.show();
    $("unit").textContent = text(choice.view);
    this.table.hide(choice.hidden);
    const seconds = Math.min(LIVE, 2 * RANGES[choice.range] + 1.25 * MINUTE) / 1000;
    const enough = this.isLive ? seconds : 75;
    if (enough > this.seconds) this.link.open({ tags: wished, seconds: (this.seconds = enough), extras: this.extras });
    this.redraw();
  }

  /** The page's address, by which it shows the same again. */
  get address() {
    return write(this.selection.wished, this.choice) || location.pathname;
  }

  /** @param {Partial<import("./address.js").Choice>} part */
  change(part) {
    Object.assign(this.choice, part);
    this.visitor?.crosshair.stop();
    this.choose();
    if (!part.range) return;
    notice(this.config.problem);
    this.askMore();
  }

  /** @param {string | null} tag  to look at: its line and its row; none for all the same */
  mark(tag) {
    this.chart.mark(tag);
    this.table.mark(tag);
  }

  shownOrHidden() {
    if (document.hidden) return this.chart.stop();
    this.link.wake();
    this.redraw();
    this.visitor?.seen();
    this.chart.start();
  }

  /** For who watches from outside. @param {string} name @param {unknown} detail */
  tell(name, detail) {
    document.dispatchEvent(new CustomEvent(`pulse:${name}`, { detail }));
  }
}

const config = /** @type {Config} */ (JSON.parse($("config").textContent ?? ""));
speak(config.texts);
if (ready()) {
  const page = new Page(config);
  Object.assign(window, { hashtagPulse: page });
  page.start();
} else {
  notice(text("noChart"));
}
