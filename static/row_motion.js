// @ts-check
// Rows that change places so that eyes can follow, and never under a hand.

/** @param {Element} list @returns {boolean} whether a pointer or the keyboard's focus is on it; the focus that a click leaves behind is not meant */
export function isInHand(list) {
  const pointed = matchMedia("(hover: hover)").matches && list.matches(":hover");
  return pointed || list.querySelector(":focus-visible") !== null;
}

/** @param {Element} list @param {HTMLElement[]} rows  all that it has from now on, in their order @param {boolean} seen  whether they are to be seen moving */
export function arrange(list, rows, seen) {
  const isSeen = seen && !matchMedia("(prefers-reduced-motion: reduce)").matches;
  // to ask for places costs a layout
  const before = new Map(isSeen ? rows.filter((row) => list.contains(row)).map((row) => [row, row.offsetTop]) : []);
  const focused = /** @type {HTMLElement | null} */ (list.querySelector(":focus"));
  put(list, rows);
  focused?.focus({ preventScroll: true }); // it is lost by moving
  if (!before.size) return;
  const end = rows[0].offsetParent === list ? list.scrollTop + list.clientHeight : Infinity; // what scrolls measures its rows
  // all places first: to ask for one after another row began to move costs a layout, too
  const places = [...before].map(([row, top]) => ({ row, top, now: row.offsetTop }));
  for (const { row, top, now } of places) {
    if (top === now || Math.min(top, now) > end) continue; // nobody sees it move
    row.animate([{ transform: `translateY(${top - now}px)` }, {}], { duration: 400, easing: "ease" });
  }
}

/** What keeps its place is left there: a row that is taken out and put back is laid out anew. @param {Element} list @param {HTMLElement[]} rows */
function put(list, rows) {
  for (const row of [...list.children]) if (!rows.includes(/** @type {HTMLElement} */ (row))) row.remove();
  let next = list.firstElementChild;
  for (const row of rows) {
    if (row === next) next = next.nextElementSibling;
    else list.insertBefore(row, next);
  }
}
