"""Viewers that read slowly, or stop: what is kept for them is bounded in sum, and no line is logged."""

import logging
from collections import Counter
from typing import Any

import pytest
from raw import Raw, get, lane
from served import Site, serving
from servers import RedisServer, eventually
from test_endings import stall
from test_takeover import counting, next_tick
from test_takeover import way as way

from app.web import shared
from app.web.shared import Shared
from app.web.sse import PIECE
from app.web.taken import Taken


async def test_slow_readers_of_long_pasts_are_bounded_in_sum(
    site: Site, raw: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all that is read is too much, those who read for longest are let go; the others get
    all of it, and whoever is quick does, too."""
    while len(site.feed.ticks.heads) < 6000:
        site.feed.ticks.hear(next_tick(site, 10**15), 0.5, site.clock())
    counted: Counter[str] = Counter()
    monkeypatch.setattr(Taken, "take", counting(Taken.take, counted, "take"))
    monkeypatch.setattr(shared, "MOST_READ", 10**6)
    slow = [raw(receive_buffer=4096) for _ in range(20)]
    for n, each in enumerate(slow):
        await each.send(get(way, f"tags=science&history={900 - n}"))
        await eventually(lambda n=n: counted["take"] == n + 1, "it is served")
    feed = site.feed.shared
    assert 0 < feed.held == sum(len(data) for data, _ in feed.reading.values()) <= 10**6
    assert 0 < len(site.taken) < 20
    known = {
        each for shown in site.feed.fanouts.values() for each in (*shown.viewers, *shown.behind)
    }
    assert known == set(site.taken)
    quick = await raw().send(get(way, "tags=science&history=600"))
    await quick.until(rb"id: %s\n\n\r\n" % site.feed.ticks.heads[-1].id.encode())
    kept = len(site.taken)
    for each in site.taken:
        each.ends = site.clock()
    whole = [(await each.read_all()).endswith(b"\r\n0\r\n\r\n") for each in slow]
    assert whole == [False] * (21 - kept) + [True] * (kept - 1)
    assert not feed.reading and not feed.held


def test_what_is_read_is_shared_and_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By all readers of the same bytes; what is no longer than a piece is not counted."""
    gone: list[str] = []

    class Reader:
        def __init__(self, name: str) -> None:
            self.name = name

        def let_go(self) -> None:
            gone.append(self.name)
            for data in pasts:
                ours.end(self, data)

    ours, pasts = Shared(), [bytes([n]) * 2 * PIECE for n in range(4)]
    monkeypatch.setattr(shared, "MOST_READ", 4 * PIECE)
    ours.begin(Reader("short"), bytes(PIECE))
    assert not ours.held
    for name, past in (("a", 0), ("b", 0), ("c", 1), ("d", 0)):
        ours.begin(Reader(name), pasts[past])
    assert ours.held == 4 * PIECE and not gone
    ours.begin(Reader("e"), pasts[2])
    assert ours.held == 4 * PIECE and sorted(gone) == ["a", "b", "d"]
    monkeypatch.setattr(shared, "MOST_READ", 0)
    ours.begin(Reader("f"), pasts[3])
    assert ours.held == 2 * PIECE and gone[3:] == ["c", "e"], "the newest may stay"


async def test_slow_readers_of_the_ordinary_way_are_bounded_in_sum(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them goes in a turn of its own, and the loop does not wait for that."""
    monkeypatch.setattr(shared, "MOST_READ", 10**6)
    counted: Counter[str] = Counter()
    monkeypatch.setattr(Shared, "begin", counting(Shared.begin, counted, "begin"))
    async with serving(redis_server.url, lane("ordinary")) as site:
        while len(site.feed.ticks.heads) < 6000:
            site.feed.ticks.hear(next_tick(site, 10**15), 0.5, site.clock())
        slow = [Raw(site, receive_buffer=4096) for _ in range(20)]
        for n, each in enumerate(slow):
            await each.send(get("ordinary", f"tags=science&history={900 - n}"))
            await eventually(lambda n=n: counted["begin"] == n + 1, "it is served")
        feed, limits = site.feed.shared, site.app.extensions["limits"]
        await eventually(lambda: 0 < limits.viewers == len(feed.reading) < 20, "the first are gone")
        assert 0 < feed.held == sum(len(data) for data, _ in feed.reading.values()) <= 10**6
        for each in slow:
            each.close()
        await eventually(lambda: not (feed.reading or feed.held), "nothing is left")


async def test_a_stalled_viewer_that_is_let_go_writes_no_line(
    site: Site, raw: Any, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a traceback nor anything else."""
    viewer = await stall(site, raw(receive_buffer=4096), get(way, "history=900"))
    viewer.let_go()
    viewer.let_go()
    await site.publish()
    await site.hears()
    assert not site.taken and not site.app.extensions["limits"].viewers
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
