// @ts-check
// /api/hashtags and /api/counts: what begins so, and whether a text is a hashtag that is counted here.

import { ask, sentence } from "./history_api.js";
import { text } from "./texts.js";

/** @typedef {{tag: string, name: string, posts: number | null}} Offer  posts: of the last day; null where that is not known */
/** @typedef {{tag: string, name: string, people: number, lift: number}} With  people: who used both; lift: how many times more they are than by chance */
/** @typedef {{tag: string, without: string[]}} Counted  without: the networks that were never asked for it */
/** @typedef {{counted: Counted[], refused: string[], sentence: string}} Judged  sentence: why the first of those was refused */

/**
 * @param {string} typed  the beginning of a hashtag; none: the most used of all
 * @param {AbortSignal} signal
 * @returns {Promise<Offer[]>} the most used first; rejected where they cannot be had
 */
export async function complete(typed, signal) {
  const answer = await fetch(`api/hashtags?${new URLSearchParams({ q: typed })}`, { signal });
  return answer.ok ? (await answer.json()).hashtags : []; // what is no hashtag is the beginning of none
}

/** @param {string[]} words @returns {Promise<Judged>} */
export async function judge(words) {
  try {
    const answer = await ask("api/counts", { tags: words.join(","), by: "source" }, { cache: "no-store" });
    if (answer.ok) return { counted: countedOf(await answer.json()), refused: [], sentence: "" };
    const isOfOne = answer.status === 400 || answer.status === 404; // the others may be good
    if (isOfOne && words.length > 1) return together(await Promise.all(words.map((word) => judge([word]))));
    const why = answer.status === 400 ? text("ask.none", { word: words[0] }) : await sentence(answer);
    return { counted: [], refused: words, sentence: why };
  } catch {
    return { counted: [], refused: words, sentence: text("noConnection") };
  }
}

/**
 * What came in the same posts as a hashtag.
 * @param {string} tag
 * @returns {Promise<With[]>} those of the most people first; none where that is not known
 */
export async function cameWith(tag) {
  const answer = await fetch(`api/hashtags/${encodeURIComponent(tag)}`, { cache: "no-store" });
  return answer.ok ? ((await answer.json()).with ?? []) : [];
}

/** @param {{counts: Record<string, Record<string, number>>, sources: Record<string, string>}} told @returns {Counted[]} */
function countedOf({ counts, sources }) {
  return Object.entries(counts).map(([tag, totals]) => ({
    tag,
    without: Object.keys(sources).filter((name) => !Object.hasOwn(totals, name)),
  }));
}

/** @param {Judged[]} all @returns {Judged} */
const together = (all) => ({
  counted: all.flatMap(({ counted }) => counted),
  refused: all.flatMap(({ refused }) => refused),
  sentence: all.find((one) => one.sentence)?.sentence ?? "",
});
