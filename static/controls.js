// @ts-check
// Buttons and keys: what the page's reader can choose and do.

import { text } from "./texts.js";

/** @typedef {import("./address.js").Choice} Choice */
/**
 * @typedef {object} Deeds
 * @property {(part: Partial<Choice>) => void} change
 * @property {() => void} pause   or go on
 * @property {() => void} live    back to it
 * @property {() => void} share
 * @property {() => void} csv
 * @property {() => void} png
 * @property {() => void} wall
 */

export const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

export class Controls {
  /** @param {Deeds} deeds */
  constructor(deeds) {
    pick($("views"), (view) => deeds.change({ view: /** @type {Choice["view"]} */ (view) }));
    pick($("ranges"), (range) => deeds.change({ range: /** @type {Choice["range"]} */ (range) }));
    $("pause").addEventListener("click", deeds.pause);
    $("back").addEventListener("click", deeds.live);
    for (const id of /** @type {const} */ (["share", "csv", "png", "wall"])) {
      $(id).addEventListener("click", deeds[id]);
    }
    document.addEventListener("keydown", (event) => this.key(event, deeds));
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.telling = undefined;
  }

  /** @private  Only with the focus on the chart, or with no controls there. @param {KeyboardEvent} event @param {Deeds} deeds */
  key(event, deeds) {
    const walled = document.documentElement.classList.contains("wall");
    if (!walled && document.activeElement !== $("plot")) return;
    if (event.key === " ") deeds.pause();
    else if (event.key === "Escape" && !walled) deeds.live();
    else return;
    event.preventDefault();
  }

  /** @param {Choice} choice */
  show(choice) {
    press($("views"), choice.view);
    press($("ranges"), choice.range);
  }

  /** @param {boolean} pinned  by the button @param {boolean} held  for whatever reason */
  paused(pinned, held) {
    $("pause").setAttribute("aria-pressed", String(pinned));
    /** @type {Element} */ ($("pause").lastElementChild).textContent = text(pinned ? "resume" : "pause");
    $("back").hidden = !held;
  }

  /** Answer a deed, for a while. @param {string} words  none: nothing to say */
  tell(words) {
    clearTimeout(this.telling);
    $("told").textContent = words;
    $("told").hidden = !words;
    if (words) this.telling = setTimeout(() => this.tell(""), words.includes("://") ? 30_000 : 4000);
  }

  /** What is wrong, as long as it is. @param {string} words  none: nothing to say */
  notice(words) {
    $("notice").textContent = words;
    $("notice").hidden = !words;
  }
}

/** @param {HTMLElement} group @param {(value: string) => void} onpick */
function pick(group, onpick) {
  for (const button of group.querySelectorAll("button")) {
    button.addEventListener("click", () => onpick(button.value));
  }
}

/** @param {HTMLElement} group @param {string} value */
function press(group, value) {
  for (const button of group.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.value === value));
  }
}
