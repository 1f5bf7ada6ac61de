"""The same strangers on Mastodon and on X, as fast as these are at their busiest.

What is sent while nobody is connected is lost there, so a line is cut where all before it has
arrived; and what is not in Mastodon's stream, its replies, is in its timelines only.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from mastodon_api import TOKEN as MASTODON_TOKEN
from mastodon_api import MastodonServer, status
from strangers import HONEST, Strangers, encoded
from x_server import TOKEN as X_TOKEN
from x_server import Connection, XServer

TRACKED = HONEST[:10]
MASTODON_RATE, X_RATE = 40, 100
"""Messages a second, at most: mastodon.social has some 20, and X sends no more than 250."""
CUT_SECONDS = (20.0, 35.0)
"""So long a connection stands: X allows 50 connects in 15 minutes."""
LONGEST_SENT = 2**21 - 2**10
"""Bytes of a line of X; what is longer ends the connection, which is another test's."""
STATUSES_KEPT = 20_000
TIMES: list[Any] = ["9999-12-31T23:59:60Z", "0000-00-00", -5, 10**40, "", None, [], {}, 1.5, True]
NUMBERS: list[Any] = [0, -1, 2**63, 10**40, "9" * 39, "-", "", None, [], {"id": 5}, 1.5, True, "🙂"]


class Statuses(Strangers):
    """Posts as Mastodon has them."""

    def post(self, names: list[Any], id: str, **more: Any) -> dict[str, Any]:
        tags = [{"name": name, "url": ""} for name in names]
        return {**status(int(id[1:])), "tags": tags, **more}

    def listed(self, names: list[Any]) -> dict[str, Any]:
        return {"tags": names}

    def absurd(self) -> bytes:
        odd = self.by_stranger([self.name(10)])
        odd["created_at"] = self.chance.choice(TIMES)
        odd[self.chance.choice(("id", "account", "reblog", "edited_at", "tags"))] = (
            self.chance.choice(NUMBERS)
        )
        return encoded(odd)

    def reply(self, tags: list[str]) -> dict[str, Any]:
        """An honest post that is not in the stream."""
        tag = self.chance.choice(tags)
        self.truth[tag] += 1
        self.made["reply"] += 1
        return self.post([tag], f"h{next(self.numbers)}")


class HostileMastodon(MastodonServer):
    """Its stream is cut now and then; some of its statuses cannot be read in timelines."""

    def __init__(self, strangers: Statuses) -> None:
        super().__init__()
        self.strangers, self.over, self.tells_limits = strangers, False, False
        self.replies = True
        """Whether there are still new replies: a timeline is asked for once a minute only."""

    @property
    def settings(self) -> dict[str, str]:
        return {"MASTODON_URL": self.url, "MASTODON_TOKEN": MASTODON_TOKEN}

    async def send(
        self, response: web.StreamResponse, waiting: asyncio.Queue[bytes], events: int
    ) -> None:
        now = asyncio.get_running_loop().time
        end = now() + self.strangers.chance.uniform(*CUT_SECONDS)
        while self.over or now() < end:
            await response.write(self.frame())
            await asyncio.sleep(1 / MASTODON_RATE)

    def frame(self) -> bytes:
        """The next event; edits and deletes are none that count."""
        raw = self.strangers.last() if self.over else self.strangers.message()
        chance = self.strangers.chance.random()
        if self.strangers.sent:
            self.show(self.strangers.sent[-1])
        if self.replies and chance < 0.05 and (known := self.tags_asked_for()):
            self.show(self.strangers.reply(known))
        if chance > 0.95 and self.strangers.sent:
            kind = self.strangers.chance.choice((b"status.update", b"delete", b"\xff", b""))
            edited = encoded(self.strangers.chance.choice(self.strangers.sent))
            return b"event: %b\ndata: %b\n\nevent: update\ndata: %b\n\n" % (kind, edited, raw)
        return b"event: update\ndata: %b\n\n" % raw if raw else b":thump\n"

    def tags_asked_for(self) -> list[str]:
        """Those whose timelines are read from now on: of what was before, nothing counts."""
        return [tag for tag in TRACKED if any(asked == tag for _, asked, _ in self.asked)]

    def show(self, post: dict[str, Any]) -> None:
        """In the timelines, where it is listed as the server spells it; and with it, now and then,
        one that cannot be read."""
        if post["id"] in self.statuses:
            return
        tags = [{"name": plain(tag["name"])} for tag in post["tags"]]
        self.statuses[post["id"]] = post | {"tags": tags}
        if self.strangers.chance.random() < 0.1:
            bad = self.strangers.by_stranger([tags[0]["name"]])
            self.statuses[bad["id"]] = bad
            self.odd[bad["id"]] = {"account": 5, "created_at": self.strangers.chance.choice(TIMES)}
        while len(self.statuses) > STATUSES_KEPT:
            oldest = next(iter(self.statuses))
            del self.statuses[oldest]
            self.odd.pop(oldest, None)


def plain(written: str) -> str:
    """As it was before it was spelled in another way."""
    letters = (chr(ord(letter) - 0xFEE0 * (ord(letter) > 0xFEE0)) for letter in written)
    return "".join(letters).lstrip("#").lower()


class Tweets(Strangers):
    """Posts as X has them, in the form of its stream."""

    tags = TRACKED

    def post(self, names: list[Any], id: str, **more: Any) -> dict[str, Any]:
        entities = {"hashtags": [{"tag": name} for name in names]}
        author = f"{int(id[1:]) % 997}"
        return {"data": {"id": id[1:], "author_id": author, "entities": entities, **more}}

    def listed(self, names: list[Any]) -> dict[str, Any]:
        return {"entities": {"hashtags": names}, "note_tweet": {"entities": {"hashtags": names}}}

    def again(self) -> bytes:
        """As it was, or edited, which is another id for it."""
        if not self.sent or self.chance.random() < 0.5:
            return super().again()
        data = self.chance.choice(self.sent)["data"]
        new = f"9{next(self.numbers):018}"
        return encoded({"data": data | {"id": new, "edit_history_tweet_ids": [data["id"], new]}})

    def absurd(self) -> bytes:
        odd = self.by_stranger([self.name(10)], created_at=self.chance.choice(TIMES))
        names = ("id", "edit_history_tweet_ids", "author_id", "entities", "note_tweet")
        odd["data"][self.chance.choice(names)] = self.chance.choice(NUMBERS)
        return encoded(odd)


@dataclass
class HostileX(XServer):
    """Its stream ends now and then, also in the middle of a line."""

    strangers: Tweets = field(default_factory=lambda: Tweets(1))
    over: bool = False

    @property
    def settings(self) -> dict[str, str]:
        most = {"X_POSTS_PER_DAY": f"{10**9}"}
        return {"X_API_URL": self.url, "X_BEARER_TOKEN": X_TOKEN, **most}

    async def play(
        self, script: Connection, request: web.Request, response: web.StreamResponse
    ) -> None:
        now = asyncio.get_running_loop().time
        end = now() + self.strangers.chance.uniform(*CUT_SECONDS)
        while self.over or now() < end:
            raw = self.strangers.last() if self.over else self.strangers.message()
            if len(raw) <= LONGEST_SENT:
                await response.write(raw.replace(b"\n", b" ") + b"\r\n")
            await asyncio.sleep(1 / X_RATE)
        self.fired.append("half")
        await response.write(b'{"data":{"id":"1')
