"""The page in a real Chromium, before real processes: lines, table, and coming back."""

from collections.abc import Callable, Iterator

import pytest
from browser import KNOWN, POINTS, assert_as_the_server_knows, opened, rows
from playwright.sync_api import Browser, Page
from servers import ROOT, App, RedisServer, free_port, wait_until

# with more hashtags there are fewer ticks without news, which are not sent
MANY = "science,football," + ",".join(f"tag{n}" for n in range(8))
STILL_THERE = "() => { window.stillTheSamePage = true }"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The whole of it on the demo source, shared by the tests that only look."""
    folder = tmp_path_factory.mktemp("page")
    with App(folder, HASHTAGS=MANY, TICK_SECONDS="0.2") as started:
        yield started.started()


@pytest.fixture
def page(browser: Browser, app: App) -> Iterator[Page]:
    with opened(browser, app.url) as shown:
        yield shown


def points(page: Page, tag: str) -> list[tuple[float, float]]:
    return [tuple(point) for point in page.evaluate(POINTS, tag)]


def test_lines_begin_with_history_and_grow_with_each_tick(browser: Browser, app: App) -> None:
    """The chart's TimeSeries hold the past at once, and every tick that follows."""
    with opened(browser, app.url) as first:
        first.wait_for_function("() => hashtagPulse.state.live.points('science').length > 10")
        since = first.evaluate(KNOWN, "science")[-1][0]
    with opened(browser, f"{app.url}/?view=total&range=1m") as page:
        known = [at for at, _ in page.evaluate(KNOWN, "science")]
        before = [at for at in known if at <= since]
        assert len(before) > 5, "a page opened later starts with the ticks of before"
        page.evaluate("""() => {
            window.heard = [];
            document.addEventListener('pulse:tick', ({detail}) => heard.push([detail.at, detail.counts.science]));
        }""")
        page.wait_for_function("() => heard.length > 5")
        heard = page.evaluate("() => heard")
        drawn = points(page, "science")
    assert set(known) <= {at for at, _ in drawn}
    assert {tuple(point) for point in heard[:5]} <= set(drawn)


def test_canvas_moves(page: Page) -> None:
    """The lines scroll: the canvas does not stay what it was."""
    picture = "() => document.getElementById('lines').toDataURL()"
    page.wait_for_function("() => hashtagPulse.chart.lines.get('science').length > 0")
    before = page.evaluate(picture)
    page.wait_for_function(f"before => ({picture})() !== before", arg=before)


def test_table_shows_the_totals_of_the_api(page: Page, app: App) -> None:
    """Name, total, people of today and posts per minute of each hashtag, as /api/counts has them."""

    def agree() -> bool:
        told = page.request.get(f"{app.url}/api/counts").json()
        shown = {
            tag: [row[name].replace(",", "") for name in ("total", "people")]
            for tag, row in rows(page).items()
        }
        return shown == {
            f"#{tag}": [str(told[name][tag]) for name in ("counts", "people")]
            for tag in told["counts"]
        }

    wait_until(agree, "the table agrees with /api/counts")
    page.wait_for_function(
        "() => hashtagPulse.state.live.rate('science', hashtagPulse.state.live.at) !== null"
    )
    page.wait_for_function(
        "() => /^\\d+$/.test(document.querySelector('#rows td.rate').textContent)"
    )


def test_demo_data_says_that_it_is(page: Page) -> None:
    """Nobody takes the demo for the world; and the badge says that the page is live."""
    page.wait_for_function("() => sources.textContent === 'demo data'")
    page.wait_for_function("() => /^live · \\d\\.\\d s behind$/.test(badge.textContent)")
    assert page.locator("#badge").get_attribute("data-level") == "live"


def test_each_hashtag_has_one_colour(page: Page) -> None:
    """The line's colour is the one of its swatch in the table and of its chip, and no other line's."""
    pens = page.evaluate("() => ['science', 'football'].map(tag => hashtagPulse.pen(tag).colour)")
    assert len(set(pens)) == 2
    for tag, pen in zip(["science", "football"], pens, strict=True):
        for place in ("#rows tr", "#chips li"):
            swatch = page.locator(place, has_text=f"#{tag}").locator(
                "> svg path, button > svg path"
            )
            drawn = swatch.first.evaluate("path => getComputedStyle(path).stroke")
            assert drawn == "rgb({}, {}, {})".format(*bytes.fromhex(pen[1:])), place


def test_page_goes_on_when_the_web_process_comes_back(
    browser: Browser, redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """Web process killed and started again: same page, and no hole in its line."""
    settings = {"REDIS_URL": redis_server.url, "TICK_SECONDS": 0.1, "HASHTAGS": "science"}
    ingester, port = start_app("ingest", **settings), free_port()
    web = start_app("web", port=port, **settings).started()
    with opened(browser, f"{web.url}/?view=total&range=1m") as page:
        page.evaluate(STILL_THERE)
        web.end()
        page.wait_for_function("() => badge.dataset.level === 'waiting'")
        died = page.evaluate("() => hashtagPulse.state.live.at")
        start_app("web", port=port, **settings).started()
        page.wait_for_function("died => hashtagPulse.state.live.at > died + 1000", arg=died)
        page.wait_for_function("() => badge.dataset.level === 'live'")
        assert page.evaluate("() => window.stillTheSamePage")
        assert page.evaluate("() => hashtagPulse.state.live.holes()") == []
        times = [at for at, _ in points(page, "science")]
        assert_as_the_server_knows(page, web.url, "science", died - 1000)
    assert times == sorted(set(times))
    assert ingester.running


def test_a_hashtag_is_text_whatever_is_in_it(page: Page) -> None:
    """Markup in a name becomes no element, neither in the table nor beside the chart."""
    tag = "<img src=x onerror=window.broken=1>"
    page.evaluate(
        """tag => {
        hashtagPulse.link.open = hashtagPulse.link.wake = () => {};
        hashtagPulse.link.listener.counts = () => {};  // no tick of the server comes in between
        hashtagPulse.selection.wished = [tag];
        hashtagPulse.history({at: hashtagPulse.state.live.at, series: {[tag]: [[hashtagPulse.state.live.at, 7]]}});
        hashtagPulse.counts({at: hashtagPulse.state.live.at + 1, counts: {[tag]: 8}, sources: {}});
        hashtagPulse.list();
    }""",
        tag,
    )
    assert rows(page)[f"#{tag}"]["total"] == "8"
    assert page.locator("img").count() == 0
    assert page.evaluate("() => window.broken") is None


def test_page_without_the_chart_library_says_how_to_get_it(browser: Browser, app: App) -> None:
    """smoothie.js is put in its place at set-up; where it is missing, a sentence says so."""
    context = browser.new_context()
    page = context.new_page()
    page.route("**/smoothie.js", lambda route: route.fulfill(status=404))
    page.goto(app.url)
    page.wait_for_function("() => !notice.hidden")
    assert "make setup" in page.locator("#notice").inner_text()
    context.close()


def test_files_are_named_by_their_content_and_kept_for_ever(page: Page, app: App) -> None:
    """The page names its files by their content; such an address may be cached for ever."""
    script = page.locator("script[src]").first.get_attribute("src")
    named = page.request.get(f"{app.url}/{script}")
    assert named.body() == (ROOT / "static" / "smoothie.js").read_bytes(), "as it is"
    assert "immutable" in named.headers["cache-control"]
    assert named.headers["content-encoding"] == "gzip"
    plain = page.request.get(f"{app.url}/static/smoothie.js")
    known = {"If-None-Match": plain.headers["etag"]}
    again = page.request.get(f"{app.url}/static/smoothie.js", headers=known)
    assert (again.status, again.headers["cache-control"]) == (304, "no-cache")
    assert "content-length" not in again.headers, "which would be that of the whole"
    unwanted = {"Accept-Encoding": "gzip;q=0, identity"}
    bare = page.request.get(f"{app.url}/static/smoothie.js", headers=unwanted)
    assert "content-encoding" not in bare.headers
    assert page.request.get(f"{app.url}/static/nothing.js").status == 404
