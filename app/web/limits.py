"""Who is let in: so many viewers in all and of one address, so many requests of one a second.

The limits are ASGI middleware in front of everything else, and the front door (frontdoor.py) asks
the very same ones, so no way to an answer goes around them; a viewer counts until its stream is
over, by whatever way that goes. They hold for this process: of several web processes each has its
own.
"""

import asyncio
import logging
import math
import resource
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import h11

from app.sentences import Sentence
from app.settings import Settings
from app.web.address import ADDRESS, TAKEN, Address, address_of, in_words
from app.web.answers import refusal_without_quart
from app.web.languages import in_language, language
from app.web.turns import RequestTurns

log = logging.getLogger(__name__)

A_SECOND, AT_ONCE = 50.0, 1000.0
"""What an address may ask for: in the long run, and at once after a pause. A request is 1, which
is about a millisecond of CPU; at once is enough for a hundred pages behind one address that are
opened together or come back together."""
COST = 1.0
COSTS = {"/api/history": 10.0, "/metrics": 10.0, "/healthz": 0.0, "/readyz": 0.0}
"""Of a request, and of paths that cost more or less. To refuse a probe would cost as much as to
answer it, and a balancer that is refused ends a process that works."""
FILE_COST, HASHTAG_COST = 0.2, 5.0
"""Of a file under /static/, of which a page loads some 25; of all that is known of a hashtag."""
MOST_ADDRESSES = 10_000
"""So many addresses are remembered that asked for something lately."""
FULL_SECONDS, FULL_ADDRESS_SECONDS = 30, 10
"""When one that found no room is to come back: in all, and of its address."""
PASTS, PASTS_WAITING, PAST_SECONDS = 4, 100, 2.0
"""So many requests for a past are worked on, so many wait for their turn, and so long."""
OTHER_FILES = 150
"""At least so many open files are for all but viewers: Redis may have 100 of them."""
SAY_SECONDS = 60.0
"""Refusals are logged as often."""


class Refusal(NamedTuple):
    """Why a request is not let in."""

    status: int
    sentence: Sentence
    wait: float
    """Seconds until it is worth to try again."""
    reason: str = "request"
    """In a word, for those who count them."""


class Limits:
    """Who is here, and what each address asked for lately.

    Bounds: `watching` has an entry for each address with a viewer; `refused` has a few words of
    ours; `paid` forgets the one that asked least lately for one too many. Forgotten, an address
    may ask for AT_ONCE anew. That helps nobody: to push one out takes a request of each of
    MOST_ADDRESSES others, each of which might have asked for as much itself. Refused requests keep
    an address in, too.
    """

    def __init__(self, most: int, most_of_address: int) -> None:
        self.most, self.most_of_address = most, most_of_address
        self.viewers = self.came = 0
        """How many are here, and how many ever came."""
        self.refused: Counter[str] = Counter()
        """How many requests were turned away, by the word for why."""
        self.watching: dict[Address, int] = {}
        """How many viewers each has; none has 0."""
        self.paid: OrderedDict[Address, float] = OrderedDict()
        """When all that it asked for is paid, at A_SECOND; the last that asked stands last."""

    def ask(self, address: Address | None, cost: float, now: float) -> Refusal | None:
        """Take the cost of a request from what its address may ask for, if there is as much.

        address: none where it is not known, and nothing is taken; now: in seconds.
        """
        if address is None or not cost:
            return None
        paid = max(self.paid.get(address, now), now)
        due = paid + cost / A_SECOND
        wait = due - now - AT_ONCE / A_SECOND
        is_allowed = wait < 1e-6  # what floating point leaves of nothing
        self.paid[address] = due if is_allowed else paid
        self.paid.move_to_end(address)
        self.forget(now)
        if is_allowed:
            return None
        seconds = math.ceil(wait)
        sentence = Sentence(
            "Too many requests from your address: try again in {seconds} s.", seconds=seconds
        )
        return Refusal(429, sentence, seconds, "requests")

    def forget(self, now: float) -> None:
        """Drop those that have paid all, the oldest first, and at once what is too many."""
        for address in [*islice(self.paid, 2)]:  # one may be added, so two may go
            if len(self.paid) > MOST_ADDRESSES or self.paid[address] <= now:
                del self.paid[address]

    def room(self, address: Address | None) -> Refusal | None:
        """Nothing, if one more viewer of this address may come."""
        most = self.most_of_address
        if address is not None and self.watching.get(address, 0) >= most:
            sentence = Sentence(
                "Too many viewers from your address: at most {most} at a time.", most=most
            )
            return Refusal(429, sentence, FULL_ADDRESS_SECONDS, "viewers_of_address")
        if self.viewers >= self.most:
            sentence = Sentence("Too many viewers: at most {most} at a time.", most=self.most)
            return Refusal(503, sentence, FULL_SECONDS, "viewers")
        return None

    def come(self, address: Address | None) -> None:
        self.viewers += 1
        self.came += 1
        if address is not None:
            self.watching[address] = self.watching.get(address, 0) + 1

    def go(self, address: Address | None) -> None:
        self.viewers -= 1
        if address is None:
            return
        self.watching[address] -= 1
        if not self.watching[address]:
            del self.watching[address]


def limits_of(settings: Settings) -> Limits:
    most = min(settings.max_viewers, allowed_by_open_files())
    return Limits(most, settings.max_viewers_per_address)


def cost_under(path: str) -> float:
    """Of a path that is not one of COSTS."""
    if path.startswith("/api/hashtags/"):
        return HASHTAG_COST
    return FILE_COST if path.startswith("/static/") else COST


class Limited:
    """ASGI middleware: the app behind it, for those who are let in."""

    def __init__(self, app: Any, settings: Settings, limits: Limits) -> None:
        self.app, self.trusted, self.limits = app, settings.trusted_proxies, limits
        self.begins = RequestTurns()
        """Of all requests."""
        self.turns, self.waiting = asyncio.Semaphore(PASTS), 0
        """Of requests for the past, and how many wait for one."""
        self.refused, self.say_next = 0, -math.inf
        """How many the log was not told of yet, and when it is, in seconds of the clock."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":  # there is no websocket here
            with suppress(h11.LocalProtocolError):  # Hypercorn refused it meanwhile
                await send({"type": "websocket.close"})
        elif (path := path_of(scope)) is None:
            why = Sentence("The target of the request is no path.")
            await refuse(scope, send, Refusal(400, why, 0))
        else:
            scope = scope if scope["path"] == path else {**scope, "path": path}
            await self.begins.come()
            await self.let_in(scope, receive, send)

    def let_in(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """What is to be done with the request."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        address = address_of(scope, self.trusted)
        cost = COSTS.get(path, cost_under(path))
        refusal = self.limits.ask(address, cost, time.monotonic())
        if not refusal and path == "/events":
            refusal = self.limits.room(address)
        if refusal:
            return self.turn_away(address, scope, send, refusal)
        if path == "/events" and scope["method"] != "HEAD":
            return self.watch(address, scope, receive, send)
        if path == "/api/history":
            return self.tell_past(address, scope, receive, send)
        going_on: Awaitable[None] = self.app(scope, receive, send)
        return going_on

    async def watch(self, address: Address | None, scope: Any, receive: Any, send: Any) -> None:
        """A viewer is here until the app is done with its request; one whose connection was
        taken meanwhile, until that ends (takeover.py)."""
        scope[ADDRESS] = address
        self.limits.come(address)
        try:
            await self.app(scope, receive, send)
        finally:
            if TAKEN not in scope:
                self.limits.go(address)

    async def tell_past(self, address: Address | None, scope: Any, receive: Any, send: Any) -> None:
        """In its turn; which is over when the answer is made, however slowly it is read."""
        if not await self.turn():
            sentence = Sentence("Too many ask for the past just now: try again in a moment.")
            refusal = Refusal(503, sentence, PAST_SECONDS, "past")
            await self.turn_away(address, scope, send, refusal)
            return
        has_turn = True

        def end() -> None:
            nonlocal has_turn
            if has_turn:
                has_turn = False
                self.turns.release()

        async def answer(message: Any) -> None:
            end()
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            end()

    async def turn(self) -> bool:
        """Wait for a turn; whether it came."""
        if self.waiting >= PASTS_WAITING:
            return False
        self.waiting += 1
        try:
            async with asyncio.timeout(PAST_SECONDS):
                return await self.turns.acquire()
        except TimeoutError:
            return False
        finally:
            self.waiting -= 1

    async def turn_away(
        self, address: Address | None, scope: Any, send: Any, refusal: Refusal
    ) -> None:
        self.limits.refused[refusal.reason] += 1
        self.refused += 1
        if time.monotonic() >= self.say_next:
            whose = in_words(address)
            log.warning("%d refused, the last one %s: %s", self.refused, whose, refusal.sentence)
            self.refused, self.say_next = 0, time.monotonic() + SAY_SECONDS
        await refuse(scope, send, refusal)


async def refuse(scope: Any, send: Any, refusal: Refusal) -> None:
    """Answer at once, with the sentence as JSON, in the language that is asked for."""
    headers, body = refusal_without_quart(in_language(refusal.sentence, language(scope)))
    if refusal.wait:
        headers.append((b"retry-after", b"%d" % math.ceil(refusal.wait)))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def allowed_by_open_files() -> int:
    """Viewers; the other files are for all else: a tenth, and OTHER_FILES at least."""
    return max(1, open_files() - files_for_others())


def files_for_others() -> int:
    return max(open_files() // 10, OTHER_FILES)


def open_files() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if files == resource.RLIM_INFINITY else files


def path_of(scope: Any) -> str | None:
    """The path that is asked for, as every part of the app is to see it; none where the target
    has none. RFC 9112, 3.2: `/path`, or, to a proxy, `http://host/path`; what Quart makes of
    others differs from case to case."""
    path: str = scope["path"]
    if path[:8].lower().startswith(("http://", "https://")):
        try:
            path = urlsplit(path).path or "/"
        except ValueError:
            return None
    if not path.startswith("/") or not scope["query_string"].isascii():
        return None
    return "/" + path.lstrip("/")  # as its routes are found by
