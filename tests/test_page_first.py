"""The first impression: what a first `make run` shows; in a real Chromium."""

import json
from collections.abc import Callable
from urllib.request import urlopen

from browser import READY, opened
from playwright.sync_api import Browser
from servers import App, wait_until

FULL = f"""() => ({READY})() && hashtagPulse.tags.every(tag => {{
    const [line] = hashtagPulse.chart.lines.get(tag) ?? [];
    return line && line.data[0][0] <= hashtagPulse.chart.edge - hashtagPulse.chart.shown.range;
}})"""
ROWS = "() => document.querySelectorAll('#board li').length > 2 && document.querySelectorAll('#posts li').length > 2"
WHOLE_DAY = """() => hashtagPulse.state.long?.range === '24h'
    && hashtagPulse.state.long.series.points('science')[0][0] < hashtagPulse.clock.now() - 23.5 * 3600e3"""
COUNTED_SECONDS = 90
"""A day of posts is counted by then, also where other tests run beside it."""


def test_a_first_visitor_finds_a_full_chart_a_board_and_posts(
    browser: Browser, start_app: Callable[..., App]
) -> None:
    """As it is started without any setting; a day of it; and it is said to be invented."""
    app = start_app(DEMO_PAST_HOURS=24).started()

    def has_a_board() -> bool:
        try:
            with urlopen(f"{app.url}/api/board") as answer:
                return len(json.load(answer)["rising"]) > 2
        except OSError:  # 503: there is none yet
            return False

    wait_until(has_a_board, "its past is counted", COUNTED_SECONDS)
    with opened(browser, app.url, FULL) as page:
        page.wait_for_function(ROWS)
        assert page.locator("#sources").inner_text() == "demo data"
        assert "demo data" in page.locator("#posts li").first.inner_text()
        page.locator("#ranges [value='24h']").click()
        page.wait_for_function(WHOLE_DAY)
