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
const OUTLINE = 0.4;
const ABOVE = 2; // rows of words, for which there is room above the lines

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
    const [from, to] = range.split(",").map(Number);
    const before = Math.floor(from - Math.max(2 * MINUTE, (to - from) / 100)); // so that it reaches the left edge
    const asked = to ? askHistory([tag], "", { from: `${before}`, to: `${to}`, band: "1" }) : askHistory([tag], range, { band: "1" });
    const answer = /** @type {Answer | null} */ (await asked.catch(() => null));
    this.isAsking = false;
    if (range === this.range) this.bands.set(tag, { asked: performance.now(), points: answer ? bandOf(answer, tag) : [] });
  }

  /** @private  Beside the rate, as far as it is known. @param {string} tag */
  write(tag) {
    const cell = this.page.table.rows.get(tag)?.rate.parentElement;
    const band = this.bands.get(tag)?.points.findLast((point) => point);
    const words = band && isSeen(band) ? text("usual.now", { low: number(Math.round(band[1])), high: number(Math.round(band[2])) }) : "";
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
    const { box, context } = axes;
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
      for (const edge of /** @type {const} */ ([1, 2])) this.outline(context, part.map((point) => [x(point[0]), y(point[edge])]));
    }
    context.restore();
    const keys = [...(band.some((point) => point && isSeen(point)) ? ["usual.shaded"] : []), ...(hasWeek ? ["usual.earlier"] : [])];
    this.explain(axes, keys.map((key) => text(key, { tag: this.page.named(tag) })));
    for (const alert of this.alerts.values()) this.mark(axes, alert, x, y);
  }

  /** @private  So that the band is told from areas below lines. @param {CanvasRenderingContext2D} context @param {[x: number, y: number][]} edge */
  outline(context, edge) {
    context.strokeStyle = context.fillStyle;
    context.lineWidth = 1;
    context.beginPath();
    for (const [x, y] of edge) context.lineTo(x, y);
    context.globalAlpha = OUTLINE;
    context.stroke();
    context.globalAlpha = SHADE;
  }

  /** @private  What is drawn, above all lines; below the reasons of gaps, where there are any. @param {import("./axes.js").Axes} axes @param {string[]} sentences */
  explain({ box, context, look, reasons }, sentences) {
    context.font = `${look.size * 0.85}px ${look.font}`;
    context.fillStyle = look.muted;
    context.textAlign = "left";
    const hasRoom = (/** @type {string} */ words) => context.measureText(words).width <= box.width;
    const joined = sentences.join(" · ");
    const lines = hasRoom(joined) ? [joined] : sentences.flatMap((words) => inLines(words, hasRoom));
    const above = reasons ? 0.5 - 1.4 * reasons : Math.min(ABOVE, lines.length) - 0.6;
    lines.forEach((words, row) => context.fillText(words, box.left, box.top + look.size * (row - above), box.width));
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
      tag: alert.name,
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

/** @param {string} words @param {(line: string) => boolean} hasRoom @returns {string[]} no longer than there is room, where they have spaces. Pure. */
export function inLines(words, hasRoom) {
  /** @type {string[]} */
  const lines = [];
  for (const word of words.split(" ")) {
    const line = `${lines.at(-1) ?? ""} ${word}`.trim();
    if (hasRoom(line)) lines.splice(-1, 1, line);
    else lines.push(word);
  }
  return lines;
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

/** Whether there is a band: of what is hardly ever used nothing is usual. @param {Point} point */
const isSeen = ([, , high]) => high >= 1;

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
