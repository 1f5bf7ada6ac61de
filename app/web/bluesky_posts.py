"""What Bluesky shows of posts to everybody, asked for those alone that somebody looks at.

https://docs.bsky.app/docs/api/app-bsky-feed-get-posts: at most 25 addresses a request. What it does
not answer is deleted, or is not shown there; what has a label, by its author or by others, or asks
not to be shown to who is not logged in, is not shown here.
"""

import asyncio
import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from app.messages import Shown
from app.process import Begin, begin, end_of
from app.retry import Backoff, wait_of
from app.sources import Part, public_reason
from app.store.posts import may_look_up, rest_from_lookups
from app.store.store import Store, StoreLost
from app.texts import LONGEST_NAME, clean

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

AT_ONCE = 25
PACE_MILLISECONDS = 500
"""Two requests a second, of all web processes together."""
KEPT_SECONDS = 60.0
MOST_KNOWN = 5000
MOST_WANTED = 200
"""Addresses that wait to be asked for; with more, those that wait longest are left out."""
WAIT_SECONDS = 3.0
"""So long is waited for what is shown of a post; after that nobody needs it any more."""
ANSWER_SECONDS = 5.0
ANSWER_BYTES = 2**20
"""Twenty times what 25 posts usually take. Of what a stranger makes longer (a post may have a
megabyte that nobody sees), fewer are asked for at once, and what is too long alone is not shown."""
REST_AT_MOST = 900.0
"""Seconds, whatever the server says."""
ADDRESS = re.compile(r"did:[a-z]{1,20}:[\w.:%-]{1,200}/[\w.~:-]{1,60}", re.ASCII)
"""Of posts that are asked for, as their ids have it: who wrote it, and which it is."""


class Author(Part):
    did: str
    handle: str
    name: Any = msgspec.field(name="displayName", default=None)
    labels: list[Any] | None = None


class View(Part):
    """A post as it is shown; what is not of this form is not shown."""

    uri: str
    author: Author
    record: dict[str, Any]
    labels: list[Any] | None = None


class NoAnswer(Exception):
    """Bluesky does not answer, or not now; the message is for the owner.

    wait: seconds until it wants to see us again; None where it does not say.
    """

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


class Lookups:
    """Asks Bluesky what is shown of posts, for all viewers of this process. Bounds: known has
    MOST_KNOWN entries, wanted MOST_WANTED."""

    def __init__(
        self,
        url: str,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        begin: Begin = begin,
    ) -> None:
        self.url, self.clock, self.wall = url, clock, wall
        self.begin = begin
        self.known: OrderedDict[str, tuple[float, Shown | None]] = OrderedDict()
        """A post's id to until when we know what is shown of it, and that; None for nothing."""
        self.wanted: dict[str, float] = {}
        """The ids of posts that somebody waits for, to when that began; by our clock."""
        self.task: asyncio.Task[None] | None = None
        """What looks them up, while there are any."""
        self.news = asyncio.Event()
        """Set, and replaced, when something was answered, or is not to be expected."""
        self.session: aiohttp.ClientSession | None = None
        """None until something is asked."""
        self.rests_until = 0.0
        """Until when nothing is asked, by our clock."""
        self.at_once = AT_ONCE
        """So many are asked for at once: fewer after an answer that was too long."""
        self.backoff = Backoff(first=1.0, longest=60.0)
        self.trouble = ""
        """What the log was told last; empty where all is well."""

    async def shown(self, store: Store, ids: Collection[str]) -> dict[str, Shown]:
        """What is shown of these posts, by their ids; those that are not, or of which that is not
        known in time, are left out."""
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                while self.ask_for(store, [id for id in ids if not self.is_known(id)]):
                    await self.news.wait()
        found = {id: self.known[id][1] for id in ids if self.is_known(id)}
        return {id: each for id, each in found.items() if each}

    def is_known(self, id: str) -> bool:
        return id in self.known and self.known[id][0] > self.clock()

    def ask_for(self, store: Store, ids: Iterable[str]) -> bool:
        """Have these looked up; whether an answer is to be expected."""
        now = self.clock()
        if now < self.rests_until:
            return False
        expected = [id for id in ids if ADDRESS.fullmatch(id)]
        for id in expected:
            self.wanted.setdefault(id, now)
        while len(self.wanted) > MOST_WANTED:
            del self.wanted[next(iter(self.wanted))]
        if expected and (self.task is None or self.task.done()):
            self.task = self.begin(self.work(store), "lookups")
        return bool(expected)

    def learn(self, id: str, shown: Shown | None) -> None:
        self.known.pop(id, None)
        self.known[id] = self.clock() + KEPT_SECONDS, shown
        if len(self.known) > MOST_KNOWN:
            self.known.popitem(last=False)

    def ring(self) -> None:
        self.news, news = asyncio.Event(), self.news
        news.set()

    async def work(self, store: Store) -> None:
        """Ask for what is wanted, until nothing is, or the server wants to rest."""
        try:
            while self.next_ids():
                if wait := await may_look_up(store, PACE_MILLISECONDS) / 1000:
                    if wait > WAIT_SECONDS:  # another process was told to rest
                        self.rests_until = self.clock() + wait
                        break
                    await asyncio.sleep(wait)
                elif ids := self.next_ids():
                    await self.ask(ids)
        except StoreLost:  # without the account in it nothing is asked
            self.rests_until = self.clock() + WAIT_SECONDS
        except NoAnswer as failed:
            await self.rest(store, failed)
        finally:
            self.wanted.clear()
            self.ring()

    def next_ids(self) -> list[str]:
        """Those to be asked for now: the newest ones that somebody may still wait for."""
        begun = self.clock() - WAIT_SECONDS
        self.wanted = {id: since for id, since in self.wanted.items() if since > begun}
        return list(self.wanted)[-self.at_once :]

    async def ask(self, ids: Collection[str]) -> None:
        """One request. Raises NoAnswer."""
        uris = {address_of(id): id for id in ids}
        body = await self.get(list(uris))
        if body is None and len(uris) > 1:
            self.at_once = len(uris) // 2
            return
        found = {} if body is None else read_answer(body)
        self.at_once = min(AT_ONCE, 2 * self.at_once)
        for uri, id in uris.items():
            self.learn(id, found.get(uri))
            self.wanted.pop(id, None)
        self.backoff.reset()
        self.complain("")
        self.ring()

    async def get(self, uris: Iterable[str]) -> bytes | None:
        """The answer; None where it is too long. Raises NoAnswer."""
        self.session = self.session or opened()
        url, query = f"{self.url}/xrpc/app.bsky.feed.getPosts", [("uris", uri) for uri in uris]
        try:
            async with self.session.get(url, params=query, allow_redirects=False) as response:
                if response.status != 200:
                    wait = wait_of(response.headers, self.wall())
                    raise NoAnswer(f"it answered {response.status}", wait)
                body = bytearray()
                async for part in response.content.iter_any():
                    body += part
                    if len(body) > ANSWER_BYTES:
                        return None
                return bytes(body)
        except NoAnswer:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is shown
            raise NoAnswer(public_reason(error)) from None

    async def rest(self, store: Store, failed: NoAnswer) -> None:
        """Leave it alone for a while, in all processes."""
        seconds = min(REST_AT_MOST, max(failed.wait or 0.0, self.backoff.next()))
        self.rests_until = self.clock() + seconds
        self.complain(f"posts of Bluesky cannot be looked up: {failed}")
        with suppress(StoreLost):  # then the others find out by themselves
            await rest_from_lookups(store, max(1, int(seconds * 1000)))

    def complain(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("%s", trouble or "posts of Bluesky are looked up again")
        self.trouble = trouble

    async def close(self) -> None:
        if self.task:
            await end_of(self.task)
        if self.session:
            await self.session.close()


def opened() -> "aiohttp.ClientSession":
    import aiohttp  # a process in which nobody looks at posts needs none of it

    # cookies that it sets would be kept without bound, and sent back
    cookies = aiohttp.DummyCookieJar()
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    return aiohttp.ClientSession(timeout=timeout, cookie_jar=cookies)


def read_answer(body: bytes) -> dict[str, Shown]:
    """What may be shown, by the posts' addresses. Raises NoAnswer for what is no answer."""
    try:
        posts = json.loads(body)["posts"]
    except (ValueError, TypeError, KeyError, RecursionError):
        posts = None
    if not isinstance(posts, list):
        raise NoAnswer("it answered with what is no list of posts")
    found = {}
    for post in posts[:AT_ONCE]:
        try:
            view = msgspec.convert(post, View)
        except (msgspec.ValidationError, UnicodeError):  # half an emoji in the place of a post
            continue
        if shown := shown_of(view):
            found[view.uri] = shown
    return found


def shown_of(view: View) -> Shown | None:
    """None for what has a label, or is somebody else's."""
    labels = view.record.get("labels")
    own = labels.get("values", labels) if isinstance(labels, dict) else labels
    text, author = view.record.get("text"), view.author
    if own or is_labelled(view.labels) or is_labelled(author.labels) or not isinstance(text, str):
        return None
    if not view.uri.startswith(f"at://{author.did}/"):
        return None
    did, _, rkey = view.uri.removeprefix("at://").partition("/app.bsky.feed.post/")
    name, handle = clean(author.name, LONGEST_NAME), clean(author.handle, LONGEST_NAME)
    return Shown(f"https://bsky.app/profile/{did}/post/{rkey}", clean(text), name, handle)


def is_labelled(labels: Iterable[Any] | None) -> bool:
    """Whether there is one that was not taken back."""
    return any(not (isinstance(each, dict) and each.get("neg") is True) for each in labels or ())


def address_of(id: str) -> str:
    did, _, rkey = id.rpartition("/")
    return f"at://{did}/app.bsky.feed.post/{rkey}"
