"""A page that stays open: twenty hashtags, board and posts, ten ticks a second; in a real Chromium.

`make soak` has it for ten minutes (PAGE_SECONDS) and asks for frames and long tasks, too: they
depend on the machine, so the short form only tells them.
"""

import os
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from browser import descendants, opened
from playwright.sync_api import Browser, CDPSession, Page
from servers import App, RedisServer
from test_page_speed import IS_LONG, MANY, SECONDS, heap
from yesterday import remember

TICK_SECONDS = 0.1
LOOKS = 20
"""So often it is looked how much memory there is."""
WARM = LOOKS // 5
"""At so many of them it may still grow: two minutes of ten."""
FULL_SECONDS = 1020
"""So much past there is, of ticks as many as there will be; the page asks for what its range needs."""
UNDER_WAY = 0.6
"""MiB."""
LISTENERS = 100
"""Those of the rows that board and posts have at one time and not at another."""

WATCH = """() => {
    window.watched = {ticks: 0, drawn: 0, frames: 0, offered: 0, long: []};
    document.addEventListener('pulse:tick', () => watched.ticks++);
    new PerformanceObserver(list => {
        for (const {startTime, duration} of list.getEntries()) watched.long.push([startTime, duration]);
    }).observe({type: 'longtask'});
    const {chart} = hashtagPulse, paint = chart.onpaint;
    chart.onpaint = () => { watched.drawn++; paint() };
    let last = 0;
    const frame = at => {
        // one is offered in each sixtieth of a second
        if (last) watched.frames++, watched.offered += Math.max(1, Math.round((at - last) * 60 / 1000));
        last = at;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
}"""
ROWS = "() => [document.querySelectorAll('#board li').length, document.querySelectorAll('#posts li').length]"
NODES = "() => document.querySelectorAll(':not(#side *, #alerts *, td small)').length"
"""But for what comes and goes: rows of board and posts, what is unusual, and what is usual."""
NOW = "() => performance.now()"


class Look(NamedTuple):
    """What there was at one moment, when everything unused was thrown away."""

    heap: float
    """MiB."""
    resident: float
    """MiB that the page's process has of the machine."""
    nodes: int
    """As NODES counts them."""
    listeners: int


@pytest.fixture
def app(redis_server: RedisServer, tmp_path: Path, ending: ExitStack) -> App:
    remember(redis_server.url, MANY, FULL_SECONDS, every=TICK_SECONDS)
    settings = {"REDIS_URL": redis_server.url, "HASHTAGS": ",".join(MANY)}
    return ending.enter_context(App(tmp_path, TICK_SECONDS=TICK_SECONDS, **settings)).started()


def test_a_page_stays_as_large_as_it_is(
    browser: Browser, app: App, record_property: Callable[[str, object], None]
) -> None:
    """Heap and document; in the long form the process, too, no task takes longer than 50 ms, and
    of the frames that it is offered the page takes 95 % at least."""
    with opened(browser, f"{app.url}/?range=1m") as page:
        page.get_by_role("button", name="Most used").click()
        page.wait_for_function(f"() => ({ROWS})().every(rows => rows > 0)")
        page.evaluate(WATCH)
        looks, looking = look_often(page)
        told = told_by(page, looking)
        assert max(page.evaluate(ROWS)) <= 20
    sys.stdout.writelines(f"{each}\n" for each in (*looks, told))
    record_property("a page that stays open", str(told))
    assert told["ticks"] >= SECONDS / TICK_SECONDS
    assert told["drawn"] > told["ticks"] / 10, "the lines moved"
    assert_flat([look.heap for look in looks[WARM:]])
    assert len({look.nodes for look in looks[WARM:]}) == 1
    heard = [look.listeners for look in looks[WARM:]]
    assert max(heard) - min(heard) < LISTENERS
    if IS_LONG:
        assert_flat([look.resident for look in looks[WARM:]])
        assert told["long tasks"] == []
        assert told["frames"] >= 0.95 * told["offered"]


def look_often(page: Page) -> tuple[list[Look], list[tuple[float, float]]]:
    """What there was after each part of the ticks; and when it was looked for, in the page's time."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    looks, looking = [], []
    for n in range(1, LOOKS + 1):
        ticks = n * SECONDS / TICK_SECONDS / LOOKS
        page.wait_for_function("ticks => watched.ticks >= ticks", arg=ticks, timeout=200_000)
        begun = page.evaluate(NOW)
        looks.append(look(page, session))
        looking.append((begun, page.evaluate(NOW)))
    return looks, looking


def look(page: Page, session: CDPSession) -> Look:
    # the least of a few: what is under way at one moment, an answer that is read, is not kept
    used = min(heap(session) for _ in range(3)) / 2**20
    metrics = {
        each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]
    }
    return Look(round(used, 1), resident(), page.evaluate(NODES), metrics["JSEventListeners"])


def resident() -> float:
    """Of the largest page of the test's own Chromium."""
    found = [0]
    for pid in descendants(os.getpid()):
        process = Path(f"/proc/{pid}")
        if b"--type=renderer" in (process / "cmdline").read_bytes():
            found.append(int((process / "statm").read_text().split()[1]))
    return round(max(found) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def told_by(page: Page, looking: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """What the page counted, and the tasks of more than 50 ms: when and how long, in milliseconds.
    While it was looked for memory there are some that are not the page's."""
    seen: dict[str, Any] = page.evaluate("() => watched")
    found = [
        (round(begun), round(length))
        for begun, length in seen.pop("long")
        if not any(begun < end and begin < begun + length for begin, end in looking)
    ]
    return {**seen, "long tasks": found}


def assert_flat(values: Sequence[float]) -> None:
    """Within a tenth of the middle one, or what is under way at one moment and not at another; and
    no more of it at the end than at the beginning."""
    middle, part = statistics.median(values), len(values) // 3
    off = [each for each in values if abs(each - middle) > max(0.1 * middle, UNDER_WAY)]
    assert off == [], values
    assert statistics.median(values[-part:]) < 1.1 * statistics.median(values[:part]), values
