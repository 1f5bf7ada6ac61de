"""Pausing, the wall, sharing, embedding, taking away: in a real Chromium."""

import csv
import io
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from browser import DESKTOP, PHONE, READY, launched, opened
from playwright.sync_api import Browser, Page
from servers import App, RedisServer
from yesterday import remember

from app.embedded import find_server

EDGE = "() => hashtagPulse.chart.edge"


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with launched(chromium) as running:
        yield running


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("control")
    with ExitStack() as ending:
        redis = ending.enter_context(RedisServer(find_server(), folder / "redis"))
        remember(redis.url, ["science", "football"], 375)
        settings = {"REDIS_URL": redis.url, "HASHTAGS": "science,football"}
        yield ending.enter_context(App(folder, **settings)).started()


@pytest.fixture
def page(browser: Browser, app: App) -> Iterator[Page]:
    with opened(browser, app.url) as shown:
        yield shown


def stands(page: Page) -> bool:
    """Whether the chart stood still while two more ticks came."""
    edge, at = page.evaluate(EDGE), page.evaluate("() => hashtagPulse.known.live.at")
    page.wait_for_function("at => hashtagPulse.known.live.at >= at + 900", arg=at)
    return bool(page.evaluate(EDGE) == edge)


def test_pause_and_back_to_live(page: Page) -> None:
    """The button stops the chart, but not the counting; what came meanwhile is then there."""
    assert not stands(page)
    page.get_by_role("button", name="pause").click()
    page.mouse.move(5, 5)
    assert page.locator("#back").inner_text() == "paused · back to live"
    points = "() => hashtagPulse.chart.series.get('science').at(-1).data.at(-1)[0]"
    before = page.evaluate(points)
    assert stands(page)
    assert page.evaluate(points) == before
    page.locator("#back").click()
    assert page.locator("#back").is_hidden()
    assert page.evaluate(points) > before
    assert not stands(page)


def test_hovering_pauses_with_a_badge(page: Page) -> None:
    """Under the pointer the chart stands still; when the pointer leaves, it goes on."""
    page.locator("#plot").hover(position={"x": 300, "y": 150})
    assert page.locator("#back").is_visible()
    assert stands(page)
    page.mouse.move(5, 5)
    assert page.locator("#back").is_hidden()
    assert not stands(page)


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
        "wall",
        "plot",
        "#science",
    }
    assert wanted <= set(reached)
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


def test_focus_can_be_seen(page: Page) -> None:
    """Whatever has the focus by keyboard has an outline."""
    for _ in range(14):
        page.keyboard.press("Tab")
        outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", page.evaluate("() => document.activeElement.outerHTML")


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
    page.keyboard.press("Escape")
    assert page.locator(".controls").is_visible()
    assert page.evaluate(size) < big
    assert "wall" not in page.url
    page.wait_for_function("() => locks.length === 0")
    page.locator("#wall").click()
    page.wait_for_function("() => document.fullscreenElement !== null")
    assert "wall" in page.url
    context.close()


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
            "hide => { eval(`(${hide})`)(true); return [drawn, hashtagPulse.known.live.at] }", hide
        )
        page.wait_for_function("at => hashtagPulse.known.live.at > at + 2000", arg=at, polling=100)
        assert page.evaluate("() => drawn") == drawn
        last = page.evaluate("() => hashtagPulse.known.live.at")
        drawn_to = page.evaluate(
            """hide => { eval(`(${hide})`)(false);
            return hashtagPulse.chart.series.get('science').at(-1).data.at(-1)[0] }""",
            hide,
        )
        assert drawn_to >= last


@pytest.mark.parametrize("size", [PHONE, DESKTOP, {"width": 320, "height": 640}])
def test_nothing_is_wider_than_the_screen(browser: Browser, app: App, size: dict[str, int]) -> None:
    """No sideways scrolling, down to the smallest phones; and fingers find the buttons."""
    with opened(browser, app.url, viewport=size) as page:
        assert page.evaluate("() => document.documentElement.scrollWidth") <= size["width"]
        heights = page.evaluate(
            "() => [...document.querySelectorAll('main button')].filter(b => b.offsetHeight).map(b => b.offsetHeight)"
        )
        assert min(heights) >= 32


def test_a_link_shows_the_same(browser: Browser, page: Page) -> None:
    """Hashtags, view, range and what is hidden are in the address."""
    page.get_by_role("button", name="total").click()
    page.get_by_role("button", name="1 minute", exact=True).click()
    page.get_by_role("button", name="#football").click()
    choice = "() => { const {view, range, hidden} = hashtagPulse.choice; return [view, range, ...hidden] }"
    with opened(browser, page.url) as other:
        assert other.evaluate(choice) == page.evaluate(choice) == ["total", "1m", "football"]
        pressed = other.locator("#ranges [aria-pressed=true]")
        assert pressed.inner_text() == "1 m"


def test_hashtags_in_the_link_are_the_ones_shown(browser: Browser, app: App) -> None:
    """However they are spelt; one that is not tracked is named in a sentence."""
    with opened(browser, f"{app.url}/?tags=%23SCIENCE,curling") as page:
        assert page.evaluate("() => hashtagPulse.table.order") == ["science"]
        assert page.locator("#notice").inner_text() == "Not tracked here: #curling."
        assert page.title() == "#science · hashtag pulse"


def test_share_copies_the_link_or_hands_it_on(browser: Browser, app: App) -> None:
    """The clipboard where there is no Web Share, and the browser's own way where there is."""
    grant = {"permissions": ["clipboard-read", "clipboard-write"]}
    with opened(browser, f"{app.url}/?view=total", **grant) as page:
        page.evaluate("() => { navigator.share = undefined }")
        page.locator("#share").click()
        page.wait_for_function("() => notice.textContent === 'link copied'")
        assert page.evaluate("() => navigator.clipboard.readText()") == page.url
        page.evaluate("() => { navigator.share = async what => { window.shared = what } }")
        page.locator("#share").click()
        page.wait_for_function("() => window.shared?.url === location.href")


def test_what_is_on_screen_can_be_taken_as_csv(page: Page) -> None:
    """A row for each moment in sight, a column for each visible hashtag."""
    page.get_by_role("button", name="total").click()
    page.get_by_role("button", name="#football").click()
    with page.expect_download() as got:
        page.locator("#csv").click()
    table = list(csv.reader(io.StringIO(got.value.path().read_text())))
    assert table[0] == ["time", "#science"]
    assert 500 < len(table) < 700
    assert got.value.suggested_filename.endswith(".csv")


def test_what_is_on_screen_can_be_taken_as_a_picture(page: Page, tmp_path: Path) -> None:
    """A PNG with the lines on it."""
    with page.expect_download() as got:
        page.locator("#png").click()
    assert got.value.path().read_bytes().startswith(b"\x89PNG")
    assert got.value.path().stat().st_size > 10_000


@pytest.fixture
def elsewhere(app: App, tmp_path: Path) -> Iterator[str]:
    """Another site, with our two pages in frames."""
    frames = [
        f"<iframe id={name} src='{app.url}/{path}'></iframe>"
        for name, path in [("a", "embed?tags=football"), ("b", "")]
    ]
    (tmp_path / "index.html").write_text("".join(frames))
    to_folder = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), to_folder) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_only_the_embedded_page_may_be_framed(browser: Browser, elsewhere: str) -> None:
    """Another site can frame /embed and nothing else; it shows its hashtags and no controls."""
    context = browser.new_context()
    page, refused = context.new_page(), []
    page.on("console", lambda said: refused.append(said.text))
    page.goto(elsewhere)
    frame = page.frame_locator("#a")
    frame.locator("#rows tr").first.wait_for(state="attached")
    assert frame.locator("#rows bdi").all_inner_texts() == ["#football"]
    assert frame.locator(".controls").is_hidden()
    assert frame.get_by_role("link").get_attribute("href") == "./?tags=football"
    assert page.frame_locator("#b").locator("#rows").count() == 0
    assert any("frame-ancestors 'none'" in text for text in refused)
    context.close()


def test_a_link_has_a_preview(page: Page, app: App) -> None:
    """Title, description and a picture that is there, at an address that others can use."""
    meta = (
        "name => document.querySelector(`meta[property='${name}'], meta[name='${name}']`).content"
    )
    assert page.evaluate(meta, "og:title") == "#science, #football · hashtag pulse"
    assert page.evaluate(meta, "description").startswith("#science, #football, live")
    image = page.evaluate(meta, "og:image")
    assert image.startswith(f"{app.url}/static/")
    assert page.request.get(image).headers["content-type"] == "image/png"
    icon = page.locator("link[rel=icon]").get_attribute("href")
    assert page.request.get(f"{app.url}/{icon}").ok
