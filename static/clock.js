// @ts-check
// What time it is at the server: this machine's clock may be wrong by hours, and be set at any time. Pure but for fetch.

export class Clock {
  /**
   * @param {number} offset  the server's time minus this machine's, in milliseconds
   * @param {() => number} here
   */
  constructor(offset = 0, here = steady) {
    this.offset = offset;
    this.here = here;
  }

  now() {
    return this.here() + this.offset;
  }

  /** @param {number} at  the time of a tick: none can come from the future */
  learn(at) {
    this.offset = Math.max(this.offset, at - this.here());
  }

  /** @param {number} at  the time of a tick by which it is now, whatever was known before */
  set(at) {
    this.offset = at - this.here();
  }

  /**
   * Take in a server's answer that says when it was made.
   * @param {number} sent      by this machine's clock
   * @param {number} received
   * @param {number} made
   */
  correct(sent, received, made) {
    this.offset = Math.min(Math.max(this.offset, made - received), made - sent);
  }

  /** Ask the server for its time: a laptop that slept may have woken with another one.
   * @param {string} url */
  async ask(url) {
    const sent = this.here();
    const { now } = await (await fetch(url, { cache: "no-store" })).json();
    if (now) this.correct(sent, this.here(), now);
  }
}

/** This machine's time when the page was loaded, and steadily on from there; in a sleep it may stand still. */
export const steady = () => performance.timeOrigin + performance.now();

/**
 * The offset by the page itself, which says when it was made.
 * @param {number} made     by the server's clock
 * @param {PerformanceNavigationTiming | undefined} timing
 */
export function offsetOfPage(made, timing) {
  return timing ? made - (performance.timeOrigin + timing.responseStart) : made - steady();
}
