// @ts-check
// What a visitor asks for: words, offers, what is shown, and the board.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { offersOf, words } from "../../static/ask.js";
import { path, times } from "../../static/board.js";
import { judge } from "../../static/hashtags_api.js";
import { Selection, strokeOf } from "../../static/selection.js";
import { Series } from "../../static/series.js";
import { speak } from "../../static/texts.js";
import { bandOf, unbroken } from "../../static/usual.js";

speak(JSON.parse(readFileSync(new URL("../../templates/texts/en.json", import.meta.url), "utf8")));

test("a list is asked for again word by word where one of them is refused, and not where nobody is answered", async () => {
  /** @type {string[]} */
  const asked = [];
  const answers = { status: 503 };
  globalThis.fetch = /** @type {any} */ (async (/** @type {string} */ url) => {
    const tags = new URL(url, "http://localhost").searchParams.get("tags") ?? "";
    asked.push(tags);
    const ok = tags === "a" && answers.status === 404;
    return { ok, status: answers.status, json: async () => (ok ? { counts: { a: {} }, sources: {} } : { error: "It is so." }) };
  });
  assert.deepEqual(await judge(["a", "b"]), { counted: [], refused: ["a", "b"], sentence: "It is so." });
  answers.status = 404;
  assert.deepEqual(await judge(["a", "b"]), { counted: [{ tag: "a", without: [] }], refused: ["b"], sentence: "It is so." });
  assert.deepEqual(asked, ["a,b", "a,b", "a", "b"]);
});

test("a pasted list is words, each once, however it is parted", () => {
  assert.deepEqual(words("#science, football\n＃キツネ、猫;science  #"), ["#science", "football", "＃キツネ", "猫", "science"]);
  assert.deepEqual(words(" , # "), []);
  assert.equal([...words("𝒜".repeat(1e6))[0]].length, 101, "one more than a hashtag has, so that it stays none");
});

test("what is shown is not offered, and what is typed is, where nothing found is the same", () => {
  const found = ["science", "scifi", "scien"].map((tag) => ({ tag, name: tag, posts: 1 }));
  const offered = (/** @type {string} */ typed) => offersOf(found, typed, ["science"]).map(({ tag, posts }) => [tag, posts]);
  assert.deepEqual(offered("sci"), [["scifi", 1], ["scien", 1], ["sci", null]]);
  assert.deepEqual(offered("#SciFi"), [["scifi", 1], ["scien", 1]]);
  assert.deepEqual(offered("Science"), [["scifi", 1], ["scien", 1]]);
  assert.deepEqual(offered(""), [["scifi", 1], ["scien", 1]]);
});

test("of hashtags that are new the past is asked for, until it came", () => {
  const selection = new Selection(["science", "football"], []);
  assert.deepEqual(selection.tags, ["science", "football"]);
  assert.deepEqual(selection.change(["science", "football", "a"]), ["a"]);
  assert.deepEqual(selection.change(["science", "a", "b"]), ["a", "b"]);
  selection.told(["a"]);
  assert.deepEqual(selection.change(["science", "football", "b"]), ["football", "b"]);
  assert.deepEqual(selection.wished, ["science", "football", "b"]);
  assert.deepEqual(selection.change(["science", "football"]), ["football"]);
  assert.deepEqual(selection.wished, [], "all that are tracked, whatever these may be");
});

test("no two that are shown have one colour, and none changes it while it is shown", () => {
  const tracked = ["science", "football"];
  const tags = Array.from({ length: 20 }, (_, n) => `tag${n}`);
  const selection = new Selection(tracked, ["tag0", "science"]);
  assert.deepEqual(selection.strokeOf("science"), strokeOf(0), "the one that it has everywhere");
  const strokes = new Map();
  for (let n = 1; n <= 20; n++) {
    selection.change(tags.slice(0, n));
    const all = tags.slice(0, n).map((tag) => selection.strokeOf(tag));
    assert.equal(new Set(all.map((stroke) => JSON.stringify(stroke))).size, n);
    if (n <= 9) assert.equal(new Set(all.map(({ light }) => light)).size, n);
    tags.slice(0, n).forEach((tag, i) => assert.deepEqual(strokes.get(tag) ?? all[i], all[i]));
    tags.slice(0, n).forEach((tag, i) => strokes.set(tag, all[i]));
  }
});

test("the past of a new hashtag leaves the others as they are", () => {
  const series = new Series(1e6, 8000);
  series.replace({ at: 60_000, series: { a: [[0, 1], [60_000, 5]] } });
  series.hear({ at: 61_000, counts: { a: 6 }, sources: { x: "live" } });
  const before = series.points("a");
  const gap = { from: 20_000, to: 40_000, reason: "", all: true };
  series.add({ at: 61_000, series: { b: [[0, 10], [40_000, 20], [61_000, 30]] }, gaps: [gap] });
  assert.deepEqual(series.points("a"), before);
  assert.deepEqual([series.total("b", 15_000), series.total("b", 35_000), series.total("b", 61_000)], [10, null, 30]);
  series.hear({ at: 62_000, counts: { a: 7, b: 31 }, sources: { x: "live" } });
  assert.deepEqual([series.total("a", 62_000), series.total("b", 62_000)], [7, 31]);
  series.keepOnly(["b"]);
  assert.deepEqual([...series.stretches.keys()], ["b"]);
});

test("how many times the usual is told where that is known", () => {
  assert.deepEqual([times(402, 17), times(15, 10), times(12, 0.1), times(12, null)], ["24×", "1.5×", "new", ""]);
});

test("a line of the board has its largest value at the top", () => {
  assert.equal(path([0, 5, 10]), "M0.0 19.0L30.0 10.0L60.0 1.0");
  assert.equal(path([0, 0]), "M0.0 19.0L60.0 19.0");
});

test("a band is in posts a minute, broken where nobody knows, and holds until now", () => {
  const answer = { step: 120_000, at: 0, gaps: [], series: { a: [[1, 5], [2, 6], [3, 7], [4, 8]] } };
  const usual = { a: [[2, 4, 6], null, [4, 6, 8], [2, 4, 6]] };
  const band = bandOf(/** @type {any} */ ({ ...answer, usual }), "a");
  assert.deepEqual(band, [[1, 1, 3], null, [3, 2, 4], [4, 1, 3]]);
  assert.deepEqual(unbroken(band, 9), [[[1, 1, 3]], [[3, 2, 4], [4, 1, 3], [9, 1, 3]]]);
  assert.deepEqual(bandOf(/** @type {any} */ (answer), "a"), [null, null, null, null]);
  assert.deepEqual(unbroken([null], 9), []);
});

test("a band has no more points than it has corners: it is drawn with each frame", () => {
  const [steps, hour] = [600, 400];
  const series = { a: /** @type {[number, number][]} */ (Array.from({ length: steps }, (_, i) => [i * 1500, i])) };
  const usual = { a: series.a.map((_, i) => (i === 100 ? null : i < hour ? [2, 4, 6] : [3, 5, 6])) };
  const band = bandOf(/** @type {any} */ ({ step: 1500, at: 0, gaps: [], series, usual }), "a");
  const corners = [[0, 2, 6], [148_500, 2, 6], null, [151_500, 2, 6], [598_500, 2, 6], [600_000, 3, 6], [898_500, 3, 6]];
  assert.deepEqual(band, corners);
});
