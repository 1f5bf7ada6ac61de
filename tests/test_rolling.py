"""Two web processes behind each proxy, restarted one after the other under open streams, and then the
proxy itself: at the root over HTTP/1.1, and under a path of its own with TLS and HTTP/2. `make proxies`
does it with 500 streams behind each (STREAMS=500)."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import product
from pathlib import Path

import aiohttp
import msgspec
import pytest
from deployed import NAMES, Proxy, Shown, Way, tls_folder
from judge import Judge, Ledger
from served import Site, Writer
from servers import App, Event, RedisServer, events_of, eventually, free_port, viewing

from app.messages import Tick
from app.store.keys import LOG, SCHEMA, STATE
from app.store.store import Store, StoreLost

STREAMS = int(os.environ.get("STREAMS", 20))
FEWER = max(STREAMS // 10, 3)
"""With HTTP/2, where each stream is a curl."""
TICK_SECONDS = 0.4
AWAY_SECONDS = 0.3
"""After which a page comes back: sooner than it is asked to."""
DOWN_SECONDS = 6 if STREAMS >= 500 else 0
"""How long a web process is away; Caddy tries for 5."""


class Page:
    """A stream that comes back as a page does, and knows what it got."""

    def __init__(self, way: Way, statuses: Counter[int]) -> None:
        self.way, self.statuses = way, statuses
        self.url = f"{way.url}/events?tags=science"
        self.events = list[Event]()
        self.asked = 0
        """How often it came."""

    async def watch(self) -> None:
        while True:
            self.asked += 1
            with suppress(aiohttp.ClientError):
                await self.read({"Last-Event-ID": self.events[-1].id} if self.events else {})
            await asyncio.sleep(AWAY_SECONDS)

    async def read(self, headers: Mapping[str, str]) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=30)
        async with aiohttp.request("GET", self.url, headers=headers, timeout=timeout) as response:
            self.statuses[response.status] += 1
            if response.status == 200:
                await self.take(events_of(response.content))

    async def take(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            if event.id:
                self.events.append(event)


class SecurePage(Page):
    """By curl, which speaks HTTP/2; it says how it was answered when the answer has ended."""

    async def read(self, headers: Mapping[str, str]) -> None:
        said = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        command = self.way.curl("-w", "%{stderr}%{http_code} %{http_version}", *said, self.url)
        pipe = asyncio.subprocess.PIPE
        curl = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        try:
            assert curl.stdout and curl.stderr
            await self.take(events_of(curl.stdout))
            status, version = (await curl.stderr.read()).decode().split()
            if status != "000":  # nobody answered
                assert version == "2"
                self.statuses[int(status)] += 1
        finally:
            if curl.returncode is None:
                curl.kill()
            await curl.wait()


class Behind:
    """All that watch through one proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy, self.statuses = proxy, Counter[int]()
        way = proxy.way("2" if proxy.shown.tls else "1.1")
        one = SecurePage if proxy.shown.tls else Page
        self.pages = [one(way, self.statuses) for _ in range(proxy.shown.streams)]

    def begin(self, group: asyncio.TaskGroup) -> list["asyncio.Task[None]"]:
        return [group.create_task(page.watch()) for page in self.pages]

    def asked(self) -> int:
        return sum(page.asked for page in self.pages)

    def come_back(self, asked: int) -> bool:
        """Whether a quarter of all came again since there were so many: half have lost their stream."""
        return self.asked() - asked >= len(self.pages) // 4

    def have(self, total: int) -> bool:
        """Whether all have heard of more than that."""
        return all(
            page.events and page.events[-1].data.get("counts", {}).get("science", 0) > total
            for page in self.pages
        )


@pytest.fixture
def webs(
    redis_server: RedisServer, tmp_path: Path, ending: ExitStack
) -> Iterator[Callable[[int], App]]:
    """Start the web process of this number, at its port."""
    ports = {0: free_port(), 1: free_port()}

    def start(number: int) -> App:
        chosen = {"REDIS_URL": redis_server.url, "MAX_VIEWERS_PER_ADDRESS": "10000"}
        chosen |= {"HASHTAGS": "science", "TICK_SECONDS": str(TICK_SECONDS)}
        folder = tmp_path / f"web{number}"
        return ending.enter_context(App(folder, "web", port=ports[number], dev=False, **chosen))

    yield start


@asynccontextmanager
async def ticking(store: Store) -> AsyncIterator[Writer]:
    """A post in each tick, so that who misses one has too few."""
    writer, ended = await Writer(store).open(), asyncio.Event()

    async def tick() -> None:
        while not ended.is_set():  # one that is cancelled half way would leave its connection open
            await writer.commit({"science": 1})
            await asyncio.sleep(TICK_SECONDS)

    async with asyncio.TaskGroup() as group:
        group.create_task(tick())
        yield writer
        ended.set()


@asynccontextmanager
async def restarted(
    webs: Callable[[int], App],
    folder: Path,
    names: tuple[str, ...],
    ways: Sequence[Shown] = (Shown(streams=STREAMS),),
    changes: Mapping[str, str] | None = None,
) -> AsyncIterator[list[Behind]]:
    """Both web processes were restarted under streams through these proxies."""
    running = [await asyncio.to_thread(webs(number).started) for number in (0, 1)]
    ports = (running[0].port, running[1].port)
    behind = []
    with ExitStack() as ending:
        for name, shown in product(names, ways):
            place = folder / f"{name}{'-tls' if shown.tls else ''}"
            proxy = await asyncio.to_thread(Proxy, name, place, ports, shown, changes=changes)
            behind.append(Behind(ending.enter_context(proxy)))
        async with asyncio.TaskGroup() as group:
            tasks = [task for each in behind for task in each.begin(group)]
            for each in behind:
                await eventually(partial(each.have, 0), f"all watch by {each.proxy.name}", 60)
            for number in (0, 1):
                asked = [each.asked() for each in behind]
                assert await asyncio.to_thread(running[number].stop) == 0
                for each, before in zip(behind, asked, strict=True):  # else nobody misses it
                    await eventually(partial(each.come_back, before), "pages find it away")
                await asyncio.sleep(DOWN_SECONDS)
                await asyncio.to_thread(webs(number).started)
            yield behind
            for task in tasks:
                task.cancel()


async def test_no_page_misses_a_tick_and_none_is_refused(
    webs: Callable[[int], App], tmp_path: Path, store: Store
) -> None:
    """By the files in deploy/ every page is back and has each tick, none was answered by anything
    but 200, and so it is after a restart of each proxy."""
    secure = Shown("/pulse/", tls_folder(tmp_path / "tls"), streams=FEWER)
    ways = (Shown(streams=STREAMS), secure)
    async with ticking(store) as writer, restarted(webs, tmp_path, NAMES, ways) as behind:
        for each in behind:
            await asyncio.to_thread(each.proxy.restart)
        total = writer.totals["science"]
        for each in behind:
            await eventually(partial(each.have, total), f"{each.proxy.name}: {each.statuses}", 60)
    ledger = Ledger()
    ledger.add(await store.ticks_after(""))
    for each in behind:
        assert each.statuses.keys() == {200}, (each.proxy.name, each.statuses)
        for page in each.pages:
            judge = Judge(ledger, ["science"]).read(page.events)
            assert not judge.wrong and not judge.histories, each.proxy.name


async def test_without_max_fails_nginx_locks_them_out(
    webs: Callable[[int], App], tmp_path: Path, store: Store
) -> None:
    """The test above can fail: by nginx's own default, 502 although both servers are healthy."""
    # 300 s in place of its 10: on a busy machine the second restart may take as long
    changes = {" max_fails=0": " max_fails=1 fail_timeout=300s"}
    async with ticking(store), restarted(webs, tmp_path, ("nginx",), changes=changes) as behind:
        [nginx] = behind
        nginx.statuses.clear()
        await eventually(lambda: nginx.statuses[502] > STREAMS, f"refused: {nginx.statuses}")


async def test_a_version_beside_another_one(site: Site) -> None:
    """What a later version adds to ticks and to the state is passed over; what an earlier one did not
    tell yet is not there; of another schema nothing is read, and why is said."""
    async with viewing(f"http://127.0.0.1:{site.port}/events?tags=science") as events:
        await anext(events)
        await anext(events)
        await site.store.redis.hset(STATE, "later", "of a version to come")
        await site.publish(later={"science": {"a": [1, 2]}})
        assert (await anext(events)).data["counts"] == {"science": 2}
        await site.publish(sources={})  # people, spellings and what is late are in none of these
        told = (await anext(events)).data
        assert told["counts"] == {"science": 3} and told["sources"] == {}
        await site.store.redis.hset(STATE, "schema", str(SCHEMA + 1))
        with pytest.raises(StoreLost, match="update this program"):
            await site.writer.open()


class TickBefore(msgspec.Struct):
    """What the web process of a version before reads of a tick, each with its type. Where one of
    these becomes another thing, or goes, the data needs another SCHEMA."""

    previous: str
    at: int
    seconds: float
    counts: dict[str, dict[str, int]] = {}
    added: dict[str, dict[str, int]] = {}
    late: dict[str, dict[str, list[tuple[int, int]]]] = {}
    names: dict[str, str] = {}
    gone: list[str] = []
    sources: dict[str, dict[str, str | int | bool]] = {}


async def test_ticks_are_read_one_version_back_and_forth(
    redis_server: RedisServer, tmp_path: Path, ending: ExitStack, store: Store
) -> None:
    """Those of a real ingester by the version before, and those of that one by us."""
    chosen = {"REDIS_URL": redis_server.url, "TICK_SECONDS": "0.1"}
    ending.enter_context(App(tmp_path, "ingest", **chosen))

    async def read() -> list[tuple[bytes, bytes]]:
        return [(id, fields[b"tick"]) for id, fields in await store.redis.xrange(LOG)]

    async def counts() -> bool:
        return sum(b'"counts":{"' in text for _, text in await read()) > 3

    await eventually(counts, "it counts")
    for id, text in await read():
        ours = Tick.from_json(text, id.decode())
        theirs = msgspec.json.decode(text, type=TickBefore)
        again = Tick.from_json(msgspec.json.encode(theirs), id.decode())
        for name in TickBefore.__struct_fields__:
            seen = msgspec.to_builtins(getattr(ours, name))
            assert msgspec.to_builtins(getattr(again, name)) == seen, name
            assert theirs.sources.keys() == ours.sources.keys() != set()
