// @ts-check
// What the page says of itself: is it live, how far behind, and what each source is doing.

import { living, WORKING } from "./feed.js";
import { said } from "./gaps.js";
import { number, text } from "./texts.js";
import { decimal } from "./wording.js";

/** @typedef {import("./feed.js").Link} Link */
/** @typedef {import("./feed.js").Tick} Tick */
/** @typedef {"live" | "late" | "stale" | "waiting"} Level */
/** @typedef {{link: Link, tick: Tick | null, lag: number, now: number, cutAt: number, why: string, paused?: boolean, past?: string}} State */

const LATE = 5000;
const STALE = 15_000;
const BLINK = 700; // a link that is back by then was hardly away

/**
 * @param {State} state  lag: how old the newest tick was when it came; cutAt: when the link broke; why: the server's own
 *   sentence about what is wrong, where it has one; paused: the picture stands still; past: at this time
 * @returns {{level: Level, words: string}}
 */
export function status({ link, tick, lag, now, cutAt, why, paused = false, past = "" }) {
  if (paused) return { level: "waiting", words: past || text("badge.paused") };
  const away = link === "open" ? 0 : now - cutAt;
  if (typeof link === "number") return { level: "stale", words: text("badge.full", { seconds: number(Math.max(0, link - now) / 1000) }) };
  if (away > BLINK && why) return { level: "stale", words: why };
  if (away > STALE) return { level: "stale", words: text("badge.away", { seconds: number(away / 1000) }) };
  if (!tick) return { level: "waiting", words: why || text(link === "open" ? "badge.noData" : "badge.connecting") };
  if (away > BLINK) return { level: "waiting", words: text("badge.reconnecting") };
  const behind = now - tick.at > LATE ? now - tick.at : lag;
  const seconds = behind < 10_000 ? decimal(behind / 1000) : number(behind / 1000);
  if (behind > STALE) return { level: "stale", words: why || text("badge.stale", { seconds }) };
  if (behind > LATE) return { level: "late", words: text("badge.late", { seconds }) };
  if (!living(tick)) return { level: "late", words: text("badge.noSource") };
  if (recorded(tick)) return { level: "late", words: text("badge.recorded", { seconds }) };
  return { level: "live", words: text("badge.live", { seconds }) };
}

/** @param {Tick} tick @returns {boolean} whether nothing in it is of now */
function recorded({ sources }) {
  const working = Object.keys(sources).filter((name) => WORKING.has(sources[name]));
  return working.length > 0 && working.every((name) => name === "replay");
}

/**
 * @param {Tick} tick
 * @returns {{name: string, level: Level, words: string}[]}
 */
export function sources(tick) {
  return Object.entries(tick.sources).map(([name, state]) => {
    const reason = tick.details?.[name]?.reason ?? "";
    return { name, level: levelOf(name, state), words: said(name, state, reason) };
  });
}

/** @param {string} name @param {string} state @returns {Level} */
function levelOf(name, state) {
  if ((name === "demo" || name === "replay") && state === "live") return "late"; // not to be taken for news
  if (WORKING.has(state)) return "live";
  return state === "down" ? "stale" : "late";
}

/**
 * Show it; nothing is touched that stays the same.
 * @param {HTMLElement} badge
 * @param {HTMLElement} list
 * @param {State} state
 */
export function show(badge, list, state) {
  const { level, words } = status(state);
  put(badge, level, words);
  const pills = state.tick ? sources(state.tick) : [];
  while (list.children.length > pills.length) list.lastElementChild?.remove();
  pills.forEach((pill, i) => {
    const item = list.children[i] ?? list.appendChild(document.createElement("li"));
    item.className = "pill";
    if (pill.name === "demo") /** @type {HTMLElement} */ (item).title = text("demo.long");
    put(/** @type {HTMLElement} */ (item), pill.level, pill.words);
  });
}

/** @param {HTMLElement} element @param {Level} level @param {string} words */
function put(element, level, words) {
  if (element.dataset.level !== level) element.dataset.level = level;
  if (element.textContent !== words) element.textContent = words;
}
