"""What the server says, as a visitor reads it on the page; in a real Chromium."""

import json
from collections.abc import Iterator

import pytest
from browser import opened
from playwright.sync_api import Browser
from servers import App, RedisServer, free_port, wait_until
from ticking import Ticking
from yesterday import remember

from app.messages import SourceState

KNOWN = "#science, #football"
NOT_TRACKED = {
    "de": f"#curling wird hier nicht verfolgt, und x wurde nicht danach gefragt; verfolgt werden {KNOWN}.",
    "ar": f"الوسم #curling غير متابَع هنا، ولم يُطلب من x؛ المتابَع: {KNOWN}.",
}
NOTHING = {"de": "Unter /nothing gibt es nichts.", "ar": "لا شيء في /nothing."}
WHY = """async () => {
    const page = document.querySelector('script[type=module]').src;
    const {askTrouble} = await import(new URL('history_api.js', page).href);
    return askTrouble(['science']);
}"""
ISOLATES = str.maketrans("", "", "\u2066\u2068\u2069")


@pytest.fixture(scope="module")
def ticking(file_redis: RedisServer) -> Iterator[Ticking]:
    remember(file_redis.url, ["science", "football"], 375)
    with Ticking(file_redis.url, "x") as started:
        started.go_on(x=SourceState("live", 1, "", False, 1))
        yield started


@pytest.fixture(scope="module")
def web(
    file_redis: RedisServer, ticking: Ticking, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    """For which X is asked for two hashtags, and nobody counts another."""
    settings = {"REDIS_URL": file_redis.url, "HASHTAGS": "science,football"}
    folder = tmp_path_factory.mktemp("web")
    with App(folder, "web", port=free_port(), **settings) as started:
        yield started.started()


@pytest.mark.parametrize("language", ["de", "ar"])
def test_a_refusal_is_read_in_the_browsers_language(
    browser: Browser, web: App, language: str
) -> None:
    """Above the chart, below the field, and where somebody opens an address of no page."""
    with opened(browser, f"{web.url}/?tags=curling", locale=language) as page:
        shown = page.locator("#notice").inner_text()
        assert shown.translate(ISOLATES) == NOT_TRACKED[language]
        page.locator("#typed").fill("curling,")
        page.wait_for_function("() => answer.textContent")
        assert page.locator("#answer").inner_text() == shown
    alone = browser.new_page(locale=language)
    alone.goto(f"{web.url}/nothing")
    told = json.loads(alone.locator("pre").inner_text())
    alone.context.close()
    assert told["error"].translate(ISOLATES) == NOTHING[language]


def test_the_pages_own_language_is_that_of_what_it_asks(browser: Browser, web: App) -> None:
    """The menu's choice, whatever the browser speaks."""
    with opened(browser, f"{web.url}/?lang=es&tags=science", locale="de") as page:
        told = page.evaluate("""async () => {
            const { ask } = await import(document.querySelector("script[type=module]").src.replace("page.js", "asking.js"));
            return ask("past", ["science"], "7y").catch(error => error.message);
        }""")
    assert told == "range='7y': se espera uno de estos valores: 15m, 1h, 24h, 7d, 30d."


def test_why_nothing_comes_is_read_in_it_too(browser: Browser, web: App, ticking: Ticking) -> None:
    """What stands in the badge after a while, as the page asks for it; and of a network no reason
    in English."""
    with opened(browser, f"{web.url}/?lang=ja&tags=science") as page:
        ticking.pause()
        try:
            wait_until(lambda: page.evaluate(WHY), "something is wrong")
            assert "集計は動いていますか？" in page.evaluate(WHY)
            page.wait_for_function("() => sources.textContent === 'X：新しい情報が届いていません'")
        finally:
            ticking.go_on()
