"""The page's line to the server: cut, refused, silent, shared; real processes and Chromium."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.request import urlopen

import pytest
from browser import KNOWN, READY, asleep, assert_as_the_server_knows, opened
from playwright.sync_api import Browser, Page
from servers import App, free_port, wait_until
from web_line import WebLine

# with more hashtags there are fewer ticks without news, which are not sent
MANY = "science,football," + ",".join(f"tag{n}" for n in range(8))
# the longer cut is as in life; without it the cut lasts until the page is red
CUT_SECONDS = 60 if os.environ.get("CI") == "true" else 0
LIVE = "() => badge.dataset.level === 'live'"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("link")
    with App(folder, HASHTAGS=MANY, TICK_SECONDS="0.2") as started:
        yield started.started()


@pytest.fixture
def line(app: App) -> Iterator[WebLine]:
    with WebLine(app.port) as between:
        yield between


def assert_whole(page: Page, url: str, since: float) -> None:
    """No hole and no duplicate in the drawn line, nor in what is known; no change is missing."""
    times = [at for at, _ in page.evaluate(KNOWN, "science")]
    assert times == sorted(set(times))
    assert page.evaluate("() => hashtagPulse.state.live.holes()") == []
    assert_as_the_server_knows(page, url, "science", since)
    drawn = page.evaluate(
        "() => hashtagPulse.chart.lines.get('science').map(({data}) => data.map(([at]) => at))"
    )
    assert len(drawn) == 1, "one unbroken stretch"
    assert drawn[0] == sorted(set(drawn[0]))


def test_a_proxy_that_answers_502_for_seconds_does_not_end_the_page(
    browser: Browser, line: WebLine
) -> None:
    """Chromium gives an EventSource up after one 502; the page makes a new one, and again."""
    with opened(browser, f"{line.url}/?view=total") as page:
        cut = page.evaluate("() => hashtagPulse.state.live.at")
        line.bad()
        page.wait_for_function("() => badge.textContent === 'reconnecting'")
        wait_until(lambda: line.refused >= 3, "the page tried, and tried again")
        page.wait_for_function("cut => hashtagPulse.clock.now() > cut + 5000", arg=cut)
        line.up()
        page.wait_for_function(LIVE)
        page.wait_for_function("cut => hashtagPulse.state.live.at > cut + 1000", arg=cut)
        assert_whole(page, line.url, cut - 1000)


def test_a_network_that_goes_dead_leaves_no_hole(browser: Browser, line: WebLine) -> None:
    """Nothing comes and nothing breaks: the page notices the silence and comes back."""
    with opened(browser, f"{line.url}/?view=total") as page:
        cut = page.evaluate("() => hashtagPulse.state.live.at")
        line.dead()
        page.wait_for_function("() => badge.dataset.level === 'late'")
        page.wait_for_function("() => badge.dataset.level === 'stale'")
        page.wait_for_timeout(CUT_SECONDS * 1000)
        assert line.swallowed > 0
        line.up()
        page.wait_for_function(LIVE, timeout=60_000)
        assert page.evaluate("() => hashtagPulse.state.live.at") > cut + 1000 * CUT_SECONDS
        assert_whole(page, line.url, cut - 1000)


def test_a_laptop_that_slept_comes_back_by_itself(
    browser: Browser, app: App, line: WebLine
) -> None:
    """All timers stood still and the connection died without a word: one new one mends it."""
    with opened(browser, f"{line.url}/?view=total") as page:
        page.evaluate("""() => {
            window.beats = [Date.now()];
            setInterval(() => beats.push(Date.now()), 200);
        }""")
        cut, streams = page.evaluate("() => hashtagPulse.state.live.at"), line.streams
        with asleep():
            line.forget()
            wait_until(lambda: newest_tick(app) > cut + 15_000, "fifteen seconds of sleep")
            assert line.swallowed > 0
        page.wait_for_function("cut => hashtagPulse.state.live.at > cut + 15000", arg=cut)
        page.wait_for_function(LIVE)
        pauses = page.evaluate("() => beats.slice(1).map((at, i) => at - beats[i])")
        assert max(pauses) > 12_000, "the page did sleep"
        assert line.streams == streams + 1
        assert_whole(page, line.url, cut - 1000)


def newest_tick(app: App) -> int:
    with urlopen(f"{app.url}/api/counts") as answer:
        return int(json.load(answer)["at"])


def test_eight_tabs_of_one_browser_share_one_stream(browser: Browser, line: WebLine) -> None:
    """Six connections are all that a browser has for a host; yet all eight tabs move."""
    context = browser.new_context()
    pages = [context.new_page() for _ in range(8)]
    for page in pages:
        page.goto(line.url)
    for page in pages:
        page.wait_for_function(READY)
        at = page.evaluate("() => hashtagPulse.state.live.at")
        page.wait_for_function("at => hashtagPulse.state.live.at > at", arg=at, polling=100)
    assert line.streams == 1
    for page in pages[1:]:
        page.close()
    at = pages[0].evaluate("() => hashtagPulse.state.live.at")
    pages[0].wait_for_function("at => hashtagPulse.state.live.at > at + 500", arg=at)
    context.close()
    wait_until(lambda: line.open_streams == 0, "the stream ends with the last tab")


def test_tabs_that_want_different_things_get_them(browser: Browser, line: WebLine) -> None:
    """One shows one hashtag, the next another one for longer: still one stream at a time."""
    context = browser.new_context()
    one, two = context.new_page(), context.new_page()
    one.goto(f"{line.url}/?tags=science")
    one.wait_for_function(READY)
    two.goto(f"{line.url}/?tags=football&range=15m")
    two.wait_for_function(READY)
    for page, tag in [(one, "science"), (two, "football")]:
        at = page.evaluate("() => hashtagPulse.state.live.at")
        page.wait_for_function("at => hashtagPulse.state.live.at > at", arg=at, polling=100)
        assert page.evaluate("() => hashtagPulse.table.order") == [tag]
    assert line.open_streams == 1
    context.close()


def test_a_browser_without_shared_workers_has_a_stream_for_each_tab(
    browser: Browser, line: WebLine
) -> None:
    """Where there is no SharedWorker the page does without."""
    context = browser.new_context()
    context.add_init_script("delete window.SharedWorker")
    for _ in range(2):
        page = context.new_page()
        page.goto(line.url)
        page.wait_for_function(READY)
    assert line.streams == 2
    context.close()


def test_a_worker_that_cannot_start_is_done_without(browser: Browser, line: WebLine) -> None:
    """The worker's file is missing: the page opens a stream of its own."""
    context = browser.new_context()
    page = context.new_page()
    context.route("**/hub.js", lambda route: route.fulfill(status=404))
    page.goto(line.url)
    page.wait_for_function(READY)
    context.close()


def test_a_worker_that_never_answers_is_done_without(browser: Browser, line: WebLine) -> None:
    """Neither an error nor a word comes from it: the page waits a little, then opens its own."""
    context = browser.new_context()
    context.add_init_script("""
        window.SharedWorker = class { constructor() { window.asked = true; this.port = new MessageChannel().port1; } };
    """)
    page = context.new_page()
    page.goto(line.url)
    page.wait_for_function(READY)
    assert page.evaluate("() => window.asked")
    context.close()


def test_a_worker_that_is_ended_is_done_without(browser: Browser, line: WebLine) -> None:
    """Its process died: after some seconds the tabs start another one, and share that."""
    context = browser.new_context()
    pages = [context.new_page() for _ in range(2)]
    for page in pages:
        page.goto(line.url)
        page.wait_for_function(READY)
    devtools = browser.new_browser_cdp_session()
    targets = devtools.send("Target.getTargets")["targetInfos"]
    [worker] = [
        each for each in targets if each["type"] == "shared_worker" and line.url in each["url"]
    ]
    devtools.send("Target.closeTarget", {"targetId": worker["targetId"]})
    wait_until(lambda: line.open_streams == 0, "the worker's stream is over")
    at = pages[0].evaluate("() => hashtagPulse.state.live.at")
    for page in pages:
        page.wait_for_function(
            "at => hashtagPulse.state.live.at > at + 1000", arg=at, timeout=60_000
        )
        assert_whole(page, line.url, at - 1000)
    assert line.open_streams == 1
    context.close()


@pytest.mark.parametrize("hours", [-5, 3])
def test_a_wrong_clock_in_the_browser_does_no_harm(browser: Browser, app: App, hours: int) -> None:
    """The lines are where they belong, and the page is no hours behind or ahead."""
    context = browser.new_context()
    context.add_init_script(f"""{{
        const [now, made, OldDate] = [Date.now, performance.timeOrigin, Date];
        const wrong = {hours} * 3600e3;
        Date.now = () => now() + wrong;
        Object.defineProperty(performance, 'timeOrigin', {{value: made + wrong}});
    }}""")
    page = context.new_page()
    page.goto(app.url)
    page.wait_for_function(READY)
    page.wait_for_function(LIVE)
    page.wait_for_function("() => badge.textContent.startsWith('live · 0.')")
    behind = page.evaluate("() => hashtagPulse.chart.edge - hashtagPulse.state.live.at")
    assert abs(behind) < 5000
    context.close()


@pytest.mark.parametrize("minutes", [-4, 4])
def test_a_clock_that_is_set_under_an_open_page_does_no_harm(
    browser: Browser, app: App, minutes: int
) -> None:
    """The page goes by the time that has passed, not by what the machine says that it is."""
    context = browser.new_context()
    context.add_init_script(
        "{ const now = Date.now; window.set = 0; Date.now = () => now() + window.set }"
    )
    page = context.new_page()
    page.goto(app.url)
    page.wait_for_function(READY)
    page.wait_for_function(LIVE)
    page.evaluate("minutes => { window.set = minutes * 60e3 }", minutes)
    at = page.evaluate("() => hashtagPulse.state.live.at")
    page.wait_for_function("at => hashtagPulse.state.live.at > at + 1500", arg=at)
    page.evaluate("() => hashtagPulse.visitor.badge()")
    page.wait_for_function("() => badge.textContent.startsWith('live · 0.')")
    behind = page.evaluate("() => hashtagPulse.chart.edge - hashtagPulse.state.live.at")
    assert abs(behind) < 5000
    context.close()


def test_a_server_that_starts_later_is_found(
    browser: Browser, app: App, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every process killed and started anew, with other totals: the page shows the new ones."""
    folder, port = tmp_path_factory.mktemp("anew"), free_port()
    settings = {"HASHTAGS": MANY, "TICK_SECONDS": "0.1"}
    with ExitStack() as ending:
        first = ending.enter_context(App(folder / "1", port=port, **settings)).started()
        with opened(browser, first.url) as page:
            page.wait_for_function(
                "() => Object.values(hashtagPulse.state.tick.counts).some(total => total > 2)"
            )
            first.end()
            page.wait_for_function("() => badge.dataset.level === 'waiting'")
            before = page.evaluate(KNOWN, "science")[-1]
            ending.enter_context(App(folder / "2", port=port, **settings)).started()
            page.wait_for_function(LIVE)
            known = page.evaluate(KNOWN, "science")
            assert known[0][0] > before[0], "what the old server told is forgotten"
