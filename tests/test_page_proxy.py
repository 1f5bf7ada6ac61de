"""The page in a real Chromium: behind a real nginx with nothing but proxy_pass, and behind each proxy
by its file in deploy/ while all is restarted."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from browser import POINTS, opened, rows
from deployed import NAMES, Proxy, Shown, tls_folder
from playwright.sync_api import Browser
from proxies import Nginx
from servers import App, RedisServer
from test_page_link import LIVE, MANY, assert_whole


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


@pytest.mark.parametrize("name", NAMES)
def test_restarts_behind_each_proxy_leave_no_hole(
    browser: Browser, tmp_path: Path, ending: ExitStack, redis_server: RedisServer, name: str
) -> None:
    """Both web processes one after the other, then the proxy; by HTTP/2, under a path of its own."""
    chosen = {"REDIS_URL": redis_server.url, "HASHTAGS": MANY, "TICK_SECONDS": "0.2"}

    def start(folder: str, *command: str, port: int = 0) -> App:
        return ending.enter_context(
            App(tmp_path / folder, *command, port=port, dev=False, **chosen)
        )

    start("ingest", "ingest")
    webs = [start(f"web{number}", "web").started() for number in (0, 1)]
    how = Shown("/pulse/", tls_folder(tmp_path / "tls"))
    proxy = ending.enter_context(Proxy(name, tmp_path / "proxy", (webs[0].port, webs[1].port), how))
    with opened(browser, f"{proxy.url}/?view=total", ignore_https_errors=True) as page:
        assert (
            page.evaluate("() => performance.getEntriesByType('navigation')[0].nextHopProtocol")
            == "h2"
        )
        began = page.evaluate("() => hashtagPulse.state.live.at")
        for number, web in enumerate(webs):
            assert web.stop() == 0
            start(f"web{number}", "web", port=web.port).started()
        proxy.restart()
        now = page.evaluate("() => hashtagPulse.clock.now()")
        page.wait_for_function("now => hashtagPulse.state.live.at > now + 1000", arg=now)
        page.wait_for_function(LIVE)
        assert_whole(page, webs[0].url, began - 1000)
