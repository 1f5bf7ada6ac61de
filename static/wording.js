// @ts-check
// Words that no first line needs: numbers with what they count, in the form that their language has for it; moments as they are read.

import { clock, dayAndClock, has, locale, number, text } from "./texts.js";

const DAY = 86_000_000; // milliseconds, nearly
const isFromRight = globalThis.document?.documentElement.dir === "rtl";
const rules = new Intl.PluralRules(locale);
const tenths = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const seconds = new Intl.DateTimeFormat(locale, clock);
const secondsUtc = new Intl.DateTimeFormat(locale, { ...clock, timeZone: "UTC" });
const moment = new Intl.DateTimeFormat(locale, dayAndClock);
const momentUtc = new Intl.DateTimeFormat(locale, { ...dayAndClock, timeZone: "UTC" });
const exact = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "long" });

/**
 * @param {string} key  of a text that has a form for each kind of number: `key.one`, `key.other` and the like
 * @param {number} count
 * @param {Record<string, string>} values  for other places than {n}
 */
export function counted(key, count, values = {}) {
  const whole = Math.round(count);
  const form = `${key}.${rules.select(whole)}`; // a browser may know of kinds that we do not
  return text(has(form) ? form : `${key}.other`, { n: number(whole), ...values });
}

/** @param {number} n */
export const decimal = (n) => tenths.format(n);

/** @param {string[]} names  of the hashtags that are shown @returns {string} for the browser's tab */
export function titled(names) {
  const words = names.map((name) => `#${name}`).join(", ");
  return `${words.length > 80 ? `${words.slice(0, 79)}…` : words} · ${text("name")}`;
}

/** @param {number} at @returns {string} with its day and its time zone */
export const dated = (at) => inOneWay(exact.format(at));

/** @param {[from: number, to: number]} time @returns {string} with its day, or its days, and its time zone */
export const between = ([from, to]) => inOneWay(exact.formatRange(from, to));

/** From right to left Latin letters (UTC) would take the numbers that follow them to their own side. @param {string} words */
const inOneWay = (words) => (isFromRight ? `\u2067${words.replace(/[A-Za-z]+/g, "$&\u200f")}\u2069` : words);

/** @param {number} at @param {number} range  that it is one moment of */
export const instant = (at, range) => (hasDay(at, range) ? moment : seconds).format(at);

/** @param {number} at @param {number} range  that it is one moment of @returns {string} by the reader's clock and by UTC */
export function instants(at, range) {
  const local = instant(at, range);
  const utc = (hasDay(at, range) ? momentUtc : secondsUtc).format(at);
  return local === utc ? text("when.utc", { local }) : text("when.both", { local, utc });
}

/** @param {number} at @param {number} range @returns {boolean} whether a time without its day could be another day's */
const hasDay = (at, range) => Math.max(range, Date.now() - at) > DAY;
