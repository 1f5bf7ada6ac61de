"""Strangers in the timelines of a Mastodon server that is asked without a token: honest posts are
counted to the last one. `make soak` has more of them: STRANGE_SECONDS=3600."""

import json
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack, suppress
from typing import Any

from aiohttp import web
from hostile_others import TRACKED, HostileMastodon, Statuses
from mastodon_api import Answer, source_of, status
from network import Counting
from servers import eventually

from app.hashtags import MOST_IN_POST

SECONDS = float(os.environ.get("STRANGE_SECONDS", 50))
MESSAGES = int(20 * SECONDS)
SEED = int(os.environ.get("SEED", 1))
RESTARTS, A_REQUEST = 4, 10
"""How often the ingester ends and begins anew; messages that come between two requests."""
FAULT_EACH, ENDLESS_EACH = 12, 500
"""So many requests are answered before one is not."""
LATER = 5
"""Posts of other servers that come below those that were there before."""
FILLERS = [{"name": f"filler{n}"} for n in range(MOST_IN_POST)]


class HostileTimelines(HostileMastodon):
    """Whatever strangers write is in a timeline that is asked for; some answers cannot be read."""

    def __init__(self, strangers: Statuses) -> None:
        super().__init__(strangers)
        strangers.tags = TRACKED
        self.written, self.most, self.begun = 0, 0, False
        self.kinds = [*strangers.kinds]
        for _ in range(4):  # of five: each is told again and again, with the page that it is on
            self.kinds.remove(strangers.heavy)
        self.later: list[dict[str, Any]] = []
        self.parsed: dict[bytes, Any] = {}
        """Of heavy messages, of which there are few."""
        self.faults_of: dict[str, Answer | None] = {
            "refused": (500, {}, "oops"), "cut": None, "half": (200, {}, '[{"id":"1","tags":[{'),
            "no list": (200, {}, '{"error":"odd"}'), "deep": (200, {}, "[" * 50_000),
        }  # fmt: skip
        self.broken: Counter[str] = Counter()

    async def timeline(self, request: web.Request) -> web.StreamResponse:
        # of what was there before a timeline was asked for the first time, nothing counts
        self.begun = self.begun or len(self.tags_asked_for()) == len(TRACKED)
        for _ in range(A_REQUEST * self.begun):
            self.write()
        number = len(self.asked)
        if self.begun and number % FAULT_EACH == 0:
            fault = list(self.faults_of)[number // FAULT_EACH % len(self.faults_of)]
            self.broken[fault] += 1
            if self.faults_of[fault] is None:
                assert request.transport
                request.transport.abort()
            self.timeline_answers.append(self.faults_of[fault])
        elif number % ENDLESS_EACH == ENDLESS_EACH // 8:
            self.broken["endless"] += 1
            self.endless = "gzip"
        return await super().timeline(request)

    def write(self) -> None:
        """One message more, until there are as many as there are to be."""
        if self.written >= self.most:
            while self.later:
                self.show(self.later.pop())
            return
        self.written += 1
        kind = self.strangers.chance.choice(self.kinds)
        self.strangers.made[kind.__name__] += 1
        before, raw = self.strangers.truth.total(), kind()
        if self.strangers.truth.total() == before:
            self.put(raw)
            return
        self.later.insert(0, self.strangers.sent[-1])
        while len(self.later) > LATER * self.strangers.chance.random():
            self.show(self.later.pop(self.strangers.chance.randrange(len(self.later))))

    def put(self, raw: bytes) -> None:
        """A stranger's, which names the hashtag behind so many others that it counts no more."""
        try:
            told = self.parsed.get(raw) or json.loads(raw)
        except (ValueError, RecursionError):
            return
        if raw in self.strangers.ready:
            self.parsed[raw] = told
        if isinstance(told, dict):
            made = status(next(self.strangers.numbers), self.strangers.chance.choice(TRACKED))
            self.statuses[made["id"]] = made
            tags = told.get("tags", [])
            tags = [*FILLERS, *made["tags"], *tags] if isinstance(tags, list) else tags
            self.odd[made["id"]] = told | {"id": made["id"], "tags": tags}


async def is_counted(counting: Counting, strangers: Statuses) -> bool:
    return await counting.totals() == strangers.truth


async def test_honest_posts_are_exact_in_timelines_full_of_strangers(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Names of every length up to a megabyte, storms of marks, pages of more bytes than are read,
    statuses that cannot be read, posts that come below others, and answers that are none; with a
    server that is asked as fast as it answers, through restarts."""
    server = await stack.enter_async_context(HostileTimelines(Statuses(SEED)))
    strangers, bad = server.strangers, 0
    for part in range(1, RESTARTS + 1):
        source = source_of(server, TRACKED)
        async with counting.of(source):
            server.most = MESSAGES * part // RESTARTS
            await eventually(lambda: server.written >= server.most, "all is written", SECONDS)
            if part == RESTARTS:
                with suppress(AssertionError):  # what is wrong is said next
                    await eventually(lambda: is_counted(counting, strangers), "all", SECONDS)
                assert await counting.totals() == dict(strangers.truth)
                await counting.reach(dict(strangers.truth))
        bad += source.bad
    sys.stdout.write(
        f"\nseed {SEED}: {len(server.asked)} requests, {strangers.truth.total()} honest uses, "
        f"{bad} skipped, {dict(server.broken)}, {dict(strangers.made)}\n"
    )
    assert server.broken.keys() == {*server.faults_of, "endless"}
    lengths = {query["limit"] for _, _, query in server.asked}
    assert {"40", "4"} <= lengths, "some pages were too long"
    assert bad > MESSAGES / 100
