"""The front door before many clients at once."""

import asyncio
import re
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
from plain_requests import GET, HANDED_ON
from served import Site, serving
from servers import RedisServer, eventually
from test_frontdoor import answered, door
from test_frontdoor import connect as connect
from test_frontdoor import site as site

from app.web import fanout, frontdoor, limits
from app.web.frontdoor import (
    MOST_WAITING,
    TAKEN_AT_ONCE,
)
from app.web.server import ACCEPTED_AT_ONCE


async def test_half_open_connections_are_bounded(
    site: Site, connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For one too many the oldest is closed; a viewer misses no tick, and others are let in. Where
    many viewers may still come, as many may be about to."""
    assert door(site).most_waiting <= MOST_WAITING == 1000
    monkeypatch.setattr(door(site), "most_waiting", 20)
    viewer, _ = await connect(site)
    early = [await connect(site, b"") for _ in range(30)]
    await eventually(lambda: len(door(site).waiting) == 30, "they wait, and none is closed")
    monkeypatch.setattr(frontdoor, "MOST_NEW", 25)
    early.append(await connect(site, b""))
    await eventually(lambda: len(door(site).waiting) == 25, "those are too many")
    for _, writer in early:
        writer.transport.abort()
    await eventually(lambda: not door(site).waiting, "they are gone")
    given_up = door(site).given_up
    monkeypatch.setattr(site.app.extensions["limits"], "most", 2)
    site.clock.stop()
    received, ids = await answered(viewer), [site.writer.state.tick]
    opened = [await connect(site, GET[: n % 30]) for n in range(150)]
    await eventually(lambda: door(site).given_up - given_up == 130, "the oldest are closed")
    assert len(door(site).waiting) == 20
    for _ in range(3):
        await site.publish()
        ids.append(site.writer.state.tick)
    received += await viewer.readuntil(f"id: {ids[-1]}\n".encode())
    assert re.findall(r"^id: (.*)$", received.decode(), re.M) == ids
    _, writer = opened[-1]
    writer.write(GET[149 % 30 :])
    assert await answered(opened[-1][0]), "the youngest is one of those that are left"
    for _, writer in opened:
        writer.transport.abort()
    await eventually(lambda: not door(site).waiting, "who goes is forgotten at once")


async def test_many_at_once_are_let_in_a_few_at_a_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as come back after a restart: between any 32 of them everything else has its turn,
    and Hypercorn is never handed more than it takes at once."""
    [listened] = door(site).sockets
    turns, queued = [0], [0]
    peeked = frontdoor.peeked

    def counted(connection: socket.socket) -> bytes | None:
        turns[-1] += 1
        queued.append(len(listened.queue))
        return peeked(connection)

    monkeypatch.setattr(frontdoor, "peeked", counted)
    opened = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(300)]
    for n, each in enumerate(opened):
        each.sendall(GET if n < 200 else HANDED_ON)
    async with asyncio.timeout(20):
        while len(site.taken) < 300:
            await asyncio.sleep(0)
            turns.append(0)
    assert sum(turns) >= 300 and max(turns) <= TAKEN_AT_ONCE == 32
    assert max(queued) < ACCEPTED_AT_ONCE + TAKEN_AT_ONCE
    assert (door(site).answered, door(site).handed_on) == (200, 100)
    for each in opened:
        each.close()
    await eventually(lambda: not site.connections, "all are gone")


async def test_many_are_fetched_from_the_kernel_before_they_are_looked_at(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue is short, and whom it has no room for waits for a second and more. What waits here
    instead is bounded, by what may become viewers, too; with the socket it is closed."""
    [listened], found, counted = door(site).sockets, door(site), site.app.extensions["limits"]
    opened = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(400)]
    found.accept(listened)
    assert len(found.new) == frontdoor.FETCHED_AT_ONCE - TAKEN_AT_ONCE == 224
    monkeypatch.setattr(frontdoor, "MOST_NEW", 300)
    for _ in range(9):
        found.accept(listened)
    assert len(found.new) == 300
    monkeypatch.setattr(counted, "most", 350)
    assert found.room() == 350 - 300 - TAKEN_AT_ONCE
    monkeypatch.setattr(frontdoor, "MOST_NEW", 10_000)
    for _ in range(9):
        found.accept(listened)
    assert len(found.new) + len(found.waiting) == 350
    found.close(listened)
    assert not found.new and not found.waiting
    for each in opened[:350]:
        each.settimeout(10)
        assert each.recv(1) == b""
    for each in opened:
        each.close()


async def test_a_connect_costs_no_task_and_few_calls(site: Site) -> None:
    """Counted, not timed: no task, no transport, no word with Redis; the thousandth costs what
    the first one did."""
    loop = asyncio.get_running_loop()
    tasks: list[Any] = []
    loop.set_task_factory(
        lambda loop, coro, **more: tasks.append(coro) or asyncio.Task(coro, loop=loop, **more)
    )
    costs = []
    opened: list[socket.socket] = []
    for n in (5, 300):
        for _ in range(n):
            opened.append(socket.create_connection(("127.0.0.1", site.port)))
            opened[-1].sendall(GET)
        calls = 0

        def count(frame: Any, event: str, argument: Any) -> None:
            nonlocal calls
            calls += event == "call"

        [listened] = door(site).sockets
        tasks.clear()
        before = door(site).answered
        sys.setprofile(count)
        for _ in range(2 + n // TAKEN_AT_ONCE):  # enough
            door(site).accept(listened)
            door(site).look()
        sys.setprofile(None)
        assert door(site).answered == before + n
        assert not tasks
        costs.append(calls / n)
    assert costs[1] < 60, costs
    assert costs[1] <= costs[0]
    for each in opened:
        each.close()


async def test_who_comes_together_shares_a_history(
    site: Site, connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made once for all who want the same in the same tick, whatever the order in which
    they name the hashtags, by either door."""
    made = []
    make = fanout.FanOut.history
    monkeypatch.setattr(fanout.FanOut, "history", lambda *a: made.append(a) or make(*a))
    queries = [b"tags=science,football&history=60", b"history=60&tags=%23Football,SCIENCE"] * 10
    for target in (b"/events?", b"http://h/events?"):
        for query in queries:
            request = b"GET %b%b HTTP/1.1\r\nHost: h\r\n\r\n" % (target, query)
            assert b"event: history" in await answered((await connect(site, request))[0])
    assert len(made) == 1
    assert len(site.feed.fanouts) == 1


async def test_the_limits_stand_in_front_of_both_doors(
    redis_server: RedisServer, connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who came by either counts; a refused one has paid for one request, not for two."""
    monkeypatch.setattr(limits, "A_SECOND", 0.001)
    chosen = {"TRUSTED_PROXIES": "10.0.0.0/8", "MAX_VIEWERS_PER_ADDRESS": "3"}
    plain = GET.replace(b"events", b"events?tags=science")
    async with serving(redis_server.url, **chosen) as site:
        opened = []
        for n, request in enumerate((plain, HANDED_ON, plain, plain, HANDED_ON)):
            opened.append(await connect(site, request))
            await eventually(lambda n=n: door(site).answered + door(site).handed_on > n, "seen")
        statuses = [(await reader.readuntil(b"\r\n")).split()[1] for reader, _ in opened]
        assert statuses == [b"200", b"200", b"200", b"429", b"429"]
        counted = site.app.extensions["limits"]
        assert counted.viewers == len(site.taken) == 3
        [paid] = counted.paid.values()
        assert round((paid - asyncio.get_running_loop().time()) * limits.A_SECOND) == 5
        assert door(site).answered == 2
        for _, writer in opened:
            writer.transport.abort()
        await eventually(lambda: not counted.watching, "nobody is left")


async def test_who_finds_no_room_costs_no_fan_out(
    site: Site, connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twenty hashtags each, say, of which nobody would show any."""
    asked = []
    watch = site.feed.watch
    monkeypatch.setattr(site.feed, "watch", lambda *a: asked.append(a) or watch(*a))
    monkeypatch.setattr(site.app.extensions["limits"], "most", 0)
    reader, _ = await connect(site)
    assert (await answered(reader)).startswith(b"HTTP/1.1 503")
    assert not asked and door(site).handed_on == 1
    monkeypatch.setattr(site.app.extensions["limits"], "most", 1)
    reader, _ = await connect(site)
    assert (await answered(reader)).startswith(b"HTTP/1.1 200")
    assert len(asked) == 1
