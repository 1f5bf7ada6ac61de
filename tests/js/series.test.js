// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { Series } from "../../static/series.js";

/** @typedef {import("../../static/series.js").History} History */
/** @typedef {[number, number]} Point */

/** @param {number} seconds @param {(second: number) => number} total @returns {Point[]} */
const every = (seconds, total) => Array.from({ length: seconds + 1 }, (_, s) => [s * 1000, total(s)]);

/** @param {Point[]} points @returns {Point[]} the first, each where the total changed, the last */
const sparse = (points) => points.filter(([, total], i) => i === 0 || i === points.length - 1 || total !== points[i - 1][1]);

/** @param {[number, number | null][]} points @param {number[]} options @param {[number, number][]} gaps */
function seriesOf(points, options = [17 * 60_000, 8000], gaps = []) {
  const series = new Series(options[0], options[1], options[2]);
  const told = gaps.map(([from, to]) => ({ from, to, reason: "", all: true }));
  series.replace({ at: points.at(-1)?.[0] ?? 0, series: { science: points }, gaps: told });
  return series;
}

/** @param {number} at @param {number} science @param {object} more */
const tick = (at, science, more = {}) => ({ at, counts: { science }, sources: { demo: "live" }, ...more });

test("the rate is the posts of the last minute, whatever there was before", () => {
  const series = seriesOf(every(180, (s) => (s < 60 ? 10 * s : 600 + 2 * (s - 60))));
  assert.equal(series.rate("science", 60_000), 600);
  assert.equal(series.rate("science", 90_000), 30 * 10 + 30 * 2);
  assert.equal(series.rate("science", 180_000), 120);
});

test("a total that was spoilt in Redis begins anew, and no rate is below nothing", () => {
  const series = seriesOf(every(180, (s) => (s < 100 ? 10 * s : s - 100)));
  assert.equal(series.rate("science", 130_000), 0);
  assert.equal(series.rate("science", 170_000), 60);
});

test("a sparse history means the same as one with every tick", () => {
  const all = every(900, (s) => Math.floor(s / 97) + 40 * Math.floor(s / 400));
  const [whole, few] = [seriesOf(all), seriesOf(sparse(all))];
  for (const [at, total] of all) {
    assert.equal(few.total("science", at), total);
    assert.equal(few.rate("science", at), whole.rate("science", at));
  }
  assert.deepEqual(few.lines("rate", "science", 0), whole.lines("rate", "science", 0));
});

test("however long nothing was posted, the line goes on", () => {
  const series = seriesOf([[0, 5], [700_000, 6], [900_000, 6]]);
  assert.deepEqual(series.holes(), []);
  assert.equal(series.total("science", 699_999), 5);
  assert.deepEqual(series.lines("total", "science", 0).map(({ points }) => points), [[[0, 5], [700_000, 6], [900_000, 6]]]);
  assert.equal(series.lines("rate", "science", 0).length, 1);
});

test("a total holds until the next: the rate rises with a post and falls a minute later", () => {
  const series = seriesOf([[0, 0], [100_000, 3], [300_000, 3]]);
  assert.deepEqual([99_999, 100_000, 159_999, 160_000].map((at) => series.rate("science", at)), [0, 3, 3, 0]);
  const [{ points }] = series.lines("rate", "science", 0);
  const drawn = (/** @type {number} */ from, /** @type {number} */ to) =>
    new Set(points.filter(([at]) => at >= from && at <= to).map(([, rate]) => rate));
  assert.deepEqual(drawn(0, 99_000), new Set([0]));
  assert.deepEqual(drawn(101_000, 159_000), new Set([3]));
  assert.deepEqual(drawn(161_000, 300_000), new Set([0]), "it falls although no point says so");
});

test("what is drawn begins where it is asked from, with the total of then", () => {
  const series = seriesOf([[0, 1], [10_000, 2], [60_000, 3], [90_000, 3]]);
  assert.deepEqual(series.lines("total", "science", 30_000)[0].points, [[30_000, 2], [60_000, 3], [90_000, 3]]);
});

test("the first rate is there after ten seconds, and says what they come to", () => {
  const series = seriesOf(every(30, (s) => 3 * s));
  assert.equal(series.rate("science", 9_000), null);
  assert.equal(series.rate("science", 10_000), 180);
  assert.deepEqual(series.lines("rate", "science", 0)[0].points[0], [10_000, 180], "and its line begins there");
});

test("a gap that is told is a hole in the line, never a zero and never a jump", () => {
  const after = every(100, (s) => 5000 + s).map(([at, total]) => /** @type {Point} */ ([at + 130_000, total]));
  const series = seriesOf([...every(100, (s) => s), ...after], undefined, [[100_000, 130_000]]);
  assert.deepEqual(series.holes(), [{ from: 100_000, to: 130_000 }]);
  assert.equal(series.rate("science", 115_000), null);
  assert.equal(series.total("science", 115_000), null);
  assert.equal(series.rate("science", 131_000), null);
  assert.equal(series.rate("science", 140_000), 60);
  const lines = series.lines("rate", "science", 0);
  assert.ok(lines.flatMap(({ points }) => points).every(([, rate]) => Math.abs(rate - 60) < 6), "also between two ticks");
  assert.deepEqual(lines.map(({ begin, points }) => [begin, points[0][0]]), [[0, 10_000], [130_000, 140_000]]);
});

test("a gap in quiet times begins a stretch of its own, with the total of before", () => {
  const series = seriesOf([[0, 7], [500_000, 8], [600_000, 8]], undefined, [[200_000, 300_000]]);
  assert.deepEqual(series.lines("total", "science", 0).map(({ points }) => points), [
    [[0, 7], [200_000, 7]],
    [[300_000, 7], [500_000, 8], [600_000, 8]],
  ]);
});

test("a gap that reaches the present ends the line until somebody counts again", () => {
  const series = seriesOf(every(100, (s) => s), undefined, [[60_000, 100_000]]);
  assert.equal(series.total("science", 100_000), null);
  series.hear(tick(103_000, 500));
  assert.deepEqual(series.holes(), [{ from: 60_000, to: 103_000 }]);
  assert.equal(series.total("science", 103_000), 500);
});

test("a gap that a source alone had is none", () => {
  const series = new Series(17 * 60_000, 8000);
  const gap = { from: 10_000, to: 50_000, reason: "x: down", all: false };
  series.replace({ at: 100_000, series: { science: [[0, 1], [100_000, 1]] }, gaps: [gap] });
  assert.deepEqual(series.holes(), []);
});

test("a resume after quiet minutes goes on where it was", () => {
  const series = seriesOf([[0, 4], [60_000, 4]]);
  assert.ok(series.hear(tick(300_000, 5)));
  assert.ok(series.hear(tick(301_000, 7)));
  assert.deepEqual(series.holes(), []);
  assert.equal(series.total("science", 299_000), 4);
  assert.equal(series.rate("science", 301_000), 3);
});

test("a tick that comes after a pause of the ingester breaks the line there", () => {
  const series = seriesOf([[0, 4], [60_000, 4]]);
  const gap = { from: 70_000, to: 90_000, reason: "ingester was down", kind: /** @type {const} */ ("ingester"), all: true };
  assert.ok(series.hear(tick(90_000, 900, { gap })));
  assert.deepEqual(series.holes(), [{ from: 70_000, to: 90_000 }]);
  assert.equal(series.total("science", 70_000), 4);
  assert.equal(series.total("science", 80_000), null);
  assert.equal(series.rate("science", 90_000), null);
  series.hear(tick(100_000, 901));
  assert.equal(series.rate("science", 100_000), 6, "what was counted late is no jump");
});

test("a pause that was made up for in part breaks the line for the rest of it", () => {
  const series = seriesOf([[0, 4], [60_000, 4]]);
  series.hear(tick(100_000, 4, { gap: { from: 60_000, to: 80_000, reason: "" } }));
  assert.deepEqual(series.holes(), [{ from: 60_000, to: 80_000 }]);
  assert.equal(series.total("science", 85_000), 4);
  assert.equal(series.since("science", 100_000), 80_000);
});

test("totals that stand still because no source works are no line, unless that was only a moment", () => {
  const series = seriesOf([[0, 4], [60_000, 4]]);
  const down = { sources: { demo: "down" } };
  assert.equal(series.hear(tick(62_000, 4, down)), false);
  series.hear(tick(64_000, 5));
  assert.deepEqual(series.holes(), []);
  for (let at = 65_000; at < 90_000; at += 5000) assert.equal(series.hear(tick(at, 5, down)), false);
  assert.equal(series.at, 64_000);
  series.hear(tick(90_000, 6));
  assert.deepEqual(series.holes(), [{ from: 64_000, to: 90_000 }]);
});

test("after the newest total the present is known for a little while only", () => {
  const series = seriesOf(every(100, (s) => s));
  assert.equal(series.total("science", 108_000), 100);
  assert.equal(series.rate("science", 108_000), 52);
  assert.equal(series.total("science", 108_001), null);
});

test("a repeated or late tick is no news, a repeat that is newer adds no point", () => {
  const series = seriesOf(every(3, (s) => s));
  assert.equal(series.hear(tick(3000, 3)), false);
  assert.equal(series.hear(tick(2000, 2)), false);
  assert.equal(series.hear(tick(4000, 9)), true);
  assert.deepEqual(series.lines("total", "science", 0)[0].points.at(-1), [4000, 9]);
  assert.equal(series.hear(tick(9000, 9)), true);
  assert.deepEqual(series.told().series.science.slice(-2), [[4000, 9], [9000, 9]]);
});

test("history replaces what was known", () => {
  const series = seriesOf(every(30, (s) => 1000 + s));
  series.replace({ at: 40_000, series: { football: [[40_000, 1]] } });
  assert.equal(series.total("science", 30_000), null);
  assert.equal(series.total("football", 40_000), 1);
});

test("what it tells is what it knows", () => {
  const series = seriesOf(every(100, (s) => Math.floor(s / 9)), undefined, [[30_000, 50_000]]);
  series.hear(tick(160_000, 20));
  const other = new Series(17 * 60_000, 8000);
  other.replace(/** @type {History} */ (JSON.parse(JSON.stringify(series.told()))));
  assert.deepEqual(other.holes(), series.holes());
  for (const view of /** @type {const} */ (["rate", "total"])) {
    assert.deepEqual(other.lines(view, "science", 0), series.lines(view, "science", 0));
  }
});

test("what is older than it keeps is forgotten, however long the page is open", () => {
  const series = new Series(60_000, 8000);
  for (let at = 0; at < 8 * 3_600_000; at += 500) {
    const gap = at % 300_000 === 0 && at ? { from: at - 20_000, to: at, reason: "" } : undefined;
    series.hear(tick(at + 1, at, { gap }));
  }
  const stretches = series.stretches.get("science") ?? [];
  assert.ok(stretches.length <= 3);
  assert.ok(stretches.every(({ points }) => points.length <= 2 * 2 * 60 + 2));
  const { begin, points } = stretches[stretches.length - 1];
  assert.ok(begin < points[0][0], "but not when its line began");
  series.cut(begin - 10_000, begin + 1000);
  assert.equal(series.rate("science", series.at), (500 * 120), "a gap of what is forgotten changes nothing");
});

test("a longer range keeps one point a step, and the newest of the present one", () => {
  const series = new Series(3_600_000, 90_000, 60_000);
  for (let at = 0; at <= 600_000; at += 500) series.hear(tick(at + 1, at / 100));
  const [{ points }] = series.lines("total", "science", 0);
  assert.ok(points.length <= 12, `${points.length} points`);
  assert.equal(points.at(-1)?.[0], 600_001);
  assert.ok(Math.abs((series.rate("science", 600_001) ?? 0) - 600) < 1);
});

test("a missing point of the server's history breaks the line, but the newest has only begun", () => {
  const points = /** @type {[number, number | null][]} */ ([[60_000, 1], [120_000, 2], [180_000, null], [240_000, 9], [300_000, 10], [360_000, null]]);
  const series = seriesOf(points, [3_600_000, 90_000, 60_000]);
  assert.deepEqual(series.lines("total", "science", 0).map((line) => line.points.length), [2, 2]);
  series.hear(tick(370_000, 11));
  assert.deepEqual(series.lines("total", "science", 0).map((line) => line.points.length), [2, 3]);
});

test("a pause of the ingester shorter than a step is no break of a longer range", () => {
  const series = seriesOf([[60_000, 1], [120_000, 2]], [3_600_000, 90_000, 60_000]);
  series.hear(tick(150_000, 3, { gap: { from: 121_000, to: 150_000, reason: "" } }));
  assert.deepEqual(series.holes(), []);
  series.hear(tick(250_000, 3, { gap: { from: 150_000, to: 250_000, reason: "" } }));
  assert.deepEqual(series.holes(), [{ from: 150_000, to: 250_000 }]);
});
