"""Three networks of strangers at once: honest posts are counted to the last one, nothing grows,
no page is silent. `make soak` has it for longer: STRANGE_SECONDS=3600."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from hostile_others import TRACKED, HostileMastodon, HostileX, Statuses, Tweets
from hostile_source import HostileServer, Jetstream
from servers import App, Event, RedisServer, eventually, viewing
from stored import totals_by_source
from strangers import HONEST, Strangers
from x_server import x_server

from app.store.store import Store, connect

SECONDS, SEED = float(os.environ.get("STRANGE_SECONDS", 50)), int(os.environ.get("SEED", 1))
MOST_MEMORY = 400
"""MiB of the ingester, of the web process, and of Redis."""
MORE_SHARE, MORE_MEBIBYTES = 0.1, 8
"""So much more memory the last third of a long run may have than the one before: it is level."""
MOST_HASHTAGS = 20_000
TICK, LATE_SECONDS, SILENT_SECONDS = 0.5, 1.0, 6.0
"""By so much may a tick come late, and so long may a page hear nothing: where it runs for long,
with nothing beside it."""
LONG_SECONDS = 100
LOOK_SECONDS = 2.0
"""How often the log is read: in a flood its oldest ticks go after some seconds."""
NOBODYS = "nobodyhasusedthis"
SELECTIONS = [TRACKED, HONEST[:20], HONEST[20:40], [HONEST[49], NOBODYS], [NOBODYS]]
"""What is watched: the last one has nothing to tell, and is to be told so."""


@dataclass
class Page:
    """What a viewer of these hashtags was sent, and when it came."""

    tags: Sequence[str]
    streams: int = 0
    """How many ended."""
    seen: list[tuple[float, Event]] = field(default_factory=list)

    def shows(self, truth: Mapping[str, int]) -> bool:
        """Whether the last event has the truth."""
        wanted = {tag: truth.get(tag, 0) for tag in self.tags}
        return bool(self.seen) and self.seen[-1][1].data["counts"] == wanted

    def silence(self) -> float:
        """The longest time in which nothing came."""
        return max((two - one for (one, _), (two, _) in pairwise(self.seen)), default=SECONDS)


@dataclass
class Networks:
    """The three of them, each with strangers of its own."""

    bluesky: HostileServer
    mastodon: HostileMastodon
    x: HostileX

    @property
    def strangers(self) -> dict[str, Strangers]:
        return {
            "bluesky": self.bluesky.strangers,
            "mastodon": self.mastodon.strangers,
            "x": self.x.strangers,
        }

    @property
    def truth(self) -> dict[str, dict[str, int]]:
        """Network to honest hashtag to posts."""
        return {
            name: {tag: each.truth[tag] for tag in HONEST} for name, each in self.strangers.items()
        }

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "SOURCES": "bluesky,mastodon,x",
            "JETSTREAM_URL": self.bluesky.urls,
            "MAX_HASHTAGS": MOST_HASHTAGS,
            **self.mastodon.settings,
            **self.x.settings,
        }

    def end(self) -> None:
        """No more new posts."""
        self.bluesky.over = self.mastodon.over = self.x.over = True

    def cuts(self) -> dict[str, int]:
        return {
            "bluesky": self.bluesky.cuts,
            "mastodon": len(self.mastodon.fired),
            "x": self.x.fired.count("half"),
        }


@asynccontextmanager
async def networks() -> AsyncIterator[Networks]:
    async with (
        HostileServer(Jetstream(SEED), 300, -300) as bluesky,
        HostileMastodon(Statuses(SEED + 1)) as mastodon,
        x_server(HostileX(strangers=Tweets(SEED + 2))) as x,
    ):
        assert isinstance(x, HostileX)
        yield Networks(bluesky, mastodon, x)


async def test_honest_posts_are_exact_among_the_worst_of_everything(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Names of every length up to a megabyte and of every plane, storms of marks, ten thousand
    hashtags, times of every year, no JSON, repeats, another order, messages that no server
    should send, cut lines, and hosts that are five minutes apart; on Bluesky at full speed, and
    beside it in a Mastodon server's stream and timelines and in X's stream."""
    chosen = {"REDIS_URL": redis_server.url, "HASHTAGS": ",".join(TRACKED)}
    pages, steps = [Page(tags) for tags in SELECTIONS], list[float]()
    async with networks() as those:
        with (
            App(tmp_path / "web", "web", **chosen) as web,
            App(tmp_path / "ingest", "ingest", **chosen, **those.settings) as ingester,
        ):
            await asyncio.to_thread(web.started)
            watching = asyncio.gather(
                *(watch(web, page) for page in pages), look(redis_server, steps)
            )
            processes = {"web": web, "ingest": ingester, "redis": redis_server}
            memory = await memory_meanwhile(processes, those)
            those.end()
            with suppress(AssertionError):  # what is wrong is said next
                await eventually(lambda: counted(redis_server, those), "all is counted", 90)
            assert wrong(await honest(redis_server), those.truth) == {}
            told = sum((each.truth for each in those.strangers.values()), Counter())
            await eventually(lambda: all(p.shows(told) for p in pages), "every page shows it", 20)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            outputs = web.output + ingester.output
    late, silent = max(steps) - TICK, max(page.silence() for page in pages)
    ended = sum(page.streams for page in pages)
    report(those, memory, len(steps), late, silent, ended)
    assert all(those.cuts().values()), "each line was cut"
    assert those.mastodon.strangers.made["reply"], "timelines had what the stream had not"
    assert "Traceback" not in outputs, outputs
    assert max(map(max, memory.values())) <= MOST_MEMORY, memory
    if SECONDS >= LONG_SECONDS:
        assert late <= LATE_SECONDS
        assert silent <= SILENT_SECONDS
        for name, samples in memory.items():
            assert is_level(samples), (name, thirds(samples))


async def watch(web: App, page: Page) -> None:
    """All that a viewer is sent, until cancelled; a stream that ends after its hour is opened
    again where it ended, as browsers do."""
    url = f"{web.url}/events?tags={','.join(page.tags)}"
    while True:
        resumed = f"&last_event_id={page.seen[-1][1].id}" if page.seen else ""
        async with viewing(url + resumed) as stream:
            async for event in stream:
                if event.name == "counts":
                    page.seen.append((asyncio.get_running_loop().time(), event))
        page.streams += 1


async def look(server: RedisServer, steps: list[float]) -> None:
    """Seconds between one tick and the next, of all that were stored; until cancelled."""
    store = Store(connect(server.url))
    last, before = "", 0
    try:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for tick in await store.ticks_after(last):
                steps += [(tick.at - before) / 1000] if before else []
                last, before = tick.id, tick.at
    finally:
        await store.redis.aclose()


async def memory_meanwhile(processes: dict[str, Any], those: Networks) -> dict[str, list[int]]:
    """The memory that each process has, five times a second, in MiB. Before the end there are no
    more replies, so that timelines, each asked for once a minute, have time to tell of them."""
    memory: dict[str, list[int]] = {name: [] for name in processes}
    now = asyncio.get_running_loop().time
    begin = now()
    while now() < begin + SECONDS:
        those.mastodon.replies = now() < begin + max(SECONDS - 90, SECONDS / 3)
        for name, process in processes.items():
            assert process.running, process.output
            pages = Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1]
            memory[name].append(int(pages) // 256)
        await asyncio.sleep(0.2)
    return memory


def thirds(samples: list[int]) -> list[int]:
    """The most of each third of the time."""
    third = len(samples) // 3
    return [max(samples[n * third : (n + 1) * third]) for n in range(3)]


def is_level(samples: list[int]) -> bool:
    """Whether the last third has hardly more than the one before."""
    _, middle, last = thirds(samples)
    return last <= middle * (1 + MORE_SHARE) + MORE_MEBIBYTES


def test_what_grows_is_told_from_what_is_level() -> None:
    """The check itself: a leak of a tenth of all memory in each third is found."""
    assert is_level([*range(100, 200), *[200] * 100, *[215] * 100])
    assert not is_level([*range(100, 400)])


async def counted(server: RedisServer, those: Networks) -> bool:
    return await honest(server) == those.truth


async def honest(server: RedisServer) -> dict[str, dict[str, int]]:
    """The totals of the honest hashtags, network by network."""
    store = Store(connect(server.url))
    try:
        found = await totals_by_source(store)
    finally:
        await store.redis.aclose()
    networks = ("bluesky", "mastodon", "x")
    return {name: {tag: found.get(tag, {}).get(name, 0) for tag in HONEST} for name in networks}


def wrong(
    found: dict[str, dict[str, int]], truth: dict[str, dict[str, int]]
) -> dict[tuple[str, str], tuple[int, int]]:
    """Network and hashtag to what was counted and what was posted, where these differ."""
    return {
        (name, tag): (found[name][tag], posts)
        for name, each in truth.items()
        for tag, posts in each.items()
        if found[name][tag] != posts
    }


def report(
    those: Networks,
    memory: dict[str, list[int]],
    ticks: int,
    late: float,
    silent: float,
    ended: int,
) -> None:
    uses = {name: sum(truth.values()) for name, truth in those.truth.items()}
    made = {name: dict(each.made) for name, each in those.strangers.items()}
    peaks = {name: thirds(samples) for name, samples in memory.items()}
    sys.stdout.write(
        f"\nseed {SEED}: {those.bluesky.next} messages of Bluesky, honest uses {uses}, cuts "
        f"{those.cuts()}, MiB by thirds {peaks}, {ticks} ticks, the latest by {late:.1f} s, no page "
        f"silent for more than {silent:.1f} s, {ended} streams ended; {made}\n"
    )
