// @ts-check
// What the page's address says, an address that says what the page shows, and what this browser remembers.

/** @typedef {import("./series.js").View} View */
/** @typedef {keyof typeof RANGES} Range */
/** @typedef {{view: View, range: Range, hidden: Set<string>, kiosk: boolean, lang: string, moment: [from: number, to: number] | null}} Choice  moment: a time of the past that is shown, in milliseconds since 1970; null: the present */

const MINUTE = 60_000;

/** How long each range is, in milliseconds. */
export const RANGES = {
  "1m": MINUTE,
  "5m": 5 * MINUTE,
  "15m": 15 * MINUTE,
  "1h": 60 * MINUTE,
  "24h": 24 * 60 * MINUTE,
  "7d": 7 * 24 * 60 * MINUTE,
  "30d": 30 * 24 * 60 * MINUTE,
};

/** The longest range that the event stream's own history covers. */
export const LIVE = RANGES["15m"];

const LAST = 1e14; // a year that has four digits

/** @param {string} search @returns {Choice} the usual for whatever is missing or makes no sense */
export function read(search) {
  const query = new URLSearchParams(search);
  const range = query.get("range") ?? "";
  const view = query.get("view") ?? "";
  const [from, to] = ["from", "to"].map((name) => Math.round(Number(query.get(name))));
  return {
    view: /** @type {View} */ (["people", "total", "race"].includes(view) ? view : "rate"),
    range: /** @type {Range} */ (Object.hasOwn(RANGES, range) ? range : "5m"),
    hidden: new Set((query.get("hide") ?? "").split(",").filter(Boolean)),
    kiosk: query.has("wall"),
    lang: query.get("lang") ?? "",
    moment: 0 < from && from < to && to < LAST ? [from, to] : null,
  };
}

/** @param {string[]} tags  chosen ones; none for all @param {Choice} choice @returns {string} */
export function write(tags, { view, range, hidden, kiosk, lang, moment }) {
  const parts = [];
  if (tags.length) parts.push(`tags=${tags.map(encodeURIComponent).join(",")}`);
  if (hidden.size) parts.push(`hide=${[...hidden].map(encodeURIComponent).join(",")}`);
  if (view !== "rate") parts.push(`view=${view}`);
  if (range !== "5m") parts.push(`range=${range}`);
  if (moment) parts.push(`from=${moment[0]}&to=${moment[1]}`);
  if (kiosk) parts.push("wall");
  if (lang) parts.push(`lang=${encodeURIComponent(lang)}`);
  return parts.length ? `?${parts.join("&")}` : "";
}

/** What was chosen in this browser before. @param {string} name @returns {string | null} */
export function kept(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // some frames and some readers allow nothing to be kept
  }
}

/** @param {string} name @param {string} value */
export function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // then it is chosen for this visit
  }
}
