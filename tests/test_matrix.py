"""Every proxy in deploy/, under the root and a path of its own, over HTTP/1.1 and with TLS and HTTP/2:
what was found stands in docs/proxies.md, which `make proxies` writes; that takes minutes, so without
it one of them stands for all, and nobody looks at the time."""

import asyncio
import os
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from deployed import NAMES, Proxy, Shown, Way, streaming, tls_folder, version_of
from served import Site
from servers import ROOT, eventually
from test_deployed import check_page, started
from test_rolling import FEWER, STREAMS

from app.process import beside

LONG = os.environ.get("PROXIES") == "all"
EVENTS = 40 if LONG else 5
LATEST = 100
"""Milliseconds that an event may come later than to a direct client, beside what the machine does."""
TRIES = 3 if LONG else 1
"""The machine does other things, too; a proxy that keeps events back would do so each time."""
IDLE, WATCHED = 6, 10 if LONG else 7
"""Seconds after which the proxy cuts a silent stream, and that one without a change is watched."""
CELLS = [
    (name, path, version) for name in NAMES for path in ("/", "/pulse/") for version in ("1.1", "2")
]
TABLE = """# Behind proxies

Written by `make proxies` on {date}, with the files in [deploy/](../deploy/README.md): curl beside the
proxy and the app on one machine, the proxy's gzip on. "Late" is how much later than to a direct client
an event came: half of {events} within the first figure, the latest after the second (of up to three
tries the best). "Direct" is the same of a second direct client, the latest: so much is the doing of the
machine, which had a load of {load:.0f} on {cores} cores. "Idle": a stream without a change outlived
{watched} s of a proxy that cuts a silent one after {idle} s (Caddy never does); "left": when its client
went away, the app had let go of it after that time; "restart": that of the proxy was missed by no page.
Two web processes restarted one after the other, under {streams} streams behind each proxy at the root
over HTTP/1.1, and {fewer} under a path of its own with TLS and HTTP/2: tests/test_rolling.py.

| proxy | path | HTTP | page and files | late: half, latest | direct | idle | left | restart |
|---|---|---|---|---|---|---|---|---|
{rows}
"""


@dataclass(order=True)
class Late:
    """How much later events came than to a direct client, in milliseconds."""

    latest: float
    half: float
    """Of them came within this time."""
    direct: float
    """The latest of a second direct client: what is not the proxy's doing."""


@dataclass
class Row:
    """What was found of one proxy, shown in one way."""

    name: str
    """And its version."""
    path: str
    version: str
    """Of HTTP; 2 is with TLS."""
    files: int
    """How many came, beside the page."""
    late: Late
    left: float
    """Milliseconds until a client was let go of."""

    def __str__(self) -> str:
        secure = "2, TLS" if self.version == "2" else self.version
        return (
            f"| {self.name} | `{self.path}` | {secure} | all {self.files} | "
            f"{self.late.half:.1f}, {self.late.latest:.1f} ms | {self.late.direct:.1f} ms | "
            f"outlived | {self.left:.0f} ms | none missed |"
        )


async def test_the_whole_matrix(ending: ExitStack, tmp_path: Path, site: Site) -> None:
    rows = []
    tls = tls_folder(tmp_path / "tls")
    for name, path, version in CELLS if LONG else [("Apache", "/pulse/", "2")]:
        how = Shown(path, tls if version == "2" else None, idle=IDLE)
        folder = tmp_path / f"{name}{path.strip('/')}{version}"
        proxy = await started(ending, name, folder, site, how)
        rows.append(await tried(proxy, version, site))
    if LONG:
        write(rows)
        for row in rows:
            assert row.late.latest <= LATEST + row.late.direct, row


async def test_without_no_delay_haproxy_keeps_events_back(
    ending: ExitStack, tmp_path: Path, site: Site
) -> None:
    """The matrix can fail: 206 ms over HTTP/1.1, where `option http-no-delay` makes it 0.3. Half of
    the events beside each other, since a busy machine may hold up any one."""
    half = []
    for changes in ({}, {"    option http-no-delay\n": ""}):
        folder, ports = tmp_path / str(len(half)), (site.port, site.port)
        proxy = await asyncio.to_thread(Proxy, "HAProxy", folder, ports, changes=changes)
        ending.enter_context(proxy)
        half.append((await lateness(proxy.way("1.1"), site)).half)
    assert half[1] > 5 * max(half[0], 1), half


def write(rows: list[Row]) -> None:
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    text = TABLE.format(
        streams=STREAMS,
        fewer=FEWER,
        load=os.getloadavg()[2],
        cores=os.cpu_count(),
        date=date,
        events=EVENTS,
        idle=IDLE,
        watched=WATCHED,
        rows="\n".join(map(str, rows)),
    )
    (ROOT / "docs" / "proxies.md").write_text(text)


async def tried(proxy: Proxy, version: str, site: Site) -> Row:
    way = proxy.way(version)
    files = await check_page(way)
    late = await lateness(way, site)
    for _ in range(TRIES - 1):
        if late.latest > LATEST:
            late = min(late, await lateness(way, site))
    left = await outlive(way, site)
    await restart(proxy, way, site)
    await asyncio.to_thread(proxy.end)
    name = f"{proxy.name} {version_of(proxy.name)}"
    return Row(name, proxy.shown.path, version, files, late, left)


async def lateness(way: Way, site: Site) -> Late:
    """How much later than to a direct client events came this way."""
    straight = Way(f"http://127.0.0.1:{site.port}")
    ways = {"direct": straight, "direct, too": straight, "behind": way}
    came: dict[str, dict[int, float]] = {name: {} for name in ways}
    async with AsyncExitStack() as reading:
        for name, one in ways.items():
            await reading.enter_async_context(beside(read(one, came[name]), name))
        await eventually(lambda: all(came.values()), "all see")
        for _ in range(EVENTS):
            await site.publish()
            await asyncio.sleep(0.1)
        last = site.writer.totals["science"]
        await eventually(lambda: all(last in one for one in came.values()), "all have all")
    first, again, behind = came.values()
    both = first.keys() & again.keys() & behind.keys()
    assert len(both) > EVENTS
    late = [1000 * (behind[total] - first[total]) for total in both]
    return Late(max(late), median(late), max(1000 * abs(again[n] - first[n]) for n in both))


async def read(way: Way, came: dict[int, float]) -> None:
    """When each total came first."""
    async with streaming(way) as events:
        async for event in events:
            if event.data:
                came.setdefault(event.data["counts"]["science"], time.monotonic())


async def outlive(way: Way, site: Site) -> float:
    """A hashtag that nobody uses, while ticks go on; the stream is one and the same to the end.
    Milliseconds until it is let go of, when its client has gone away."""
    ended = asyncio.Event()

    async def tick() -> None:
        while not ended.is_set():  # a commit that is cancelled half way would count as the next one
            await site.publish(science=0)
            await asyncio.sleep(0.5)

    async with asyncio.TaskGroup() as group:
        group.create_task(tick())
        async with streaming(way, "football") as events, asyncio.timeout(WATCHED + IDLE):
            end = time.monotonic() + WATCHED
            assert (await anext(events)).retry == 2000
            while time.monotonic() < end:
                assert (await anext(events)).data["counts"] == {"football": 0}
            assert site.feed.fanouts
        gone = time.monotonic()
        await eventually(lambda: not site.feed.fanouts, "the viewer is gone")
        left = time.monotonic() - gone
        ended.set()
    return 1000 * left


async def restart(proxy: Proxy, way: Way, site: Site) -> None:
    """What was missed meanwhile comes by the next one, in order."""
    async with streaming(way) as events:
        await anext(events)
        first = await anext(events)
        total = first.data["counts"]["science"]
        await asyncio.to_thread(proxy.end)
        await site.publish()
        await site.publish()
        await asyncio.to_thread(proxy.start)
    async with streaming(way, last=first.id) as events:
        await anext(events)
        came = [(await anext(events)).data["counts"]["science"] for _ in range(2)]
    assert came == [total + 1, total + 2]
