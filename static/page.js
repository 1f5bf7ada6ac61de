// @ts-check
// The wiring: what comes in, what is shown, what its reader chooses.

import { LIVE, RANGES, read, write } from "./address.js";
import { Axes } from "./axes.js";
import { Beside } from "./beside.js";
import { Chart, ready } from "./chart.js";
import { Clock, offsetOfPage } from "./clock.js";
import { $, Controls, share } from "./controls.js";
import { Crosshair } from "./crosshair.js";
import { Kiosk } from "./kiosk.js";
import { Link } from "./link.js";
import { Selection } from "./selection.js";
import { PageState } from "./state.js";
import * as status from "./status.js";
import { swatch, Table } from "./table.js";
import { dated, number, speak, text, titled } from "./texts.js";

/** @typedef {{tracked: string[], tags: string[], problem: string, now: number, tick: number, embed: boolean, texts: Record<string, string>}} Config */

const MINUTE = 60_000;
const SAY_EVERY = 10_000;
const MANY = 6; // rows, beside the chart rather than under it
const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const SHARP = 2; // pixels of a picture for each of the page's, at least

class Page {
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
    this.axes = new Axes(this.axesCanvas, this.chart, () => this.state.shownGaps(this.choice.range), this.named);
    this.chart.onpaint = () => this.painted();
    this.table = new Table($("rows"), (tag) => this.stroke(tag), this.named, (tag) => this.toggle(tag), (tag) => this.mark(tag));
    this.controls = new Controls(this.actions());
    this.kiosk = new Kiosk((kiosk) => this.kioskChanged(kiosk));
    const places = { plot: $("plot"), cross: $("cross"), values: $("values") };
    const say = { number, named: this.named, swatch: (/** @type {string} */ tag) => swatch(this.stroke(tag)) };
    this.crosshair = new Crosshair(places, this.chart, say, (tag) => this.mark(tag));
    this.seconds = this.said = 0;
    this.printing = false;
    this.beside = new Beside({
      tags: () => this.tags,
      tracked: () => this.selection.tracked,
      select: (tags) => this.select(tags),
      named: this.named,
      strokeOf: (tag) => this.stroke(tag),
    });
    this.link = new Link(new URL("events", document.baseURI).href, {
      history: (history) => this.history(history),
      past: (past) => this.past(past),
      counts: (tick) => this.counts(tick),
      board: (board) => this.beside.hear(board),
      link: (link) => this.state.linked(link),
    });
  }

  start() {
    this.laidOut();
    this.controls.notice(this.config.problem);
    this.choose();
    if (this.choice.kiosk) this.kiosk.set(true);
    addEventListener("popstate", ({ state }) => state && this.goBack(state.tags));
    document.addEventListener("visibilitychange", () => this.shownOrHidden());
    addEventListener("online", () => this.link.wake());
    dark.addEventListener("change", () => this.restyle());
    addEventListener("beforeprint", () => this.print(true));
    addEventListener("afterprint", () => this.print(false));
    still.addEventListener("change", () => (this.chart.still = still.matches));
    setInterval(() => this.beat(), Math.min(1000, Math.max(250, this.config.tick)));
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
    this.controls.tell(text("changed", { tags: tags.map((tag) => `#${this.named(tag)}`).join(", ") }));
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
    if (first) this.badge();
    this.list();
    this.tell("tick", tick);
  }

  /** Twice a second or so: time goes on also when nothing comes. */
  beat() {
    this.badge();
    void this.state.askWhy();
    if (document.hidden) return;
    this.chart.extend();
    this.list();
  }

  badge() {
    const paused = this.chart.frozen !== null;
    $("rows").classList.toggle("stale", this.state.missing() !== null); // as in the chart, nothing is known
    status.show($("badge"), $("sources"), { ...this.state, now: this.clock.now(), paused });
  }

  list() {
    const { tick } = this.state;
    this.beside.update();
    if (!tick || document.hidden) return;
    const { series } = this;
    const { range } = this.choice;
    const readings = this.tags.map((tag) => ({
      tag,
      total: tick.counts[tag] ?? this.state.live.total(tag, this.state.live.at),
      rate: series.rate(tag, series.at), // as the line has it
      people: tick.people?.[tag] ?? null,
      ...this.state.posts(tag, range, RANGES[range]),
    }));
    this.table.update(readings);
    if (Math.abs(this.clock.now() - this.said) < SAY_EVERY) return;
    this.said = this.clock.now();
    document.title = titled(this.tags.map(this.named));
    const stale = $("badge").dataset.level === "stale";
    if (this.controls.spoken) $("summary").textContent = stale ? text("silent") : this.table.summary(readings);
  }

  /** All anew: another choice, another history, or the page was hidden. */
  redraw() {
    this.chart.show(this.drawn);
    this.list();
  }

  /** What the chart is to show. @returns {import("./chart.js").Shown} */
  get drawn() {
    const { view, range, hidden } = this.choice;
    return { series: this.series, view, range: RANGES[range], tags: this.tags, hidden, pen: (tag) => this.pen(tag) };
  }

  restyle() {
    this.axes.restyle();
    this.redraw();
  }

  /** On paper the page is light and as wide as a sheet, and it is drawn now or not at all. @param {boolean} printing */
  print(printing) {
    this.printing = printing;
    document.documentElement.classList.toggle("paper", printing);
    this.restyle();
    this.chart.drawNow(); // the axes then take their room,
    this.chart.drawNow(); // and the lines what is left
  }

  painted() {
    this.crosshair.follow();
    this.axes.reading = this.crosshair.at;
    this.axes.paint();
    if (!this.state.live.at || performance.getEntriesByName("first line").length) return;
    performance.mark("first line");
    this.beside.load();
  }

  /** @param {string} tag */
  stroke(tag) {
    return this.selection.strokeOf(tag);
  }

  /** @param {string} tag */
  pen(tag) {
    const stroke = this.stroke(tag);
    const width = this.kiosk.on ? Math.max(2, innerWidth / 450) : 2;
    const isDark = dark.matches && !this.printing;
    return { colour: isDark ? stroke.dark : stroke.light, dash: stroke.dash, width };
  }

  /** Ask the server for what the stream does not tell: a longer range, and the time before the shown one. */
  askMore() {
    if (!this.isLive) void this.askPast();
    // without it the table tells no change
    void this.state.askEarlier(this.choice.range).then(() => this.list(), () => {});
  }

  async askPast() {
    const { range } = this.choice;
    try {
      await this.state.askPast(range);
      this.controls.notice(this.config.problem);
    } catch (error) {
      const reason = error instanceof Error ? error.message : ""; // a sentence: askHistory has no other
      this.controls.notice(text("noHistory", { range: text(`${range}.long`), reason }));
    }
    if (range === this.choice.range) this.redraw();
  }

  /** Take over what is chosen: into the address, the buttons, the chart, and the stream. */
  choose() {
    const { choice, selection: { wished } } = this;
    history.replaceState({ tags: this.tags }, "", this.address);
    this.controls.show(choice);
    this.table.head(text(choice.range));
    $("unit").textContent = text(choice.view);
    this.table.hide(choice.hidden);
    const seconds = Math.min(LIVE, 2 * RANGES[choice.range] + 1.25 * MINUTE) / 1000;
    const enough = this.isLive ? seconds : 75;
    if (enough > this.seconds) this.link.open({ tags: wished, seconds: (this.seconds = enough), board: this.beside.hasBoard });
    this.redraw();
  }

  /** The page's address, by which it shows the same again. */
  get address() {
    return write(this.selection.wished, this.choice) || location.pathname;
  }

  /** Show other hashtags from now on; the back button goes back. @param {string[]} tags */
  select(tags) {
    this.take(tags);
    history.pushState({ tags }, "", this.address);
    this.askMore();
  }

  /** The lines of hashtags that stay are left as they are. @param {string[]} tags */
  take(tags) {
    const fresh = this.selection.change(tags);
    this.state.tags = this.selection.wished;
    this.link.change(this.selection.wished, fresh);
    for (const tag of this.choice.hidden) if (!tags.includes(tag)) this.choice.hidden.delete(tag);
    this.controls.notice((this.config.problem = ""));
    this.laidOut();
    this.crosshair.stop();
    this.chart.change(this.drawn, []);
    this.said = 0;
    this.list();
  }

  /** @param {string[]} tags  that were shown there */
  goBack(tags) {
    this.take(tags);
    const { kiosk, ...choice } = read(location.search);
    this.kiosk.set(kiosk);
    this.change(choice);
  }

  /** @param {Partial<import("./address.js").Choice>} part */
  change(part) {
    Object.assign(this.choice, part);
    this.crosshair.stop();
    this.choose();
    if (!part.range) return;
    this.controls.notice(this.config.problem);
    this.askMore();
  }

  /** @param {string | null} tag  to look at: its line and its row; none for all the same */
  mark(tag) {
    this.chart.mark(tag);
    this.table.mark(tag);
  }

  /** @param {string} tag */
  toggle(tag) {
    const { hidden } = this.choice;
    if (!hidden.delete(tag)) hidden.add(tag);
    this.chart.hide(hidden);
    this.change({ hidden });
  }

  /** Stand still, or go on. @param {boolean} paused */
  pause(paused) {
    if (paused === (this.chart.frozen !== null)) return;
    this.chart.frozen = paused ? this.chart.edge : null;
    if (!paused) this.redraw();
    this.controls.paused(paused);
    this.badge();
  }

  live() {
    this.crosshair.dismiss();
    this.pause(false);
  }

  /** On a wall nothing stands still: nobody is there who would let it go on. @param {boolean} kiosk */
  kioskChanged(kiosk) {
    this.crosshair.off = kiosk;
    this.live();
    this.restyle();
    this.change({ kiosk });
  }

  /** What each button does. @returns {import("./controls.js").Actions} */
  actions() {
    return {
      change: (part) => this.change(part),
      pause: () => this.pause(this.chart.frozen === null),
      live: () => this.live(),
      share: async () => this.controls.tell(await share()),
      csv: () => this.saveTable(),
      png: () => this.savePicture(),
      kiosk: () => {
        this.kiosk.set(true);
        this.kiosk.fill();
      },
    };
  }

  async saveTable() {
    const { csv, download, inSight } = await import("./export.js"); // few readers need it
    const lines = csv(inSight(this.chart), text("when"), this.named);
    // the mark at the front tells spreadsheets that this is UTF-8
    download(new Blob(["\ufeff", lines], { type: "text/csv" }), `${fileName()}.csv`);
  }

  async savePicture() {
    const { download, picture } = await import("./export.js");
    const title = `${text("name")} · ${text(this.choice.view)} · ${dated(this.chart.edge)}`;
    const { frozen, edge } = this.chart;
    this.chart.frozen = edge; // a picture has a time at its right edge and no "now"
    this.axes.ratio = Math.max(SHARP, devicePixelRatio);
    this.chart.drawSharply(this.axes.ratio);
    const taken = picture(this.axesCanvas, this.canvas, title, this.axes.look);
    Object.assign(this.chart, { frozen });
    this.axes.ratio = 0;
    download(await taken, `${fileName()}.png`);
  }

  shownOrHidden() {
    if (document.hidden) return this.chart.stop();
    this.link.wake();
    this.redraw();
    this.beside.wake();
    this.chart.start();
  }

  /** For whoever watches the page from outside. @param {string} name @param {unknown} detail */
  tell(name, detail) {
    document.dispatchEvent(new CustomEvent(`pulse:${name}`, { detail }));
  }
}

const fileName = () => `hashtag-pulse-${new Date().toISOString().slice(0, 16).replace(":", "")}`;

const config = /** @type {Config} */ (JSON.parse($("config").textContent ?? ""));
speak(config.texts);
if (ready()) {
  const page = new Page(config);
  Object.assign(window, { hashtagPulse: page });
  page.start();
} else {
  $("notice").textContent = text("noChart");
  $("notice").hidden = false;
}
