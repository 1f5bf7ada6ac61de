"""Any hashtag on the page, and what a quiet one looks like; in a real Chromium."""

import os
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from browser import opened, rows
from playwright.sync_api import Browser, Page
from servers import App, RedisServer, free_port, wait_until
from ticking import Ticking
from web_line import WebLine
from yesterday import remember

from app.messages import MINUTE, SourceState

CUT_SECONDS = 60 if os.environ.get("CI") == "true" else 12
"""Longer than the 8 s for which a total holds that nobody confirms."""
LIVE = "() => badge.dataset.level === 'live'"
LINES = "tag => hashtagPulse.chart.lines.get(tag).map(({data}) => data)"
NEWEST = "() => Math.max(...[...hashtagPulse.chart.lines.values()].flat().map(({data}) => data.at(-1)[0]))"
AT = "() => hashtagPulse.state.live.at"
GAPS = "() => hashtagPulse.state.shownGaps('5m').filter(({kind}) => kind !== 'start')"
OPAQUE = """() => {
    const {axes} = hashtagPulse, dot = axes.dot.bind(axes);
    let opaque = 0;
    axes.dot = (...place) => { opaque = axes.context.globalAlpha; dot(...place) };
    axes.paint();
    delete axes.dot;
    return opaque;
}"""
"""How opaque the dot at a line's end is."""
LATER = "at => hashtagPulse.state.live.at > at"


@pytest.fixture
def ticking(redis_server: RedisServer) -> Iterator[Ticking]:
    """An ingester with six minutes of a past, in which #science and #curling were used."""
    remember(redis_server.url, ["science", "curling"], 375)
    with Ticking(redis_server.url) as started:
        yield started


@pytest.fixture
def web(redis_server: RedisServer, ticking: Ticking, start_app: Callable[..., App]) -> App:
    """A web process for which only #science is tracked."""
    settings = {"REDIS_URL": redis_server.url, "HASHTAGS": "science"}
    return start_app("web", port=free_port(), **settings).started()


def total_of(page: Page, tag: str) -> int:
    return int(rows(page)[f"#{tag}"]["total"].replace(",", ""))


def test_a_hashtag_that_nobody_tracked_shows_its_line_at_once(browser: Browser, web: App) -> None:
    """As soon as there is anything, there are its total and its minutes before; then more."""
    with opened(browser, f"{web.url}/?tags=curling&view=total") as page:
        [line] = page.evaluate(LINES, "curling")
        told = page.request.get(f"{web.url}/api/counts?tags=curling").json()
        assert total_of(page, "curling") == told["counts"]["curling"] > 50
        assert line[-1][0] - line[0][0] > 5 * MINUTE, "the chart is full from the left edge on"
        assert len({total for _, total in line}) > 20
        assert line[-1][1] == told["counts"]["curling"]
        page.get_by_role("button", name="posts per minute").click()
        drawn = page.evaluate(LINES, "curling")[0]
        assert max(rate for _, rate in drawn) > 0
        assert page.locator("#notice").is_hidden()
        assert list(rows(page)) == ["#curling"]


def test_it_grows_with_each_post_and_only_with_its_own(
    browser: Browser, web: App, ticking: Ticking
) -> None:
    """Three posts are three more, in the table and in the line."""
    with opened(browser, f"{web.url}/?tags=curling&view=total") as page:
        before = total_of(page, "curling")
        ticking.post("science", 5)
        ticking.post("curling", 3)
        wait_until(lambda: total_of(page, "curling") == before + 3, "three posts more")
        data = page.evaluate(LINES, "curling")[-1]
        assert data[-1][1] == before + 3


def test_a_quiet_or_unknown_hashtag_is_a_level_line(
    browser: Browser, web: App, ticking: Ticking
) -> None:
    """Used before the last 15 minutes, its total stands; used by nobody yet, it is at zero."""
    ticking.used_before("kabaddi", 7)
    with opened(browser, f"{web.url}/?tags=kabaddi,nobodyusesit&view=total") as page:
        for tag, total in [("kabaddi", 7), ("nobodyusesit", 0)]:
            assert total_of(page, tag) == total
            [line] = page.evaluate(LINES, tag)
            assert {value for _, value in line} == {total}
            assert line[-1][0] - line[0][0] > 5 * MINUTE
        page.get_by_role("button", name="posts per minute").click()
        for tag in ("kabaddi", "nobodyusesit"):
            [line] = page.evaluate(LINES, tag)
            assert {value for _, value in line} == {0}
        ticking.post("nobodyusesit")
        wait_until(lambda: total_of(page, "nobodyusesit") == 1, "somebody used it")


@pytest.mark.parametrize("fault", ["bad", "dead"])
def test_a_quiet_hashtag_has_no_gap_after_a_cut(
    browser: Browser, web: App, ticking: Ticking, fault: str
) -> None:
    """Resumed after a cut, also one without a word: one level line from before to after it."""
    ticking.used_before("kabaddi", 7)
    with (
        WebLine(web.port) as line,
        opened(browser, f"{line.url}/?tags=kabaddi&view=total") as page,
    ):
        page.wait_for_function(LIVE)
        page.evaluate("""() => {
            window.told = 0;
            document.addEventListener('pulse:history', () => told++);
        }""")
        cut, streams = page.evaluate(AT), line.streams
        getattr(line, fault)()
        longer = "([cut, seconds]) => hashtagPulse.clock.now() > cut + seconds * 1000"
        page.wait_for_function(longer, arg=[cut, CUT_SECONDS], timeout=90_000)
        [gap] = page.evaluate(GAPS)
        assert gap["reason"] == "no connection", "as long as it lasts, it is said"
        assert page.evaluate(NEWEST) <= gap["from"], "where nothing is known nothing is drawn"
        assert page.evaluate("() => rows.classList.contains('stale')")
        assert page.evaluate(OPAQUE) < 1, "the end of the line is not of now"
        line.up()
        page.wait_for_function(LIVE, timeout=60_000)
        page.wait_for_function(LATER, arg=cut + CUT_SECONDS * 1000)
        assert line.streams > streams
        assert page.evaluate("() => told") == 0, "it was resumed"
        assert not page.evaluate("() => rows.classList.contains('stale')")
        assert page.evaluate(OPAQUE) == 1
        assert page.evaluate("() => hashtagPulse.state.live.holes()") == []
        assert page.evaluate(GAPS) == []
        [data] = page.evaluate(LINES, "kabaddi")
        assert {value for _, value in data} == {7}
        assert data[0][0] < cut - 4 * MINUTE
        assert data[-1][0] > cut + CUT_SECONDS * 1000


def test_a_pause_of_the_ingester_breaks_also_a_quiet_line(
    browser: Browser, web: App, ticking: Ticking
) -> None:
    """Nobody counted for more than 8 s: a gap with its reason, on this page and on the next."""
    ticking.used_before("kabaddi", 7)
    url = f"{web.url}/?tags=kabaddi&view=total"
    with opened(browser, url) as page:
        page.wait_for_function(LIVE)
        ticking.pause()
        ended = int(ticking.writer.state.tick.partition("-")[0])
        wait_until(lambda: time.time() * 1000 > ended + 9_500, "nine seconds without a tick")
        now = int(time.time() * 1000)
        ticking.go_on(demo=SourceState("live", now, "", True, now))
        page.wait_for_function(LATER, arg=now)
        with opened(browser, url) as other:
            for each in (page, other):
                [hole] = each.evaluate("() => hashtagPulse.state.live.holes()")
                assert hole["from"] <= ended + 1000
                assert hole["to"] >= now
                [gap] = each.evaluate(GAPS)
                assert gap["reason"] == "ingester was down"
                assert (gap["from"], gap["to"]) == (hole["from"], hole["to"])
                before, after = each.evaluate(LINES, "kabaddi")
                assert before[-1][0] == hole["from"]
                assert after[0][0] == hole["to"]
                assert {value for _, value in before + after} == {7}


def test_a_pause_that_was_made_up_for_leaves_no_gap(
    browser: Browser, web: App, ticking: Ticking
) -> None:
    """The source went back and nothing is missing: the line is whole."""
    with opened(browser, f"{web.url}/?tags=curling&view=total") as page:
        page.wait_for_function(LIVE)
        ticking.pause()
        ended = int(ticking.writer.state.tick.partition("-")[0])
        wait_until(lambda: time.time() * 1000 > ended + 9_500, "nine seconds without a tick")
        ticking.go_on()  # the state says, still, that nothing is missing since long ago
        page.wait_for_function(LATER, arg=ended + 9_500)
        assert page.evaluate("() => hashtagPulse.state.live.holes()") == []
        assert page.evaluate(GAPS) == []
        assert len(page.evaluate(LINES, "curling")) == 1


@pytest.mark.parametrize("view", ["rate", "total"])
def test_late_posts_are_no_spike(browser: Browser, web: App, ticking: Ticking, view: str) -> None:
    """Sixty posts of two minutes ago come at once: the past rises, and the present does not."""
    with opened(browser, f"{web.url}/?tags=curling&view={view}") as page:
        page.wait_for_function(LIVE)
        page.evaluate("""() => {
            window.told = [];
            document.addEventListener('pulse:history', ({detail}) => told.push(detail.at));
        }""")
        before, total = page.evaluate(LINES, "curling")[0], total_of(page, "curling")
        minute = int(time.time()) // 60 * MINUTE - 2 * MINUTE
        ticking.post("curling", 60, late={"curling": {"demo": [(minute, 60)]}})
        wait_until(lambda: total_of(page, "curling") == total + 60, "all are counted")
        assert len(page.evaluate("() => told")) == 1
        [line] = page.evaluate(LINES, "curling")
        height = "([view, at]) => hashtagPulse.state.live.value(view, 'curling', at)"
        if view == "total":
            end = minute + MINUTE
            was = max(value for at, value in before if at <= end)
            assert was + 50 <= page.evaluate(height, ["total", end]) <= was + 60
            steps = [later - value for (_, value), (_, later) in pairwise(line)]
            assert max(steps) < 30, "it is spread over its minute"
        else:
            assert page.evaluate(height, ["rate", minute + MINUTE]) >= 50
            page.wait_for_function(LATER, arg=line[-1][0])
            most = before[-1][1] + 1
            assert line[-1][1] <= most, "it is not now that they were written"
            assert int(rows(page)["#curling"]["rate"]) <= most


@pytest.mark.parametrize(
    ("query", "shown"), [("curling,science", ["#science"]), ("curling", ["#science", "#football"])]
)
def test_where_every_source_must_be_asked_others_cannot_be_shown(
    browser: Browser,
    redis_server: RedisServer,
    start_app: Callable[..., App],
    query: str,
    shown: list[str],
) -> None:
    """X was asked for two hashtags: a third one has no line of zeros, but a sentence."""
    settings = {"REDIS_URL": redis_server.url, "HASHTAGS": "science,football"}
    with Ticking(redis_server.url, "x") as ticking:
        ticking.go_on(x=SourceState("live", 1, "", False, 1))
        for tag in ("science", "football"):
            ticking.post(tag, 3)
        web = start_app("web", port=free_port(), **settings).started()
        with opened(browser, f"{web.url}/?tags={query}") as page:
            assert sorted(rows(page)) == sorted(shown)
            assert page.locator("#notice").inner_text() == (
                "#curling is not tracked here, and x was not asked for it; "
                "tracked are #science, #football."
            )
            page.wait_for_function(LIVE)
            ticking.post("science", 4)
            wait_until(lambda: total_of(page, "science") == 7, "it goes on")


def test_a_page_whose_hashtag_is_counted_no_more_says_why(
    browser: Browser, web: App, ticking: Ticking
) -> None:
    """The server refuses its stream from now on: not "connecting" for ever, but the reason."""
    with (
        WebLine(web.port) as line,
        opened(browser, f"{line.url}/?tags=curling") as page,
    ):
        page.wait_for_function(LIVE)
        ticking.go_on(demo=SourceState("live", 1, "", False, 1))
        newest = "() => hashtagPulse.state.tick.at"
        page.wait_for_function(
            "at => hashtagPulse.state.tick.at > at + 500", arg=page.evaluate(newest)
        )
        line.up()  # breaks what is open
        page.wait_for_function(
            "() => badge.textContent.startsWith('#curling is not tracked here, and demo was not asked')"
        )


def test_other_hashtags_after_a_restart_are_taken_over(
    browser: Browser, redis_server: RedisServer, ticking: Ticking, start_app: Callable[..., App]
) -> None:
    """The owner changed HASHTAGS: an open page shows the new ones with their past, and says so."""
    port, settings = free_port(), {"REDIS_URL": redis_server.url}
    web = start_app("web", port=port, HASHTAGS="science,football", **settings).started()
    with opened(browser, f"{web.url}/?view=total") as page:
        page.evaluate("() => { window.stillTheSamePage = true }")
        page.wait_for_function(LIVE)
        web.end()
        start_app("web", port=port, HASHTAGS="science,curling", **settings).started()
        page.wait_for_function("() => hashtagPulse.tags.includes('curling')")
        assert page.inner_text("#told").endswith("others now: #science, #curling.")
        page.wait_for_function(LIVE)
        assert sorted(rows(page)) == ["#curling", "#science"]
        [line] = page.evaluate(LINES, "curling")
        assert line[-1][0] - line[0][0] > 5 * MINUTE
        before = total_of(page, "curling")
        ticking.post("curling", 3)
        wait_until(lambda: total_of(page, "curling") == before + 3, "it goes on")
        assert page.evaluate("() => window.stillTheSamePage")
