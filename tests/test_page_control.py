"""Pausing, the keyboard, the wall, hiding: in a real Chromium."""

from collections.abc import Iterator

import pytest
from browser import DESKTOP, PHONE, READY, opened
from playwright.sync_api import Browser, Page
from servers import App
from yesterday import app_with_past

EDGE = "() => hashtagPulse.chart.edge"
READ = "() => hashtagPulse.visitor.crosshair.at"
CROSS = "() => document.getElementById('cross').getBoundingClientRect().x"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with app_with_past(tmp_path_factory.mktemp("app"), ["science", "football"]) as started:
        yield started


@pytest.fixture
def page(browser: Browser, app: App) -> Iterator[Page]:
    with opened(browser, app.url) as shown:
        yield shown


def stands(page: Page) -> bool:
    """Whether the chart stood still while two more ticks came."""
    edge, at = page.evaluate(EDGE), page.evaluate("() => hashtagPulse.state.live.at")
    page.wait_for_function("at => hashtagPulse.state.live.at >= at + 900", arg=at)
    return bool(page.evaluate(EDGE) == edge)


def test_pause_and_back_to_live(page: Page) -> None:
    """The button stops the chart, but not the counting; what came meanwhile is then there."""
    assert not stands(page)
    page.get_by_role("button", name="pause").click()
    page.mouse.move(5, 5)
    assert page.locator("#back").inner_text() == "paused · back to live"
    assert page.inner_text("#badge") == "paused", "and not that it is live"
    points = "() => hashtagPulse.chart.lines.get('science').at(-1).data.at(-1)[0]"
    before = page.evaluate(points)
    assert stands(page)
    assert page.evaluate(points) == before
    page.locator("#back").click()
    assert page.locator("#back").is_hidden()
    assert page.evaluate("() => document.activeElement.id") == "pause", "the focus is not lost"
    assert page.evaluate(points) > before
    assert not stands(page)


def test_the_lines_go_on_under_the_pointer(page: Page) -> None:
    """Values are those of where the pointer is, as the lines move; Escape puts them away, until the
    pointer comes back. A moment that keys chose moves with its line."""
    page.locator("#plot").hover(position={"x": 300, "y": 150})
    at, when = page.evaluate(READ), page.locator("#values p").inner_text()
    assert not stands(page)
    assert page.locator("#back").is_hidden()
    assert page.inner_text("#badge").startswith("live · ")
    page.wait_for_function("at => hashtagPulse.visitor.crosshair.at >= at + 900", arg=at)
    page.wait_for_function("when => document.querySelector('#values p').innerText > when", arg=when)
    page.keyboard.press("Escape")
    assert page.locator("#values").is_hidden()
    page.locator("#plot").hover(position={"x": 310, "y": 150})
    assert page.locator("#values").is_hidden()
    page.mouse.move(5, 5)
    page.locator("#plot").focus()
    page.keyboard.press("ArrowLeft")
    at, place = page.evaluate(READ), page.evaluate(CROSS)
    assert not stands(page)
    assert page.evaluate(READ) == at
    assert page.evaluate(CROSS) < place


def test_a_nudge_of_the_mouse_does_not_stop_the_wall(browser: Browser, app: App) -> None:
    """Nobody is there who would let it go on: neither pointer nor space does, nor a pause before."""
    with opened(browser, app.url) as page:
        page.get_by_role("button", name="pause").click()
        assert page.inner_text("#badge") == "paused"
        page.locator("#kiosk").click()
        page.locator("#plot").hover(position={"x": 300, "y": 150})
        page.locator("#plot").focus()
        page.keyboard.press("Space")
        assert not stands(page)
        assert page.locator("#values").is_hidden()
        assert page.inner_text("#badge").startswith("live · ")


def test_all_of_it_by_keyboard(page: Page) -> None:
    """Every control can be reached and used without a pointer; the chart is read by arrows."""
    reached = []
    for _ in range(24):
        page.keyboard.press("Tab")
        here = "() => document.activeElement.id || document.activeElement.value || document.activeElement.textContent"
        reached.append(page.evaluate(here))
    wanted = {
        "rate",
        "total",
        "1m",
        "7d",
        "pause",
        "share",
        "csv",
        "png",
        "kiosk",
        "plot",
        "#science",
    }
    assert wanted <= set(reached)
    for control in ("#views [value=total]", "#ranges [value='15m']", "#rows button"):
        page.locator(control).first.focus()
        page.keyboard.press("Enter")
    shown = page.evaluate("() => document.activeElement.textContent").removeprefix("#")
    [hidden] = {"science", "football"} - {shown}
    chosen = "() => { const {view, range, hidden} = hashtagPulse.choice; return [view, range, ...hidden] }"
    assert page.evaluate(chosen) == ["total", "15m", hidden]
    page.keyboard.press("Space")
    assert page.evaluate(chosen) == ["total", "15m"]
    page.keyboard.press("Control+Enter")
    assert page.evaluate(chosen) == ["total", "15m", shown]
    page.keyboard.press("Control+Space")
    assert page.evaluate(chosen) == ["total", "15m"]
    page.locator("#pause").focus()
    page.keyboard.press("Enter")
    assert stands(page)
    page.keyboard.press("Enter")
    assert not stands(page)
    page.locator("#plot").focus()
    page.keyboard.press("Space")
    assert page.locator("#pause").get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#values").is_visible()
    assert "#science" in page.locator("#values").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#values").is_hidden()
    assert page.locator("#back").is_hidden()


OUTLINE = """() => getComputedStyle(document.activeElement.id === 'typed' ? ask : document.activeElement).outlineStyle"""


def test_focus_can_be_seen(page: Page) -> None:
    """Whatever has the focus by keyboard has an outline: of the field all of it, with its chips."""
    for _ in range(14):
        page.keyboard.press("Tab")
        outline = page.evaluate(OUTLINE)
        assert outline == "solid", page.evaluate("() => document.activeElement.outerHTML")


AS_WIDE = "() => document.querySelector('.list').offsetWidth === document.querySelector('.chart').offsetWidth"


def test_wall_has_big_type_no_controls_and_stays_awake(browser: Browser, app: App) -> None:
    """?wall: only chart and table, a wake lock while it is visible; Escape leaves it."""
    context = browser.new_context(viewport={"width": 1600, "height": 900})
    context.add_init_script("""
        window.locks = [];
        const released = [];
        Object.defineProperty(navigator, 'wakeLock', {value: {request: async kind => {
            locks.push(kind);
            return {release: async () => { locks.pop() }};
        }}});
    """)
    page = context.new_page()
    page.goto(f"{app.url}/?wall")
    page.wait_for_function(READY)
    page.wait_for_function("() => locks.length === 1 && locks[0] === 'screen'")
    assert page.locator(".controls").is_hidden()
    size = "() => parseFloat(getComputedStyle(document.querySelector('#rows td')).fontSize)"
    big = page.evaluate(size)
    assert big > 28
    fits = "() => document.documentElement.scrollHeight <= innerHeight"
    assert page.evaluate(fits)
    assert page.evaluate(AS_WIDE)
    page.keyboard.press("Escape")
    assert page.locator(".controls").is_visible()
    assert page.evaluate(size) < big
    assert "wall" not in page.url
    page.wait_for_function("() => locks.length === 0")
    page.locator("#kiosk").click()
    page.wait_for_function("() => document.fullscreenElement !== null")
    assert "wall" in page.url
    context.close()


def test_a_double_tap_leaves_the_wall(browser: Browser, app: App) -> None:
    """A phone has no Escape key, and not every one has full screen to leave."""
    with opened(browser, f"{app.url}/?wall", viewport=PHONE, has_touch=True) as page:
        assert page.locator(".controls").is_hidden()
        page.locator("h1").dblclick()
        assert page.locator(".controls").is_visible()


@pytest.mark.parametrize("size", [{"width": 1600, "height": 900}, {"width": 390, "height": 844}])
@pytest.mark.parametrize("many", [1, 6, 7, 20])
def test_the_wall_shows_every_row_and_a_large_chart(
    browser: Browser, app: App, size: dict[str, int], many: int
) -> None:
    """Nobody scrolls on a wall: the rows get smaller until all fit, and the chart stays large."""
    with opened(browser, f"{app.url}/?wall", viewport=size) as page:
        page.evaluate(
            """many => {
            const page = hashtagPulse, {at} = page.state.live;
            page.link.listener.counts = page.link.listener.history = () => {};
            page.selection.wished = Array.from({length: many}, (_, n) => `한글한글한글${n}`);
            document.getElementById('rows').replaceChildren();
            page.table.rows.clear();
            page.laidOut();
            page.counts({at: at + 1, counts: Object.fromEntries(page.tags.map(tag => [tag, 123456])), sources: {demo: 'live'}});
        }""",
            many,
        )
        rows = page.locator("#rows tr")
        assert rows.count() == many
        table = page.locator("table").bounding_box()
        panel = page.locator(".list").bounding_box()
        assert table and panel
        assert table["y"] + table["height"] <= panel["y"] + panel["height"] + 1 <= size["height"]
        chart = page.locator("#plot").bounding_box()
        assert chart
        assert chart["width"] * chart["height"] > 0.3 * size["width"] * size["height"]


def test_hidden_page_does_not_draw_and_is_right_when_shown(browser: Browser, app: App) -> None:
    """No drawing while hidden; shown again, all that came meanwhile is there at once."""
    with opened(browser, app.url) as page:
        hide = """hidden => {
            Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
            document.dispatchEvent(new Event('visibilitychange'));
        }"""
        page.evaluate("""() => {
            window.drawn = 0;
            const paint = hashtagPulse.chart.onpaint;
            hashtagPulse.chart.onpaint = () => { drawn++; paint() };
        }""")
        page.wait_for_function("() => drawn > 0")
        drawn, at = page.evaluate(
            "hide => { eval(`(${hide})`)(true); return [drawn, hashtagPulse.state.live.at] }", hide
        )
        page.wait_for_function("at => hashtagPulse.state.live.at > at + 2000", arg=at, polling=100)
        assert page.evaluate("() => drawn") == drawn
        last = page.evaluate("() => hashtagPulse.state.live.at")
        drawn_to = page.evaluate(
            """hide => { eval(`(${hide})`)(false);
            return hashtagPulse.chart.lines.get('science').at(-1).data.at(-1)[0] }""",
            hide,
        )
        assert drawn_to >= last


@pytest.mark.parametrize("size", [PHONE, DESKTOP, {"width": 320, "height": 640}])
def test_nothing_is_wider_than_the_screen(browser: Browser, app: App, size: dict[str, int]) -> None:
    """No sideways scrolling, down to the smallest phones; and fingers find the buttons."""
    with opened(browser, app.url, viewport=size) as page:
        assert page.evaluate("() => document.documentElement.scrollWidth") <= size["width"]
        heights = page.evaluate(
            "() => [...document.querySelectorAll('main button:not(.unseen)')].filter(b => b.offsetHeight).map(b => b.offsetHeight)"
        )
        assert min(heights) >= 32


def test_the_chart_follows_the_windows_size(browser: Browser, app: App) -> None:
    """A phone is turned, a window made narrow and wide again: the lines fill what there is."""
    room = """() => {
        const {axes, canvas, axesCanvas} = hashtagPulse;
        const rest = axesCanvas.offsetWidth - axes.left - axes.right;
        return Math.abs(canvas.offsetWidth - rest) < 2 && canvas.offsetWidth > 0.5 * axesCanvas.offsetWidth
            && axesCanvas.width === Math.floor(axesCanvas.offsetWidth * devicePixelRatio)
            && canvas.offsetLeft + canvas.offsetWidth < axesCanvas.offsetWidth;
    }"""
    points = "() => hashtagPulse.chart.lines.get('science').at(-1).data.length"
    with opened(browser, app.url) as page:
        page.wait_for_function(room)
        wide = page.evaluate(points)
        page.set_viewport_size(PHONE)
        page.wait_for_function("() => hashtagPulse.axesCanvas.offsetWidth < 360")
        page.wait_for_function(room)
        assert page.evaluate(points) < wide / 2
        page.set_viewport_size(DESKTOP)
        page.wait_for_function("() => hashtagPulse.axesCanvas.offsetWidth > 800")
        page.wait_for_function(room)
        page.wait_for_function(f"wide => ({points})() > 0.9 * wide", arg=wide)
