"""The selected line as it was a week earlier, behind it; in a real Chromium."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from browser import opened
from playwright.sync_api import Browser, Page
from servers import App, RedisServer, free_port, wait_until
from test_page_usual import BEHIND
from test_page_words import LISTEN
from ticking import Ticking
from yesterday import fields_of, run, write

from app.messages import DAY, HOUR, MINUTE
from app.store.store import connect

THEN = 120
"""Posts a minute, a week ago."""
LINE = 150
"""So opaque the line is, and not the band of what is usual."""
WEEK = "() => hashtagPulse.visitor.usual.lastWeek"
KNOWN = f"() => ({WEEK})().parts.length > 0"
NEAR_THE_END = (
    f"() => ({WEEK})().told(hashtagPulse.chart.edge - 0.02 * hashtagPulse.chart.shown.range)"
)


async def a_week_ago(url: str) -> None:
    """A day and an hour of posts, and none since."""
    redis, now = connect(url), int(time.time() * 1000)
    minutes = range((now - 8 * DAY) // MINUTE, (now - 7 * DAY + HOUR) // MINUTE)
    posts = {"demo": {"science": dict.fromkeys(minutes, THEN)}}
    await write(redis, fields_of(posts, {"demo": minutes}, now, ["science"]))
    await redis.aclose()


@pytest.fixture(scope="module")
def web(file_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with ExitStack() as ending:
        run(a_week_ago(file_redis.url))
        ending.enter_context(Ticking(file_redis.url)).post("science", 60)
        settings = {"REDIS_URL": file_redis.url, "HASHTAGS": "football,science"}
        folder = tmp_path_factory.mktemp("web")
        yield ending.enter_context(App(folder, "web", port=free_port(), **settings)).started()


def asked(page: Page) -> list[float]:
    """When the page asked for a time of the past."""
    times: list[float] = page.evaluate(
        "() => performance.getEntriesByType('resource').filter(({name}) => name.includes('history?from='))"
        ".map(({startTime}) => startTime)"
    )
    return times


def test_a_thin_line_is_behind_the_selected_one(browser: Browser, web: App) -> None:
    """It is named, and read with its line; it was asked for after the first line was drawn, once."""
    with opened(browser, web.url) as page:
        page.wait_for_function(KNOWN)
        page.evaluate(LISTEN)
        page.evaluate("() => { hashtagPulse.chart.smoothie.options.maxValue = 200 }")
        wait_until(lambda: page.evaluate(BEHIND, THEN) > LINE, "it is drawn")
        assert page.evaluate(BEHIND, 1.4 * THEN) < LINE
        written = page.evaluate("() => written.join().replace(/[\u2068\u2069]/g, '')")
        assert "thin line: #science a week earlier" in written
        page.locator("#plot").focus()
        page.keyboard.press("ArrowLeft")
        assert page.locator("#values small").all_inner_texts() == [f"a week earlier: {THEN}"]
        said = page.locator("#plot").get_attribute("aria-valuetext") or ""
        assert f"(a week earlier: {THEN})" in said
        line = page.evaluate("() => performance.getEntriesByName('first line')[0].startTime")
        [begun] = asked(page)
        assert begun > min(line, 2000), "by then a slow page's line is not waited for"


def test_each_range_has_it(browser: Browser, web: App) -> None:
    """From a minute to a month: by minutes, or by the hours that are kept for longer."""
    with opened(browser, f"{web.url}/?tags=science&range=1m") as page:
        for span in ("1m", "5m", "15m", "1h", "24h", "7d", "30d"):
            page.locator(f"#ranges [value='{span}']").click()
            told = (
                f"() => ({WEEK})().range === hashtagPulse.chart.shown.range && ({NEAR_THE_END})()"
            )
            [tag, words] = page.wait_for_function(told).json_value()
            assert (tag, words) == ("science", f"a week earlier: {THEN}"), span
            if span == "24h":
                points = page.evaluate(f"() => ({WEEK})().parts.flat().length")
                assert points > 400, "eight days are kept by the minute"


def test_nothing_is_asked_or_drawn_without_a_line(browser: Browser, web: App) -> None:
    """Not where it is hidden, nor of totals, nor where nobody knows; and then it is."""
    with opened(browser, f"{web.url}/?tags=science&view=total") as page:
        a_second_later(page)
        page.locator("#rows button").click(modifiers=["Control"])
        page.get_by_role("button", name="posts per minute").click()
        a_second_later(page)
        assert asked(page) == []
        page.locator("#rows button").click(modifiers=["Control"])
        page.wait_for_function(KNOWN)
        page.locator("#typed").fill("football,")
        page.wait_for_function("() => hashtagPulse.visitor.selected === 'football'")
        page.wait_for_function(f"() => ({WEEK})().tag === 'football' && ({WEEK})().to > 0")
        assert page.evaluate(f"() => ({WEEK})().parts") == []
        page.evaluate("() => hashtagPulse.chart.drawNow()")
        assert page.evaluate(NEAR_THE_END) is None
        assert page.evaluate(BEHIND, THEN) < LINE


def a_second_later(page: Page) -> None:
    """When ticks have come, and with them all that is asked with a tick."""
    tick = page.evaluate("() => hashtagPulse.state.tick.at")
    page.wait_for_function("tick => hashtagPulse.state.tick.at > tick + 1000", arg=tick)
