"""A network of strangers: the worst of everything, seeded, with honest posts in between.

A server that speaks Jetstream's wire, as fast as it is read; it has the last minutes again for
whoever comes back, tells times of its own, and cuts the line now and then.
"""

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from aiohttp import WSMsgType, web
from network import Server

from app.sources.bluesky.source import READ_AT_MOST

HONEST = [f"honest{n:02}" for n in range(50)]
"""What honest people write about; nothing else counts for them."""
BASE32 = "234567abcdefghijklmnopqrstuvwxyz"
SECOND = 1_000_000
MIXED = 20
"""Messages among which the next one is drawn."""
MOST_KEPT = 20_000
"""Events that are kept for those who come back; and of these, no more bytes than MOST_BYTES."""
MOST_BYTES = 64 * 2**20
PLANES = [
    (0x20, 0x7E), (0x80, 0x2FF), (0x300, 0x36F), (0x590, 0x6FF), (0x900, 0xDFF), (0xE00, 0xFFF),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069), (0x3040, 0x30FF), (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3), (0xD800, 0xDFFF), (0xFB00, 0xFDFF), (0xFE00, 0xFFFF), (0x10000, 0x1FFFF),
    (0x20000, 0x2FA1D), (0xE0000, 0xE0FFF), (0xF0000, 0x10FFFF),
]  # fmt: skip
"""Code points of every plane; among them joiners, marks, halves of an emoji, and orders to
write from right to left."""
STORM = "\u0301\u0316\u0327\u0338\u0345\u05b0\u0651\u0f71"
"""Marks of different classes: to put them into their order is quadratic."""
MANY_TIMES = "\ufdfa\u03b0\u1e9b\u0323\u3300"
"""Letters that fold into many."""


def tid(microseconds: int) -> str:
    """A revision of a repository: its time (https://atproto.com/specs/tid)."""
    number = (microseconds & (1 << 53) - 1) << 10
    return "".join(BASE32[number >> 5 * n & 31] for n in range(12, -1, -1))


class Strangers:
    """Makes messages; the same for the same seed, but for their times."""

    def __init__(self, seed: int, clock: Callable[[], float] = time.time) -> None:
        self.chance, self.clock = random.Random(seed), clock
        self.truth: Counter[str] = Counter()
        """Hashtag to honest posts, each once."""
        self.made: Counter[str] = Counter()
        """Kind of message to how many."""
        self.numbers = count()
        self.sent: deque[dict[str, Any]] = deque(maxlen=500)
        """The last honest posts, some of which come again."""
        self.ready: list[bytes] = []
        """Heavy messages, made once: to make them anew takes longer than to read them."""
        self.waiting: list[bytes] = []
        bad = [self.many, self.stranger, self.stranger, self.heavy, self.broken, self.absurd]
        self.kinds = [self.honest] * 9 + [self.again] + bad * 5

    def message(self) -> bytes:
        """The next one, out of order; one in four is an honest post."""
        while len(self.waiting) < MIXED:
            kind = self.chance.choice(self.kinds)
            self.made[kind.__name__] += 1
            self.waiting.append(kind())
        return self.last()

    def last(self) -> bytes:
        """One of those that wait; b"" when none is left."""
        if not self.waiting:
            return b""
        return self.waiting.pop(self.chance.randrange(len(self.waiting)))

    def honest(self) -> bytes:
        tags = self.chance.sample(HONEST, self.chance.randint(1, 3))
        self.truth.update(tags)
        written = [self.chance.choice((str, str.upper, str.title, wide))(tag) for tag in tags]
        event = post(written, f"h{next(self.numbers)}", did=f"did:plc:{self.chance.randrange(99)}")
        event["commit"]["rev"] = tid(int(self.clock() * SECOND))
        self.sent.append(event)
        return encoded(event)

    def again(self) -> bytes:
        """A post that came before, as a server repeats it."""
        return encoded(self.chance.choice(self.sent)) if self.sent else self.honest()

    def stranger(self) -> bytes:
        """Hashtags of any letters; and, once in a while, of any length up to a million."""
        lengths = [self.chance.randint(1, 120) for _ in range(self.chance.randint(1, 40))]
        names = [self.name(length) for length in lengths]
        if self.chance.random() < 0.1:
            names[-1] = self.name(10) * int(10 ** self.chance.uniform(1, 5))
        return encoded(self.by_stranger(names), self.chance.random() < 0.5)

    def many(self) -> bytes:
        """Honest hashtags behind so many others that they count no more."""
        more = [f"filler{self.chance.randrange(10**6)}{n}" for n in range(30)]
        return encoded(self.by_stranger([*more, *self.chance.sample(HONEST, 3)]))

    def heavy(self) -> bytes:
        if not self.ready:
            self.ready = [encoded(event) for event in self.heavies()]
        return self.chance.choice(self.ready)

    def heavies(self) -> Iterator[dict[str, Any]]:
        for size in (1_000, 8_000, 32_000, 150_000, 900_000):
            honest = self.chance.choice(HONEST)
            yield self.by_stranger(["#" * size + honest])
            yield self.by_stranger([honest + "\u200d" * size])
            yield self.by_stranger([("a" + STORM * 9) * (size // 80)])
            yield self.by_stranger([MANY_TIMES * (size // 10)])
        yield self.by_stranger([f"one of ten thousand {n}" for n in range(10_000)])
        yield self.by_stranger([], tags=[["many"] * 5_000, {"tag": "one"}, *range(5_000)])
        deep: Any = "deep"
        for _ in range(300):
            deep = [{"tag": deep}]
        yield self.by_stranger([], tags=[deep], embed=deep)
        yield self.by_stranger([MANY_TIMES * 20, STORM * 12, "\u0301" * 100] * 10)

    def broken(self) -> bytes:
        """No JSON, or no message of this network."""
        whole = encoded(self.by_stranger([self.name(20)]))
        return self.chance.choice((
            whole[: self.chance.randrange(len(whole))], b"[" * 50_000, b'{"a":' * 20_000, b"", b"null",
            b"\xff\xfe" + whole, whole.replace(b'"did:', b"7,\"x\":\"", 1), b"1" * 10_000,
            b'{"did":"a","time_us":1e999,"commit":{},"x":"\\u0061"}',
            self.chance.randbytes(self.chance.randrange(2_000)),
        ))  # fmt: skip

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

    def by_stranger(self, names: list[Any], **record: Any) -> dict[str, Any]:
        number = next(self.numbers)
        return post(names, f"s{number}", did=f"did:web:{number % 997}", **record)

    def name(self, length: int) -> str:
        low, high = self.chance.choice(PLANES)
        letters = (chr(self.chance.randint(low, high)) for _ in range(length))
        return "".join(letters)


def wide(tag: str) -> str:
    """The same in full-width letters, behind a full-width mark."""
    return "＃" + "".join(chr(ord(letter) + 0xFEE0) for letter in tag)


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


def encoded(event: dict[str, Any], ascii: bool = True) -> bytes:
    """As JSON; letters as they are, or escaped, which makes them six times as long."""
    return json.dumps(event, ensure_ascii=ascii).encode(errors="replace")


class HostileServer(Server):
    """Hosts of one network at paths of one port: /0 has true times, the others have theirs."""

    def __init__(self, strangers: Strangers, *late: float) -> None:
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
