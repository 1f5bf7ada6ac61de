"""A network that is one new file (CONTRIBUTING.md), on the page; in a real Chromium."""

from browser import opened, rows
from playwright.sync_api import Browser
from servers import App, wait_until
from test_add_network import running as running


def test_one_file_leads_from_the_network_to_the_page(browser: Browser, running: App) -> None:
    """In a real Chromium: the table has its totals, the chart a line, and the network is live."""
    with opened(browser, f"{running.url}/?tags=science,football") as page:
        wait_until(
            lambda: (
                {tag: row["total"] for tag, row in rows(page).items()}
                == {"#Science": "2", "#Football": "1"}
            ),
            "the table has what was counted, as the network writes it",
        )
        page.wait_for_function("() => hashtagPulse.chart.lines.get('football').length > 0")
        assert page.evaluate("() => hashtagPulse.state.tick.sources") == {"toy": "live"}
