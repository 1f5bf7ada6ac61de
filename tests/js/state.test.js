// @ts-check
// What the page makes of a server whose clock is another one, or that hears nothing.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Clock } from "../../static/clock.js";
import { ask } from "../../static/asking.js";
import { askHistory } from "../../static/history_api.js";
import { PageState } from "../../static/state.js";
import { sources, status } from "../../static/status.js";
import { speak } from "../../static/texts.js";

speak(JSON.parse(readFileSync(new URL("../../templates/texts/en.json", import.meta.url), "utf8")));

const HOUR = 3_600_000;
const BEGIN = 1_700_000_000_000;

/** A page whose own clock a test moves. */
function page() {
  const here = { now: BEGIN };
  const state = new PageState(new Clock(0, () => here.now), 500, []);
  state.linked("open");
  const shown = () => status({ ...state, now: state.clock.now() });
  /** @param {number} at @param {number} total @param {string} said */
  const hear = (at, total, said = "live") =>
    state.hear({ at, counts: { a: total }, sources: { x: said }, details: { x: { since: at, reason: "why" } } });
  state.replace({ at: BEGIN, series: { a: [[BEGIN - 900_000, 1], [BEGIN, 5]] } }, 900);
  return { here, state, shown, hear };
}

for (const hours of [-1, 1]) {
  test(`a server's clock that is set by ${hours} hours for good does not make the page stale for ever`, () => {
    const { here, state, shown, hear } = page();
    hear(BEGIN, 5);
    assert.equal(shown().level, "live");
    here.now += 500;
    const now = BEGIN + hours * HOUR + 500;
    state.replace({ at: now, series: { a: [[now, 5]] } }, 900);
    hear(now, 5);
    for (let n = 1; n < 40; n++) {
      here.now += 500;
      assert.ok(hear(now + n * 500, 5 + n), "the line grows");
      assert.deepEqual([shown().level, state.lag], ["live", 0]);
      assert.equal(state.missing(), null);
    }
    assert.equal(state.live.total("a", now + 39 * 500), 44);
  });
}

test("a page that was given another time than ticks have is not stale for ever", () => {
  const { shown, hear } = page();
  hear(BEGIN - HOUR, 5);
  hear(BEGIN - HOUR + 500, 6);
  assert.equal(shown().level, "live");
});

test("ticks that are late are told to be late", () => {
  const { here, shown, hear } = page();
  here.now += 20_000;
  hear(BEGIN + 500, 5);
  assert.deepEqual(shown(), { level: "stale", words: "no news for 20 s" });
  hear(BEGIN + 1000, 5);
  assert.equal(shown().level, "stale");
});

test("a repeat after silent ticks is no news: the page says how old it is, and not that nothing lives", () => {
  const { here, state, shown, hear } = page();
  hear(BEGIN + 500, 5);
  for (let n = 1; n < 100; n++) {
    here.now = BEGIN + 500 + n * 4000;
    hear(BEGIN + 500, 5, "unknown");
    const behind = n * 4000;
    assert.equal(shown().level, behind <= 5000 ? "live" : behind <= 15_000 ? "late" : "stale");
    const gap = state.missing();
    assert.equal(gap?.reason, behind < 8000 ? undefined : "ingester was down");
    assert.deepEqual(state.shownGaps("1m").map(({ reason }) => reason), gap ? ["ingester was down"] : []);
  }
  assert.ok(state.tick);
  assert.deepEqual(sources(state.tick), [{ name: "x", level: "late", words: "X: nothing was heard since the last tick" }]);
  here.now += 500;
  state.hear({
    at: here.now, counts: { a: 6 }, sources: { x: "live" },
    gap: { from: BEGIN + 500, to: here.now, kind: "ingester", reason: "ingester was down", all: true },
  });
  assert.equal(shown().level, "live");
  assert.deepEqual(state.shownGaps("1m").map(({ from, reason }) => [from, reason]), [[BEGIN + 500, "ingester was down"]]);
});

test("a visitor reads a sentence, and never an exception or the words of a protocol", async () => {
  /** @param {() => Promise<unknown>} answer @param {string} message */
  const told = async (answer, message) => {
    globalThis.fetch = /** @type {any} */ (answer);
    await assert.rejects(askHistory([], "1h"), { message });
  };
  const json = (/** @type {unknown} */ body) => async () => body;
  await told(async () => Promise.reject(new TypeError("Failed to fetch")), "no connection");
  await told(async () => ({ ok: false, status: 503, json: json({ error: "Redis is full." }) }), "Redis is full.");
  const noJson = async () => Promise.reject(new SyntaxError("Unexpected token <"));
  await told(async () => ({ ok: false, status: 502, statusText: "Bad Gateway", json: noJson }), "the server answers with 502");
});

test("the newest question about a past counts, whichever answer comes last", async () => {
  /** @type {Record<string, (said: object | null) => void>} */
  const answers = {};
  globalThis.fetch = /** @type {any} */ (async (/** @type {string} */ url) => {
    const range = new URL(url, "http://localhost").searchParams.get("range") ?? "";
    const said = await new Promise((resolve) => (answers[range] = resolve));
    return { ok: Boolean(said), status: 503, json: async () => said ?? { error: "Redis is full." } };
  });
  const told = (/** @type {number} */ total) => ({ step: 60_000, at: BEGIN, series: { a: [[BEGIN, total]] }, gaps: [] });
  const until = async (/** @type {string[]} */ ...ranges) => {
    while (!ranges.every((range) => range in answers)) await new Promise(setImmediate);
  };
  const [old, newer] = [ask("past", ["a"], "7d"), ask("past", ["a"], "1h")];
  await until("7d", "1h");
  answers["1h"](told(1));
  assert.equal((await newer)?.series.total("a", BEGIN), 1);
  answers["7d"](told(7));
  assert.equal(await old, null);
  const [failing, last] = [ask("past", ["a"], "30d"), ask("past", ["a"], "24h")];
  await until("30d", "24h");
  answers["30d"](null);
  assert.equal(await failing, null, "nobody asks for it any more");
  answers["24h"](null);
  await assert.rejects(last, { message: "Redis is full." });
});

test("posts are counted in the shown time, and in the time before as far as that is known", () => {
  const state = new PageState(new Clock(0, () => BEGIN), 500, []);
  /** @type {[number, number][]} */
  const points = Array.from({ length: 601 }, (_, s) => [BEGIN - (600 - s) * 1000, s < 300 ? s : 300 + 3 * (s - 300)]);
  state.replace({ at: BEGIN, series: { a: points } }, 600);
  assert.deepEqual(state.posts("a", "5m", 300_000), { posts: 900, before: 300 });
  assert.deepEqual(state.posts("a", "1m", 60_000), { posts: 180, before: 180 });
  assert.deepEqual(state.posts("a", "15m", 900_000), { posts: 1200, before: null }, "since counting began");
  assert.deepEqual(state.posts("b", "5m", 300_000), { posts: null, before: null });
});

test("a page that stays open remembers what it shows and a little more, and people once a second", () => {
  const { state } = page();
  const tags = ["a", "b", "c"];
  const told = (/** @type {number} */ n) => Object.fromEntries(tags.map((tag) => [tag, n]));
  state.replace({ at: BEGIN, series: Object.fromEntries(tags.map((tag) => [tag, [[BEGIN - 195_000, 1], [BEGIN, 5]]])) }, 195);
  const known = (/** @type {import("../../static/series.js").Series} */ series) => series.stretches.get("b")?.flatMap(({ points }) => points) ?? [];
  /** @type {Record<"live" | "people", number[]>} in each minute */
  const counted = { live: [], people: [] };
  for (let n = 1; n <= 40 * 600; n++) {
    state.hear({ at: BEGIN + n * 100, counts: told(5 + n), people: told(n), sources: { x: "live" } });
    if (n % 600 === 0) counted.live.push(known(state.live).length);
    if (n % 600 === 0) counted.people.push(known(state.people).length);
  }
  const most = (/** @type {number[]} */ all, /** @type {number} */ from) => Math.max(...all.slice(from));
  assert.ok(most(counted.live, 0) <= 8 * 600 + 2, String(counted.live));
  assert.ok(most(counted.live, 20) <= most(counted.live.slice(0, 10), 0));
  assert.ok(most(counted.people, 0) <= 18 * 60 + 2, String(counted.people));
  assert.ok(counted.people[39] >= 17 * 60, "all of a quarter of an hour");
  assert.equal(state.people.total("b", BEGIN + 2_400_000), 24_000 - 9, "of less than a second ago");
  assert.equal(state.live.rate("b", state.live.at), 600);
  state.replace({ at: BEGIN + 2_400_000, series: { b: known(state.live) } }, 900);
  for (let n = 1; n <= 20 * 120; n++) state.hear({ at: BEGIN + 2_400_000 + n * 500, counts: { b: 24_005 + n }, sources: { x: "live" } });
  assert.equal(state.live.rate("b", state.live.at - 900_000), 120, "also at the left edge of a quarter of an hour");
  assert.notEqual(state.live.total("b", state.live.at - 1_000_000), null);
});

test("people are heard of at a break, however soon it comes", () => {
  const { here, state } = page();
  const hear = (/** @type {number} */ after, /** @type {number} */ a, /** @type {object} */ more = {}) =>
    state.hear({ at: BEGIN + after, counts: { a: 5 }, people: { a }, sources: { x: "live" }, ...more });
  here.now = BEGIN + 1300;
  hear(100, 3);
  hear(600, 4);
  assert.equal(state.people.at, BEGIN + 100);
  hear(900, 5, { gap: { from: BEGIN + 600, to: BEGIN + 900, reason: "" } });
  assert.deepEqual(state.people.holes(), [{ from: BEGIN + 600, to: BEGIN + 900 }]);
  hear(1900, 6);
  assert.equal(state.people.total("a", BEGIN + 1900), 6);
});
