// @ts-check
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { read, write } from "../../static/address.js";
import { Chart } from "../../static/chart.js";
import { Clock } from "../../static/clock.js";
import { living } from "../../static/feed.js";
import { Gaps, merge, start } from "../../static/gaps.js";
import { csv, inSight } from "../../static/export.js";
import { around, spread, times, values } from "../../static/scale.js";
import { sources, status } from "../../static/status.js";
import { calmly } from "../../static/sorting.js";
import { span, speak, time } from "../../static/texts.js";
import { inLines } from "../../static/usual.js";

const texts = JSON.parse(readFileSync(new URL("../../templates/texts/en.json", import.meta.url), "utf8"));
speak(texts);

test("a clock that is wrong by hours is put right, one that is right is left alone", () => {
  const clock = new Clock(0, () => 1_000_000);
  clock.correct(999_900, 1_000_000, 4_600_000);
  assert.ok(clock.now() >= 4_600_000 && clock.now() <= 4_600_100);
  const right = new Clock(0, () => 1_000_700);
  right.correct(1_000_600, 1_000_700, 1_000_650);
  assert.equal(right.offset, 0);
});

test("no tick is from the future", () => {
  const clock = new Clock(0, () => 1000);
  clock.learn(900);
  assert.equal(clock.offset, 0);
  clock.learn(5000);
  assert.equal(clock.now(), 5000);
});

test("an address that was written is read as the same", () => {
  const choice = { view: /** @type {const} */ ("total"), range: /** @type {const} */ ("1h"), hidden: new Set(["블랙핑크"]), kiosk: true, lang: "ar", moment: /** @type {[number, number]} */ ([1_700_000_000_000, 1_700_000_060_000]) };
  assert.deepEqual(read(write(["science", "블랙핑크"], choice)), choice);
  assert.equal(write([], read("")), "");
  assert.deepEqual(read("?range=toString&view=x"), read(""));
  assert.equal(write([], { ...read(""), kiosk: true }), "?wall");
  assert.ok(read("?wall").kiosk);
  for (const bad of ["from=5", "from=5&to=5", "from=6&to=5", "from=0&to=5", "from=-5&to=5", "from=x&to=y", "from=1&to=1e15", "to=5"]) {
    assert.equal(read(`?${bad}`).moment, null, bad);
  }
});

test("the scale is round and holds its values", () => {
  for (const [min, max] of [[0, 0], [0, 3], [0, 128], [0, 161], [41_204, 41_299], [0, 1e7], [999, 1001]]) {
    const bounds = around(min, max);
    assert.ok(bounds.min <= min && bounds.max >= max, `${min}..${max}`);
    assert.ok(bounds.max - bounds.min <= Math.max(4, (max - min) * 3), `${min}..${max} is not lost in it`);
    assert.ok(values(bounds).every((value) => Number.isInteger(value)), "posts are whole");
  }
  assert.deepEqual(values(around(0, 150)), [0, 40, 80, 120, 160]);
  assert.deepEqual(around(NaN, NaN), { min: 0, max: 4 });
});

test("times are round by the reader's own clock", () => {
  const found = times(0, 86_400_000, 600, 80, () => -330);
  assert.ok(found.times.every((at) => (at + 330 * 60_000) % found.step === 0));
  assert.ok(found.times.length >= 4 && found.times.length <= 8);
});

test("midnight is midnight on both sides of a change to summer time", () => {
  const change = Date.UTC(2026, 2, 29, 1);
  const [zone, end] = [(/** @type {number} */ at) => (at < change ? -60 : -120), Date.UTC(2026, 2, 31, 10)];
  for (const [days, width] of [[7, 600], [30, 600]]) {
    const found = times(end - days * 86_400_000, end, width, 60, zone).times;
    assert.ok(found.some((at) => at < change) && (days > 7 || found.some((at) => at >= change)));
    const hours = found.map((at) => new Date(at - zone(at) * 60_000).toISOString().slice(11, 19));
    assert.ok(hours.every((hour) => hour === "00:00:00" || hour === "12:00:00"), String(hours));
  }
});

test("a time is as exact as its neighbours need it, and midnight is a day", () => {
  const [midnight, hour] = [new Date(2026, 10, 24).getTime(), 3_600_000];
  const other = new Date(2026, 10, 24, 12).getTime();
  assert.match(time(midnight, 12 * hour), /24/);
  assert.doesNotMatch(time(other, 12 * hour), /24/);
  assert.doesNotMatch(time(midnight, 60_000), /24/);
  assert.equal(time(other, 1000).match(/\d\d/g)?.length, 3);
});

test("the length of a gap has hours only where there are any", () => {
  assert.deepEqual([21_400, 3_599_000, 3_661_000, 90_000_000].map(span), ["00:21", "59:59", "01:01:01", "25:00:00"]);
});

test("labels do not cover each other", () => {
  const places = spread([50, 51, 52, 10], 12, 100);
  const sorted = [...places].sort((a, b) => a - b);
  assert.ok(sorted.every((y, i) => i === 0 || y - sorted[i - 1] >= 11.99));
  assert.ok(sorted[0] >= 6 && sorted[3] <= 94);
  assert.ok(spread(Array(40).fill(99), 12, 100).every((y) => y >= 0 && y <= 100));
});

test("a sentence is broken between its words, and a word that is too long is not", () => {
  const hasRoom = (/** @type {string} */ line) => line.length <= 12;
  assert.deepEqual(inLines("what is usual at this hour", hasRoom), ["what is", "usual at", "this hour"]);
  assert.deepEqual(inLines("a #verylonghashtag b", hasRoom), ["a", "#verylonghashtag", "b"]);
});

test("none overtakes that is only a little ahead", () => {
  const order = ["a", "b", "c"];
  assert.deepEqual(calmly(order, new Map([["a", 100], ["b", 105], ["c", 1]]), 1.1), ["a", "b", "c"]);
  assert.deepEqual(calmly(order, new Map([["a", 100], ["b", 111], ["c", 300]]), 1.1), ["c", "b", "a"]);
});

test("a table of values has a row for each moment and nothing where nothing is known", () => {
  const table = csv({ science: [[0, 1.26], [1000, 2]], 'a"b': [[1000, 3]] }, "time", (tag) => tag);
  assert.equal(table, 'time,#science,"#a""b"\r\n1970-01-01T00:00:00.000Z,1.3,\r\n1970-01-01T00:00:01.000Z,2,3\r\n');
});

test("what is taken away has a value at every moment at which any line has a point", () => {
  const lines = new Map([["science", [{ data: [[0, 1], [40, 5], [90, 5]] }]], ["hidden", []], ["quiet", [{ data: [[0, 7], [20, 7]] }, { data: [[60, 7], [90, 7]] }]]]);
  const shown = { view: "total", range: 70, tags: ["science", "quiet", "hidden"], hidden: new Set(["hidden"]) };
  const chart = /** @type {any} */ ({ edge: 80, shown, lines, valueAt: Chart.prototype.valueAt });
  assert.deepEqual(inSight(chart), { science: [[40, 5], [20, 1], [60, 5]], quiet: [[20, 7], [60, 7]] });
});

const tick = (/** @type {number} */ at, sources = { x: "live" }) => ({ at, counts: {}, sources });
const state = { link: /** @type {const} */ ("open"), tick: tick(100_000), lag: 700, now: 100_900, cutAt: 0, why: "" };

test("the badge says how far behind, from the tick's own time", () => {
  assert.deepEqual(status(state), { level: "live", words: "live · 0.7 s behind" });
  assert.equal(status({ ...state, now: 104_900 }).level, "live");
  assert.deepEqual(status({ ...state, now: 106_000 }), { level: "late", words: "6.0 s behind" });
  const stale = status({ ...state, now: 121_000, why: "The last tick came 21 s ago." });
  assert.deepEqual(stale, { level: "stale", words: "The last tick came 21 s ago." }, "one number, not two");
  assert.equal(status({ ...state, now: 121_000 }).words, "no news for 21 s");
  assert.deepEqual(status({ ...state, paused: true }), { level: "waiting", words: "paused" });
});

test("the badge tells a lost connection from a silent server, and does not blink", () => {
  const lost = { ...state, link: /** @type {const} */ ("waiting") };
  assert.equal(status({ ...lost, cutAt: 100_500 }).level, "live");
  assert.deepEqual(status({ ...lost, cutAt: 99_000 }), { level: "waiting", words: "reconnecting" });
  assert.deepEqual(status({ ...lost, cutAt: 80_000 }), { level: "stale", words: "no connection for 21 s, trying again" });
  const refused = { ...lost, cutAt: 95_000, why: "#curling is not tracked here." };
  assert.deepEqual(status(refused), { level: "stale", words: refused.why }, "it answered, and says why");
  assert.equal(status({ ...state, tick: null }).words, "no data yet");
});

test("the badge counts down while the server is full", () => {
  const full = { level: "stale", words: "too many viewers, trying again in 31 s" };
  assert.deepEqual(status({ ...state, link: state.now + 31_000 }), full);
  assert.deepEqual(status({ ...state, link: state.now + 31_000, tick: null }), full);
  assert.equal(status({ ...state, link: state.now - 10 }).words, "too many viewers, trying again in 0 s");
});

test("each source says what it is doing, and demo data is not taken for real", () => {
  const told = (/** @type {string} */ name, /** @type {string} */ state, reason = "") =>
    sources({ at: 0, counts: {}, sources: { [name]: state }, details: { [name]: { since: 0, reason } } })[0];
  assert.deepEqual(told("bluesky", "live", "connected"), { name: "bluesky", level: "live", words: "Bluesky live" });
  assert.equal(told("x", "budget", "budget reached until 00:00 UTC").words, "X: budget reached until 00:00 UTC");
  assert.equal(told("x", "down").words, "X: down");
  assert.equal(told("mastodon", "polling").level, "live");
  assert.deepEqual(told("demo", "live", "demo data"), { name: "demo", level: "late", words: "demo data" });
  assert.equal(told("x", "asleep").words, "X: asleep");
  assert.deepEqual(told("replay", "live", "replaying 2021.jsonl"), { name: "replay", level: "late", words: "Replay: replaying 2021.jsonl" });
});

test("a recording is not live", () => {
  const replay = tick(100_000, /** @type {any} */ ({ replay: "live" }));
  assert.deepEqual(status({ ...state, tick: replay }), { level: "late", words: "recording · 0.7 s behind" });
  const both = tick(100_000, /** @type {any} */ ({ replay: "live", x: "live" }));
  assert.equal(status({ ...state, tick: both }).level, "live");
});

test("totals mean nothing when no source lives", () => {
  assert.equal(living(tick(0, { x: "budget" })), false);
  assert.equal(living({ at: 0, counts: {}, sources: { x: "budget", bluesky: "live" } }), true);
});

test("a gap has the server's reason, or the source's", () => {
  const gaps = new Gaps();
  const budget = "X: budget reached until 00:00 UTC";
  const sources = { x: { state: "budget", reason: "budget reached" }, bluesky: { state: "down", reason: "closed" } };
  gaps.replace([
    { from: 0, to: 20, reason: "in English", kind: "ingester" },
    { from: 30, to: 40, reason: "in English", kind: "sources", sources },
    { from: 0, to: 50, reason: "in English", kind: "kept" },
  ]);
  gaps.hear({ at: 100, counts: {}, sources: { x: "budget" }, details: { x: { since: 60, reason: "budget reached" } } });
  gaps.hear({ at: 110, counts: {}, sources: { x: "live" } });
  const gap = { from: 200, to: 230, reason: "in English", kind: /** @type {const} */ ("ingester"), all: true };
  gaps.hear({ at: 230, counts: {}, sources: { x: "live" }, gap });
  assert.deepEqual(
    gaps.all({ from: 300, to: 310, reason: "now" }).map(({ from, to, reason }) => [from, to, reason]),
    [[0, 20, "ingester was down"], [0, 50, "not kept any more"], [30, 40, budget], [30, 40, "Bluesky: closed"], [60, 100, budget], [200, 230, "ingester was down"], [300, 310, "now"]],
  );
});

test("a gap that only some hashtags have names them, and is none of the others", () => {
  const gaps = new Gaps();
  gaps.replace([{ from: 0, to: 50, reason: "in English", kind: "kept", all: true, tags: ["curling", "kabaddi"] }]);
  const [{ reason, all }] = gaps.all(null);
  assert.equal(reason, "#curling, #kabaddi: not kept any more");
  assert.equal(all, false);
});

test("lines that begin later than was asked for say when counting began", () => {
  const history = { at: 100_000, series: { science: [[70_000, 1]], curling: [[60_000, 0]] } };
  const whole = start(/** @type {any} */ (history), 60);
  assert.deepEqual(whole.map(({ from, to, kind }) => [from, to, kind]), [[40_000, 60_000, "start"]]);
  assert.deepEqual(start(/** @type {any} */ (history), 40), []);
  const gap = { from: 40_000, to: 60_000, reason: "ingester was down", kind: "ingester", all: true };
  assert.deepEqual(start(/** @type {any} */ ({ ...history, gaps: [gap] }), 60), [], "it began before that");
});

test("gaps of one reason that touch are one", () => {
  const reason = "x: down";
  assert.equal(merge([{ from: 0, to: 5, reason }, { from: 4, to: 9, reason }, { from: 20, to: 30, reason }]).length, 2);
});

test("every text that the scripts ask for is there, and every text is used", () => {
  const folder = new URL("../../static/", import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith(".js") && name !== "smoothie.js");
  const page = readFileSync(new URL("../../templates/index.html", import.meta.url), "utf8");
  const code = files.map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n");
  for (const [, key] of code.matchAll(/\btext\("([^"]+)"/g)) assert.ok(key in texts, key);
  const asked = Object.keys(texts).filter((key) => !/^\d+\w+(\.long)?$|^source\.|^gap\./.test(key));
  for (const key of asked) {
    const counted = key.replace(/\.(one|other)$/, ""); // a form of it
    const named = code.includes(`"${key}"`) || code.includes(`counted("${counted}"`) || page.includes(`t.${key}`) || page.includes(`t['${key}']`);
    assert.ok(named, `${key} is used nowhere`);
  }
});
