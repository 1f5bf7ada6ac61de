"""SIGTERM and Ctrl-C end every process cleanly and soon, whatever its clients do."""

import fcntl
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h2.connection
import h2.events
import h2.settings
import pytest
import redis
from pythons import environment, versions
from servers import ROOT, App, Process, RedisServer, free_port, wait_until

from app.store.embedded import find_server

LIMIT_SECONDS = 4.0
"""Long before a process that hangs is ended by force. Alone it takes some tenths of a second
(`make bench ONLY=storm`); on a busy machine there may be little of it to be had."""
MANY = ",".join(f"{'x' * 90}{n:04}" for n in range(200))
"""Hashtags whose totals make frames so large that a client which does not read blocks soon."""
COMPLAINTS = re.compile(r"Traceback|never retrieved|never awaited|Warning|destroyed|Unhandled")


class Viewer:
    """A raw connection to /events; reads all of it in a thread, or nothing."""

    def __init__(self, port: int, query: str = "", reads: bool = True) -> None:
        self.received = b""
        self.socket = socket.socket()
        if not reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(20)
        self.socket.sendall(f"GET /events?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self.thread = threading.Thread(target=self.read, daemon=True)
        if reads:
            self.thread.start()

    def read(self) -> None:
        try:
            while read := self.socket.recv(1 << 16):
                self.received += read
        except ConnectionResetError:
            self.received += b"RESET"

    def ended(self) -> bytes:
        """All that came, once the connection has ended."""
        if self.thread.ident is None:
            self.thread.start()
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.socket.close()
        return self.received


@pytest.fixture(params=versions())
def python(request: pytest.FixtureRequest) -> str:
    """Each Python that we promise to run on."""
    return environment(request.param)


@pytest.fixture
def start(tmp_path: Path, ending: ExitStack, python: str) -> Iterator[Callable[..., App]]:
    """Start the app on that Python, tracking many hashtags."""

    def started(*command: str, **settings: Any) -> App:
        chosen = {"HASHTAGS": MANY, "TICK_SECONDS": "0.1", **settings}
        return ending.enter_context(App(tmp_path, *command, python=python, **chosen))

    yield started


def end_cleanly(app: App, number: int, seconds: float = LIMIT_SECONDS) -> None:
    """Signal it; it ends with status 0 within the limit, and has nothing to complain of."""
    app.signal(number)
    assert app.wait(seconds) == 0, app.output[-3000:]
    assert not COMPLAINTS.search(app.output), app.output[-3000:]
    assert "stopped" in app.output


def assert_said_goodbye(received: bytes) -> None:
    """The last event is a retry of its own, and the chunked body has its end."""
    assert received.endswith(b"\r\n0\r\n\r\n"), received[-200:]
    last = received.removesuffix(b"\r\n0\r\n\r\n").rpartition(b"\r\n")[2]
    found = re.fullmatch(rb"retry: (\d+)\n\n", last)
    assert found and 500 <= int(found[1]) <= 4000, received[-200:]


def closed_window(port: int) -> socket.socket:
    """A viewer by HTTP/2 that allows no byte of its stream."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    head = [(":method", "GET"), (":path", "/events"), (":scheme", "http"), (":authority", "h")]
    client.send_headers(1, head, end_stream=True)
    opened = socket.create_connection(("127.0.0.1", port), 10)
    opened.sendall(client.data_to_send())
    while not any(
        isinstance(e, h2.events.ResponseReceived) for e in client.receive_data(opened.recv(4096))
    ):
        pass
    return opened


def end_with_streams(app: App, number: int) -> None:
    """End an app that has three viewers, one that went away, and two that take nothing."""
    closed = closed_window(app.port)
    Viewer(app.port, reads=False).socket.close()
    viewers = [Viewer(app.port, query) for query in ("", "history=900", "tags=" + MANY[:94])]
    stalled = Viewer(app.port, "history=900", reads=False)
    beside = Viewer(app.port, "history=900")
    enough = 700_000  # far more than all buffers of the stalled one's connection
    wait_until(
        lambda: len(beside.received) > enough, f"{enough} bytes were sent: {app.output[-3000:]}"
    )

    end_cleanly(app, number)

    for viewer in (*viewers, beside):
        assert_said_goodbye(viewer.ended())
    closed.close()
    unread = stalled.ended()
    assert b"retry: 2000" in unread, "it had a stream"
    assert len(unread) < enough / 2, "it was blocked"


def process_of(folder: Path) -> int:
    """The process id of the embedded server in the folder."""
    os.chdir(folder)
    with redis.Redis(unix_socket_path="data/redis.sock") as client:
        return int(client.info("server")["process_id"])


def assert_gone(process: int, folder: Path) -> None:
    """The embedded server has ended and nobody holds the folder any more."""
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with (folder / "data" / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_app_with_open_streams_ends(
    start: Callable[..., App],
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`python -m app` ends every stream with a goodbye, and its embedded Redis with itself."""
    monkeypatch.chdir(tmp_path)
    app = start().started()
    server = process_of(tmp_path)
    end_with_streams(app, number)
    assert_gone(server, tmp_path)


@pytest.mark.parametrize("lane", ["on", "off"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_web_with_open_streams_ends(
    start: Callable[..., App], number: int, lane: str, tmp_path: Path, ending: ExitStack
) -> None:
    """`python -m app web` ends as well, and the ingester beside it goes on until told too."""
    server = ending.enter_context(RedisServer(find_server(), tmp_path / "redis"))
    ingester = start("ingest", REDIS_URL=server.url)
    web = start("web", REDIS_URL=server.url, EXPRESS_LANE=lane).started()
    end_with_streams(web, number)
    assert ingester.running and server.running
    end_cleanly(ingester, number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ingester_ends(
    start: Callable[..., App], number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m app ingest` ends with its embedded Redis, and what it counted is stored."""
    monkeypatch.chdir(tmp_path)
    app = start("ingest", HASHTAGS="science")
    wait_until(lambda: "demo: live" in app.output, f"it ingests: {app.output}")
    server = process_of(tmp_path)
    end_cleanly(app, number)
    assert_gone(server, tmp_path)


BUG = """
import asyncio, sys
from app.{module} import {name} as broken

async def bug(*_):
    await asyncio.sleep(1)
    raise ZeroDivisionError("a bug of ours")

broken.{method} = bug
from app.__main__ import main
sys.argv = ["app"]
main()
"""


@pytest.mark.parametrize(
    ("module", "name", "method"),
    [("ingest.ingester", "Ingester", "run"), ("web.feed", "Feed", "run")],
)
def test_bug_of_ours_ends_the_process_loudly(
    python: str, tmp_path: Path, ending: ExitStack, module: str, name: str, method: str
) -> None:
    """A part that breaks takes the process with it, with its traceback, open streams or not."""
    script = tmp_path / "bug.py"
    script.write_text(BUG.format(module=module, name=name, method=method))
    port = free_port()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "BIND": f"127.0.0.1:{port}"}
    app = ending.enter_context(Process(python, str(script), cwd=tmp_path, env=env))
    wait_until(lambda: "I app" in app.output, "it starts")
    wait_until(lambda: listens(port), f"it listens: {app.output}")
    viewer, stalled = Viewer(port), Viewer(port, reads=False)
    assert app.wait(10) == 1
    assert "ZeroDivisionError: a bug of ours" in app.output
    assert_said_goodbye(viewer.ended())
    stalled.ended()


def listens(port: int) -> bool:
    with socket.socket() as opened:
        return opened.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("state", ["hung", "down", "hung at the start", "down at the start"])
def test_app_ends_when_redis_cannot_be_had(
    start: Callable[..., App], tmp_path: Path, ending: ExitStack, state: str
) -> None:
    """A Redis that is hung or gone keeps nobody: the end is as clean and as soon."""
    server = ending.enter_context(RedisServer(find_server(), tmp_path / "redis"))

    def fail() -> None:
        hangs = "hung" in state
        server.signal(signal.SIGSTOP if hangs else signal.SIGKILL)
        stat = Path(f"/proc/{server.popen.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] in "TZ", "it fails")

    if "start" in state:
        fail()
    app = start(HASHTAGS="science", REDIS_URL=server.url).started()
    viewer = Viewer(app.port)
    if "start" not in state:
        wait_until(lambda: b"event: counts" in viewer.received, "ticks arrive")
        fail()
    if "down" in state:
        wait_until(
            lambda: "W app.web.freshness: Redis" in app.output, f"it is noticed: {app.output}"
        )
    end_cleanly(app, signal.SIGTERM)
    assert_said_goodbye(viewer.ended())


def test_app_that_is_still_starting_ends(start: Callable[..., App], tmp_path: Path) -> None:
    """A signal before the page is served is heeded as well."""
    app = start(HASHTAGS="science", REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    wait_until(lambda: "hashtag pulse" in app.output, "it starts")
    end_cleanly(app, signal.SIGTERM)
