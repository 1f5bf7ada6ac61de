"""`python -m app web --workers N`: one port, several processes, one beginning and one end."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import redis
from servers import App, RedisServer, eventually, free_port, viewing, wait_until
from test_shutdown import COMPLAINTS, LIMIT_SECONDS, Viewer, assert_said_goodbye

from app.settings import read
from app.store.embedded import find_server
from app.web.server import server_config
from app.web.workers import run_workers


@pytest.fixture
def server(tmp_path: Path, ending: ExitStack) -> RedisServer:
    return ending.enter_context(RedisServer(find_server(), tmp_path / "redis"))


@pytest.fixture
def web(server: RedisServer, start_app: Callable[..., App]) -> Iterator[App]:
    """Two web processes on one port, with an ingester."""
    start_app("ingest", REDIS_URL=server.url, TICK_SECONDS="0.1")
    started = start_app("web", "--workers", "2", REDIS_URL=server.url, TICK_SECONDS="0.1")
    started.started()
    wait_until(lambda: subscriptions(server) == 2, f"both follow: {started.output}")
    yield started
    for process in processes(started):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def processes(web: App) -> list[int]:
    """The web processes that were started, in order."""
    return [int(found) for found in re.findall(r"web process (\d+) started", web.output)]


def subscriptions(server: RedisServer) -> int:
    with redis.Redis(port=server.port) as client:
        return int(dict(client.pubsub_numsub("{hashtag}:ticks"))[b"{hashtag}:ticks"])


def gone(process: int) -> bool:
    """Whether the process has ended, whoever is to look at its status."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def connections(process: int, port: int) -> int:
    """How many connections to the port the process has."""
    mine = set()
    for fd in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            mine.add(str(fd.readlink()))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = [row for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"]
    return sum(f"socket:[{row[9]}]" in mine for row in ours)


def test_viewers_are_shared_out_and_all_end_well(web: App) -> None:
    """Each process has some of them and one subscription; a signal ends every stream and every
    process, within the time that one needs."""
    viewers = [Viewer(web.port) for _ in range(40)]
    for viewer in viewers:
        wait_until(lambda viewer=viewer: b"event: counts" in viewer.received, "it has totals")
    shares = [connections(process, web.port) for process in processes(web)]
    assert sum(shares) == 40 and min(shares) >= 5, shares
    web.signal(signal.SIGTERM)
    assert web.wait(LIMIT_SECONDS) == 0, web.output
    assert not COMPLAINTS.search(web.output), web.output
    assert all(map(gone, processes(web)))
    for viewer in viewers:
        assert_said_goodbye(viewer.ended())


async def test_killed_process_is_replaced_and_its_viewers_go_on(web: App) -> None:
    """The other one serves all the while; who was cut resumes without a gap."""
    victim, other = processes(web)
    async with viewing(f"{web.url}/events") as events:
        await anext(events)
        last = await anext(events)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: gone(victim), "it is dead")
    wait_until(lambda: len(processes(web)) == 3, "another one is started")
    for _ in range(8):
        async with viewing(f"{web.url}/events", **{"Last-Event-ID": last.id}) as events:
            assert (await anext(events)).retry == 2000
            assert (await anext(events)).name == "counts"
    assert not gone(other) and web.running


def test_process_that_is_told_to_end_is_replaced_without_an_error(web: App) -> None:
    """As an owner restarts one after the other; its streams end in good order."""
    victim = processes(web)[0]
    viewers = [Viewer(web.port) for _ in range(20)]
    for viewer in viewers:
        wait_until(lambda viewer=viewer: b"event: counts" in viewer.received, "it has totals")
    share = connections(victim, web.port)
    os.kill(victim, signal.SIGTERM)
    wait_until(lambda: len(processes(web)) == 3, "another one is started")
    assert "I app.web.workers: a web process ended as somebody told it to" in web.output
    assert not re.search(r"^\S+ \S+ [WE] ", web.output, re.M), web.output
    wait_until(lambda: sum(v.received.endswith(b"0\r\n\r\n") for v in viewers) == share, "ended")
    assert share and web.stop() == 0
    for viewer in viewers:
        assert_said_goodbye(viewer.ended())


async def test_process_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The system has no room for it just now: a sentence, and no end of the other ones."""
    config, stop = server_config(read({"BIND": "127.0.0.1:0"})), asyncio.Event()
    program = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(program))
    task = asyncio.create_task(run_workers([config], stop, tmp_path))
    await eventually(lambda: "cannot be started (No such file" in caplog.text, "it is said")
    program.write_text(f"#!/bin/sh\necho $BIND > {tmp_path}/started\nexec sleep 100\n")
    program.chmod(0o755)
    started = tmp_path / "started"
    await eventually(lambda: started.exists() and started.read_text(), "it is started")
    assert started.read_text() == f"fd://{config.listeners[0].fileno()}\n"
    stop.set()
    await asyncio.wait_for(task, 10)
    config.close()


def test_processes_end_with_a_parent_that_is_killed(web: App, server: RedisServer) -> None:
    """However it ends, nobody is left who holds the port."""
    web.signal(signal.SIGKILL)
    web.wait()
    wait_until(lambda: all(map(gone, processes(web))), "both have ended")
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(("127.0.0.1", web.port))
        opened.listen()


def test_embedded_redis_is_shared(start_app: Callable[..., App]) -> None:
    """Without REDIS_URL the parent has the server, and the processes and an ingester join it."""
    web = start_app("web", "--workers", "2").started()
    start_app("ingest")
    wait_until(lambda: ready(web.port), f"ticks arrive: {web.output}")
    assert web.stop() == 0, web.output


def ready(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 2) as opened:
        opened.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        return opened.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("number", ["0", "-1", "two", "1000", "２"])
def test_a_wrong_number_is_one_sentence(start_app: Callable[..., App], number: str) -> None:
    """Before anything is started."""
    web = start_app("web", f"--workers={number}")
    assert web.wait() == 2
    assert "expected a number from 1 to 64" in web.output.splitlines()[-1]


def test_a_port_in_use_is_one_sentence(start_app: Callable[..., App], web: App) -> None:
    """Two parents on one port would share its connections without knowing."""
    other = start_app("web", "--workers", "2", BIND=f"127.0.0.1:{web.port}")
    assert other.wait() == 1
    assert "another program has it" in other.output


def test_a_second_kind_of_address_is_refused(start_app: Callable[..., App], tmp_path: Path) -> None:
    """What Hypercorn opens besides `bind` cannot be shared."""
    (tmp_path / "hypercorn.toml").write_text(f'insecure_bind = ["127.0.0.1:{free_port()}"]\n')
    web = start_app("web", "--workers", "2")
    assert web.wait() == 1
    assert "several web processes share `bind` and no other." in web.output.splitlines()[-1]


def test_a_folder_with_too_long_a_path_is_one_sentence(
    start_app: Callable[..., App], server: RedisServer, tmp_path: Path
) -> None:
    """Else each process would end at once, again and again, and connections would wait for them."""
    folder = tmp_path / ("a" * 100)
    folder.mkdir()
    web = start_app("web", "--workers", "2", REDIS_URL=server.url, TMPDIR=str(folder))
    assert web.wait() == 1
    assert web.output.splitlines()[-1].endswith("whose path is shorter: set TMPDIR, say to /tmp.")
    assert not list(folder.iterdir())
