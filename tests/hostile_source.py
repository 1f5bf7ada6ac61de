"""A network of strangers, as Jetstream has it: as fast as it is read.

The server has the last minutes again for whoever comes back, tells times of its own, and cuts the
line now and then.
"""

import asyncio
import time
from collections import deque
from typing import Any

from aiohttp import WSMsgType, web
from network import Server
from strangers import Strangers, encoded

from app.sources.bluesky.source import READ_AT_MOST

BASE32 = "234567abcdefghijklmnopqrstuvwxyz"
SECOND = 1_000_000
MOST_KEPT = 20_000
"""Events that are kept for those who come back; and of these, no more bytes than MOST_BYTES."""
MOST_BYTES = 64 * 2**20


def tid(microseconds: int) -> str:
    """A revision of a repository: its time (https://atproto.com/specs/tid)."""
    number = (microseconds & (1 << 53) - 1) << 10
    return "".join(BASE32[number >> 5 * n & 31] for n in range(12, -1, -1))


class Jetstream(Strangers):
    """Events of Bluesky; each host puts its own time before them (`timed`)."""

    def post(self, names: list[Any], id: str, **more: Any) -> dict[str, Any]:
        number = int(id[1:])
        did = f"did:plc:{number % 99}" if id[0] == "h" else f"did:web:{number % 997}"
        event = post(names, id, did, **more)
        if id[0] == "h":
            event["commit"]["rev"] = tid(int(self.clock() * SECOND))
        return event

    def listed(self, names: list[Any]) -> dict[str, Any]:
        return {"tags": names}

    def absurd(self) -> bytes:
        """A time of any year, a number of any size, a part of any kind."""
        event = self.by_stranger([self.name(10)])
        event["time_us"] = self.chance.choice((
            0, -1, 1, 10**15, 2**53, 2**63 - 1, 2**63, 2**64, 10**40, -(10**18), 253_402_300_800_000_000,
            int((self.clock() + self.chance.uniform(-(10**9), 10**9)) * SECOND),
            "soon", None, 1.5, [], {}, True,
        ))  # fmt: skip
        event["commit"]["rev"] = self.chance.choice((
            "", "z" * 13, "2" * 13, "7" * 10_000, tid(2**52), tid(0), None, 5, "3l\u0000", "🙂" * 13,
            tid(int((self.clock() + self.chance.uniform(-(10**8), 10**8)) * SECOND)),
        ))  # fmt: skip
        event["commit"]["record"]["createdAt"] = self.chance.choice(
            ("9999-12-31T23:59:60Z", -5, "")
        )
        return encoded(event)


def post(names: list[Any], rkey: str, did: str, **record: Any) -> dict[str, Any]:
    features = [{"$type": "app.bsky.richtext.facet#tag", "tag": name} for name in names]
    record = {
        "$type": "app.bsky.feed.post",
        "text": "x",
        "facets": [{"features": features}],
        **record,
    }
    commit = {
        "rev": "3l", "operation": "create", "collection": "app.bsky.feed.post", "rkey": rkey,
        "record": record,
    }  # fmt: skip
    return {"did": did, "kind": "commit", "commit": commit}


class HostileServer(Server):
    """Hosts of one network at paths of one port: /0 has true times, the others have theirs."""

    def __init__(self, strangers: Jetstream, *late: float) -> None:
        super().__init__()
        self.strangers, self.late = strangers, (0.0, *late)
        """late: seconds by which the further hosts' clocks say more."""
        self.kept: deque[tuple[int, int, bytes]] = deque()
        """Number, microseconds and text of the last events."""
        self.bytes, self.next = 0, 0
        self.asked: list[dict[str, str]] = []
        self.cuts = 0
        self.over = False
        """No more new events."""
        for number in range(len(self.late)):
            self.app.router.add_get(f"/{number}", self.subscribe)

    @property
    def urls(self) -> str:
        return ",".join(f"ws://127.0.0.1:{self.port}/{n}" for n in range(len(self.late)))

    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        late = int(self.late[int(request.path[1:])] * SECOND)
        reading = asyncio.create_task(self.drained(socket))
        try:
            await self.send(socket, request, late)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            reading.cancel()
        return socket

    @staticmethod
    async def drained(socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            pass

    async def send(self, socket: web.WebSocketResponse, request: web.Request, late: int) -> None:
        cursor = int(request.query.get("cursor", 10**17)) - late
        place = next((n for n, at, _ in self.kept if at >= cursor), self.next)
        end = asyncio.get_running_loop().time() + self.strangers.chance.uniform(2, 8)
        while not socket.closed:
            if not self.over and asyncio.get_running_loop().time() > end:
                self.cuts += 1
                assert request.transport
                return request.transport.abort()
            if place == self.next and not self.make():
                await asyncio.sleep(0.05)
                await socket._writer.send_frame(quiet(late), WSMsgType.TEXT)
                continue
            place, at, raw = self.kept[max(0, place - self.kept[0][0])]
            if len(raw) <= READ_AT_MOST:  # what cannot be taken at all is another test's
                await socket._writer.send_frame(timed(raw, at + late), WSMsgType.TEXT)
            place += 1
            if place % 64 == 0:
                await asyncio.sleep(0)  # the ingester's answers want to be read, too

    def make(self) -> bool:
        """One event more; False when there is none."""
        raw = self.strangers.last() if self.over else self.strangers.message()
        if self.over and not raw:
            return False
        self.kept.append((self.next, int(time.time() * SECOND), raw))
        self.next, self.bytes = self.next + 1, self.bytes + len(raw)
        while len(self.kept) > MOST_KEPT or self.bytes > MOST_BYTES:
            self.bytes -= len(self.kept.popleft()[2])
        return True


def timed(raw: bytes, at: int) -> bytes:
    """With the time at which this host saw it, where the message has none."""
    if raw[:7] == b'{"did":' and b'"time_us"' not in raw:
        return b'{"time_us":%d,%b' % (at, raw[1:])
    return raw


def quiet(late: int) -> bytes:
    """What other people do is sent, too."""
    event = {"did": "did:plc:q", "time_us": int(time.time() * SECOND) + late, "kind": "identity"}
    return encoded(event)
