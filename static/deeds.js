// @ts-check
// What each button does.

import * as save from "./save.js";
import { text } from "./texts.js";

/** @param {any} page  page.js's own @returns {import("./controls.js").Deeds} */
export function deedsOf(page) {
  return {
    change: (part) => page.change(part),
    pause: () => page.hold({ pinned: !page.held.pinned }),
    live: () => page.live(),
    share: async () => page.controls.tell(await save.share()),
    csv: () => {
      const lines = save.csv(save.inSight(page.chart), text("when"), page.named);
      // the mark at the front tells spreadsheets that this is UTF-8
      save.download(new Blob(["\ufeff", lines], { type: "text/csv" }), `${name()}.csv`);
    },
    png: async () => {
      const title = `${text("name")} · ${text(page.choice.view)} · ${new Date(page.clock.now()).toLocaleString()}`;
      save.download(await save.picture(page.sheet, page.canvas, title, page.paper.look), `${name()}.png`);
    },
    wall: () => {
      page.wall.set(true);
      page.wall.fill();
    },
  };
}

const name = () => `hashtag-pulse-${new Date().toISOString().slice(0, 16).replace(":", "")}`;
