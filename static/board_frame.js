// @ts-check
// The board alone, in another site's frame: a click opens the page with the hashtag.

import { BoardPanel } from "./board.js";
import { Link } from "./link.js";
import { $, speak } from "./texts.js";

const PATIENCE = 15_000; // milliseconds without a connection, until that is said

/** @type {{tracked: string, texts: Record<string, string>}} */
const { tracked, texts } = JSON.parse($("config").textContent ?? "");
speak(texts);

/** @param {string} tag */
const open = (tag) => window.open(new URL(`../?tags=${encodeURIComponent(tag)}`, document.baseURI), "_blank", "noopener");
const panel = new BoardPanel($("board"), { tags: () => [], selected: () => "", rowsChanged: () => {} }, open);
if (new URLSearchParams(location.search).get("list") === "used") panel.choose("used");

/** @type {ReturnType<typeof setTimeout> | undefined} */
let cut;
const link = new Link(new URL("../events", document.baseURI).href, {
  history: () => {},
  past: () => {},
  counts: () => {},
  extra: (name, told) => name === "board" && panel.hear(told), // other tabs share the stream, and may want posts
  link: (state) => {
    clearTimeout(cut);
    if (state === "open") $("notice").hidden = true;
    else cut = setTimeout(() => ($("notice").hidden = false), PATIENCE);
  },
});
link.open({ tags: [tracked], seconds: 0, extras: ["board"] }); // a stream has one hashtag at least
addEventListener("online", () => link.wake());
