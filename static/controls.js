// @ts-check
// Buttons and keys: what the page's reader can choose and do.

import { keep, kept } from "./address.js";
import { $, text } from "./texts.js";

/** @typedef {import("./address.js").Choice} Choice */
/**
 * @typedef {object} Actions
 * @property {(part: Partial<Choice>) => void} change
 * @property {() => void} pause   or go on
 * @property {() => void} live    back to it
 * @property {() => void} share
 * @property {() => void} moment  share the shown time
 * @property {() => void} csv
 * @property {() => void} png
 * @property {() => void} kiosk
 * @property {(lang: string) => void} speak  another language
 */

export class Controls {
  /** @param {Actions} actions */
  constructor(actions) {
    pick($("views"), (view) => actions.change({ view: /** @type {Choice["view"]} */ (view) }));
    pick($("ranges"), (range) => actions.change({ range: /** @type {Choice["range"]} */ (range) }));
    $("pause").addEventListener("click", actions.pause);
    $("back").addEventListener("click", () => {
      actions.live();
      $("pause").focus({ preventScroll: true }); // the one that had the focus is gone
    });
    this.past(actions);
    for (const id of /** @type {const} */ (["share", "csv", "png", "kiosk"])) {
      $(id).addEventListener("click", actions[id]);
    }
    const menu = /** @type {HTMLSelectElement | null} */ ($("language")); // not in a frame
    const speak = () => menu && actions.speak(menu.value);
    menu?.addEventListener("change", speak);
    if (menu && menu.value !== document.documentElement.lang) speak(); // somebody was quicker than we
    document.addEventListener("keydown", (event) => this.key(event, actions));
    /** Whether the table is summed up for those who hear the page. */
    this.spoken = kept("spoken") !== "false";
    $("speak").addEventListener("click", () => {
      this.speak(!this.spoken);
      keep("spoken", String(this.spoken));
    });
    this.speak(this.spoken);
  }

  /** @private  Over the chart while it stands still; and for those who hear it, which keys there are. @param {Actions} actions */
  past({ moment }) {
    const [past, link, keys] = ["div", "button", "p"].map((name) => document.createElement(name));
    past.className = "past";
    Object.assign(link, { type: "button", id: "moment", className: "pill", textContent: text("moment.link"), hidden: true });
    link.addEventListener("click", moment);
    const back = $("back");
    back.replaceWith(past);
    past.append(back, link);
    Object.assign(keys, { id: "keys", textContent: text("moment.keys"), hidden: true });
    $("plot").after(keys);
    $("plot").setAttribute("aria-describedby", keys.id);
  }

  /** @private  Only with the focus on the chart. @param {KeyboardEvent} event @param {Actions} actions */
  key(event, actions) {
    const kiosk = document.documentElement.classList.contains("kiosk");
    if (kiosk || document.activeElement !== $("plot")) return;
    if (event.key === " ") actions.pause();
    else if (event.key === "Escape") actions.live();
    else return;
    event.preventDefault();
  }

  /** @private @param {boolean} spoken */
  speak(spoken) {
    this.spoken = spoken;
    $("speak").setAttribute("aria-pressed", String(spoken));
    $("summary").textContent = "";
  }

  /** @param {Choice} choice */
  show(choice) {
    press($("views"), choice.view);
    press($("ranges"), choice.moment ? "" : choice.range);
  }

  /** @param {boolean} paused */
  paused(paused) {
    $("pause").setAttribute("aria-pressed", String(paused));
    /** @type {Element} */ ($("pause").lastElementChild).textContent = text(paused ? "resume" : "pause");
    $("back").hidden = $("moment").hidden = !paused;
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

/** Hand an address to others, as this browser can. @param {string} url @returns {Promise<string>} what to tell its reader */
export async function share(url) {
  try {
    if (navigator.share) {
      await navigator.share({ title: document.title, url });
      return "";
    }
    await navigator.clipboard.writeText(url);
    return text("copied");
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return "";
    return `${text("copyThis")} ${url}`; // without https there is no clipboard
  }
}
