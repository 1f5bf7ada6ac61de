// @ts-check
// Every word that the page shows, out of templates/texts/, and numbers as its reader writes them.

export const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @type {Record<string, string>} */
let texts = {};

/** @param {Record<string, string>} given */
export function speak(given) {
  texts = given;
}

/** @param {string} key */
export const has = (key) => key in texts;

/**
 * @param {string} key
 * @param {Record<string, string | number>} values  for the {places} in it
 */
export function text(key, values = {}) {
  const found = texts[key];
  if (found === undefined) throw new Error(`no text ${key}`);
  return found.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** @param {string} source */
export const proper = (source) => source.charAt(0).toUpperCase() + source.slice(1);

/** What is wrong, as long as it is. @param {string} words  none: nothing to say */
export function notice(words) {
  $("notice").textContent = words;
  $("notice").hidden = !words;
}

export const language = globalThis.document?.documentElement.lang;
const habits = new RegExp(`^${language}(-\\w+)*$`);
/** As the reader's region writes. Digits and calendar are those of UTC, of what is downloaded and of the names of ranges. */
export const locale =
  language && new Intl.Locale(navigator.languages.find((one) => habits.test(one)) ?? language, { calendar: "gregory", numberingSystem: "latn" });
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const signed = new Intl.NumberFormat(locale, { maximumFractionDigits: 0, signDisplay: "exceptZero" });
const part = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(locale, { notation: "compact", maximumSignificantDigits: 4 });
const hours = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
export const clock = /** @type {const} */ ({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const dayAndClock = /** @type {const} */ ({ weekday: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat(locale, clock);
const days = new Intl.DateTimeFormat(locale, { weekday: "short", day: "numeric" });
const moment = new Intl.DateTimeFormat(locale, dayAndClock);

const NONE = "–";

/** @param {number | null} n */
export const number = (n) => (n === null ? NONE : whole.format(n + 0.000_001));
/** @param {number} n @returns {string} in millions and the like, where there is no room for more */
export const inShort = (n) => short.format(n);
/** @param {number | null} n */
export const change = (n) => (n === null ? NONE : signed.format(Math.round(n) || 0).replace("-", "−"));
/** @param {number} n */
export const percent = (n) => part.format(n);

/**
 * @param {number} at
 * @param {number} step  between this time and the next that is named: how exact it has to be
 */
export function time(at, step) {
  const midnight = step >= 3_600_000 && new Date(at).getHours() === 0;
  if (step >= 86_400_000 || midnight) return days.format(at);
  return (step < 60_000 ? seconds : hours).format(at);
}

/** @param {number} length  milliseconds @returns {string} hours, where there are any, minutes and seconds */
export function span(length) {
  const all = Math.round(length / 1000);
  const parts = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60].map((n) => String(n).padStart(2, "0"));
  return parts.slice(all < 3600 ? 1 : 0).join(":");
}

/** @param {number} at @param {number} now @returns {string} to the minute, with the day where it was another one */
export function minuteOf(at, now) {
  return (new Date(at).toDateString() === new Date(now).toDateString() ? hours : moment).format(at);
}
