"""The past of real recordings: /api/history against a count that shares no code with ours.

A recording is replayed over the last fifty minutes by a clock that the test sets. Which posts
name which hashtag is read from the networks' own messages, by a few lines in this file.
"""

import json
from collections import Counter as Plain
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any
from unicodedata import normalize
from urllib.parse import quote

import pytest
from network import settings, truth
from servers import App, RedisServer, eventually, get
from writing import DatedStore

from app.hashtags import MOST_TAGS, extract
from app.ingest.clock import RedisClock
from app.ingest.counter import Counter
from app.ingest.writer import Writer
from app.messages import MINUTE, Post, SourceState
from app.sources.replay import Replay
from app.store.store import connect

SPAN = 50 * 60
"""Seconds over which a recording is spread; the last of them is now."""
MOMENTS = 150
"""So many different times, at most, at which posts are handed over."""
LOST_TICKS = 0.2
"""Of all ticks, how many find no Redis: what they have is written by a later one."""

Message = Mapping[str, Any]
Count = dict[str, Plain[int]]
"""Hashtag to minute since 1970 to posts."""


def on_x(message: Message) -> Iterator[Any]:
    post = message["data"]
    for part in (post, post.get("note_tweet") or {}):
        for entity in (part.get("entities") or {}).get("hashtags") or ():
            yield entity["tag"]


def on_bluesky(message: Message) -> Iterator[Any]:
    commit = message["commit"]
    if commit["operation"] == "create":
        for facet in commit["record"].get("facets") or ():
            for feature in facet["features"]:
                if feature["$type"] == "app.bsky.richtext.facet#tag":
                    yield feature.get("tag")
        yield from commit["record"].get("tags") or ()


def on_mastodon(message: Message) -> Iterator[Any]:
    if message["event"] == "update":
        status = json.loads(message["payload"])
        if not status["reblog"]:
            yield from (tag["name"] for tag in status["tags"])


RECORDED = {
    "x_v2_twarc_csv": on_x,
    "bsky_posts_wrapped": on_bluesky,
    "mastodon_client_fixtures": on_mastodon,
}


def folded(spellings: Iterable[Any]) -> list[str]:
    """A post's hashtags, each once; the first thirty."""
    texts = [one for one in spellings if isinstance(one, str) and len(one) <= 100]
    keys = [normalize("NFKC", normalize("NFKC", one).casefold()).lstrip("#") for one in texts]
    return list(dict.fromkeys(key for key in keys if key))[:30]


class Recorder:
    """What an ingester does with a recording, at times that the test sets."""

    def __init__(self, store: DatedStore, file: Path, tracked: Sequence[str], seed: str) -> None:
        self.store, self.chance = store, Random(seed)
        chosen = settings(tracked, sources="replay", replay_file=str(file), replay_speed="0")
        self.source = Replay(chosen, lambda: store.now / 1000)
        self.counter = Counter(frozenset(tracked))
        self.writer = Writer(store, tracked, 10**6, RedisClock(lambda: store.up), "the test")
        self.lines = file.read_bytes().splitlines(keepends=True)
        self.handed: dict[int, int] = {}
        """The byte after a line to the minute at which its post was handed over."""
        self.told: dict[str, SourceState] = {}
        """What the source did when the newest post came; in the end, that it has ended."""

    async def run(self) -> None:
        """Replay all of it, up to the present moment."""
        self.store.now = (await super(DatedStore, self.store).read({}))[0].time - SPAN * 1000
        self.state = await self.store.load()
        self.writer.begin(self.state)
        begin, times = self.store.now, sorted(self.chance.sample(range(SPAN), MOMENTS))
        moments = iter(sorted(self.chance.choices(times, k=len(self.lines))))
        async with aclosing(self.source.posts("")) as posts:
            async for post in posts:
                self.told = {"replay": self.source.public_state()}
                await self.until(begin + next(moments) * 1000)
                self.hand_over(post)
        await self.tick(is_lost=False)
        await self.until(begin + SPAN * 1000)
        self.told = {"replay": self.source.public_state()}
        await self.tick(is_lost=False)

    async def until(self, moment: int) -> None:
        """What was handed over is of the time before; then it is this time, and a tick begins."""
        if moment > self.store.now:
            await self.tick(self.chance.random() < LOST_TICKS)
            self.store.up += (moment - self.store.now) // 1000
            self.store.now = moment
            self.counter.begin(moment // MINUTE)

    def hand_over(self, post: Any) -> None:
        """Into the counter, as the ingester does it."""
        assert isinstance(post, Post)
        self.handed[int(post.cursor.partition(":")[2])] = self.store.now // MINUTE
        self.counter.add(post, self.source.complete, self.source.catching_up)

    async def tick(self, is_lost: bool) -> None:
        """The end of one: all that waits is written, but where Redis cannot be had."""
        self.counter.begin(self.store.now // MINUTE)
        if not is_lost:
            cut = self.counter.cut()
            self.state = await self.writer.write(cut, self.state, self.told, 0.5, 10)
            assert self.state.commit == cut.name

    def count(self, tags_of: Callable[[Message], Iterator[Any]]) -> Count:
        """The independent one: from the wire, and the minutes of the test's own clock."""
        found: Count = {}
        end = 0  # of the line, in bytes
        for line in self.lines:
            end += len(line)
            for tag in folded(tags_of(json.loads(line))):
                found.setdefault(tag, Plain())[self.handed[end]] += 1
        return found


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[DatedStore]:
    redis = connect(redis_server.url)
    yield DatedStore(redis)
    await redis.aclose()


async def history(app: App, tags: Sequence[str], by: str = "") -> dict[str, Any]:
    """The points of each of these hashtags, however many they are."""
    found: dict[str, Any] = {}
    for n in range(0, len(tags), MOST_TAGS):
        some = quote(",".join(tags[n : n + MOST_TAGS]))
        status, told = await get(f"{app.url}/api/history?range=1h&by={by}&tags={some}")
        assert (status, told["step"]) == (200, MINUTE), told
        found |= told["series"]
    assert list(found) == list(tags)
    return found


def rises(points: Iterable[tuple[int, int | None]]) -> dict[int, int]:
    """Minute to what was added in it; where the total is not known, that is of the next one."""
    found, before = {}, 0
    for at, total in points:
        if total is not None and total != before:
            found[(at - 1) // MINUTE] = total - before
            before = total
    return found


@pytest.mark.parametrize("folder", RECORDED)
async def test_the_past_of_a_recording_is_what_is_in_the_file(
    recordings: Path,
    redis_server: RedisServer,
    store: DatedStore,
    start_app: Callable[..., App],
    folder: str,
) -> None:
    """Of every hashtag that can be typed, minute by minute and in sum, tracked or not."""
    expected = truth(recordings, folder)
    typed = [tag for tag in expected if extract(f"#{tag}") == [tag]]
    tracked = typed[:2]
    recorder = Recorder(store, recordings / folder / "wire_reduced.jsonl", tracked, folder)
    await recorder.run()
    counted = recorder.count(RECORDED[folder])
    assert {tag: minutes.total() for tag, minutes in counted.items()} == expected
    assert len({minute for minutes in counted.values() for minute in minutes}) > 10

    app = start_app("web", REDIS_URL=redis_server.url, HASHTAGS=",".join(tracked)).started()
    await eventually(lambda: has_read(app), "the web process has read the ticks")
    asked = await history(app, typed)
    assert {tag: rises(points) for tag, points in asked.items()} == {
        tag: dict(counted[tag]) for tag in typed
    }
    assert {tag: sum(rises(points).values()) for tag, points in asked.items()} == {
        tag: expected[tag] for tag in typed
    }
    parts = await history(app, typed[:MOST_TAGS], "source")
    assert {tag: list(of) for tag, of in parts.items()} == {tag: ["replay"] for tag in parts}
    assert all(rises(of["replay"]) == counted[tag] for tag, of in parts.items())


async def has_read(app: App) -> bool:
    return (await get(f"{app.url}/api/counts"))[0] == 200
