"""The page in a real Chromium, behind a real nginx with nothing but proxy_pass."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import POINTS, opened, rows
from playwright.sync_api import Browser
from proxies import Nginx
from servers import App


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with App(tmp_path_factory.mktemp("app")) as started:
        yield started.started()


@pytest.mark.parametrize("path", ["/", "/pulse/", "/a/b-c/"])
def test_the_page_lives_behind_a_proxy(
    browser: Browser, app: App, tmp_path: Path, path: str
) -> None:
    """Under / and under any path of its own: the lines grow, and nothing is asked for in vain."""
    failed: list[str] = []
    with (
        Nginx(tmp_path / "nginx", app.port, path=path) as nginx,
        opened(browser, f"{nginx.url}/") as page,
    ):
        page.on("response", lambda got: failed.append(got.url) if got.status >= 400 else None)
        before = page.evaluate("() => hashtagPulse.state.live.at")
        page.wait_for_function("before => hashtagPulse.state.live.at > before + 1500", arg=before)
        page.wait_for_function(f"() => ({POINTS})('science').length > 0")
        assert set(rows(page)) == {"#science", "#football"}
        page.reload()
        page.wait_for_function("() => window.hashtagPulse?.state.tick")
    assert failed == []
