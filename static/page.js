// @ts-check
// The wiring: what comes in, what is shown, what its reader chooses.

import { LIVE, RANGES, read, write } from "./address.js";
import { Chart, ready } from "./chart.js";
import { Clock, offsetOfPage } from "./clock.js";
import { placeOf, strokeOf } from "./colours.js";
import { Feed } from "./feed.js";
import { Paper } from "./paper.js";
import { Past } from "./past.js";
import * as status from "./status.js";
import { Table } from "./table.js";
import { speak, text } from "./texts.js";

/** @typedef {import("./feed.js").Tick} Tick */
/** @typedef {import("./feed.js").Link} Link */
/** @typedef {{tracked: string[], tags: string[], problem: string, now: number, tick: number, embed: boolean, texts: Record<string, string>}} Config */

const MINUTE = 60_000;
const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

class Page {
  /** @param {Config} config */
  constructor(config) {
    this.config = config;
    this.tags = config.tags.length ? config.tags : config.tracked;
    this.choice = read(location.search);
    const [timing] = performance.getEntriesByType("navigation");
    this.clock = new Clock(offsetOfPage(config.now, /** @type {PerformanceNavigationTiming} */ (timing)));
    this.past = new Past(LIVE + 2 * MINUTE, Math.max(8000, 4 * config.tick));
    const motion = matchMedia("(prefers-reduced-motion: reduce)");
    this.chart = new Chart(/** @type {HTMLCanvasElement} */ ($("lines")), this.clock, config.tick + 500, motion.matches);
    this.paper = new Paper(/** @type {HTMLCanvasElement} */ ($("paper")), this.chart, () => this.gaps());
    this.chart.onpaint = () => this.paper.paint();
    this.table = new Table($("rows"), (tag) => this.stroke(tag), (tag) => this.toggle(tag));
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    /** @type {Tick | null} */
    this.tick = null;
    /** @type {Link} */
    this.link = "connecting";
    this.lag = 0;
    this.cutAt = this.clock.now();
    this.seconds = 0;
    this.feed = new Feed("events", {
      history: (history) => this.history(history),
      counts: (tick) => this.counts(tick),
      link: (link) => this.linked(link),
    });
  }

  start() {
    motionAndTheme(this);
    this.controls();
    this.notice(this.config.problem);
    this.choose();
    document.addEventListener("visibilitychange", () => this.shownOrHidden());
    addEventListener("online", () => this.feed.wake());
    setInterval(() => this.beat(), Math.min(1000, Math.max(250, this.config.tick)));
  }

  /** @param {string} tag */
  stroke(tag) {
    return strokeOf(placeOf(tag, this.config.tracked));
  }

  /** @param {import("./past.js").History} history */
  history(history) {
    this.clock.learn(history.at);
    this.past.replace(history);
    this.redraw();
    this.tell("history", history);
  }

  /** @param {Tick} tick */
  counts(tick) {
    this.clock.learn(tick.at);
    const first = !this.tick;
    if (tick.at !== this.tick?.at) this.lag = this.clock.now() - tick.at;
    this.tick = tick;
    if (first) this.badge();
    if (status.living(tick) && this.past.add(tick.at, tick.counts) && !document.hidden) this.chart.grow();
    this.list();
    this.tell("tick", tick);
  }

  /** @param {Link} link */
  linked(link) {
    if (this.link === "open" && link !== "open") this.cutAt = this.clock.now();
    this.link = link;
    this.badge();
  }

  /** Twice a second or so: time goes on also when nothing comes. */
  beat() {
    this.badge();
    if (document.hidden) return;
    this.chart.extend();
    this.list();
  }

  badge() {
    const { link, tick, lag, cutAt } = this;
    status.show($("badge"), $("sources"), { link, tick, lag, cutAt, now: this.clock.now() }, "");
  }

  list() {
    if (!this.tick || document.hidden) return;
    const now = this.past.at;
    const { counts } = this.tick;
    this.table.update(
      this.tags.map((tag) => ({
        tag,
        total: counts[tag] ?? null,
        rate: this.past.rate(tag, now),
        before: this.past.rate(tag, now - MINUTE),
      })),
    );
  }

  /** All anew: another choice, another past, or the page was hidden. */
  redraw() {
    const { past, tags } = this;
    const { view, range, hidden } = this.choice;
    this.chart.show({ past, view, range: RANGES[range], tags, hidden, pen: (tag) => this.pen(tag) });
    this.list();
  }

  /** @param {string} tag */
  pen(tag) {
    const { light, dark, dash } = this.stroke(tag);
    return { colour: this.dark.matches ? dark : light, dash, width: 2 };
  }

  gaps() {
    return this.past.holes().map((hole) => ({ ...hole, reason: text("ingesterDown") }));
  }

  /** Take over what is chosen: into the address, the buttons, the chart, and the stream. */
  choose() {
    const { choice, config } = this;
    history.replaceState(null, "", write(config.tags, choice) || location.pathname);
    press($("views"), choice.view);
    press($("ranges"), choice.range);
    const seconds = Math.min(LIVE, RANGES[choice.range] + 1.25 * MINUTE) / 1000;
    if (seconds > this.seconds) this.feed.open(config.tags.join(","), (this.seconds = seconds));
    this.redraw();
    this.table.hide(choice.hidden);
  }

  controls() {
    pick($("views"), (view) => this.change({ view: /** @type {import("./past.js").View} */ (view) }));
    pick($("ranges"), (range) => this.change({ range: /** @type {import("./address.js").Range} */ (range) }));
  }

  /** @param {Partial<import("./address.js").Choice>} part */
  change(part) {
    Object.assign(this.choice, part);
    this.choose();
  }

  /** @param {string} tag */
  toggle(tag) {
    const { hidden } = this.choice;
    if (!hidden.delete(tag)) hidden.add(tag);
    this.chart.hide(hidden);
    this.choose();
  }

  shownOrHidden() {
    if (document.hidden) return this.chart.stop();
    this.feed.wake();
    this.redraw();
    this.chart.start();
  }

  /** @param {string} words */
  notice(words) {
    $("notice").textContent = words;
    $("notice").hidden = !words;
  }

  /** For whoever watches the page from outside. @param {string} name @param {unknown} detail */
  tell(name, detail) {
    document.dispatchEvent(new CustomEvent(`pulse:${name}`, { detail }));
  }
}

/** @param {Page} page */
function motionAndTheme(page) {
  page.dark.addEventListener("change", () => {
    page.paper.restyle();
    page.redraw();
  });
  matchMedia("(prefers-reduced-motion: reduce)").addEventListener("change", (event) => {
    page.chart.still = event.matches;
  });
}

/** @param {HTMLElement} group @param {(value: string) => void} onpick */
function pick(group, onpick) {
  for (const button of group.querySelectorAll("button")) {
    button.dataset.words = button.textContent ?? "";
    button.addEventListener("click", () => onpick(button.value));
  }
}

/** @param {HTMLElement} group @param {string} value */
function press(group, value) {
  for (const button of group.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.value === value));
  }
}

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
