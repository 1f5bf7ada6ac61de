// @ts-check
// What the stream does not tell: a longer past, and the time before the shown one. The first line needs none of it.

import { Gaps } from "./gaps.js";
import { askHistory, seriesOf } from "./history_api.js";
import { notice, text } from "./texts.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./history_api.js").Gap} Gap */
/** @typedef {import("./series.js").Series} Series */

/** The range of /api/history that reaches back at least twice as far; the stream's own history does for the others. @type {Record<string, string>} */
const TWICE = { "15m": "1h", "1h": "24h", "24h": "7d", "7d": "30d" };

/** The newest question of each kind: its answer counts, whichever comes last. */
const newest = { past: {}, earlier: {} };

/** Ask for all that is lacking, and show it. @param {Page} page */
export function askMore(page) {
  if (!page.isLive) void askPast(page);
  void askEarlier(page).catch(() => {}); // without it the table tells no change
}

/** @param {Page} page */
async function askPast(page) {
  const { choice, config, state } = page;
  const { range } = choice;
  let words = config.problem;
  try {
    const told = await ask("past", state.tags, range);
    if (!told) return;
    const gaps = new Gaps();
    gaps.replace(told.gaps);
    state.long = { range, series: told.series, gaps };
  } catch (error) {
    const reason = error instanceof Error ? error.message : ""; // a sentence: askHistory has no other
    words = text("noHistory", { range: text(`${range}.long`), reason });
  }
  if (range !== choice.range) return;
  if (!choice.moment) notice(words); // which says itself what there is of it
  page.redraw();
}

/** @param {Page} page */
async function askEarlier(page) {
  const { choice, state } = page;
  const { range } = choice;
  const told = Object.hasOwn(TWICE, range) && (await ask("earlier", state.tags, TWICE[range]));
  if (!told) return;
  state.earlier = { range, series: told.series };
  page.list();
}

/**
 * @param {"past" | "earlier"} kind
 * @param {string[]} tags
 * @param {string} range
 * @returns {Promise<{series: Series, gaps: Gap[]} | null>} null, however it ended, where the same kind was asked for again meanwhile
 */
export async function ask(kind, tags, range) {
  const question = (newest[kind] = {});
  const told = await askHistory(tags, range).catch((error) => /** @type {Error} */ (error));
  if (question !== newest[kind]) return null;
  if (told instanceof Error) throw told;
  return { series: seriesOf(told), gaps: told.gaps };
}
