"""An ingester that hangs, a web process that dies, viewers that do not read."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import missing
from judge import Judge, Ledger
from links import Link
from servers import ROOT, App, Event, Process, RedisServer, eventually, free_port, viewing
from test_faults import FAST, between_ticks, has
from test_ingest import Script, counted, ingesting, total
from test_store import commit, tick
from world import kill, state, stop, write
from x_server import TOKEN, x_server

from app.ingest import ingester
from app.store.keys import LEASE, STATE
from app.store.state import State
from app.store.store import Store, connect


async def test_a_hung_ingester_is_replaced_and_does_no_harm_when_it_awakes(
    store: Store, redis_server: RedisServer, tmp_path: Path, start_app: Callable[..., App]
) -> None:
    """SIGSTOP: the second one writes within ten seconds; the first one then stands by."""
    settings = {
        **FAST,
        "SOURCES": "replay",
        "REPLAY_FILE": write(tmp_path / "recording", 300),
        "REDIS_URL": redis_server.url,
    }
    both = [start_app("ingest", **settings) for _ in range(2)]
    await eventually(lambda: has(store, 20), "one of them counts")
    first = await store.writer()
    hung = next(each for each in both if f"/{each.popen.pid}/" in first)
    stop(hung)
    assert await store.redis.pttl(LEASE) <= 6000, "with a look or two, within ten seconds"
    version = (await store.load()).number

    async def replaced() -> bool:
        writer = await store.writer()
        return writer not in ("", first) and (await store.load()).number > version

    await eventually(replaced, "the other one writes")
    assert state(hung) == "T"
    hung.signal(signal.SIGCONT)
    await eventually(lambda: "another ingester took over" in hung.output, "it stands by")
    await counted(store, 300)
    assert await store.writer() != first


class Contained(Process):
    """An ingester in a PID namespace of its own, as in a container of a pod: its number there is
    the one after so many others."""

    def __init__(self, folder: Path, others: int, **settings: str) -> None:
        folder.mkdir()
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings}
        script = f"{'true & wait; ' * others} {sys.executable} -m app ingest; true"
        unshare = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        super().__init__(*unshare, "sh", "-c", script, cwd=folder, env=env)


@pytest.fixture
def namespaces() -> None:
    """A kernel that gives a process a PID namespace of its own."""
    unshare = shutil.which("unshare") or missing("unshare")
    asked = subprocess.run([unshare, "--pid", "--fork", "true"], capture_output=True, text=True)
    if asked.returncode:
        missing(f"a kernel that allows PID namespaces: {asked.stderr.strip()}")


async def test_containers_of_a_pod_do_not_take_each_other_for_dead(
    store: Store, redis_server: RedisServer, tmp_path: Path, ending: ExitStack, namespaces: None
) -> None:
    """One hostname and two PID namespaces, in which neither sees a process of the other's number:
    both counted, 461 posts in 27 s instead of 270, and X was paid twice. Now one stands by, until
    the other one is killed and its lease has run out."""
    async with x_server() as x:
        x.keep_alive = 0.05
        settings = {
            "SOURCES": "x",
            "X_API_URL": x.url,
            "X_BEARER_TOKEN": TOKEN,
            "REDIS_URL": redis_server.url,
            "HASHTAGS": "science",
        }
        one, two = (
            ending.enter_context(Contained(tmp_path / f"container{n}", 2 * n, **settings))
            for n in (1, 2)
        )
        await eventually(lambda: x.open, "one of them reads X")
        await eventually(lambda: "standing by" in one.output + two.output, "the other stands by")
        lines = iter(write(tmp_path / "posts", 140).read_bytes().splitlines())

        async def told(up_to: int) -> None:
            """One after the other, each when the one before is counted."""
            for posts in range(await total(store), up_to):
                x.later.append(next(lines))
                await eventually(partial(has, store, posts + 1), "it is counted")

        await told(60)
        assert x.connects == 1
        assert await total(store) == 60
        writer, other = (one, two) if "standing by" in two.output else (two, one)
        assert "took over" not in writer.output and "x: live" not in other.output
        kill(writer)
        await eventually(lambda: x.connects == 2, "the other one reads X", 20)
        await told(80)
        assert await total(store) == 80


async def test_an_ingester_without_network_is_replaced_and_does_no_harm_when_it_is_back(
    store: Store, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No reply comes any more, nor an error: the other one writes, with a lease of a second
    in the place of six; what the first one still has is not committed."""
    monkeypatch.setattr(ingester, "LEASE_SECONDS", 1.0)
    one, two = Script("a", True), Script("a", True)
    async with Link(redis_server.port) as link:
        through = Store(connect(link.url))
        async with ingesting(through, one) as first, ingesting(store, two, opened=False):
            await between_ticks(store, first)
            link.dropping = True
            for script in (one, two):
                script.give(5)
            await eventually(lambda: two.opened, "the other one writes", 10)
            assert link.dropped
            link.cut()
            link.dropping = False
            await eventually(lambda: "standing by" in first.trouble, "the first one stands by")
            for script in (one, two):
                script.give(1)
            await counted(store, 6)
        await through.redis.aclose()


async def test_an_ingester_stands_by_for_another_one_that_is_quicker(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Whenever it looks, the other one has committed: it does not read its source again and
    again, but sees that the other one has the lease."""
    source, took_over = Script("a", True), "another ingester took over"
    async with ingesting(store, source) as ingester:
        await between_ticks(store, ingester)
        for n in range(500):
            async with store.redis.pipeline(transaction=True) as pipe:
                pipe.set(LEASE, "elsewhere/1/x", px=5000)
                pipe.hset(STATE, "commit", f"other{n}")
                await pipe.execute()
            if took_over in caplog.text:
                break
            await asyncio.sleep(0.002)
        assert took_over in caplog.text
        await eventually(lambda: "standing by" in ingester.trouble, "it stands by")
    assert len(source.opened) == 1


async def test_a_viewer_of_a_killed_web_process_resumes_at_the_other_one(
    store: Store, redis_server: RedisServer, tmp_path: Path, start_app: Callable[..., App]
) -> None:
    """And back, as soon as that one serves again: no gap, no repeat, no new beginning."""
    start_app(
        "ingest",
        **FAST,
        SOURCES="replay",
        REPLAY_FILE=write(tmp_path / "recording", 2000),
        REDIS_URL=redis_server.url,
    )
    one, two = (start_app("web", **FAST, REDIS_URL=redis_server.url).started() for _ in range(2))
    seen: list[Event] = []
    await watch(one.url, seen, 5)
    for _ in range(3):
        kill(one)
        await watch(two.url, seen, 5)
        one = start_app("web", port=one.port, **FAST, REDIS_URL=redis_server.url)
        await eventually(partial(serves, one.port), "it is back")
        await watch(one.url, seen, 5)
    ledger = Ledger()
    ledger.add(await store.ticks_after(""))
    judge = Judge(ledger, ["science"]).read(seen)
    assert not judge.wrong
    assert judge.histories == 0


async def watch(url: str, seen: list[Event], events: int) -> None:
    """Get so many events more, from where we are on."""
    last = {"Last-Event-ID": seen[-1].id} if seen else {}
    have = len(seen)
    async with viewing(f"{url}/events", **last) as stream:
        async for event in stream:
            if event.data:
                seen.append(event)
            if len(seen) >= have + events:
                return


def serves(port: int) -> bool:
    with socket.socket() as opened:
        return opened.connect_ex(("127.0.0.1", port)) == 0


UNREAD = """
from app.web import server
server.UNREAD_MILLISECONDS = 2000
from app.__main__ import main
main()
"""
VIEWERS = 20


async def test_viewers_that_do_not_read_are_let_go_and_cost_no_memory(
    store: Store, redis_server: RedisServer, tmp_path: Path, ending: ExitStack
) -> None:
    """With 2 s in the place of 30; meanwhile megabytes of ticks pass each of them by."""
    port, large = free_port(), {"x": {"state": "live", "reason": "x" * 8_000}}
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "BIND": f"127.0.0.1:{port}",
        "REDIS_URL": redis_server.url,
        "HASHTAGS": "science",
        "TICK_SECONDS": "0.1",
    }
    web = ending.enter_context(Process(sys.executable, "-c", UNREAD, "web", cwd=tmp_path, env=env))
    await eventually(lambda: serves(port), web.output)
    now = await commit(store, State(), "first")
    deaf = [ending.enter_context(not_reading(port)) for _ in range(VIEWERS)]
    await eventually(lambda: len(queues(port)) >= VIEWERS, "all are connected")
    before, stalled = peak(web), 0
    for n in range(400):
        told = tick({"science": n + 1}, sources=large)
        now = await commit(store, now, f"c{n}", 1, tick=told)
        await asyncio.sleep(0.01)
        stalled = max(stalled, sum(queue > 10_000 for queue in queues(port)))
    assert stalled >= VIEWERS
    await eventually(lambda: not queues(port), "all were let go")
    assert peak(web) - before < 24
    assert all(each.fileno() >= 0 for each in deaf)


def not_reading(port: int) -> socket.socket:
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.connect(("127.0.0.1", port))
    opened.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    return opened


def queues(port: int) -> list[int]:
    """The bytes that wait in the kernel for each open connection of the server's."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = f":{port:04X}"
    return [int(r[4].partition(":")[0], 16) for r in rows if r[1].endswith(ours) and r[3] == "01"]


def peak(process: Process) -> int:
    """The most memory that the process ever had, in MiB."""
    rows: Any = Path(f"/proc/{process.popen.pid}/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("VmHWM")).split()[1]) // 1024
