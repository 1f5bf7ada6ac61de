// Numbers and times as the page's language and the reader's region write them.

import assert from "node:assert/strict";
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
  assert.match((await import("../../static/texts.js?arar-SA")).dated(AFTERNOON), /2026/);
});

test("a name that no browser should have is passed over", async () => {
  assert.equal(await written("en", ["en-US@posix"]), "1,234,567 03:04 PM");
});
