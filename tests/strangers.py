"""What strangers post: the worst of everything, seeded, with honest posts in between.

What a network makes of it, its form and its server, is in hostile_source.py (Jetstream) and
hostile_others.py (Mastodon and X).
"""

import json
import random
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

HONEST = [f"honest{n:02}" for n in range(50)]
"""What honest people write about; nothing else counts for them."""
MIXED = 20
"""Messages among which the next one is drawn."""
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


class Strangers(ABC):
    """Makes messages of a network, in its form; the same for the same seed, but for their times."""

    tags: Sequence[str] = HONEST
    """Of the honest hashtags, those that this network has counted."""

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
        tags = self.chance.sample(self.tags, self.chance.randint(1, 3))
        self.truth.update(tags)
        written = [self.chance.choice((str, str.upper, str.title, wide))(tag) for tag in tags]
        event = self.post(written, f"h{next(self.numbers)}")
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
        more = [f"filler{self.chance.randrange(10**6)}x{n}" for n in range(30)]  # no two are one
        return encoded(self.by_stranger([*more, *self.chance.sample(HONEST, 3)]))

    @abstractmethod
    def post(self, names: list[Any], id: str, **more: Any) -> dict[str, Any]:
        """A post with these hashtags, and with what else is in it."""

    @abstractmethod
    def listed(self, names: list[Any]) -> dict[str, Any]:
        """What a post has more, with which its hashtags are listed as nobody should."""

    @abstractmethod
    def absurd(self) -> bytes:
        """A time of any year, a number of any size, a part of any kind."""

    def by_stranger(self, names: list[Any], **more: Any) -> dict[str, Any]:
        return self.post(names, f"s{next(self.numbers)}", **more)

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
        yield self.by_stranger([], **self.listed([["many"] * 5_000, {"tag": "one"}, *range(5_000)]))
        deep: Any = "deep"
        for _ in range(300):
            deep = [{"tag": deep}]
        yield self.by_stranger([], **self.listed([deep]), embed=deep)
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

    def name(self, length: int) -> str:
        low, high = self.chance.choice(PLANES)
        letters = (chr(self.chance.randint(low, high)) for _ in range(length))
        return "".join(letters)


def wide(tag: str) -> str:
    """The same in full-width letters, behind a full-width mark."""
    return "＃" + "".join(chr(ord(letter) + 0xFEE0) for letter in tag)


def encoded(event: dict[str, Any], ascii: bool = True) -> bytes:
    """As JSON; letters as they are, or escaped, which makes them six times as long."""
    return json.dumps(event, ensure_ascii=ascii).encode(errors="replace")
