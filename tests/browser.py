"""Real Chromium for tests, driven by Playwright; nothing that a page complains of goes unseen."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1334, "height": 896}
PHONE = {"width": 360, "height": 780}

LOADED = "hashtagPulse.visitor && (hashtagPulse.visitor.side || !document.getElementById('board'))"
"""All of the page's modules, also those that are loaded after the first line."""
READY = f"() => window.hashtagPulse?.state.tick && hashtagPulse.state.live.at > 0 && {LOADED}"
TICKING = f"() => window.hashtagPulse?.state.tick && {LOADED}"
"""Where no past may be known."""
KNOWN = "tag => hashtagPulse.state.live.points(tag)"
POINTS = "tag => hashtagPulse.chart.lines.get(tag).flatMap(series => series.data)"


@contextmanager
def launched(executable: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=executable, args=OPTIONS)


@contextmanager
def opened(browser: Browser, url: str, ready: str = READY, **options: Any) -> Iterator[Page]:
    """A page of its own browser profile, loaded and with its first tick; errors fail the test."""
    options = {"viewport": DESKTOP, "locale": "en-GB", "color_scheme": "light"} | options
    context = browser.new_context(**options)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
    page.on("console", lambda said: errors.append(said.text) if refused(said.text) else None)
    page.goto(url)
    page.wait_for_function(ready)
    yield page
    context.close()
    assert errors == []


@contextmanager
def asleep() -> Iterator[None]:
    """Every process of the test's own Chromium stands still, as when a laptop is closed."""
    stopped = [pid for pid in descendants(os.getpid()) if "chrom" in name_of(pid)]
    assert len(stopped) > 2, "the browser, its network, and at least one page"
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def descendants(pid: int) -> list[int]:
    """The processes that this one started, and those that they did."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for one in lists for child in one.read_text().split()]
    return [*children, *(grand for child in children for grand in descendants(child))]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()


def refused(text: str) -> bool:
    """Whether the console says that the page broke its own fence."""
    return "Content Security Policy" in text


def assert_as_the_server_knows(page: Page, url: str, tag: str, since: float) -> None:
    """Every total that the page knows from a moment on is the one in the server's own history."""
    told = page.request.get(f"{url}/api/history?tags={tag}&range=15m").json()
    newest = page.evaluate("() => hashtagPulse.state.live.at")
    # the point of a step has the total of the last tick before its end
    complete = told["series"][tag][:-1]
    wanted = [(at - 1, total) for at, total in complete if since < at <= newest]
    known = page.evaluate(
        "([tag, times]) => times.map(at => hashtagPulse.state.live.total(tag, at))",
        [tag, [at for at, _ in wanted]],
    )
    assert known == [total for _, total in wanted]
    assert known


def rows(page: Page) -> dict[str, dict[str, str]]:
    """What the table shows: hashtag to column to text."""
    return page.evaluate("""() => Object.fromEntries([...document.querySelectorAll('#rows tr')].map(row => [
        row.querySelector('bdi').textContent,
        Object.fromEntries([...row.cells].slice(1).map(cell => [cell.className.split(' ')[0], cell.textContent])),
    ]))""")
