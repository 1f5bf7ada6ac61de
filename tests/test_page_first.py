"""The first impression: what a first `make run` shows at once; in a real Chromium."""

from collections.abc import Callable

from browser import READY, opened
from playwright.sync_api import Browser
from servers import App

FULL = f"""() => ({READY})() && hashtagPulse.tags.every(tag => {{
    const [line] = hashtagPulse.chart.lines.get(tag) ?? [];
    return line && line.data[0][0] <= hashtagPulse.chart.edge - hashtagPulse.chart.shown.range;
}})"""
ROWS = "() => document.querySelectorAll('#board li').length > 2 && document.querySelectorAll('#posts li').length > 2"
WHOLE_DAY = """() => hashtagPulse.state.long?.range === '24h'
    && hashtagPulse.state.long.series.points('science')[0][0] < hashtagPulse.clock.now() - 23.5 * 3600e3"""


def test_a_first_visitor_finds_a_full_chart_a_board_and_posts(
    browser: Browser, start_app: Callable[..., App]
) -> None:
    """As it is started without any setting; a day of it; and it is said to be invented."""
    app = start_app(DEMO_PAST_HOURS=24).started()
    with opened(browser, app.url, FULL) as page:
        page.wait_for_function(ROWS)
        assert page.locator("#sources").inner_text() == "demo data"
        assert "demo data" in page.locator("#posts li").first.inner_text()
        page.locator("#ranges [value='24h']").click()
        page.wait_for_function(WHOLE_DAY)
