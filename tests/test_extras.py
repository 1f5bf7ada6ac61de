"""What viewers choose beside the totals: how it reaches them, and what that costs."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import pytest
from raw import WAYS, Raw, events_of, get, lane, shape, unchunked, watching
from served import Site, serving
from servers import RedisServer, eventually
from test_board_api import board, listed
from test_feed import feed_with, tick
from test_takeover import TAKEN, Counted
from test_takeover import counting as counts

from app.messages import dumps
from app.store import keys
from app.store.store import Store, StoreLost
from app.web import sse
from app.web.board import EVENT_SECONDS, BoardEvents, NewestBoard
from app.web.viewer import Viewer


class Notes:
    """A kind of events that a test makes: notes for a hashtag, or for all."""

    def __init__(self) -> None:
        self.new: list[tuple[str, str]] = []
        """Hashtag ("" for all) and text, before they belong to a tick."""
        self.kept: list[tuple[int, str, str]] = []
        self.reads = self.made = 0
        self.lost = False

    async def read(self, store: Store, now: float) -> bool:
        self.reads += 1
        if self.lost:
            raise StoreLost("Redis is gone")
        return bool(self.new)

    def take(self, number: int) -> Collection[str] | None:
        new, self.new = self.new, []
        self.kept += [(number, tag, text) for tag, text in new]
        return None if any(not tag for tag, _ in new) else [tag for tag, _ in new]

    def first(self, tags: Sequence[str]) -> bytes:
        return sse.event(dumps({"first": sorted(tags)}), "note")

    def between(self, tags: Sequence[str], before: int, last: int) -> bytes:
        self.made += 1
        kept = [text for n, tag, text in self.kept if before < n <= last and tag in ("", *tags)]
        return b"".join(sse.event(dumps({"note": text}), "note") for text in kept)


def notes(site: Site) -> Notes:
    """Instead of the board."""
    made = Notes()
    site.feed.extras.kinds = {"board": made}
    return made


async def say(site: Site, made: Notes, text: str, tag: str = "") -> None:
    """Let a note be there, and the tick come with which it goes."""
    made.new.append((tag, text))
    await site.publish(0)
    await eventually(lambda: not made.new, "it belongs to the next tick")
    await site.publish(0)
    await site.hears()


def told(received: bytes) -> list[str]:
    """The names of the events, and what the notes say."""
    found = []
    for block in received.split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
        if b"data" in fields:
            name, text = fields[b"event"].decode(), json.loads(fields[b"data"])
            found.append(text.get("note", "first") if name == "note" else name)
            assert (name == "note") == (b"id" not in fields)
    return found


async def test_by_each_way_the_same_bytes(redis_server: RedisServer) -> None:
    """In the tick's own bytes, after its totals, in chunks of the same length; with the first
    totals for who comes."""
    received = {}
    long = "x" * 3 * sse.PIECE
    for way in WAYS:
        async with serving(redis_server.url, lane(way)) as site:
            made = notes(site)
            client = await watching(Raw(site), get(way, "tags=science&board=1"))
            for text in ("one", long, "three"):
                await say(site, made, text)
                await client.until(b'%b"}\n\n\r\n' % text[-2:].encode())
            received[way] = client.received
            client.close()
            await site.store.redis.flushdb()
    assert len({shape(each) for each in received.values()}) == 1
    chunks = unchunked(received["front door"].partition(b"\r\n\r\n")[2] + b"0\r\n\r\n")[0]
    assert max(map(len, chunks)) == sse.PIECE
    events = told(b"".join(chunks).removeprefix(b"retry: 2000\n\n"))
    assert events == ["counts", "first", "counts", "one", "counts", long, "counts", "three"]


async def test_only_for_those_who_chose_it_and_show_the_hashtag(site: Site, raw: Any) -> None:
    made = notes(site)
    asked = ("board=1&tags=science", "board=1&tags=art,science", "board=1&tags=art", "tags=art")
    queries = [*asked, "board=0"]
    clients = [await watching(raw(), get(WAYS[n % 2], each)) for n, each in enumerate(queries)]
    for text, tag in (("all", ""), ("of art", "art"), ("of science", "science")):
        await say(site, made, text, tag)
    site.feed.close()
    bodies = [events_of((await each.read_all()).partition(b"\r\n\r\n")[2]) for each in clients]
    found = [[each for each in told(body) if each != "counts"] for body in bodies]
    assert found == [
        ["first", "all", "of science"],
        ["first", "all", "of art", "of science"],
        ["first", "all", "of art"],
        [],
        [],
    ]


@pytest.mark.parametrize("way", TAKEN)
async def test_it_is_made_once_and_goes_in_the_ticks_own_send(
    site: Site, raw: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted: however many viewers have chosen it, one send each a tick."""
    counted: Counter[str] = Counter()
    made = notes(site)
    for _ in range(30):
        await watching(raw(), get(way, "tags=science&board=1"))
    for each in site.taken:
        each.connection = Counted(each.connection, counted)  # type: ignore[assignment]
    made.new.append(("", "news"))
    await site.publish(0)
    await eventually(lambda: not made.new, "it belongs to the next tick")
    counted.clear()
    made.made = 0
    monkeypatch.setattr(sse, "chunk", counts(sse.chunk, counted, "chunk"))
    await site.publish()
    await site.hears()
    assert (counted["send"], made.made, counted["chunk"]) == (30, 1, 1)


@pytest.mark.parametrize("way", TAKEN)
async def test_who_was_behind_has_it_later(site: Site, raw: Any, way: str) -> None:
    """All that went with the ticks that it missed, once and in order."""
    made = notes(site)
    slow = await watching(raw(receive_buffer=4096), get(way, "tags=science&board=1"))
    [viewer] = site.taken
    await say(site, made, "x" * 3_000_000)
    assert viewer in viewer.fanout.behind
    for text in "abc":
        await say(site, made, text)
    await slow.until(b'"c"}\n\n\r\n')
    body = unchunked(slow.received.partition(b"\r\n\r\n")[2] + b"0\r\n\r\n")[0]
    found = [each for each in told(b"".join(body)) if each not in ("counts", "first")]
    assert [each[0] for each in found] == ["x", "a", "b", "c"]


async def test_who_was_blocked_on_the_ordinary_way_has_it_with_the_newest_totals() -> None:
    """Of the ticks that it did not get, too."""
    feed, clock = feed_with(tick(1, a=1))
    made = Notes()
    feed.extras.kinds = {"board": made}
    viewer = Viewer(feed, feed.watch(("a",), False, ("board",))).stream()
    assert told(await anext(viewer)) == ["counts", "first"]
    feed.hear(tick(2, a=2))
    assert told(await anext(viewer)) == ["counts"]
    for n in range(3, 30):  # while this piece is written
        feed.hear(tick(n, a=n))
        clock.now += 0.5
    made.kept += [(number, "a", f"with {number}") for number in (2, 9, 29)]
    assert told(await anext(viewer)) == ["counts", "with 9", "with 29"]


async def test_a_resumed_stream_begins_with_what_there_is(site: Site, raw: Any) -> None:
    """Its id is a tick's, as ever."""
    made = notes(site)
    await say(site, made, "before")
    last = site.writer.state.tick
    client = await raw().send(get("front door", f"board=1&last_event_id={last}"))
    await client.until(b'"first"')
    await say(site, made, "after")
    await client.until(b'"after"')
    assert b"before" not in client.received


async def test_without_redis_it_is_looked_for_after_the_next_tick(site: Site, raw: Any) -> None:
    made = notes(site)
    client = await watching(raw(), get("front door", "board=1"))
    made.lost, reads = True, made.reads
    await site.publish()
    await eventually(lambda: made.reads > reads, "it was tried")
    made.lost = False
    await say(site, made, "then")
    await client.until(b'"then"')


async def test_what_a_query_may_say(site: Site, raw: Any) -> None:
    for way, status in (("front door", b"400"), ("takeover", b"400")):
        client = await raw().send(get(way, "board=yes"))
        await client.until(b"HTTP/1.1 %b .*expected one of 0, 1" % status)
    assert not site.feed.fanouts


# the board


async def test_the_board_comes_at_once_and_then_when_it_changed(site: Site, raw: Any) -> None:
    """Every five seconds at most, without the hashtags of one author; its time alone is no
    change."""
    site.feed.newest_board.clock = site.clock

    async def has(text: str) -> None:
        await site.store.redis.set(keys.BOARD, text)
        site.clock.ahead += EVENT_SECONDS
        for _ in range(2):
            await site.publish(0)
            await site.hears()

    await has(board(used=[listed("first"), listed("bot", 0.6)]))
    await eventually(lambda: site.feed.newest_board.found, "it was read")
    await has(board(used=[listed("first"), listed("bot", 0.6)]))
    client = await raw().send(get("front door", "board=1"))
    await client.until(rb'event: counts\n.*event: board\ndata: {[^\n]*"first"[^\n]*}\n\n\r\n')
    same = json.loads(board(used=[listed("first"), listed("bot", 0.6)]))
    await has(dumps(same | {"at": 5}))
    await has(board(used=[listed("second")]))
    await eventually(lambda: b"second" in site.feed.extras.kinds["board"].first(()), "it was read")
    await site.publish()
    await client.until(b'"second"')
    assert client.received.count(b"event: board") == 2
    assert b'"bot"' not in client.received


async def test_a_board_event_is_made_every_five_seconds_at_most(redis_server: RedisServer) -> None:
    now = 100.0
    async with serving(redis_server.url) as site:
        events = BoardEvents(NewestBoard(lambda: now))
        seen = []
        for n in range(60):
            await site.store.redis.set(keys.BOARD, board(used=[listed(f"t{n}")]))
            if await events.read(site.store, now):
                events.take(n)
                seen.append(now)
                assert events.between((), n - 1, n) == events.first(()) != b""
                assert events.between((), n, n + 1) == b""
            now += 0.5
        assert [b - a for a, b in pairwise(seen)] == [EVENT_SECONDS] * 5
        await site.store.redis.delete(keys.BOARD)
        now += 10
        assert not await events.read(site.store, now)
        assert events.first(()) == b"", "there is none any more"
