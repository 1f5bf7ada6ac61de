// @ts-check
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Feed } from "../../static/feed.js";
import { Hub } from "../../static/hub.js";

/** An EventSource that does what the test says. */
class Source extends EventTarget {
  static CLOSED = 2;
  /** @type {Source[]} */
  static all = [];
  readyState = 0;
  onerror = () => {};
  onopen = () => {};

  /** @param {string} url */
  constructor(url) {
    super();
    this.query = new URL(url, "http://localhost").searchParams;
    Source.all.push(this);
  }

  /** @param {string} name @param {string} id @param {unknown} data */
  send(name, id, data) {
    const event = new MessageEvent(name, { data: JSON.stringify(data), lastEventId: id });
    this.dispatchEvent(event);
  }

  /** @param {number} state */
  fail(state) {
    this.readyState = state;
    this.onerror();
  }

  close() {
    this.readyState = 2;
  }
}

/** Milliseconds for which the steady clock stood still, and by which the other one was set. */
const clocks = { stood: 0, set: 0 };

/** @param {(feed: Feed, heard: import("../../static/feed.js").Link[], pass: (ms: number) => void) => void} act */
function feeding(act) {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  Source.all = [];
  /** @type {any[]} */
  const heard = [];
  const listener = { history: () => heard.push("history"), past: () => heard.push("past"), extra: () => heard.push("extra"), counts: () => heard.push("counts"), link: (/** @type {any} */ link) => heard.push(link) };
  globalThis.fetch = /** @type {any} */ (ask);
  Object.assign(clocks, { stood: 0, set: 0 });
  const [now, wall] = [() => Date.now() - clocks.stood, () => Date.now() + clocks.set];
  const feed = new Feed("events", listener, { EventSource: Source, random: () => 0.5, now, wall });
  feed.open({ tags: ["science"], seconds: 375, extras: [] });
  try {
    // in small steps, so that timers which a timer starts run in their turn
    act(feed, heard, (ms) => {
      for (let passed = 0; passed < ms; passed += 50) mock.timers.tick(50);
    });
  } finally {
    feed.close();
    mock.timers.reset();
  }
}

/** What the server answers to a HEAD, and what it was asked. */
const head = { retryAfter: "", asked: /** @type {any[]} */ ([]) };

/** A fetch whose answer is there at once: a thenable that a mocked clock need not wait for.
 * @param {string} url @param {any} options */
function ask(url, options) {
  head.asked.push([url, options]);
  const answer = { headers: new Headers(head.retryAfter ? { "Retry-After": head.retryAfter } : {}) };
  return { then: (/** @type {any} */ then) => then(answer) };
}

const newest = () => /** @type {Source} */ (Source.all.at(-1));

test("a stream that the browser gave up is started anew where it ended", () =>
  feeding((_, heard, pass) => {
    newest().send("counts", "5-0", {});
    newest().fail(Source.CLOSED);
    assert.equal(heard.at(-1), "waiting");
    pass(1000);
    assert.equal(Source.all.length, 2);
    assert.equal(newest().query.get("last_event_id"), "5-0");
    assert.equal(newest().query.get("tags"), "science");
  }));

test("a stream that the browser tries again itself is left to it", () =>
  feeding((_, heard, pass) => {
    newest().fail(0);
    pass(5000);
    assert.equal(Source.all.length, 1);
    assert.equal(heard.at(-1), "waiting");
  }));

test("waits grow while nothing comes, and are short again after an event", () =>
  feeding((_, heard, pass) => {
    const waits = [];
    for (let i = 0; i < 8; i++) {
      const [before, begun] = [Source.all.length, Date.now()];
      newest().fail(Source.CLOSED);
      while (Source.all.length === before) pass(50);
      waits.push(Date.now() - begun);
    }
    assert.ok(waits[3] > waits[1] && waits[7] <= 15_100, String(waits));
    newest().send("counts", "6-0", {});
    newest().fail(Source.CLOSED);
    pass(700);
    assert.equal(newest().query.get("last_event_id"), "6-0");
    assert.equal(Source.all.length, 10);
  }));

test("silence means trouble: the stream is started anew", () =>
  feeding((_, heard, pass) => {
    newest().onopen();
    newest().send("counts", "5-0", {});
    pass(11_000);
    assert.equal(Source.all.length, 1);
    pass(4_000);
    assert.equal(Source.all.length, 2);
  }));

test("a connection on which nothing ever comes is given up sooner, a slow history is not", () =>
  feeding((_, heard, pass) => {
    pass(5000);
    newest().onopen();
    pass(11_000);
    assert.equal(Source.all.length, 1);
    newest().fail(Source.CLOSED);
    pass(1000);
    assert.equal(Source.all.length, 2);
    pass(9000);
    assert.equal(Source.all.length, 3);
  }));

/** @param {string} retryAfter @param {Parameters<typeof feeding>[0]} act */
function full(retryAfter, act) {
  Object.assign(head, { retryAfter, asked: [] });
  try {
    feeding((feed, heard, pass) => {
      newest().send("counts", "5-0", {});
      newest().fail(Source.CLOSED);
      act(feed, heard, pass);
    });
  } finally {
    head.retryAfter = "";
  }
}

test("a server that is full is asked again when it said, or up to half as long after that", () =>
  full("30", (_, heard, pass) => {
    assert.equal(heard.at(-1), Date.now() + 37_500, "when that is, for the page to say");
    assert.deepEqual(head.asked, [["events?history=375&tags=science&last_event_id=5-0", { method: "HEAD" }]]);
    pass(37_000);
    assert.equal(Source.all.length, 1);
    pass(1000);
    assert.equal(Source.all.length, 2);
    assert.equal(newest().query.get("last_event_id"), "5-0");
  }));

test("nothing but another choice of hashtags makes it ask a full server sooner", () =>
  full("30", (feed, _, pass) => {
    feed.wake();
    sleep(20_000);
    pass(1000);
    assert.equal(Source.all.length, 1);
    feed.open({ tags: ["football"], seconds: 375, extras: [] });
    assert.equal(Source.all.length, 2);
    newest().fail(Source.CLOSED);
    feed.wake();
    assert.equal(Source.all.length, 2);
    sleep(40_000);
    feed.wake();
    assert.equal(Source.all.length, 3, "the wait is over");
  }));

test("two minutes are the most that a server is believed, and what is no number not at all", () => {
  full("86400", (_, heard) => assert.equal(heard.at(-1), Date.now() + 150_000));
  for (const odd of ["", "Wed, 21 Oct 2026 07:28:00 GMT", "-5", "0", "NaN"]) {
    full(odd, (_, heard, pass) => {
      assert.equal(heard.at(-1), "waiting");
      pass(1000);
      assert.equal(Source.all.length, 2);
    });
  }
});

test("an answer that comes when the stream is tried again already changes nothing", () => {
  /** @type {any} */
  let told;
  feeding((feed, heard, pass) => {
    globalThis.fetch = /** @type {any} */ (() => ({ then: (/** @type {any} */ then) => (told = then) }));
    newest().fail(Source.CLOSED);
    pass(1000);
    assert.equal(Source.all.length, 2);
    told({ headers: new Headers({ "Retry-After": "30" }) });
    assert.equal(heard.at(-1), "connecting");
    feed.wake();
    assert.equal(Source.all.length, 2);
  });
});

/** The machine sleeps: time passes, and no timer runs. @param {number} ms */
const sleep = (ms) => mock.timers.setTime(Date.now() + ms);

test("after a sleep the stream is started anew at the first look, where it ended", () =>
  feeding((_, heard, pass) => {
    newest().send("counts", "5-0", {});
    sleep(5 * 60_000);
    assert.equal(Source.all.length, 1);
    pass(50);
    assert.equal(Source.all.length, 2, "no wait as after a failure");
    assert.equal(newest().query.get("last_event_id"), "5-0");
    assert.equal(Source.all[0].readyState, Source.CLOSED);
    pass(5000);
    assert.equal(Source.all.length, 2);
  }));

test("so it is where the steady clock stood still meanwhile", () =>
  feeding((_, heard, pass) => {
    newest().send("counts", "5-0", {});
    sleep(5 * 60_000);
    clocks.stood = 5 * 60_000;
    pass(50);
    assert.equal(Source.all.length, 2);
    assert.equal(newest().query.get("last_event_id"), "5-0");
  }));

test("a clock that is set back hides no silence", () =>
  feeding((_, heard, pass) => {
    newest().onopen();
    newest().send("counts", "5-0", {});
    clocks.set = -5 * 60_000;
    pass(11_000);
    assert.equal(Source.all.length, 1);
    pass(5000);
    assert.ok(Source.all.length > 1);
  }));

test("where the server tracks others than before, their past is asked for", () =>
  feeding((feed, heard) => {
    feed.open({ tags: [], seconds: 375, extras: [] });
    newest().send("counts", "5-0", { counts: { science: 1, football: 2 } });
    newest().send("counts", "6-0", { counts: { football: 3, science: 1 } });
    const [before, told] = [Source.all.length, heard.filter((one) => one === "counts").length];
    newest().fail(0);
    newest().send("counts", "7-0", { counts: { science: 1, curling: 2 } });
    assert.equal(Source.all.length, before + 1);
    assert.equal(newest().query.get("last_event_id"), null);
    assert.equal(heard.filter((one) => one === "counts").length, told, "not before their past");
    newest().send("counts", "8-0", { counts: { curling: 2, science: 1 } });
    assert.equal(Source.all.length, before + 1);
  }));

test("a tab whose timers are slowed down but that hears the server keeps its stream", () =>
  feeding((_, heard, pass) => {
    for (let minute = 0; minute < 5; minute++) {
      sleep(60_000);
      newest().send("counts", `${minute + 5}-0`, {});
      pass(1000);
    }
    assert.equal(Source.all.length, 1);
  }));

test("when the network is back no time is lost", () =>
  feeding((feed) => {
    newest().fail(Source.CLOSED);
    feed.wake();
    assert.equal(Source.all.length, 2);
  }));

test("another choice of hashtags begins with its own history", () =>
  feeding((feed) => {
    newest().send("counts", "5-0", {});
    feed.open({ tags: [], seconds: 900, extras: [] });
    assert.equal(newest().query.get("last_event_id"), null);
    assert.equal(newest().query.get("history"), "900");
    assert.equal(newest().query.get("tags"), null);
    assert.equal(Source.all[0].readyState, Source.CLOSED);
  }));

test("with other hashtags the stream goes on where it is, and the past of the new ones comes first", () =>
  feeding((feed, heard) => {
    newest().send("history", "4-0", { series: { science: [] } });
    newest().send("counts", "5-0", {});
    feed.open({ tags: ["science", "curling"], seconds: 375, extras: [] }, feed.lastId, ["curling"]);
    const { query } = newest();
    assert.deepEqual(Object.fromEntries(query), { history: "375", tags: "science,curling", last_event_id: "5-0", new: "curling" });
    assert.equal(Source.all[0].readyState, Source.CLOSED);
    heard.length = 0;
    newest().send("history", "5-0", { series: { curling: [] } });
    newest().send("history", "9-0", { series: { curling: [], science: [] } });
    assert.deepEqual(heard.filter((word) => word !== "open"), ["past", "history"], "where it cannot go on, all is told");
  }));

test("the past of new hashtags is asked for until it came, and not again", () =>
  feeding((feed, heard, pass) => {
    newest().send("counts", "7-0", { at: 7, counts: { science: 1 }, sources: {} });
    feed.open({ tags: ["science", "curling"], seconds: 375, extras: [] }, feed.lastId, ["curling"]);
    newest().fail(2);
    pass(15_000);
    assert.equal(newest().query.get("new"), "curling", "it did not come yet");
    newest().send("history", "7-0", { at: 7, series: { curling: [[1, 1]] } });
    const known = newest();
    known.fail(0);
    known.send("history", "7-0", { at: 7, series: { curling: [[1, 1]] } });
    assert.deepEqual(heard.filter((each) => each === "past" || each === "history"), ["past", "past"], "the browser asks again by the same address");
    known.fail(2);
    pass(15_000);
    assert.ok(newest() !== known && !newest().query.has("new"));
  }));

test("before its first event there is nothing to go on from", () =>
  feeding((feed) => {
    feed.open({ tags: ["science", "curling"], seconds: 375, extras: ["board", "posts"] }, feed.lastId, ["curling"]);
    assert.deepEqual(Object.fromEntries(newest().query), { history: "375", tags: "science,curling", board: "1", posts: "1" });
  }));

/** A tab's end of a port, as the hub sees it. */
class Port {
  /** @type {any[]} */
  got = [];
  /** @type {((event: {data: any}) => void) | null} */
  onmessage = null;

  /** @param {any} message */
  postMessage(message) {
    this.got.push(message);
  }

  /** @param {any} data */
  say(data) {
    this.onmessage?.({ data });
  }
}

/** @returns {{hub: Hub, opened: (string | number)[][], from: [string, string[]][], listener: any, tab: (tags: string[], seconds: number, extras?: string[]) => Port, closed: () => number}} */
function hubbed() {
  /** @type {(string | number)[][]} */
  const opened = [];
  let closed = 0;
  /** @type {any} */
  const found = { opened, from: [], closed: () => closed };
  found.hub = new Hub((_, listener) => {
    found.listener = listener;
    const feed = {
      lastId: "5-0",
      /** @param {import("../../static/feed.js").Wish} wish @param {string} lastId @param {string[]} fresh */
      open: ({ tags, seconds, extras }, lastId = "", fresh = []) =>
        (found.from.push([lastId, fresh]), opened.push([tags.join(), seconds, ...extras])),
      close: () => closed++,
      wake: () => {},
    };
    return /** @type {any} */ (feed);
  });
  found.tab = (/** @type {string[]} */ tags, /** @type {number} */ seconds, /** @type {string[]} */ extras = []) => {
    const port = new Port();
    found.hub.join(port);
    port.say({ url: "events", open: { tags, seconds, extras } });
    return port;
  };
  return found;
}

test("tabs that want the same share one stream, and a late one is told all that is known", () => {
  const { opened, listener, tab } = ((found) => (found.tab([], 375), found))(hubbed());
  listener.link("open");
  listener.history({ at: 1000, series: { science: [[500, 1], [1000, 2]] } });
  listener.counts({ at: 1500, counts: { science: 3 }, sources: {} });
  const late = tab([], 375);
  assert.deepEqual(opened, [["", 375]]);
  assert.deepEqual(late.got.slice(0, 2), [{ ask: true }, { link: "open" }], "that the worker is there, before the tab asks");
  assert.deepEqual(late.got[2].history.series.science, [[500, 1], [1000, 2], [1500, 3]]);
  assert.equal(late.got[3].counts.at, 1500);
});

test("a tab that comes late is told of the breaks, too", () => {
  const { listener, tab } = ((found) => (found.tab([], 375), found))(hubbed());
  listener.history({ at: 1000, series: { science: [[0, 1], [1000, 1]] }, gaps: [] });
  const gap = { from: 2000, to: 30_000, reason: "ingester was down", kind: "ingester", all: true };
  listener.counts({ at: 30_000, counts: { science: 5 }, sources: {}, gap });
  const [, , { history }] = tab([], 375).got;
  assert.deepEqual(history.gaps.map((/** @type {any} */ { from, to, all }) => [from, to, all]), [[2000, 30_000, true]]);
});

test("a tab that wants more makes it one stream of everything wanted", () => {
  const { opened, tab } = hubbed();
  tab(["science"], 375);
  tab(["football"], 900);
  tab(["science"], 60);
  assert.deepEqual(opened, [["science", 375], ["science,football", 900]]);
});

test("what one stream cannot bring comes by another", () => {
  const { opened, tab } = hubbed();
  tab([], 375);
  tab(["curling"], 375); // may be none of those that are tracked
  const many = tab([...Array(20).keys()].map((n) => `tag${n}`), 375);
  assert.deepEqual(opened.map(([tags]) => String(tags).split(",").length), [1, 1, 20]);
  many.say({ url: "events", open: { tags: ["tag1"], seconds: 375, extras: [] } });
  assert.equal(opened.length, 3, "a tab that wants less keeps its stream");
  many.say({ url: "events", open: { tags: [], seconds: 375, extras: [] } });
  assert.deepEqual(opened.at(-1), ["", 375], "twenty hashtags are not all that are tracked");
});

test("with the last tab goes the stream", () => {
  const { opened, closed, tab } = hubbed();
  const [one, two] = [tab([], 375), tab([], 375)];
  one.say({ bye: true });
  assert.equal(closed(), 0);
  two.say({ bye: true });
  assert.equal(closed(), 1);
  tab([], 375);
  assert.equal(opened.length, 2);
});

test("a tab that shows other hashtags goes on with its stream, and is told the past of the new ones", () => {
  const { opened, from, listener, tab } = ((found) => (found.tab(["science"], 375), found))(hubbed());
  listener.history({ at: 1000, series: { science: [[0, 1], [1000, 2]] } });
  const other = tab(["science"], 375);
  other.say({ url: "events", change: { tags: ["science", "curling"], seconds: 375, extras: [] }, fresh: ["curling"] });
  assert.deepEqual([opened.at(-1), from.at(-1)], [["science,curling", 375], ["5-0", ["curling"]]]);
  other.got.length = 0;
  listener.past({ at: 1000, series: { curling: [[0, 7], [1000, 8]] } });
  assert.deepEqual(other.got, [{ past: { at: 1000, series: { curling: [[0, 7], [1000, 8]] } } }]);
  other.got.length = 0;
  other.say({ url: "events", change: { tags: ["science"], seconds: 375, extras: [] }, fresh: [] });
  assert.equal(opened.length, 2, "what the stream brings it can keep to itself");
  other.say({ url: "events", change: { tags: ["science", "curling"], seconds: 375, extras: [] }, fresh: ["curling"] });
  assert.equal(opened.length, 2);
  assert.deepEqual(other.got[0].past.series, { curling: [[0, 7], [1000, 8]] }, "it is known here");
});

test("a tab whose hashtags do not go together with the other tabs' gets a stream that goes on from theirs", () => {
  const { opened, from, closed, listener, tab } = ((found) => (found.tab([], 375), found))(hubbed());
  listener.history({ at: 1000, series: { science: [[0, 1], [1000, 2]] } });
  const two = tab([], 375);
  two.say({ url: "events", change: { tags: ["science", "curling"], seconds: 375, extras: [] }, fresh: ["curling"] });
  assert.deepEqual([opened.at(-1), from.at(-1)], [["science,curling", 375], ["5-0", ["curling"]]]);
  assert.equal(closed(), 0, "the other tab keeps its own");
});

test("extras are asked for while a tab wants them, and not a tick is lost by it", () => {
  const found = hubbed();
  const { opened, from, tab } = found;
  const [one, two] = [tab([], 375, ["board", "posts"]), tab([], 375, ["board", "posts"])];
  found.listener.extra("board", { at: 1 });
  found.listener.extra("post", { id: "7" });
  assert.deepEqual(one.got.slice(-2), [{ extra: ["board", { at: 1 }] }, { extra: ["post", { id: "7" }] }]);
  assert.deepEqual(tab([], 375, ["board"]).got.at(-1), { extra: ["board", { at: 1 }] }, "the newest board is kept");
  const open = { tags: [], seconds: 375, extras: ["board"] };
  one.say({ url: "events", change: open, fresh: [] });
  assert.equal(opened.length, 1, "the other tab still wants posts");
  two.say({ url: "events", change: open, fresh: [] });
  assert.deepEqual([opened.at(-1), from.at(-1)], [["", 375, "board"], ["5-0", []]]);
  one.say({ url: "events", change: { ...open, extras: ["board", "posts"] }, fresh: [] });
  assert.deepEqual([opened.at(-1), from.at(-1)], [["", 375, "board", "posts"], ["5-0", []]]);
  one.say({ bye: true });
  assert.deepEqual(opened.at(-1), ["", 375, "board"], "it went with its tab");
});

test("a tab that is gone without a word is gone after two minutes", () => {
  const { hub, opened, closed, tab } = hubbed();
  const [dead, here] = [tab(["a"], 375, ["posts"]), tab(["a"], 375)];
  for (let looks = 0; looks <= 24; looks++) {
    hub.look();
    here.say({ here: true });
  }
  assert.deepEqual(opened.at(-1), ["a", 375], "nobody wants posts any more");
  assert.equal(closed(), 0, "but one is there");
  const asked = dead.got.length;
  hub.look();
  assert.equal(dead.got.length, asked);
});

for (const first of ["here", "wake"]) {
  test(`one that was frozen comes back, whether it says first that it is ${first === "here" ? "there" : "awake"}`, () => {
    const { hub, opened, closed, tab } = hubbed();
    const frozen = tab(["a"], 375);
    for (let looks = 0; looks <= 24; looks++) hub.look();
    assert.equal(closed(), 1);
    for (const word of [first, "here", "here"]) frozen.say({ [word]: true });
    assert.equal(frozen.got.filter(({ again }) => again).length, 1);
    frozen.say({ url: "events", open: { tags: ["a"], seconds: 375, extras: [] } });
    hub.look();
    assert.deepEqual([opened.length, closed(), frozen.got.at(-1)], [2, 1, { ask: true }]);
  });
}
