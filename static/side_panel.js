// @ts-check
// What stands beside the chart: the field that asks for hashtags, the board, and posts. None of it is in another site's frame.

import { Ask } from "./ask.js";
import { BoardPanel } from "./board.js";
import { PostsPanel } from "./posts.js";
import { $ } from "./texts.js";

/** @typedef {Omit<import("./ask.js").Shown, "isRising"> & import("./posts.js").Behind} Shown */

export class SidePanel {
  /** @param {Shown} shown */
  constructor(shown) {
    /** @type {import("./board.js").Board | null} the newest */
    this.board = null;
    const isRising = (/** @type {string} */ tag) => this.board?.rising.some((one) => one.tag === tag) ?? false;
    this.ask = new Ask({ ...shown, isRising });
    this.panel = new BoardPanel($("board"), shown, (tag) => void this.ask.toggle(tag));
    this.posts = $("posts") && new PostsPanel($("posts"), shown);
  }

  /** @param {string} name @param {any} told  see feed.js */
  hear(name, told) {
    if (name === "board") this.board = told;
    if (name === "board") this.panel.hear(told);
    if (name === "post") this.posts?.hear(told);
    if (name === "gone") this.posts?.gone(told.ids);
  }

  /** Show what is shown, and how it is spelt. */
  update() {
    this.ask.update();
    this.panel.press();
    this.posts?.update();
  }
}
