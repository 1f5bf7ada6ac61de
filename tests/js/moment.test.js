// @ts-check
// A time of the past that is looked at: how it is chosen, and what is known of it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { part, reading } from "../../static/moment.js";
import { Series } from "../../static/series.js";
import { chosen, isPresent, pinched, zoomed } from "../../static/zoom.js";

const NOW = 1_700_000_000_000;
const MINUTE = 60_000;
const DAY = 1440 * MINUTE;

test("a chosen time is in order, whole seconds, and no shorter than can be read", () => {
  assert.deepEqual(chosen(NOW - MINUTE, NOW - 3 * MINUTE, NOW), [NOW - 3 * MINUTE, NOW - MINUTE]);
  assert.deepEqual(chosen(NOW - 100_000, NOW - 100_001, NOW), [NOW - 115_000, NOW - 85_000]);
  assert.deepEqual(chosen(NOW - 5, NOW, NOW), [NOW - 30_000, NOW], "and not in the future");
  assert.deepEqual(chosen(NOW - 90 * DAY, NOW, NOW)[1] - chosen(NOW - 90 * DAY, NOW, NOW)[0], 30 * DAY);
});

test("a zoom leaves the moment that it is around where it is", () => {
  const [from, to] = zoomed([NOW - 1000_000, NOW - 600_000], NOW - 900_000, 0.5, NOW);
  assert.deepEqual([from, to], [NOW - 950_000, NOW - 750_000]);
  assert.deepEqual(zoomed([from, to], NOW - 900_000, 2, NOW), [NOW - 1000_000, NOW - 600_000]);
  assert.deepEqual(zoomed([NOW - 100_000, NOW], NOW - 50_000, 2, NOW), [NOW - 200_000, NOW], "there is no future");
  const nearest = zoomed([NOW - 40_000, NOW], NOW - 20_000, 0.1, NOW);
  assert.deepEqual(nearest, [NOW - 35_000, NOW - 5_000]);
});

test("two fingers keep the moments that they went down on", () => {
  const [from, to] = pinched([NOW - 200_000, NOW - 150_000], [0.25, 0.75], NOW);
  assert.deepEqual([from, to], [NOW - 225_000, NOW - 125_000]);
  assert.equal(pinched([NOW - 200_000, NOW - 150_000], [0.5, 0.5], NOW).length, 2, "also where they meet");
});

test("what ends now and is as long as the range is the present", () => {
  assert.ok(isPresent([NOW - 5 * MINUTE, NOW - 1000], 5 * MINUTE - 1000, NOW));
  assert.ok(!isPresent([NOW - 5 * MINUTE, NOW], 6 * MINUTE, NOW));
  assert.ok(!isPresent([NOW - 9 * MINUTE, NOW - MINUTE], 5 * MINUTE, NOW));
});

/** @param {number} step @param {[number, number][]} points */
function known(step, points) {
  const series = new Series(DAY, 1.5 * step || 8000, step);
  series.replace({ at: points[points.length - 1][0], series: { a: points } });
  return series;
}

test("a part of a series has what its lines need, and nothing that would stretch their scale", () => {
  /** @type {[number, number][]} */
  const ticks = Array.from({ length: 1200 }, (_, i) => [NOW + i * 500, i]);
  const whole = known(0, ticks);
  const time = /** @type {[number, number]} */ ([NOW + 300_000, NOW + 400_000]);
  const inside = part(whole, time);
  for (const at of [time[0], NOW + 350_000, time[1]]) {
    assert.equal(inside.rate("a", at), whole.rate("a", at));
    assert.equal(inside.total("a", at), whole.total("a", at));
  }
  const points = inside.points("a");
  assert.equal(points.at(-1)?.[0], time[1]);
  assert.ok(points[0][0] >= time[0] - 80_000 && points[0][0] <= time[0] - 75_000);
  const [line] = inside.lines("rate", "a", time[0] - 16_000);
  assert.ok(line.points.every(([, value]) => value === 120));
});

test("a part of steps has a point on each side of it", () => {
  const minutes = known(MINUTE, Array.from({ length: 60 }, (_, i) => [NOW + i * MINUTE, i * 7]));
  const inside = part(minutes, [NOW + 600_001, NOW + 610_000]);
  const times = inside.points("a").map(([at]) => at);
  assert.ok(times.includes(NOW + 10 * MINUTE) && times.includes(NOW + 11 * MINUTE) && !times.includes(NOW + 12 * MINUTE));
  assert.deepEqual(inside.lines("rate", "a", NOW + 600_000)[0].points.at(-1), [NOW + 11 * MINUTE, 7]);
});

test("the table's posts are those of the time, its rate that of what was counted of it", () => {
  const series = known(MINUTE, [[NOW, 100], [NOW + MINUTE, 110], [NOW + 2 * MINUTE, 110], [NOW + 3 * MINUTE, 140], [NOW + 4 * MINUTE, 999]]);
  assert.deepEqual(reading(part(series, [NOW + MINUTE, NOW + 3 * MINUTE]), "a", [NOW + MINUTE, NOW + 3 * MINUTE]), { total: 140, posts: 30, rate: 15 });
  series.cut(NOW + MINUTE, NOW + 2 * MINUTE);
  assert.deepEqual(reading(series, "a", [NOW + MINUTE, NOW + 3 * MINUTE]), { total: 140, posts: 30, rate: 30 });
  assert.deepEqual(reading(series, "a", [NOW - 9 * MINUTE, NOW - MINUTE]), { total: null, posts: null, rate: null });
  assert.deepEqual(reading(series, "none", [NOW, NOW + MINUTE]), { total: null, posts: null, rate: null });
});
