"""Sharing what the page shows: links, embedding, taking away; in a real Chromium."""

import csv
import io
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from browser import opened
from playwright.sync_api import Browser, Page
from servers import App
from yesterday import app_with_past


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with app_with_past(tmp_path_factory.mktemp("app"), ["science", "football"]) as started:
        yield started


@pytest.fixture
def page(browser: Browser, app: App) -> Iterator[Page]:
    with opened(browser, app.url) as shown:
        yield shown


def test_a_link_shows_the_same(browser: Browser, page: Page) -> None:
    """Hashtags, view, range and what is hidden are in the address."""
    page.get_by_role("button", name="total").click()
    page.get_by_role("button", name="1 m: 1 minute").click()
    page.locator("#rows").get_by_role("button", name="#football").click(modifiers=["Control"])
    choice = "() => { const {view, range, hidden} = hashtagPulse.choice; return [view, range, ...hidden] }"
    with opened(browser, page.url) as other:
        assert other.evaluate(choice) == page.evaluate(choice) == ["total", "1m", "football"]
        pressed = other.locator("#ranges [aria-pressed=true]")
        assert pressed.inner_text() == "1 m"


def test_hashtags_in_the_link_are_the_ones_shown(browser: Browser, app: App) -> None:
    """However they are spelt, and whether or not they are tracked."""
    with opened(browser, f"{app.url}/?tags=%23SCIENCE,curling") as page:
        assert sorted(page.evaluate("() => hashtagPulse.table.order")) == ["curling", "science"]
        assert page.locator("#notice").is_hidden()
        assert page.title().lower() == "#science, #curling · hashtag pulse"


def test_a_link_that_cannot_be_shown_says_why(browser: Browser, app: App) -> None:
    """More hashtags than fit, or what is none: a sentence, and what can be shown; where that is
    nothing, the usual hashtags."""
    many = ",".join(f"tag{n}" for n in range(21))
    for query, sentence, shown in [
        (many, "At most 20 hashtags at once", 20),
        ("!", "'!' is not a hashtag", 2),
    ]:
        with opened(browser, f"{app.url}/?tags={query}") as page:
            assert sentence in page.locator("#notice").inner_text()
            assert len(page.evaluate("() => hashtagPulse.table.order")) == shown


def test_share_copies_the_link_or_hands_it_on(browser: Browser, app: App) -> None:
    """The clipboard where there is no Web Share, and the browser's own way where there is."""
    grant = {"permissions": ["clipboard-read", "clipboard-write"]}
    with opened(browser, f"{app.url}/?view=total", **grant) as page:
        page.evaluate("() => { navigator.share = undefined }")
        page.locator("#share").click()
        page.wait_for_function("() => told.textContent === 'link copied'")
        assert page.evaluate("() => navigator.clipboard.readText()") == page.url
        page.wait_for_function("() => told.hidden")
        page.evaluate("() => { navigator.share = async what => { window.shared = what } }")
        page.locator("#share").click()
        page.wait_for_function("() => window.shared?.url === location.href")


def test_what_is_on_screen_can_be_taken_as_csv(page: Page) -> None:
    """A row for each moment in sight, a column for each visible hashtag."""
    page.get_by_role("button", name="total").click()
    page.locator("#rows").get_by_role("button", name="#football").click(modifiers=["Control"])
    with page.expect_download() as got:
        page.locator("#csv").click()
    table = list(csv.reader(io.StringIO(got.value.path().read_text(encoding="utf-8-sig"))))
    assert table[0] == ["time (UTC)", "#science"]
    assert 100 < len(table) < 700
    assert all(all(row) for row in table), "a total holds until the next one"
    assert got.value.path().read_bytes().startswith(b"\xef\xbb\xbf"), "spreadsheets want to be told"
    assert got.value.suggested_filename.endswith(".csv")


def test_what_is_on_screen_can_be_taken_as_a_picture(page: Page) -> None:
    """A PNG with the lines on it, twice as sharp as the screen; it says of when it is, by which zone."""
    page.wait_for_function("() => document.getElementById('lines').width > 0")
    page.evaluate("""() => {
        const {prototype} = CanvasRenderingContext2D, {fillText} = prototype;
        window.written = [];
        prototype.fillText = function (words, ...place) { written.push(words); fillText.call(this, words, ...place) };
        hashtagPulse.chart.stop();
        written.length = 0;
    }""")
    with page.expect_download() as got:
        page.locator("#png").click()
    data = got.value.path().read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 20_000
    assert int.from_bytes(data[16:20]) == 2 * page.evaluate("() => axes.offsetWidth")
    written = page.evaluate("() => written")
    assert "now" not in written
    [title] = [
        words for words in written if words.startswith("hashtag pulse · posts per minute · ")
    ]
    assert title.endswith(" UTC")
    page.evaluate("() => hashtagPulse.chart.start()")
    page.wait_for_function(
        "() => axes.width === axes.offsetWidth && lines.width === lines.offsetWidth"
    )
    assert page.evaluate("() => hashtagPulse.chart.frozen") is None


def test_paper_has_names_and_lines_and_no_buttons(browser: Browser, app: App) -> None:
    """From a dark and wide screen: light, no wider than a sheet, and afterwards as before."""
    dark = {"color_scheme": "dark", "viewport": {"width": 1500, "height": 900}}
    with opened(browser, app.url, **dark) as page:
        page.evaluate("""() => addEventListener('beforeprint', () => {
            const {axes, chart} = hashtagPulse, style = getComputedStyle(plot);
            window.printed = {
                text: axes.look.text, line: chart.smoothie.seriesSet[0].options.strokeStyle, width: plot.offsetWidth,
                drawn: [axes.canvas.width, chart.canvas.width + axes.left + axes.right],
            };
        })""")
        before = page.evaluate("() => [plot.offsetWidth, hashtagPulse.pen('science').colour]")
        assert page.pdf(format="A4").startswith(b"%PDF")
        printed = page.evaluate("() => window.printed")
        assert printed["text"] == "#1a1b20"
        assert printed["line"] != before[1]
        assert printed["width"] <= 660
        assert all(abs(width - printed["width"]) <= 2 for width in printed["drawn"])
        assert (
            page.evaluate("() => [plot.offsetWidth, hashtagPulse.pen('science').colour]") == before
        )
        page.emulate_media(media="print")
        for hidden in (".controls", "#back", "#told"):
            assert page.locator(hidden).is_hidden()
        assert sorted(page.locator("#rows bdi").all_inner_texts()) == ["#football", "#science"]


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
        thread = Thread(target=server.serve_forever, daemon=True)
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


def test_a_file_on_a_disk_may_embed_it(browser: Browser, app: App, tmp_path: Path) -> None:
    """A page that was never on a server: its frame is not blank."""
    (tmp_path / "mine.html").write_text(f"<iframe id=a src='{app.url}/embed'></iframe>")
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "mine.html").as_uri())
    page.frame_locator("#a").locator("#rows tr").first.wait_for(state="attached")
    context.close()


def test_an_embedded_chart_has_room_a_title_and_a_unit(browser: Browser, app: App) -> None:
    """More rows than fit are scrolled to; the chart keeps the half of a frame and more."""
    tags = "science,football,a1,a2,a3,a4,a5,a6"
    size = {"width": 600, "height": 600}
    with opened(browser, f"{app.url}/embed?tags={tags}", viewport=size) as page:
        plot, last = (page.locator(place).bounding_box() for place in ("#plot", ".full"))
        assert plot and last
        assert plot["height"] > 0.45 * size["height"]
        assert last["y"] + last["height"] <= size["height"]
        page.locator("#rows tr").last.scroll_into_view_if_needed()
        assert page.locator("#rows tr").last.is_visible()
        assert page.locator("h1").inner_text() == "# hashtag pulse"
        assert page.locator("#unit").inner_text() == "posts per minute"
    with opened(browser, f"{app.url}/embed?tags={tags}&view=total", viewport=size) as page:
        assert page.locator("#unit").inner_text() == "total"


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
