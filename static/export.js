// @ts-check
// What is on screen, to take away: as a table or a picture.

import { text } from "./texts.js";
import { between, dated } from "./wording.js";

/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {import("./page.js").Page} Page */

const SHARP = 2; // pixels of a picture for each of the page's, at least

/** @param {Page} page */
export function saveTable({ chart, named }) {
  const lines = csv(inSight(chart), text("when"), named);
  // the mark at the front tells spreadsheets that this is UTF-8
  download(new Blob(["\ufeff", lines], { type: "text/csv" }), `${fileName()}.csv`);
}

/** @param {Page} page */
export async function savePicture({ axes, axesCanvas, canvas, chart, choice }) {
  const title = `${text("name")} · ${text(choice.view)} · ${choice.moment ? between(choice.moment) : dated(chart.edge)}`;
  const { frozen, edge } = chart;
  chart.frozen = edge; // a picture has a time at its right edge and no "now"
  axes.ratio = Math.max(SHARP, devicePixelRatio);
  chart.drawSharply(axes.ratio);
  const taken = picture(axesCanvas, canvas, title, axes.look);
  Object.assign(chart, { frozen });
  axes.ratio = 0;
  download(await taken, `${fileName()}.png`);
}

const fileName = () => `hashtag-pulse-${new Date().toISOString().slice(0, 16).replace(":", "")}`;

/**
 * The lines as CSV: a row for each moment, a column for each hashtag. Pure.
 * @param {Record<string, [number, number][]>} lines
 * @param {string} when  the first column's name
 * @param {(tag: string) => string} named
 */
export function csv(lines, when, named) {
  const tags = Object.keys(lines);
  const columns = tags.map((tag) => new Map(lines[tag]));
  const times = [...new Set(columns.flatMap((column) => [...column.keys()]))].sort((a, b) => a - b);
  const rows = times.map((at) => {
    const values = columns.map((column) => column.get(at));
    return [new Date(at).toISOString(), ...values.map((v) => (v === undefined ? "" : String(Math.round(v * 10) / 10)))];
  });
  const head = [when, ...tags.map((tag) => `#${named(tag)}`)];
  return [head, ...rows].map((row) => row.map(quoted).join(",") + "\r\n").join("");
}

/** @param {string} cell */
const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

/** @param {Chart} chart @returns {Record<string, [number, number][]>} of the lines in sight, what is in sight */
export function inSight(chart) {
  const { edge, shown } = chart;
  if (!shown) return {};
  const tags = shown.tags.filter((tag) => !shown.hidden.has(tag));
  const drawn = tags.flatMap((tag) => chart.lines.get(tag) ?? []).flatMap(({ data }) => data.map(([at]) => at));
  const seen = new Set(drawn.filter((at) => at <= edge && at >= edge - shown.range));
  // each line has points of its own where it changed, but a value at every moment
  const column = (/** @type {string} */ tag) =>
    [...seen].flatMap((at) => {
      const value = chart.valueAt(tag, at);
      return value === null ? [] : [/** @type {[number, number]} */ ([at, value])];
    });
  return Object.fromEntries(tags.map((tag) => [tag, column(tag)]));
}

/**
 * @param {HTMLCanvasElement} axes
 * @param {HTMLCanvasElement} lines
 * @param {string} title
 * @param {import("./axes.js").Look} look
 * @returns {Promise<Blob | null>}
 */
function picture(axes, lines, title, look) {
  const ratio = axes.width / axes.offsetWidth;
  const head = 40;
  const canvas = document.createElement("canvas");
  canvas.width = axes.width;
  canvas.height = axes.height + head * ratio;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = look.panel;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = look.text;
  context.font = `bold ${16 * ratio}px ${look.font}`;
  context.fillText(title, 12 * ratio, 27 * ratio, canvas.width - 24 * ratio);
  context.drawImage(axes, 0, head * ratio);
  context.drawImage(lines, lines.offsetLeft * ratio, (lines.offsetTop + head) * ratio);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** @param {Blob | null} blob @param {string} name */
function download(blob, name) {
  if (!blob) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
