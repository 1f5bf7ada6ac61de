// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { Past } from "../../static/past.js";

/** @param {number} seconds @param {(second: number) => number} total @returns {[number, number][]} */
const every = (seconds, total) => Array.from({ length: seconds + 1 }, (_, s) => [s * 1000, total(s)]);

/** @param {[number, number | null][]} points @param {number[]} options */
function pastOf(points, options = [17 * 60_000, 8000]) {
  const past = new Past(...options);
  past.replace({ at: points.at(-1)?.[0] ?? 0, series: { science: points } });
  return past;
}

test("the rate is the posts of the last minute, whatever there was before", () => {
  const past = pastOf(every(180, (s) => (s < 60 ? 10 * s : 600 + 2 * (s - 60))));
  assert.equal(past.rate("science", 60_000), 600);
  assert.equal(past.rate("science", 90_000), 30 * 10 + 30 * 2);
  assert.equal(past.rate("science", 180_000), 120);
});

test("ticks without news are not sent, and change no rate", () => {
  const all = every(120, (s) => Math.floor(s / 5));
  const past = pastOf(all.filter(([, total], i) => i === 0 || total !== all[i - 1][1] || i % 4 === 0));
  assert.equal(past.rate("science", 100_000), pastOf(all).rate("science", 100_000));
});

test("the first rate is there after ten seconds, and says what they come to", () => {
  const past = pastOf(every(30, (s) => 3 * s));
  assert.equal(past.rate("science", 9_000), null);
  assert.equal(past.rate("science", 10_000), 180);
});

test("a gap is a hole in the line, never a zero and never a jump", () => {
  const before = every(100, (s) => s);
  const after = every(100, (s) => 5000 + s).map(([at, total]) => /** @type {[number, number]} */ ([at + 130_000, total]));
  const past = pastOf([...before, ...after]);
  assert.deepEqual(past.holes(), [{ from: 100_000, to: 130_000 }]);
  assert.equal(past.line("rate", "science", 0).length, 2);
  assert.equal(past.rate("science", 115_000), null);
  assert.equal(past.rate("science", 131_000), null);
  assert.equal(past.rate("science", 140_000), 60);
  assert.ok(past.line("rate", "science", -1).flat().every(([, rate]) => rate === 60));
  assert.deepEqual(past.line("rate", "science", -1).map((stretch) => stretch[0][0]), [0, 130_000]);
});

test("a repeated or late tick is no news", () => {
  const past = pastOf(every(3, (s) => s));
  assert.equal(past.add(3000, { science: 3 }), false);
  assert.equal(past.add(2000, { science: 2 }), false);
  assert.equal(past.add(4000, { science: 9 }), true);
  assert.deepEqual(past.line("total", "science", 0)[0].at(-1), [4000, 9]);
});

test("history replaces what was known", () => {
  const past = pastOf(every(30, (s) => 1000 + s));
  past.replace({ at: 40_000, series: { football: [[40_000, 1]] } });
  assert.equal(past.total("science", 30_000), null);
  assert.equal(past.total("football", 40_000), 1);
});

test("what is older than it keeps is forgotten, however long the page is open", () => {
  const past = new Past(60_000, 8000);
  for (let at = 0; at < 8 * 3_600_000; at += 500) past.add(at + 1, { science: at });
  assert.ok((past.series.get("science")?.length ?? 0) <= 2 * 2 * 60 + 2);
});

test("a longer range keeps one point a step, and the newest of the present one", () => {
  const past = new Past(3_600_000, 90_000, 60_000);
  for (let at = 0; at <= 600_000; at += 500) past.add(at + 1, { science: at / 100 });
  const points = past.line("total", "science", 0).flat();
  assert.ok(points.length <= 12, `${points.length} points`);
  assert.equal(points.at(-1)?.[0], 600_001);
  assert.ok(Math.abs((past.rate("science", 600_001) ?? 0) - 600) < 1);
});

test("a missing point of the server's history breaks the line", () => {
  const past = pastOf([[60_000, 1], [120_000, 2], [180_000, null], [240_000, 9], [300_000, 10]], [3_600_000, 90_000, 60_000]);
  assert.deepEqual(past.line("total", "science", 0).map((stretch) => stretch.length), [2, 2]);
});

test("a time in which nothing was counted can be cut out", () => {
  const past = pastOf(every(100, (s) => Math.min(s, 40)));
  past.cut(40_000, 70_000);
  assert.deepEqual(past.holes(), [{ from: 40_000, to: 70_000 }]);
});
