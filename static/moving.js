// @ts-check
// Rows that change places so that eyes can follow, and never under a hand.

/** @param {Element} list @returns {boolean} whether a pointer or the keyboard's focus is on it; the focus that a click leaves behind is not meant */
export function isInHand(list) {
  const pointed = matchMedia("(hover: hover)").matches && list.matches(":hover");
  return pointed || list.querySelector(":focus-visible") !== null;
}

/** @param {Element} list @param {HTMLElement[]} rows  all that it has from now on, in their order @param {boolean} seen  whether they are to be seen moving */
export function arrange(list, rows, seen) {
  const before = new Map(rows.filter((row) => list.contains(row)).map((row) => [row, row.offsetTop]));
  const focused = /** @type {HTMLElement | null} */ (list.querySelector(":focus"));
  list.replaceChildren(...rows);
  focused?.focus({ preventScroll: true }); // it is lost by moving
  if (!seen || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const [row, top] of before) {
    const moved = top - row.offsetTop;
    if (moved) row.animate([{ transform: `translateY(${moved}px)` }, {}], { duration: 400, easing: "ease" });
  }
}
