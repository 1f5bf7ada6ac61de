// @ts-check
// What a visitor does with the page: choose, read, ask, print, take away. Loaded after the first line, which needs none of it.

import { read } from "./address.js";
import { Controls, share } from "./controls.js";
import { Crosshair } from "./crosshair.js";
import "./asking.js"; // so that it is there when the network is not
import { Kiosk } from "./kiosk.js";
import { Moment } from "./moment.js";
import { RangePicker } from "./range_picker.js";
import { Sorting } from "./sorting.js";
import { show } from "./status.js";
import { swatch } from "./table.js";
import { $, notice, number, speak, text } from "./texts.js";
import { Usual } from "./usual.js";
import { between, counted, titled } from "./wording.js";

/** @typedef {import("./table.js").Reading} Reading */

const SAY_EVERY = 10_000; // milliseconds
const SPOKEN = 5; // hashtags

export class Visitor {
  /** @param {import("./page.js").Page} page */
  constructor(page) {
    this.page = page;
    this.said = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.telling = undefined;
    this.sorting = new Sorting(page.table);
    this.usual = $("alerts") && new Usual(page, () => this.selected);
    this.controls = new Controls(this.actions());
    this.kiosk = new Kiosk((kiosk) => this.kioskChanged(kiosk));
    const places = { plot: $("plot"), cross: $("cross"), values: $("values") };
    const say = {
      number,
      named: page.named,
      swatch: (/** @type {string} */ tag) => swatch(page.stroke(tag)),
      earlier: (/** @type {number} */ at) => this.usual?.lastWeek.told(at) ?? null,
    };
    this.crosshair = new Crosshair(places, page.chart, say, (tag) => page.mark(tag), (before, at) => this.picker.extend(before, at));
    this.moment = new Moment(page, (words) => this.tell(words));
    this.picker = new RangePicker(places.plot, page, this.crosshair, (time, isMoving) => this.look(time, isMoving));
    /** @type {import("./side_panel.js").SidePanel | undefined} once it is loaded; never in another site's frame */
    this.side = undefined;
    /** @type {import("./board.js").Board | null} the newest */
    this.board = null;
    /** @type {Promise<void> | undefined} */
    this.loading = undefined;
    addEventListener("popstate", ({ state }) => state && this.goBack(state.tags));
    addEventListener("beforeprint", () => this.print(true));
    addEventListener("afterprint", () => this.print(false));
    this.show();
    this.badge();
    for (const [name, told] of page.told) this.hear(name, told);
    if (page.choice.kiosk) page.choice.moment = page.chart.frozen = null; // on a wall is the present
    if (page.choice.kiosk) this.kiosk.set(true);
    this.load();
  }

  /** Where something is not known of what is shown; of people nothing before the page was opened. */
  get gaps() {
    const { choice, clock, state, tags } = this.page;
    const gaps = this.moment.gaps ?? state.shownGaps(choice.range);
    if (choice.view !== "people") return gaps;
    const begins = tags.map((tag) => state.people.points(tag)[0]?.[0] ?? clock.now());
    const start = { from: 0, to: Math.min(...begins), reason: "", kind: /** @type {const} */ ("start"), all: true, people: true };
    return [...gaps.filter(({ kind }) => kind !== "start"), start];
  }

  /** Do what was asked for before there was a visitor, by the address, too; what is for the field, the board or posts waits for them. */
  catchUp() {
    const { page } = this;
    if (page.choice.moment) this.stand();
    if (page.choice.moment) page.choose();
    const early = page.early.filter((event) => !this.isWhole && isBeside(event));
    for (const event of page.early) if (!early.includes(event)) again(event);
    page.early = early;
  }

  /** Whether everything that can be pressed does something. */
  get isWhole() {
    return Boolean(this.side) || !$("board");
  }

  /** @private  Where that fails, it is tried again with the next tick. */
  load() {
    if ($("board")) this.loading ??= import("./side_panel.js").then(
      ({ SidePanel }) => {
        this.side = this.sideOf(SidePanel);
        this.page.early.filter(isBeside).forEach(again);
      },
      () => (this.loading = undefined),
    );
  }

  /** @private @param {typeof import("./side_panel.js").SidePanel} SidePanel */
  sideOf(SidePanel) {
    const { page } = this;
    const side = new SidePanel({
      tags: () => page.tags,
      tracked: () => page.selection.tracked,
      select: (tags) => this.select(tags),
      named: page.named,
      strokeOf: (tag) => page.stroke(tag),
      selected: () => this.selected,
      total: (tag) => page.state.tick?.counts[tag] ?? 0,
      now: () => page.clock.now(),
      wantsChanged: () => page.link.change({ extras: page.extras }),
      rowsChanged: () => (page.chart.rests = true), // to lay them out takes as long as to draw the lines
    });
    if (this.board) side.hear("board", this.board);
    return side;
  }

  /** The hashtag whose posts and company are shown: the only one whose line is, or the one that was added last. */
  get selected() {
    const { choice: { hidden }, tags } = this.page;
    const seen = tags.filter((tag) => !hidden.has(tag));
    return seen.length === 1 ? seen[0] : tags[tags.length - 1];
  }

  /** What each button does. @private @returns {import("./controls.js").Actions} */
  actions() {
    const { page } = this;
    return {
      change: (part) => {
        if (part.range && page.choice.moment) this.look(null);
        page.change(part);
      },
      pause: () => this.pause(page.chart.frozen === null),
      live: () => this.live(),
      share: async () => this.tell(await share(location.href)),
      moment: async () => this.tell(await share(this.moment.address)),
      // few visitors need it
      csv: async () => (await import("./export.js")).saveTable(page),
      png: async () => (await import("./export.js")).savePicture(page),
      speak: (lang) => {
        page.choice.lang = lang;
        location.assign(page.address);
      },
      kiosk: () => {
        this.kiosk.set(true);
        this.kiosk.fill();
      },
    };
  }

  /** Show how fresh all of it is. */
  badge() {
    const { chart, choice, clock, state } = this.page;
    $("rows").classList.toggle("stale", state.missing() !== null); // as in the chart, nothing is known
    const past = choice.moment ? between(choice.moment) : "";
    show($("badge"), $("sources"), { ...state, now: clock.now(), paused: chart.frozen !== null, past });
  }

  /** Answer an action, for a while. @param {string} words  none: nothing to say */
  tell(words) {
    clearTimeout(this.telling);
    $("told").textContent = words;
    $("told").hidden = !words;
    if (words) this.telling = setTimeout(() => this.tell(""), words.includes("://") ? 30_000 : 4000);
  }

  /** Show what is chosen. */
  show() {
    this.controls.show(this.page.choice);
    if (this.page.choice.moment) this.moment.head();
  }

  /** Show which hashtags are shown, and how they are spelt. */
  update() {
    this.load();
    this.side?.update();
    this.moment.update();
    this.usual?.update();
  }

  /** @param {string} name @param {any} told  an event of the extras (feed.js) */
  hear(name, told) {
    if (name === "board") this.board = told;
    if (name === "alert") this.usual?.hear(told);
    else if (name !== "board" || !document.hidden) this.side?.hear(name, told);
  }

  /** The page is seen again. */
  seen() {
    if (this.board) this.side?.hear("board", this.board);
  }

  /** The lines have moved on. */
  follow() {
    this.usual?.draw(this.page.axes);
    this.crosshair.follow(this.page.axes);
    this.picker.follow();
  }

  /** @param {Reading[]} readings  the table's, newly written */
  read(readings) {
    this.sorting.sort(readings);
    this.say(readings);
  }

  /** Now and then, for those who hear the page, and in the browser's tab. @private @param {Reading[]} readings */
  say(readings) {
    const { page } = this;
    if (Math.abs(page.clock.now() - this.said) < SAY_EVERY) return;
    this.said = page.clock.now();
    document.title = titled(page.tags.map(page.named));
    const stale = $("badge").dataset.level === "stale";
    if (this.controls.spoken) $("summary").textContent = stale ? text("silent") : summary(readings, page.named);
  }

  /** Show other hashtags from now on; the back button goes back. @private @param {string[]} tags */
  select(tags) {
    this.take(tags);
    history.pushState({ tags }, "", this.page.address);
    this.page.askMore();
  }

  /** The lines of hashtags that stay are left as they are. @private @param {string[]} tags */
  take(tags) {
    const { chart, choice, config, link, selection, state } = this.page;
    const fresh = selection.change(tags);
    state.tags = selection.wished;
    for (const series of [state.live, state.people]) series.keepOnly(tags);
    link.change({ tags: selection.wished }, fresh);
    for (const tag of choice.hidden) if (!tags.includes(tag)) choice.hidden.delete(tag);
    notice((config.problem = ""));
    this.page.laidOut();
    this.crosshair.stop();
    chart.change(this.page.drawn, []);
    this.said = 0;
    this.page.list();
  }

  /** @private @param {string[]} tags  that were shown there */
  goBack(tags) {
    this.take(tags);
    const { kiosk, moment, ...choice } = read(location.search);
    this.kiosk.set(kiosk);
    const isOther = String(moment) !== String(this.page.choice.moment);
    this.page.choice.moment = moment;
    this.page.change(choice);
    if (isOther) this.look(moment);
  }

  /** Show a line alone or, where it is alone, all; or, more: with the others, or not with them. @param {string} tag @param {boolean} more */
  pick(tag, more) {
    const { chart, choice: { hidden }, tags } = this.page;
    const isAlone = tags.every((one) => hidden.has(one) === (one !== tag));
    if (more) hidden.delete(tag) || hidden.add(tag);
    else {
      hidden.clear();
      if (!isAlone) for (const one of tags) if (one !== tag) hidden.add(one);
    }
    chart.hide(hidden);
    this.page.change({ hidden });
  }

  /** Stand still, or go on. @param {boolean} paused */
  pause(paused) {
    const { chart } = this.page;
    if (paused === (chart.frozen !== null)) return;
    if (this.page.choice.moment) return this.look(null);
    chart.frozen = paused ? chart.edge : null;
    if (!paused) this.page.redraw();
    this.stand();
  }

  /** Show a time of the past or, with null, the present. @private @param {import("./zoom.js").Time | null} time @param {boolean} isMoving  for now */
  look(time, isMoving = false) {
    if (!isMoving) this.crosshair.stop();
    this.moment.show(time, isMoving);
    this.stand();
  }

  /** Say whether the picture stands still, and at which time. @private */
  stand() {
    const { chart, choice } = this.page;
    this.controls.paused(chart.frozen !== null);
    this.crosshair.restAt(choice.moment ? text("moment.shown", { time: between(choice.moment) }) : text("now"));
    this.badge();
  }

  /** @private */
  live() {
    this.crosshair.dismiss();
    this.pause(false);
  }

  /** On a wall nothing stands still: nobody is there who would let it go on. @private @param {boolean} kiosk */
  kioskChanged(kiosk) {
    this.crosshair.off = kiosk;
    this.live();
    this.page.change({ kiosk });
    this.page.restyle();
  }

  /** On paper the page is light and as wide as a sheet, and it is drawn now or not at all. @private @param {boolean} printing */
  print(printing) {
    const { page } = this;
    page.printing = printing;
    document.documentElement.classList.toggle("paper", printing);
    page.restyle();
    page.chart.drawNow(); // the axes then take their room,
    page.chart.drawNow(); // and the lines what is left
  }
}

/** @returns {Promise<typeof Visitor>} once its style sheet and its words are there */
export async function prepared() {
  const [answer] = await Promise.all([fetch(beside(`${document.documentElement.lang}.json`)), styled(beside("visitor.css"))]);
  if (!answer.ok) throw new Error("no texts");
  speak(await answer.json());
  return Visitor;
}

/** @param {Event} event @returns {boolean} whether it is for what comes last: the field, the board, posts */
function isBeside(event) {
  const target = /** @type {Element} */ (event.target);
  const key = event instanceof KeyboardEvent ? event.key.toLowerCase() : "";
  return ["/", "k"].includes(key) || target.closest?.("#ask, #side") != null;
}

/** Do what could not be done when it was asked for; letters were typed and links were opened anyway. @param {Event} event */
function again(event) {
  const target = /** @type {Element} */ (event.target);
  const isDone = event instanceof KeyboardEvent ? target === $("typed") && event.key !== "Enter" : !target.closest("button");
  const Kind = /** @type {typeof Event} */ (event.constructor);
  if (!isDone) target.dispatchEvent(new Kind(event.type, event));
}

/** @param {string} name @returns {string} the address of a file beside this one */
const beside = (name) => new URL(name, import.meta.url).href;

/** @param {string} href  of a style sheet @returns {Promise<unknown>} until it holds */
function styled(href) {
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
  document.head.append(link);
  return new Promise((resolve, reject) => {
    link.onload = resolve;
    link.onerror = () => reject(link.remove());
  });
}

/** @param {Reading[]} readings @param {(tag: string) => string} named @returns {string} the busiest, to be read aloud */
function summary(readings, named) {
  const known = readings.filter(({ rate }) => rate !== null);
  known.sort((a, b) => (b.rate ?? 0) - (a.rate ?? 0));
  const parts = known.slice(0, SPOKEN).map(({ tag, rate }) => counted("summary", rate ?? 0, { tag: named(tag) }));
  return parts.join(", ");
}
