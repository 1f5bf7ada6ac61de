"""Ten thousand malformed requests and a flood, while 200 viewers watch: they do not notice, and
nothing of it stays. `make soak` has ten times as many."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import groupby
from pathlib import Path

import h2.config
import h2.connection
from hostile_visitor import Flood, HostileVisitor, heads_of_http2, watching
from malformed import KINDS
from served import Writer
from servers import App, RedisServer, eventually, get
from test_shutdown import COMPLAINTS

from app.process import end_of
from app.store.store import Store, connect

ATTEMPTS, SEED = int(os.environ.get("ATTEMPTS", 10_000)), int(os.environ.get("SEED", 1))
REQUESTS, VIEWERS = ATTEMPTS // 5, 200
LONG = 50_000
"""With so many, and nothing beside it, 99 of 100 ticks are there within a second."""
LISTENS = "0A"
"""The kernel's number for a socket that listens."""
BEAT_SECONDS = 0.25
OWN_FILES = 130
"""At most 100 connections to Redis, and some more."""
MEBIBYTES = 24
"""So much more memory the same once more may take; a leak of 3 KB a request would be 36."""


@asynccontextmanager
async def posting(redis_url: str) -> AsyncIterator[list[str]]:
    """Ticks that each have a post, four a second; their ids."""
    redis = connect(redis_url)
    writer = await Writer(Store(redis)).open()
    ids: list[str] = []

    async def post() -> None:
        while True:
            await writer.commit({"science": 1})
            ids.append(writer.state.tick)
            await asyncio.sleep(BEAT_SECONDS)

    task = asyncio.create_task(post())
    try:
        await eventually(lambda: ids, "there is a tick")
        yield ids
    finally:
        await end_of(task)
        await redis.aclose()


async def test_a_hostile_visitor_disturbs_nobody(
    redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """10,000 attempts of every kind and 2,000 requests of one address as fast as they are
    answered: each of 200 viewers has every tick, once; no 500, no traceback; descriptors and
    memory are as before."""
    settings = {"REDIS_URL": redis_server.url, "TRUSTED_PROXIES": "127.0.0.1/32"}
    async with posting(redis_server.url) as ids:
        web = start_app("web", **settings, dev=False)
        await asyncio.to_thread(web.started)
        async with watching(web.port, VIEWERS) as honest:
            await attack(web, 0, ATTEMPTS // 8, REQUESTS // 8)
            await eventually(lambda: visitors(web) == VIEWERS, "all others are gone")
            memory = resident(web)
            visitor, flood = await attack(web, SEED, ATTEMPTS, REQUESTS)
            await eventually(lambda: visitors(web) == VIEWERS, "descriptors are back")
            assert len(open_files(web)) <= VIEWERS + OWN_FILES
            assert resident(web) - memory <= MEBIBYTES
            last = len(ids)
            await eventually(lambda: all(ids[last - 1] in one.ids for one in honest), "all have it")
    late: Counter[int] = sum((each.late for each in honest), Counter())
    if ATTEMPTS >= LONG:
        assert sum(n for tenths, n in late.items() if tenths >= 10) <= late.total() / 100
    for each in honest:
        begin = ids.index(each.ids[0])
        heard = [id for id, _ in groupby(each.ids)]  # the newest may come again, as a heartbeat
        assert heard[: last - begin] == ids[begin:last], "every tick, once, in order"
        assert each.visits == 1, "nobody was disconnected"
    assert visitor.harm.errors == []
    assert visitor.harm.tried.total() >= ATTEMPTS
    assert set(visitor.harm.tried) - {"cut off"} == {kind.__name__ for kind in KINDS}
    assert {200, 400, 404, 431} <= set(visitor.harm.statuses)
    assert {200, 404} <= set(visitor.harm.http2)
    assert 0 < len(flood.streams) <= 100 and flood.statuses[429] > REQUESTS / 10
    assert set(flood.statuses) <= {200, 429, 503}
    assert (await get(f"{web.url}/healthz"))[0] == 200
    assert not COMPLAINTS.search(web.output), web.output[-3000:]


async def attack(web: App, seed: int, attempts: int, requests: int) -> tuple[HostileVisitor, Flood]:
    visitor, flood = HostileVisitor(web.port, seed), Flood(web.port)
    await asyncio.gather(visitor.run(attempts), flood.run(requests))
    return visitor, flood


def visitors(web: App) -> int:
    """Connections to it that it did not close yet, whatever their clients did."""
    mine = set()
    for fd in open_files(web):
        with suppress(FileNotFoundError):
            mine.add(str(fd.readlink()))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    here = [row for row in rows if row[1].endswith(f":{web.port:04X}") and row[3] != LISTENS]
    return sum(f"socket:[{row[9]}]" in mine for row in here)


def open_files(web: App) -> list[Path]:
    return list(Path(f"/proc/{web.popen.pid}/fd").iterdir())


def resident(web: App) -> float:
    """MiB of memory."""
    return int(Path(f"/proc/{web.popen.pid}/statm").read_text().split()[1]) / 256


def test_attempts_are_the_same_for_the_same_seed() -> None:
    """So that what was found can be looked at again."""
    for kind in KINDS:
        one, two = (kind(random.Random("7 1")) for _ in range(2))
        assert one == two


def test_an_answer_of_http2_is_judged_like_any_other() -> None:
    """A 500 is an error, and a 503 that does not say when to come back."""
    for head, is_wrong in (
        ([(":status", "200")], False),
        ([(":status", "500")], True),
        ([(":status", "503")], True),
        ([(":status", "503"), ("retry-after", "2")], False),
    ):
        visitor = HostileVisitor(0, 1)
        server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        server.initiate_upgrade_connection(b"")
        server.send_headers(1, head, end_stream=True)
        sent = server.data_to_send()
        for received in (sent, b"HTTP/1.1 101 \r\nUpgrade: h2c\r\n\r\n" + sent):
            visitor.judge(b"", received)
            assert [dict(head)] == [*heads_of_http2(received)]
        assert len(visitor.harm.errors) == 2 * is_wrong
