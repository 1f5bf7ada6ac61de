// Numbers and times as the page's language and the reader's region write them.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";

const AFTERNOON = new Date(2026, 1, 3, 15, 4).getTime();

/** @param {string} language  of the page @param {string[]} languages  of the browser */
async function written(language, languages) {
  globalThis.document = /** @type {any} */ ({ documentElement: { lang: language } });
  Object.defineProperty(globalThis, "navigator", { value: { languages }, configurable: true });
  const { number, time } = await import(`../../static/texts.js?${language}${languages}`);
  return `${number(1234567)} ${time(AFTERNOON, 60_000)}`.replaceAll("\u202f", " ").replaceAll("\u2019", "'");
}

test("numbers and times are the page's, not the browser's", async () => {
  assert.equal(await written("de", ["en-US"]), "1.234.567 15:04");
  assert.equal(await written("en", ["de", "fr"]), "1,234,567 03:04 PM");
});

test("they are as the reader's region has them, where that speaks the page's language", async () => {
  assert.equal(await written("de", ["fr", "de-CH"]), "1'234'567 15:04");
  assert.equal(await written("en", ["en-GB"]), "1,234,567 15:04");
});

test("digits and calendar are those of what is downloaded, everywhere", async () => {
  assert.equal(await written("ar", ["ar-EG"]), "1,234,567 03:04 م");
  await written("ar", ["ar-SA"]);
  assert.match((await import("../../static/wording.js")).dated(AFTERNOON), /2026/);
});

test("a name that no browser should have is passed over", async () => {
  assert.equal(await written("en", ["en-US@posix"]), "1,234,567 03:04 PM");
});

const folder = new URL("../../templates/texts/", import.meta.url);
/** @type {Record<string, Record<string, string>>} */
const TEXTS = Object.fromEntries(
  readdirSync(folder).map((name) => [name.replace(".json", ""), JSON.parse(readFileSync(new URL(name, folder), "utf8"))]),
);

test("each language has a form for every kind of number that it tells apart, and no other", () => {
  const counted = Object.keys(TEXTS.en).filter((key) => key.endsWith(".other")).map((key) => key.replace(".other", ""));
  assert.ok(counted.includes("counted.people"));
  for (const [language, texts] of Object.entries(TEXTS)) {
    const kinds = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
    for (const key of counted) {
      const forms = Object.keys(texts).filter((one) => one.replace(/\.(zero|one|two|few|many|other)$/, "") === key);
      assert.deepEqual(forms.sort(), kinds.map((kind) => `${key}.${kind}`).sort(), language);
    }
  }
});

test("one reads as one", () => {
  const one = (/** @type {string} */ language, /** @type {string} */ key) =>
    TEXTS[language][`${key}.${new Intl.PluralRules(language).select(1)}`].replace("{n}", "1");
  assert.deepEqual(Object.keys(TEXTS).sort().map((language) => one(language, "counted.people")), ["شخص واحد", "1 Person", "1 person", "1 persona", "1 人"]);
  assert.deepEqual(Object.keys(TEXTS).sort().map((language) => one(language, "usual.posts")), [
    "منشور واحد", "um diese Zeit ist 1 Post üblich", "1 post is usual at this hour", "1 post", "この時間帯は通常 1 件",
  ]);
});

test("a number is said in its form, and in the general one where a browser knows more kinds than we do", async () => {
  const { locale, speak } = await import("../../static/texts.js");
  const { counted } = await import("../../static/wording.js");
  assert.equal(String(locale), "ar-SA-u-ca-gregory-nu-latn", "the one that was imported first");
  speak({ ...TEXTS.ar, "x.other": "{n} {tag}" });
  const said = [0, 1, 1.6, 7, 12, 100, 1003].map((posts) => counted("counted.posts", posts));
  assert.deepEqual(said, ["لا منشورات", "منشور واحد", "منشوران", "7 منشورات", "12 منشورًا", "100 منشور", "1,003 منشورات"]);
  assert.equal(counted("x", 1, { tag: "#a" }), "1 #a");
});

test("in another language than English a network's trouble has no reason: those are English", async () => {
  const { language, speak } = await import("../../static/texts.js");
  const { said } = await import("../../static/gaps.js");
  assert.equal(language, "ar", "the one that was imported first");
  const { "source.unknown": unknown, ...early } = TEXTS.ar;
  const named = (/** @type {string} */ form, reason = "") => form.replace("{name}", "X").replace("{reason}", reason);
  speak(early);
  assert.equal(said("x", "unknown", "nothing was heard"), named(TEXTS.ar["source.said"], "nothing was heard"), "until all words are there");
  speak(TEXTS.ar);
  assert.equal(said("x", "unknown", "nothing was heard"), named(unknown));
  assert.equal(said("x", "down", "it does not answer"), named(TEXTS.ar["source.down"]));
  assert.match(said("replay", "live", "replaying day.jsonl"), /replaying day\.jsonl/);
  assert.match(said("x", "asleep", ""), /asleep/);
});
