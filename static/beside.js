// @ts-check
// What stands beside the chart: the field that asks for hashtags, and the board. Neither is in another site's frame.

import { $ } from "./controls.js";

/** @typedef {import("./board.js").Board} Board */
/** @typedef {Omit<import("./ask.js").Shown, "isRising">} Shown */

const LATE = 5000; // milliseconds: by then a page without a line is not waited for

export class Beside {
  /** @param {Shown} shown */
  constructor(shown) {
    this.shown = shown;
    /** @type {Board | null} the newest */
    this.board = null;
    /** Whether the board is to be asked for. */
    this.hasBoard = $("board") !== null;
    /** @type {Promise<unknown> | undefined} */
    this.loading = undefined;
  }

  /** Load them, after the chart; where that fails, it is tried again with the next tick. */
  load() {
    const isDrawn = performance.getEntriesByName("first line").length > 0 || performance.now() > LATE;
    if (!this.ask && this.hasBoard && isDrawn) this.loading ??= this.loadBoth().catch(() => (this.loading = undefined));
  }

  /** @private */
  async loadBoth() {
    const [{ Ask }, { BoardPanel }] = await Promise.all([import("./ask.js"), import("./board.js")]);
    const isRising = (/** @type {string} */ tag) => this.board?.rising.some((one) => one.tag === tag) ?? false;
    this.ask = new Ask({ ...this.shown, isRising });
    this.panel = new BoardPanel($("board"), this.shown.tags, (tag) => void this.ask?.toggle(tag));
    this.wake();
  }

  /** @param {Board} board */
  hear(board) {
    this.board = board;
    if (!document.hidden) this.panel?.hear(board);
  }

  /** Show what is shown, and how it is spelt. */
  update() {
    this.load();
    this.ask?.update();
    this.panel?.press();
  }

  /** The page is seen again. */
  wake() {
    if (this.board) this.panel?.hear(this.board);
  }
}
