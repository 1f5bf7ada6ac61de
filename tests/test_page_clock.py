"""The page and a server whose clock is set, or that hears nothing; real processes and Chromium."""

import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from browser import opened
from playwright.sync_api import Browser, Page
from servers import App, RedisServer, wait_until
from wall_clock import WallClock
from world import stop

from app.store.embedded import find_server

LIVE = "() => badge.dataset.level === 'live'"
NEWER = "at => hashtagPulse.state.live.at > at + 3000 && badge.dataset.level === 'live'"
"""Ticks go on for three seconds, and the page is not late."""
DRAWN = """tag => {
  const {at} = hashtagPulse.state.live;
  const [newest] = hashtagPulse.chart.lines.get(tag).map(({data}) => data.at(-1)[0]).slice(-1);
  return Math.abs(hashtagPulse.chart.edge - at) < 5000 && Math.abs(newest - at) < 5000;
}"""
"""Whether the line ends at the right edge, where now is."""


@pytest.mark.parametrize("hours", [-1, 1])
def test_redis_s_clock_is_set_by_an_hour_for_good(
    browser: Browser, tmp_path: Path, ending: ExitStack, start_app: Callable[..., App], hours: int
) -> None:
    """An open page goes on within seconds, its line and its table, and is not "no news for 3600 s"
    until somebody loads it anew; so does one that is loaded then."""
    clock = WallClock(tmp_path / "clock")
    redis = ending.enter_context(RedisServer(find_server(), tmp_path / "redis", **clock.env))
    app = start_app(REDIS_URL=redis.url, HASHTAGS="science", TICK_SECONDS="0.2").started()
    with opened(browser, f"{app.url}/?view=total&range=1m") as page:
        page.wait_for_function(LIVE)
        at = page.evaluate("() => hashtagPulse.state.live.at")
        clock.set(hours)
        then = at + hours * 3_600_000
        near = "then => Math.abs(hashtagPulse.state.live.at - then) < 600000"
        page.wait_for_function(near, arg=then, timeout=15_000)
        goes_on(page)
    with opened(browser, f"{app.url}/?view=total&range=1m") as page:
        goes_on(page)
    assert "Traceback" not in app.output


def goes_on(page: Page) -> None:
    at = page.evaluate("() => hashtagPulse.state.live.at")
    page.wait_for_function(NEWER, arg=at)
    assert page.inner_text("#badge").startswith("live · ")
    page.wait_for_function(DRAWN, arg="science")


def test_an_ingester_that_is_silent_is_not_shown_as_live(
    browser: Browser, tmp_path: Path, redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """The page says how old its news is, and that nothing is known of the source, and never that
    no source is live; the break in the line says that the ingester was down."""
    ingester = start_app("ingest", REDIS_URL=redis_server.url, HASHTAGS="science")
    web = start_app("web", REDIS_URL=redis_server.url, HASHTAGS="science").started()
    with opened(browser, web.url) as page:
        page.wait_for_function(LIVE)
        page.evaluate("""() => {
            window.said = new Set();
            new MutationObserver(() => said.add(badge.textContent.replace(/[0-9.]+/, "N")))
              .observe(badge, {childList: true, characterData: true, subtree: true});
        }""")
        stop(ingester)
        page.wait_for_function("() => badge.dataset.level === 'stale'", timeout=40_000)
        assert page.inner_text("#sources") == "Demo: nothing was heard since the last tick"
        said = {words.split(":")[0] for words in page.evaluate("() => [...said]")}
        told = "The last tick came N s ago"  # by the server, in place of the page's own words
        assert said <= {"live · N s behind", "N s behind", "no news for N s", told}, said
        gaps = page.evaluate("() => hashtagPulse.state.shownGaps('1m').map(({reason}) => reason)")
        assert gaps[-1] == "ingester was down"
        ingester.signal(signal.SIGCONT)
        page.wait_for_function(LIVE)
        wait_until(lambda: page.inner_text("#sources") == "demo data", "the source is live again")
