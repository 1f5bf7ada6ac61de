"""Looking closer at a time of the past: by pointer, wheel, fingers and keys; in a real Chromium."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise

import pytest
from browser import PHONE, opened, rows
from playwright.sync_api import Browser, Page
from servers import App, RedisServer
from yesterday import remember, remember_days

from app.messages import DAY, MINUTE
from app.store.embedded import find_server

LOW = {"width": 1334, "height": 500}
MOMENT = "() => hashtagPulse.choice.moment"
LIVE = "() => hashtagPulse.choice.moment === null && hashtagPulse.chart.frozen === null"
SEEN = "() => { const {edge, shown} = hashtagPulse.chart; return [edge - shown.range, edge] }"
STILL = "() => { const now = hashtagPulse.clock.now(); hashtagPulse.clock.now = () => now }"
"""The present stays where it is: however long a gesture takes, the chart does not move under it."""
POINTS = "tag => hashtagPulse.chart.lines.get(tag).flatMap(({data}) => data.map(([at]) => at))"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Ten minutes of demo posts, and a week of 40 posts of football a minute."""
    folder, tags = tmp_path_factory.mktemp("moment"), ("science", "football")
    with ExitStack() as ending:
        redis = ending.enter_context(RedisServer(find_server(), folder / "redis"))
        remember(redis.url, tags, 600)
        remember_days(redis.url, "football", 7, 40)
        settings = {"REDIS_URL": redis.url, "HASHTAGS": ",".join(tags)}
        yield ending.enter_context(App(folder, **settings)).started()


@pytest.fixture
def page(browser: Browser, app: App) -> Iterator[Page]:
    with opened(browser, app.url, viewport=LOW) as shown:
        shown.evaluate(STILL)
        yield shown


def place(page: Page, part: float) -> tuple[float, float]:
    """On the lines, so far from left to right."""
    box = page.locator("#lines").bounding_box()
    assert box
    return box["x"] + part * box["width"], box["y"] + 60


def drag(page: Page, begin: float, end: float) -> None:
    page.mouse.move(*place(page, begin))
    page.mouse.down()
    page.mouse.move(*place(page, (begin + end) / 2))
    assert page.locator("#band").is_visible()
    page.mouse.move(*place(page, end))
    page.mouse.up()
    assert page.locator("#band").is_hidden()


def test_a_drag_over_the_chart_shows_that_time(page: Page) -> None:
    """To the half second, as the stream told it; it is in the address, the back button goes back,
    and the forward button forth."""
    begin, end = page.evaluate(SEEN)
    drag(page, 0.7, 0.4)
    moment = page.evaluate(MOMENT)
    for at, part in zip(moment, (0.4, 0.7), strict=True):
        assert abs(at - (begin + part * (end - begin))) < 2000
    assert page.evaluate(SEEN) == moment
    assert f"from={moment[0]}&to={moment[1]}" in page.url
    inside = [at for at in page.evaluate(POINTS, "science") if moment[0] <= at <= moment[1]]
    assert len(inside) > 60 and max(inside) == moment[1]
    assert page.inner_text("#badge").endswith("UTC"), "when it was, not that it were live"
    assert page.locator("#ranges [aria-pressed=true]").count() == 0
    drag(page, 0.2, 0.8)
    assert page.evaluate(MOMENT) != moment
    page.go_back()
    page.wait_for_function(f"moment => String(({MOMENT})()) === String(moment)", arg=moment)
    page.go_back()
    page.wait_for_function(LIVE)
    assert "from=" not in page.url and page.inner_text("#badge").startswith("live · ")
    page.go_forward()
    page.wait_for_function(f"moment => String(({SEEN})()) === String(moment)", arg=moment)


def test_there_is_a_way_back_to_live_for_everybody(page: Page) -> None:
    """A double click, the button, the pause button, Escape, and any range; each can be gone back."""
    plot = page.locator("#plot")
    ways: list[Callable[[], None]] = [
        lambda: page.mouse.dblclick(*place(page, 0.5)),
        lambda: page.locator("#back").click(),
        lambda: page.get_by_role("button", name="resume").click(),
        lambda: (plot.focus(), page.keyboard.press("Escape"))[1],
        lambda: page.get_by_role("button", name="1 m: 1 minute").click(),
    ]
    for way in ways:
        drag(page, 0.4, 0.6)
        assert page.evaluate(MOMENT)
        way()
        assert page.evaluate(LIVE) and "from=" not in page.url
        assert page.locator("#back").is_hidden() and page.locator("#moment").is_hidden()
    page.go_back()
    page.wait_for_function(MOMENT)


def test_a_click_and_a_drag_with_another_button_choose_nothing(page: Page) -> None:
    """Nor does a drag that is given up by Escape."""
    page.mouse.click(*place(page, 0.5))
    page.mouse.move(*place(page, 0.3))
    page.mouse.down(button="middle")
    page.mouse.move(*place(page, 0.5))
    page.mouse.up(button="middle")
    page.mouse.down()
    page.mouse.move(*place(page, 0.6))
    page.keyboard.press("Escape")
    assert page.locator("#band").is_hidden()
    page.mouse.up()
    assert page.evaluate(LIVE)


def test_what_is_looked_at_is_asked_for_by_the_minute(page: Page) -> None:
    """Of a day, in steps of minutes, an hour is shown by the minute; the table is of that time."""
    page.get_by_role("button", name="24 h: 24 hours").click()
    page.wait_for_function("() => hashtagPulse.series !== hashtagPulse.state.live")
    both = re.compile(r"/api/history\?from=.*&tags=science%2Cfootball&lang=en$")
    with page.expect_request(both):
        drag(page, 0.3, 0.35)
    begin, end = page.evaluate(MOMENT)
    page.wait_for_function("() => hashtagPulse.visitor.moment.whole")
    inside = [at for at in page.evaluate(POINTS, "football") if begin <= at <= end]
    assert {b - a for a, b in pairwise(inside)} == {MINUTE}
    row = {column: words.replace(",", "") for column, words in rows(page)["#football"].items()}
    assert row["rate"].startswith("40") and row["people"] == "–"
    assert abs(int(row["posts"]) - 40 * (end - begin) / MINUTE) <= 80
    assert abs(int(row["change"].replace("−", "-").replace("+", ""))) <= 80
    assert page.locator("thead .posts").inner_text() == "in this time"
    page.locator("#back").click()
    assert page.locator("thead .posts").inner_text() == "in 24 h"


def test_csv_and_picture_are_of_what_is_shown(page: Page) -> None:
    """Rows of that time alone; the picture says from when to when."""
    drag(page, 0.4, 0.7)
    begin, end = page.evaluate(MOMENT)
    with page.expect_download() as got:
        page.locator("#csv").click()
    _, *table = csv.reader(io.StringIO(got.value.path().read_text(encoding="utf-8-sig")))
    times = page.evaluate("times => times.map(Date.parse)", [row[0] for row in table])
    assert len(times) > 60 and begin <= min(times) and max(times) == end
    page.evaluate("""() => {
        const {prototype} = CanvasRenderingContext2D, {fillText} = prototype;
        window.written = [];
        prototype.fillText = function (words, ...place) { written.push(words); fillText.call(this, words, ...place) };
    }""")
    with page.expect_download() as got:
        page.locator("#png").click()
    assert got.value.path().read_bytes().startswith(b"\x89PNG")
    when = page.inner_text("#badge")
    assert f"hashtag pulse · posts per minute · {when}" in page.evaluate("() => written")


def wheel(page: Page, turned: int, key: str = "") -> None:
    if key:
        page.keyboard.down(key)
    page.mouse.wheel(0, turned)
    if key:
        page.keyboard.up(key)


def test_the_wheel_is_the_pages_and_zooms_where_that_is_meant(page: Page) -> None:
    """Who scrolls past scrolls on. With Shift or Alt the time under the pointer stays, and the
    address follows when the wheel rests; without them only while a time is shown and the chart has
    the focus. Zoomed out far enough it is live again."""
    page.mouse.move(*place(page, 0.25))
    wheel(page, 100)
    page.wait_for_function("() => scrollY > 50")
    page.evaluate("() => scrollTo(0, 0)")
    assert page.evaluate(LIVE)
    page.mouse.move(*place(page, 0.25))
    at = page.evaluate("() => hashtagPulse.visitor.crosshair.at")
    for key in ("Shift", "Alt"):
        before = page.evaluate(SEEN)
        wheel(page, -300, key)
        page.wait_for_function(
            f"old => {{ const [a, b] = ({SEEN})(); return b - a < 0.8 * old }}",
            arg=before[1] - before[0],
        )
        begin, end = page.evaluate(SEEN)
        assert abs(begin + 0.25 * (end - begin) - at) < 2500
    page.wait_for_function(
        "() => location.search.includes(`from=${hashtagPulse.choice.moment[0]}`)"
    )
    assert page.evaluate("() => scrollY") == 0
    wheel(page, 100)
    page.wait_for_function("() => scrollY > 50")
    page.evaluate("() => scrollTo(0, 0)")
    page.mouse.click(*place(page, 0.25))
    while page.evaluate(MOMENT):
        before = page.evaluate(SEEN)
        wheel(page, 400)
        page.wait_for_function(f"old => String(({SEEN})()) !== old", arg=",".join(map(str, before)))
    assert page.evaluate(LIVE)
    wheel(page, 100)
    page.wait_for_function("() => scrollY > 50")
    page.go_back()
    page.wait_for_function(MOMENT)
    page.go_back()
    page.wait_for_function(LIVE)


def test_the_browsers_own_zoom_stays_its_own(page: Page) -> None:
    """Ctrl with the wheel, as a trackpad's pinch is told, and Ctrl with plus and minus."""
    drag(page, 0.3, 0.6)
    free = page.evaluate("""() => [
        new WheelEvent('wheel', {ctrlKey: true, deltaY: -100, cancelable: true, bubbles: true}),
        new WheelEvent('wheel', {ctrlKey: true, shiftKey: true, deltaY: -100, cancelable: true, bubbles: true}),
        ...['+', '-', '='].map(key => new KeyboardEvent('keydown', {key, ctrlKey: true, cancelable: true, bubbles: true})),
        new KeyboardEvent('keydown', {key: 'ArrowLeft', altKey: true, cancelable: true, bubbles: true}),
    ].map(event => plot.dispatchEvent(event))""")
    assert free == [True] * 6
    ours = "() => plot.dispatchEvent(new WheelEvent('wheel', {deltaY: -1, cancelable: true, bubbles: true}))"
    assert not page.evaluate(ours)


def test_all_of_it_by_keys(page: Page) -> None:
    """Shift with the arrows chooses from the moment that is read, Enter looks closer, plus and minus
    zoom around it, Escape leaves the choice, then the time; each is said."""
    chart = page.get_by_role("slider", name="Chart. Arrow keys read it")
    keys = chart.get_attribute("aria-describedby")
    assert page.locator(f"#{keys}").text_content().startswith("With Shift the arrow keys choose")
    chart.focus()
    page.keyboard.press("PageUp")
    page.keyboard.press("Shift+PageUp")
    page.keyboard.press("Shift+PageUp")
    assert page.locator("#band").is_visible()
    said = chart.get_attribute("aria-valuetext") or ""
    assert said.endswith(" is chosen, Enter looks closer")
    page.keyboard.press("Escape")
    assert page.locator("#band").is_hidden() and page.evaluate(LIVE)
    page.keyboard.press("Shift+PageUp")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#band").is_hidden(), "who reads on chooses no more"
    page.keyboard.press("Shift+Home")
    page.keyboard.press("Shift+PageDown")
    page.keyboard.press("Enter")
    begin, end = page.evaluate(MOMENT)
    assert abs(end - begin - 0.79 * 300_000) < 6000
    shown = page.locator("#told").inner_text()
    assert shown.endswith(" is shown") and chart.get_attribute("aria-valuetext") == shown
    page.keyboard.press("End")
    page.keyboard.press("PageUp")
    at = page.evaluate("() => hashtagPulse.visitor.crosshair.at")
    page.keyboard.press("+")
    nearer = page.evaluate(MOMENT)
    assert abs((nearer[1] - nearer[0]) - (end - begin) / 2) <= 1000
    assert abs((at - nearer[0]) / (nearer[1] - nearer[0]) - (at - begin) / (end - begin)) < 0.02
    page.keyboard.press("-")
    assert abs(page.evaluate(MOMENT)[0] - begin) <= 2000
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert page.evaluate(LIVE)
    page.keyboard.press("-")
    assert page.evaluate(LIVE), "there is no more of the present"
    page.keyboard.press("+")
    assert page.evaluate(MOMENT)
    page.keyboard.press("Escape")
    assert page.evaluate(LIVE)


def fingers(page: Page, *steps: tuple[float, ...]) -> None:
    """Put fingers on these places, move them to the next ones, and take them off."""
    session = page.context.new_cdp_session(page)
    for n, parts in enumerate(steps):
        places = [place(page, part) for part in parts]
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        kind = "touchMove" if n else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.fixture
def phone(browser: Browser, app: App) -> Iterator[Page]:
    with opened(browser, app.url, viewport=PHONE, has_touch=True, is_mobile=True) as shown:
        shown.evaluate(STILL)
        yield shown


def test_two_fingers_choose_what_is_between_them(phone: Page) -> None:
    """One finger reads, as before."""
    begin, end = phone.evaluate(SEEN)
    fingers(phone, (0.3,), (0.4,))
    assert phone.evaluate(LIVE) and phone.locator("#values").is_visible()
    fingers(phone, (0.3, 0.7), (0.31, 0.69))
    moment = phone.evaluate(MOMENT)
    for at, part in zip(moment, (0.31, 0.69), strict=True):
        assert abs(at - (begin + part * (end - begin))) < 6000
    assert f"from={moment[0]}" in phone.url and phone.locator("#band").is_hidden()
    phone.locator("#back").tap()
    assert phone.evaluate(LIVE)


def test_a_pinch_zooms_around_the_fingers(phone: Page) -> None:
    """The moments under them stay under them; closed far enough it is live again."""
    begin, end = phone.evaluate(SEEN)
    fingers(phone, (0.4, 0.6), (0.35, 0.65), (0.3, 0.7))
    moment = phone.evaluate(MOMENT)
    assert abs(moment[1] - moment[0] - (end - begin) / 2) < 6000
    under = moment[0] + 0.3 * (moment[1] - moment[0])
    assert abs(under - (begin + 0.4 * (end - begin))) < 6000
    assert f"from={moment[0]}" in phone.url
    fingers(phone, (0.1, 0.9), (0.3, 0.7), (0.4, 0.6))
    assert phone.evaluate(LIVE) and "from=" not in phone.url


def test_other_hashtags_and_views_are_shown_of_the_same_time(page: Page) -> None:
    """Their past of then is asked for; a time that cannot be had is said in a sentence."""
    drag(page, 0.4, 0.6)
    moment = page.evaluate(MOMENT)
    page.locator("#views [value=race]").click()
    page.locator("#typed").fill("curling,")
    page.wait_for_function("() => hashtagPulse.visitor.moment.series.stretches.has('curling')")
    assert page.evaluate(SEEN) == moment
    assert page.evaluate(
        "() => [...document.querySelectorAll('#rows td.posts')].every(cell => cell.textContent !== '–')"
    )
    answer = {"status": 503, "json": {"error": "Redis: connection refused."}}
    page.route("**/api/history*", lambda route: route.fulfill(**answer))
    page.goto(f"{page.url.split('?')[0]}?from={moment[0] - DAY}&to={moment[1] - DAY}")
    page.wait_for_function(
        "() => notice.textContent.endsWith('cannot be shown now: Redis: connection refused.')"
    )


def test_a_wall_shows_the_present_and_a_frame_adds_nothing_to_the_back_button(
    browser: Browser, app: App
) -> None:
    """Whatever the address says of a time; a frame's history is that of the page around it."""
    then = "from=1700000000000&to=1700000300000"
    with opened(browser, f"{app.url}/?wall&{then}") as page:
        assert page.evaluate(LIVE)
        page.mouse.move(*place(page, 0.3))
        page.mouse.down()
        page.mouse.move(*place(page, 0.6))
        page.mouse.up()
        assert page.evaluate(LIVE)
    with opened(browser, f"{app.url}/embed?tags=football", viewport=LOW) as page:
        before = page.evaluate("() => history.length")
        drag(page, 0.3, 0.6)
        assert page.evaluate(MOMENT) and page.evaluate("() => history.length") == before
        assert page.locator("#moment").is_hidden() and page.locator("#back").is_visible()
        page.mouse.dblclick(*place(page, 0.5))
        assert page.evaluate(LIVE)
