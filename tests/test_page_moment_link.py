"""A link to a time of the past, on the page; in a real Chromium."""

import time
from typing import Any

from browser import DESKTOP, opened
from playwright.sync_api import Browser
from servers import App
from test_page_moment import LIVE, MOMENT, SEEN, drag, place
from test_page_moment import app as app
from test_page_moment import page as page

from app.messages import DAY, MINUTE


def test_a_link_to_a_moment_shows_exactly_that(browser: Browser, app: App) -> None:
    """In another browser, whose clock stands in another zone, and which speaks of both; also of a
    picture that is only paused."""
    grant: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}
    with opened(browser, f"{app.url}/?view=total", **grant) as page:
        page.evaluate("() => { navigator.share = undefined }")
        page.get_by_role("button", name="pause").click()
        seen = page.evaluate(SEEN)
        page.get_by_role("button", name="copy a link to this moment").click()
        page.wait_for_function("() => told.textContent === 'link copied'")
        link = page.evaluate("() => navigator.clipboard.readText()")
        assert "/?view=total&from=" in link
        told = [int(part.partition("=")[2]) for part in link.split("&")[1:]]
        assert all(abs(a - b) <= 1 for a, b in zip(told, seen, strict=True))
        drag(page, 0.4, 0.6)
        page.get_by_role("button", name="copy a link to this moment").click()
        page.wait_for_function("() => told.textContent === 'link copied'")
        link = page.evaluate("() => navigator.clipboard.readText()")
        assert link == page.url
        moment = page.evaluate(MOMENT)
    with opened(browser, link, viewport=DESKTOP, timezone_id="Asia/Tokyo") as page:
        page.wait_for_function("() => hashtagPulse.chart.lines.get('football')?.length")
        assert page.evaluate(SEEN) == page.evaluate(MOMENT) == moment
        assert page.url == link and page.locator("#notice").is_hidden()
        assert page.locator("#back").is_visible() and page.inner_text("#badge").endswith("GMT+9")
        page.mouse.move(*place(page, 0.5))
        local, utc = page.locator("#values p").inner_text().split(" · ")
        assert utc.endswith(" UTC") and local[:2] != utc[:2]


def test_a_moment_whose_data_is_gone_says_so(browser: Browser, app: App) -> None:
    """Of all hashtags, of some, and of a time of which nothing can be kept."""
    now = int(time.time() * 1000)
    begin = now - 3 * DAY
    then = f"from={begin}&to={begin + 10 * MINUTE}"
    gone = "What was counted then is not kept any more."
    for query, sentence in [
        (f"tags=rare&{then}", gone),
        (f"tags=football,rare&{then}", "Not all that was counted then is kept any more, of #rare."),
        (f"from={now - 500 * DAY}&to={now - 499 * DAY}", gone),
    ]:
        with opened(browser, f"{app.url}/?{query}") as page:
            page.wait_for_function("words => notice.textContent === words", arg=sentence)
            page.evaluate("() => { hashtagPulse.choice.range = '1h'; hashtagPulse.askMore() }")
            page.wait_for_function("() => hashtagPulse.state.long?.range === '1h'")
            assert page.inner_text("#notice") == sentence, "what came of another time has no say"
            page.locator("#back").click()
            assert page.evaluate(LIVE) and page.locator("#notice").is_hidden()
