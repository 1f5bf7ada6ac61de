"""The page where the server is full, in a real Chromium behind a real nginx: it says so and waits."""

import re
import socket
from pathlib import Path

import pytest
from browser import READY, opened
from playwright.sync_api import Browser
from proxies import Nginx
from servers import App

NAMED = "proxy_set_header X-Forwarded-For 203.0.113.7;"
FULL = re.compile(r"too many viewers, trying again in (\d+) s")
SAID = "() => document.getElementById('badge').textContent.startsWith('too many viewers')"


@pytest.mark.parametrize("shared", [True, False])
def test_a_page_that_finds_no_room_says_so_and_comes_back(
    browser: Browser, tmp_path: Path, shared: bool
) -> None:
    """The one viewer whom its address may have is somebody else: the page counts the seconds
    down, 10 to 15; when that one is gone it is live. With a worker that tabs share, and without."""
    with (
        App(tmp_path, MAX_VIEWERS_PER_ADDRESS=1).started() as app,
        Nginx(tmp_path / "nginx", app.port, options=NAMED) as nginx,
        socket.create_connection(("127.0.0.1", nginx.port)) as other,
    ):
        other.sendall(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n")
        assert other.recv(4096).startswith(b"HTTP/1.1 200")
        with opened(browser, "about:blank", "() => true") as page:
            if not shared:
                page.add_init_script("delete window.SharedWorker")
            page.goto(f"{nginx.url}/")
            page.wait_for_function(SAID)
            words = page.inner_text("#badge")
            seconds = FULL.fullmatch(words)
            assert seconds and 1 <= int(seconds[1]) <= 15, words
            page.wait_for_function(
                "before => document.getElementById('badge').textContent !== before", arg=words
            )
            assert FULL.fullmatch(page.inner_text("#badge"))
            assert page.get_attribute("#badge", "data-level") == "stale"
            other.close()
            page.wait_for_function(READY)
            page.wait_for_function(
                "() => document.getElementById('badge').textContent.startsWith('live')"
            )


def test_a_page_that_finds_the_server_full_waits_as_long_as_it_is_told(
    browser: Browser, tmp_path: Path
) -> None:
    """503 and half a minute: it says so, counts down, and asks no more meanwhile."""
    with (
        App(tmp_path, MAX_VIEWERS=1).started() as app,
        socket.create_connection(("127.0.0.1", app.port)) as other,
    ):
        other.sendall(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n")
        assert other.recv(4096).startswith(b"HTTP/1.1 200")
        with opened(browser, "about:blank", "() => true") as page:
            page.add_init_script("delete window.SharedWorker")
            asked: list[int] = []
            page.on(
                "response", lambda got: asked.append(got.status) if "/events" in got.url else None
            )
            page.goto(f"{app.url}/")
            page.wait_for_function(SAID)
            words, before = page.inner_text("#badge"), len(asked)
            seconds = FULL.fullmatch(words)
            assert seconds and 25 <= int(seconds[1]) <= 45, words
            page.wait_for_function(
                "left => /(\\d+) s$/.exec(document.getElementById('badge').textContent)[1] <= left",
                arg=int(seconds[1]) - 2,
            )
            assert set(asked) == {503}
            assert len(asked) == before
