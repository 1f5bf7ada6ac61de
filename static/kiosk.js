// @ts-check
// For a screen on a wall: big type, no controls, and it does not go to sleep.

export class Kiosk {
  /** @param {(on: boolean) => void} onchange */
  constructor(onchange) {
    this.onchange = onchange;
    this.on = this.filled = false;
    document.addEventListener("keydown", (event) => {
      if (this.on && event.key === "Escape") this.set(false);
      if (this.on && event.key === "f") this.fill();
    });
    // fingers have no Escape key
    document.addEventListener("dblclick", () => this.set(false));
    document.addEventListener("fullscreenchange", () => {
      if (this.filled && !document.fullscreenElement) this.set(false);
      this.filled = Boolean(document.fullscreenElement);
    });
    // the lock is taken away whenever the page is hidden
    document.addEventListener("visibilitychange", () => this.stayAwake());
  }

  /** @param {boolean} on */
  set(on) {
    if (on === this.on) return;
    this.on = on;
    document.documentElement.classList.toggle("kiosk", on);
    if (!on && document.fullscreenElement) void document.exitFullscreen();
    void this.stayAwake();
    this.onchange(on);
  }

  /** Take the whole screen; a browser lets only a hand do that. */
  fill() {
    document.documentElement.requestFullscreen?.().catch(() => {});
  }

  /** @private */
  async stayAwake() {
    try {
      if (!this.on) await this.lock?.release();
      else if (!document.hidden) this.lock = await navigator.wakeLock?.request("screen");
    } catch {
      // low battery, or not over https: the screen then sleeps as it always did
    }
  }
}
