// @ts-check
// What is usual at this hour: a band behind the line, a range in the table; the week before; and what is unusual, as a notice.

import { keep, kept } from "./address.js";
import { askHistory } from "./history_api.js";
import { LastWeek } from "./last_week.js";
import { $, minuteOf, number, text } from "./texts.js";
import { counted } from "./wording.js";

/** @typedef {[at: number, low: number, high: number]} Point  posts a minute, between which nine of ten such minutes lie */
/** @typedef {{id: string, state: "start" | "end", tag: string, name: string, since: number, people: number, usual: number}} Alert  usual: posts of ten minutes */
/** @typedef {import("./history_api.js").Answer & {usual?: Record<string, ([number, number, number] | null)[]>}} Answer */

const MINUTE = 60_000;
const AGAIN = 5 * MINUTE; // the hour goes on, and what is usual with it
const MOST = 8; // hashtags of which it is asked, beside the selected one
const SHADE = 0.13;

export class Usual {
  /** @param {import("./page.js").Page} page @param {() => string} selected  the hashtag whose band is drawn */
  constructor(page, selected) {
    this.page = page;
    this.selected = selected;
    /** The range, or the time of the past, that the bands are of. */
    this.range = "";
    /** @type {Map<string, {asked: number, points: (Point | null)[]}>} by hashtag, of those that are shown; null where nobody knows */
    this.bands = new Map();
    this.isAsking = false;
    this.lastWeek = new LastWeek(page, selected);
    /** @type {Map<string, Alert>} what is unusual now, by hashtag; of those that are shown */
    this.alerts = new Map();
    /** @type {Set<string>} the ids of those that were read */
    this.read = new Set();
  }

  /** Time has gone on, and what is shown on the page may be something else. */
  update() {
    const { choice, isLive, tags, visitor } = this.page;
    if (visitor?.moment.isMoving) return;
    const range = choice.moment?.join() ?? (isLive ? "15m" : choice.range);
    if (range !== this.range) this.bands.clear();
    this.range = range;
    for (const tag of this.bands.keys()) if (!tags.includes(tag)) this.bands.delete(tag);
    for (const tag of this.alerts.keys()) if (!tags.includes(tag)) this.forget(tag);
    const selected = this.selected();
    const isKnown = this.bands.get(selected)?.points.some((point) => point); // else of the others it is not, either
    const due = [selected, ...(isKnown ? tags.slice(0, MOST) : [])].find((tag) => performance.now() - (this.bands.get(tag)?.asked ?? -AGAIN) >= AGAIN);
    if (due && !this.isAsking) void this.ask(due, range);
    for (const tag of tags) this.write(tag);
    this.lastWeek.update();
  }

  /** @private  One after the other: each has hundreds of points. @param {string} tag @param {string} range */
  async ask(tag, range) {
    this.isAsking = true;
    // where it cannot be had there is no band
    const [from, to] = range.split(",");
    const asked = to ? askHistory([tag], "", { from, to, band: "1" }) : askHistory([tag], range, { band: "1" });
    const answer = /** @type {Answer | null} */ (await asked.catch(() => null));
    this.isAsking = false;
    if (range === this.range) this.bands.set(tag, { asked: performance.now(), points: answer ? bandOf(answer, tag) : [] });
  }

  /** @private  Beside the rate, as far as it is known. @param {string} tag */
  write(tag) {
    const cell = this.page.table.rows.get(tag)?.rate.parentElement;
    const band = this.bands.get(tag)?.points.findLast((point) => point);
    const words = band && band[2] >= 1 ? text("usual.now", { low: number(Math.round(band[1])), high: number(Math.round(band[2])) }) : "";
    const small = cell?.querySelector("small");
    if (!cell || (small?.textContent ?? "") === words) return;
    if (small) small.textContent = words;
    else cell.appendChild(document.createElement("small")).textContent = words;
  }

  /** Behind all that is drawn of the selected line. @param {import("./axes.js").Axes} axes  newly painted */
  draw(axes) {
    const { chart } = this.page;
    const tag = this.selected();
    const { shown, edge } = chart;
    const band = this.bands.get(tag)?.points ?? [];
    const hasWeek = this.lastWeek.draw(axes);
    if (shown?.view !== "rate" || shown.hidden.has(tag) || (!band.length && !this.alerts.size && !hasWeek)) return;
    const { box, context, look } = axes;
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = shown.pen(tag).colour;
    context.globalAlpha = SHADE;
    const x = (/** @type {number} */ at) => box.left + box.width * (1 - (edge - at) / shown.range);
    const y = (/** @type {number} */ value) => box.top + axes.heightOf(value, box);
    for (const part of unbroken(band, edge)) {
      context.beginPath();
      for (const [at, , high] of part) context.lineTo(x(at), y(high));
      for (const [at, low] of part.toReversed()) context.lineTo(x(at), y(low));
      context.fill();
    }
    context.globalAlpha = 1;
    const keys = [...(band.some((point) => point) ? ["usual.shaded"] : []), ...(hasWeek ? ["usual.earlier"] : [])];
    keys.forEach((key, row) => this.name(context, look, box, row, text(key, { tag: `\u2068${this.page.named(tag)}\u2069` })));
    context.restore();
    for (const alert of this.alerts.values()) this.mark(axes, alert, x, y);
  }

  /** @private @param {CanvasRenderingContext2D} context @param {import("./axes.js").Look} look @param {import("./axes.js").Box} box @param {number} row  below the upper edge @param {string} words */
  name(context, look, box, row, words) {
    context.font = `${look.size * 0.85}px ${look.font}`;
    context.fillStyle = look.muted;
    context.textAlign = "left";
    context.fillText(words, box.left + look.size * 0.5, box.top + look.size * 1.2 * (row + 1), box.width - look.size);
  }

  /** @private  Where it began on its line. @param {import("./axes.js").Axes} axes @param {Alert} alert
   * @param {(at: number) => number} x @param {(value: number) => number} y */
  mark({ box, context, chart }, { tag, since }, x, y) {
    const { shown, edge } = chart;
    const value = chart.valueAt(tag, since);
    if (!shown || shown.hidden.has(tag) || since < edge - shown.range || value === null) return;
    context.strokeStyle = shown.pen(tag).colour;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x(since), Math.max(box.top, y(value)), 7, 0, 2 * Math.PI);
    context.stroke();
  }

  /** @param {Alert} alert */
  hear(alert) {
    const { tag, id } = alert;
    if (alert.state === "end") return this.forget(tag);
    if (this.alerts.get(tag)?.id === id || this.read.has(id)) return;
    this.forget(tag);
    this.alerts.set(tag, alert);
    const words = text("usual.not", {
      tag: `\u2068${alert.name}\u2069`,
      people: counted("counted.people", alert.people),
      usual: counted("usual.posts", alert.usual),
      time: minuteOf(alert.since, this.page.clock.now()),
    });
    $("alerts").append(this.notice(alert, words));
    if (document.hidden && isWanted()) new Notification(text("name"), { body: words, tag: id });
  }

  /** @private @param {Alert} alert @param {string} words @returns {HTMLElement} */
  notice({ tag, id }, words) {
    const notice = document.createElement("p");
    notice.className = "notice";
    notice.dataset.tag = tag;
    const said = notice.appendChild(document.createElement("span"));
    said.textContent = words;
    if (globalThis.Notification?.permission === "default") notice.append(button(text("usual.tell"), (one) => void this.tell(one)));
    notice.append(
      button(text("usual.hide"), () => {
        this.read = new Set([...this.read, id].slice(-100));
        this.forget(tag);
      }),
    );
    return notice;
  }

  /** @private  Ask whether the browser may say it from now on. @param {HTMLElement} asked */
  async tell(asked) {
    keep("notify", String((await Notification.requestPermission()) === "granted"));
    asked.remove();
  }

  /** @private @param {string} tag  that is unusual no more, or not shown, or read */
  forget(tag) {
    this.alerts.delete(tag);
    for (const notice of $("alerts").querySelectorAll("p")) if (notice.dataset.tag === tag) notice.remove();
  }
}

const isWanted = () => kept("notify") === "true" && globalThis.Notification?.permission === "granted";

/** @param {string} words @param {(button: HTMLElement) => void} onclick @returns {HTMLElement} */
function button(words, onclick) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = words;
  made.addEventListener("click", () => onclick(made));
  return made;
}

/** @param {Answer} answer @param {string} tag @returns {(Point | null)[]} in posts a minute; of an hour, in which nothing changes, only the first and the last */
export function bandOf({ series, step, usual }, tag) {
  const minutes = Math.max(step, MINUTE) / MINUTE;
  const of = usual?.[tag] ?? [];
  /** @type {(Point | null)[]} */
  const band = (series[tag] ?? []).map(([at], i) => {
    const [low, , high] = of[i] ?? [];
    return low === undefined || high === undefined ? null : [at, low / minutes, high / minutes];
  });
  return band.filter((point, i) => !point || !isSame(band[i - 1], point) || !isSame(band[i + 1], point));
}

/** @param {Point | null | undefined} one @param {Point} other */
const isSame = (one, [, low, high]) => one?.[1] === low && one[2] === high;

/** @param {(Point | null)[]} band @param {number} edge  until when its newest point holds @returns {Point[][]} */
export function unbroken(band, edge) {
  /** @type {Point[][]} */
  const parts = [];
  let isOpen = false;
  for (const point of band) {
    if (point && isOpen) parts[parts.length - 1].push(point);
    else if (point) parts.push([point]);
    isOpen = point !== null;
  }
  const last = parts.at(-1);
  if (last && isOpen) last.push([edge, last[last.length - 1][1], last[last.length - 1][2]]);
  return parts;
}
