"""Whoever is quicker than the page: what is pressed before it can be done; in a real Chromium."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from browser import READY, opened, rows
from playwright.sync_api import Browser, Page
from servers import App, RedisServer, free_port
from test_page_ask import until_shown
from test_page_speed import DRAWN
from ticking import Ticking
from web_line import WebLine
from yesterday import remember

BESIDE = "() => window.hashtagPulse?.visitor && !hashtagPulse.visitor.side"


@pytest.fixture(scope="module")
def web(file_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A web process for which two hashtags are tracked, and an ingester that counts."""
    with ExitStack() as ending:
        remember(file_redis.url, ["science", "football"], 100)
        ending.enter_context(Ticking(file_redis.url))
        settings = {"REDIS_URL": file_redis.url, "HASHTAGS": "science,football"}
        folder = tmp_path_factory.mktemp("early")
        yield ending.enter_context(App(folder, "web", port=free_port(), **settings)).started()


@pytest.fixture(params=["/visitor.", "/side_panel."])
def held(request: pytest.FixtureRequest, web: App) -> Iterator[WebLine]:
    """The line is drawn, and what comes after it is under way until `release`."""
    with WebLine(web.port) as line:
        line.holds = str(request.param).encode()
        yield line


def until_whole(page: Page, line: WebLine) -> None:
    line.release()
    page.wait_for_function(READY)


def ready(line: WebLine) -> str:
    return DRAWN if line.holds == b"/visitor." else BESIDE


def test_what_was_pressed_is_done_as_soon_as_it_can_be(browser: Browser, held: WebLine) -> None:
    """A range, a chip's button, a list of the board, a panel's button, a typed hashtag: each once."""
    with opened(browser, held.url, ready(held)) as page:
        page.locator("#ranges [value='15m']").click()
        page.locator("#pause").click()
        page.locator("#board [value=used]").click()
        page.locator("#chips [data-tag=football] button").click()
        page.locator("#posts > button").click()
        page.locator("#typed").click()
        page.keyboard.type("curlinx")
        page.keyboard.press("Backspace")
        page.keyboard.type("g")
        page.keyboard.press("Enter")
        until_whole(page, held)
        until_shown(page, "#science", "#curling")
        assert page.evaluate("() => hashtagPulse.choice.range") == "15m"
        assert page.evaluate("() => hashtagPulse.chart.frozen !== null")
        assert page.locator("#board [value=used]").get_attribute("aria-pressed") == "true"
        assert page.locator("#posts > button").inner_text() == "show posts"
        assert page.locator("#typed").input_value() == ""
        page.locator("#pause").click()
        assert page.evaluate("() => hashtagPulse.chart.frozen === null"), "it is done once"


def test_keys_and_rows_wait_too(browser: Browser, held: WebLine) -> None:
    """A line alone, the chart read by an arrow, the way to the field; no letter is typed twice."""
    with opened(browser, held.url, ready(held)) as page:
        page.locator("#rows button", has_text="#science").click()
        page.locator("#plot").focus()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("/")
        until_whole(page, held)
        page.wait_for_function("() => document.activeElement === typed")
        assert page.evaluate("() => [...hashtagPulse.choice.hidden]") == ["football"]
        page.keyboard.type("a/b")
        assert page.locator("#typed").input_value() == "a/b"


def test_a_language_that_was_chosen_early_is_spoken(browser: Browser, held: WebLine) -> None:
    """The menu is there from the beginning."""
    with opened(browser, held.url, ready(held)) as page:
        page.locator("#language").select_option("de")
        if held.holds == b"/visitor.":
            held.release()
        page.wait_for_url("**/?lang=de")
        held.release()
        page.wait_for_function(READY)
        assert page.locator("#pause").inner_text() == "Pause"
        assert list(rows(page)) != []
