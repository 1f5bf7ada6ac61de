// @ts-check
// /api/history and /readyz: ranges longer than the stream's own history, the gaps, and what is wrong.

import { Series } from "./series.js";
import { language, text } from "./texts.js";

/** @typedef {"start" | "ingester" | "sources" | "kept"} Kind */
/** @typedef {Record<string, {state: string, reason: string}>} States */
/** @typedef {{from: number, to: number, reason: string, kind?: Kind, sources?: States, all?: boolean, tags?: string[], people?: boolean}} Gap  all: nothing at all was counted; tags: of which it is, where not of all; people: it is people that are not known */
/** @typedef {{step: number, at: number, series: Record<string, [number, number | null][]>, gaps: Gap[]}} Answer */

/**
 * @param {string} path
 * @param {Record<string, string>} query
 * @param {RequestInit} [options]
 * @returns {Promise<Response>} where it is a refusal, its sentence is in the page's language
 */
export const ask = (path, query, options) => fetch(`${path}?${new URLSearchParams({ ...query, lang: language })}`, options);

/**
 * @param {string[]} tags  none for all
 * @param {string} range  none: more has a time of the past
 * @param {Record<string, string>} more  that is asked
 * @returns {Promise<Answer>}  rejected with a sentence
 */
export async function askHistory(tags, range, more = {}) {
  const query = range ? { range, ...more } : { ...more };
  if (tags.length) query.tags = tags.join(",");
  const answer = await ask("api/history", query).catch(() => null);
  if (answer?.ok) return answer.json();
  throw new Error(answer ? await sentence(answer) : text("noConnection"));
}

/**
 * Why the server has no news, or none of these hashtags, in its own words; empty when it has.
 * @param {string[]} tags  none for all
 * @returns {Promise<string>}
 */
export async function askTrouble(tags) {
  try {
    for (const path of ["readyz", "api/counts"]) {
      const answer = await ask(path, { tags: tags.join(",") }, { cache: "no-store" });
      if (!answer.ok) return await sentence(answer);
    }
  } catch {
    // no connection: the page says so itself
  }
  return "";
}

/** @param {Response} answer */
export async function sentence(answer) {
  const told = await answer.json().catch(() => ({}));
  return told.error ?? text("answered", { status: answer.status });
}

/** @param {Answer} answer @returns {Series} that goes on with the stream's ticks, one point a step */
export function seriesOf({ step, at, series }) {
  const points = Math.max(...Object.values(series).map((line) => line.length), 1);
  const all = new Series(points * step, 1.5 * step, step);
  all.replace({ at, series }); // without its gaps: where one fills a step, the total there is null
  return all;
}
