// @ts-check
// What the server remembers: the ranges that are longer than the stream's own history, and the gaps.

import { Past } from "./past.js";

/** @typedef {"start" | "ingester" | "sources"} Kind */
/** @typedef {Record<string, {state: string, reason: string}>} States */
/** @typedef {{from: number, to: number, reason: string, kind?: Kind, sources?: States, all?: boolean}} Gap  all: no source worked */
/** @typedef {{step: number, at: number, series: Record<string, [number, number | null][]>, gaps: Gap[]}} Told */

/**
 * @param {string[]} tags  none for all
 * @param {string} range
 * @returns {Promise<Told>}  rejected with a sentence
 */
export async function remembered(tags, range) {
  const query = new URLSearchParams({ range });
  if (tags.length) query.set("tags", tags.join(","));
  const answer = await fetch(`api/history?${query}`);
  if (answer.ok) return answer.json();
  throw new Error(await sentence(answer));
}

/** Why the server has no news, in its own words; empty when it has. @returns {Promise<string>} */
export async function trouble() {
  try {
    const answer = await fetch("readyz", { cache: "no-store" });
    return answer.ok ? "" : await sentence(answer);
  } catch {
    return "";
  }
}

/** @param {Response} answer */
async function sentence(answer) {
  const told = await answer.json().catch(() => ({}));
  return told.error ?? `${answer.status} ${answer.statusText}`.trim();
}

/** @param {Told} told @returns {Past} that goes on with the stream's ticks, one point a step */
export function pastOf(told) {
  const points = Math.max(...Object.values(told.series).map((series) => series.length), 1);
  const past = new Past(points * told.step, 1.5 * told.step, told.step);
  past.replace(told);
  return past;
}
