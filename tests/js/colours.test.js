// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { placeOf, strokeOf } from "../../static/selection.js";

const places = [...Array(9).keys()];
const PANEL = { light: "#ffffff", dark: "#171920" };

/** @param {string} hex @returns {number[]} linear red, green, blue */
const linear = (hex) =>
  [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));

/** @param {number[]} rgb */
const luminance = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;

/** @param {string} a @param {string} b  WCAG 2 */
function contrast(a, b) {
  const [low, high] = [luminance(linear(a)), luminance(linear(b))].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

// Machado, Oliveira and Fernandes 2009, severity 1
const EYES = {
  usual: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
};

/** @param {number[]} rgb @returns {number[]} OKLab */
function oklab([r, g, b]) {
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

/** @param {string} hex @param {number[][]} eye */
const seen = (hex, eye) => oklab(eye.map((row) => Math.max(0, row.reduce((sum, part, i) => sum + part * linear(hex)[i], 0))));

for (const theme of /** @type {const} */ (["light", "dark"])) {
  test(`every colour can be read as small text, ${theme}`, () => {
    for (const place of places) {
      const colour = strokeOf(place)[theme];
      assert.ok(contrast(colour, PANEL[theme]) >= 4.5, `${colour}: ${contrast(colour, PANEL[theme]).toFixed(2)}`);
    }
  });

  for (const [name, eye] of Object.entries(EYES)) {
    test(`neighbours differ in colour, and all in colour or dashes, ${theme}, ${name} eyes`, () => {
      for (const a of places) {
        for (const b of places.filter((other) => other > a)) {
          const [x, y] = [seen(strokeOf(a)[theme], eye), seen(strokeOf(b)[theme], eye)];
          const apart = Math.hypot(...x.map((part, i) => part - y[i]));
          const dashed = strokeOf(a).dash.join() !== strokeOf(b).dash.join();
          const least = b - a === 1 ? 0.08 : dashed ? 0 : 0.04;
          assert.ok(apart >= least, `${strokeOf(a)[theme]} and ${strokeOf(b)[theme]}: ${apart.toFixed(3)}`);
        }
      }
    });
  }
}

test("the first 36 lines all differ, and no two hashtags change theirs", () => {
  const all = new Set([...Array(36).keys()].map((place) => JSON.stringify(strokeOf(place))));
  assert.equal(all.size, 36);
  assert.equal(placeOf("football", ["science", "football"]), 1);
  assert.equal(placeOf("블랙핑크", []), placeOf("블랙핑크", ["science"]));
});
