"""The posts behind a line: the newest ones as an answer, and each new one as an event.

A post of Bluesky is looked up there before anybody is shown it (bluesky_posts.py); of X, by its
rules, everybody is told how many there are, and an address.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote

from quart import Quart, Response, request

from app.messages import Shown, dumps
from app.process import end_of
from app.sentences import Sentence
from app.settings import Settings
from app.store.posts import ALL, StoredPost
from app.store.store import Store
from app.web import sse
from app.web.answers import Refused, json, selected
from app.web.api import opened
from app.web.bluesky_posts import AT_ONCE, Lookups
from app.web.fanout import FanOut
from app.web.feed import Feed
from app.web.recent_posts import RecentPosts

ANSWERED = 20
CANDIDATES = 2 * ANSWERED
"""So many of the newest are looked at for an answer: some may not be shown."""
LOOKED_AT = 1000
"""So many of the newest at most are gone through for those."""
READ_SECONDS = 0.4
"""For so long, what Redis said is not asked again."""
IDLE_SECONDS = 60.0
"""After so long without anybody who asks, all is forgotten."""
EVENT_SECONDS = 0.5
"""Between two posts for a viewer, on the average."""
EARLY_SECONDS = 0.05
"""So much earlier one may be told: half a second's ticks are not exactly so far apart."""
TICKS_KEPT = 240
"""So many ticks with posts are remembered for viewers that are behind."""
POSTS_BEHIND = 2
"""So many posts at most is a viewer sent who was behind."""
MOST_WAITING = 50
"""Of a fan-out that may not be told another yet."""
PICKED_AT_ONCE = 200
"""Fan-outs, before others get a turn: some 5 ms."""
LOOKING_AT_ONCE = 10
"""So many ticks' posts are being looked up at a time."""
FORGOTTEN = sse.event(dumps({"ids": [ALL]}), "gone")
"""Nothing that a page shows is known to be there: it is to ask anew."""


class ShownPosts:
    """What may be shown of the posts of the last ten minutes."""

    def __init__(self, settings: Settings, feed: Feed) -> None:
        self.feed = feed
        self.recent = RecentPosts(settings.blocked_hashtags)
        self.lookups = Lookups(settings.bluesky_api_url, begin=feed.begin)
        self.events = PostEvents(self)
        self.read_at = self.asked_at = float("-inf")
        """When Redis was asked last, and when somebody asked us; by the feed's clock."""

    async def read(self, store: Store) -> None:
        """Take in what is new, if that was not done just now. Raises StoreLost."""
        now = self.feed.clock()
        if now - self.read_at >= READ_SECONDS:
            self.read_at = now
            await self.recent.read(store, self.feed.time())

    def forget(self) -> None:
        """Nobody looks at posts: know none, after a while."""
        if self.recent.is_read and self.feed.clock() - self.asked_at > IDLE_SECONDS:
            self.recent.clear()

    async def shown(self, store: Store, posts: Mapping[str, StoredPost]) -> dict[str, Shown]:
        """What is shown of these now, by their ids."""
        looked_up = {id: post.id for id, post in posts.items() if post.source == "bluesky"}
        found = await self.lookups.shown(store, looked_up.values()) if looked_up else {}
        shown = {id: found.get(post.id) or post.shown for id, post in posts.items()}
        # meanwhile some may have been taken back
        return {id: each for id, each in shown.items() if each and id in self.recent.posts}

    async def newest(self, store: Store, tags: Sequence[str]) -> dict[str, Any]:
        """The newest posts with one of these hashtags, as they are told. Raises StoreLost."""
        self.asked_at = self.feed.clock()
        await self.read(store)
        known, found = self.recent.posts, self.recent.of(tags)
        newest = ((id, known[id]) for id in self.recent.newest(found, LOOKED_AT))
        some = dict(islice(((id, post) for id, post in newest if can_be_shown(post)), CANDIDATES))
        bluesky = [id for id, post in some.items() if post.source == "bluesky"]
        for id in bluesky[AT_ONCE:]:
            del some[id]
        x = sum([known[id].source == "x" for id in found])
        shown = dict(islice((await self.shown(store, some)).items(), ANSWERED))
        urls = {tag: f"https://x.com/hashtag/{quote(tag, safe='')}" for tag in tags}
        return {
            "at": self.feed.time(),
            "posts": [as_json(id, some[id], each) for id, each in shown.items()],
            "x": {"posts": x, "urls": urls} if x else None,
            "left_out": len(found) - x - len(shown),
        }

    async def close(self) -> None:
        await self.events.close()
        await self.lookups.close()


def can_be_shown(post: StoredPost) -> bool:
    return post.source == "bluesky" or post.shown is not None


def as_json(id: str, post: StoredPost, shown: Shown) -> dict[str, Any]:
    """A post as everybody is told it."""
    return {
        "id": id,
        "source": post.source,
        "at": post.at,
        "tags": post.tags,
        "text": shown.text,
        "name": shown.name,
        "handle": shown.handle,
        "url": shown.url,
    }


Tags = tuple[str, ...]
"""The hashtags of a fan-out, by which its viewers are known here."""
PostTold = tuple[str, str, int]
"""A post's id, the beginning of its JSON, and how many were left out."""


class PostEvents:
    """New posts for those who chose to be told them, one at a time of many (extras.py).

    Bounds: left, waiting, free, due and ready have an entry for each fan-out of these, gone has
    what recent has of that, looking LOOKING_AT_ONCE, and sent one entry for each of TICKS_KEPT
    ticks, with one for each of these fan-outs.
    """

    def __init__(self, posts: ShownPosts) -> None:
        self.posts, self.recent = posts, posts.recent
        self.left: dict[Tags, int] = {}
        """How many posts came since the last that was told."""
        self.waiting: dict[Tags, deque[str]] = {}
        """The ids of those of them that may be told; MOST_WAITING of each."""
        self.free: dict[Tags, float] = {}
        """From when on another may be picked, by the feed's clock."""
        self.due: dict[Tags, float] = {}
        """The same for when another may be told: what was looked up for long comes late."""
        self.ready: dict[Tags, tuple[str, str]] = {}
        """What is to go with a tick, as soon as it may: a post's id, and how its JSON begins."""
        self.gone: dict[str, Sequence[str] | None] = {}
        """What was taken back since the last tick, to its hashtags; None where nobody knows."""
        self.sent: deque[tuple[int, dict[Tags, PostTold], dict[str, Any]]] = deque(
            maxlen=TICKS_KEPT
        )
        """What went with each tick, by its number: posts, and what was taken back."""
        self.looking: set[asyncio.Task[None]] = set()
        """What looks up how posts are shown: LOOKING_AT_ONCE at most."""

    async def read(self, store: Store, now: float) -> bool:
        fanouts = self.chosen()
        if not fanouts:
            self.recent.listens = False
            self.posts.forget()
            return False
        self.posts.asked_at = now
        await self.recent.read(store, self.posts.feed.time())
        new, gone = self.recent.take_news()
        self.gone |= gone
        if picks := await self.pick(new, fanouts, now):
            task = self.posts.feed.begin(self.look_up(store, picks), "posts")
            self.looking.add(task)
            task.add_done_callback(self.looking.discard)
        return bool(self.ready or self.gone)

    async def take_back(self, store: Store) -> None:
        """What was taken back goes with the very tick that says so, the next one; after it, and
        with the one behind it, it would be on open pages for longer. No tick waits for the first
        look at all that there is, which finds it, too. Raises StoreLost."""
        recent = self.recent
        if recent.listens and recent.is_read and not recent.reading.locked():
            feed = self.posts.feed
            await recent.read(store, feed.time())
            self.gone |= recent.take_gone()
            feed.untold |= feed.extras.concerned(
                "posts", self.take(feed.ticks.last + 1), feed.watched
            )

    def chosen(self) -> dict[Any, FanOut]:
        """The fan-outs of those who chose this."""
        refs = self.posts.feed.extras.chosen["posts"]
        return {each: found for each in list(refs) if (found := each())}

    async def pick(
        self, new: Mapping[str, StoredPost], fanouts: Mapping[Any, FanOut], now: float
    ) -> dict[str, list[Tags]]:
        """One post for each fan-out that may be told one now, of all that came since the last the
        middle one: to whom it is."""
        alive = {fanout.tags for fanout in fanouts.values()}
        for entries in (self.left, self.waiting, self.free, self.due, self.ready):
            for tags in entries.keys() - alive:
                del entries[tags]
        await self.note(new, fanouts)
        picks: dict[str, list[Tags]] = {}
        for n, tags in enumerate([each for each in self.waiting if self.may(self.free, each, now)]):
            if n % PICKED_AT_ONCE == 0:
                await asyncio.sleep(0)
            ids = self.waiting.pop(tags)
            id = ids[len(ids) // 2]
            if id not in self.recent.posts:
                left = [each for each in ids if each in self.recent.posts]
                id = left[len(left) // 2] if left else ""
            if id and len(self.looking) < LOOKING_AT_ONCE:
                self.wait(self.free, tags, now)
                picks.setdefault(id, []).append(tags)
        return picks

    async def note(self, new: Mapping[str, StoredPost], fanouts: Mapping[Any, FanOut]) -> None:
        """Let new posts wait for whoever watches one of their hashtags.

        Of many fan-outs most share the hashtags that have posts: theirs are found once.
        """
        watched = self.posts.feed.watched
        ids, places = list(new), dict[str, list[int]]()
        for place, post in enumerate(new.values()):
            for tag in post.tags:
                if tag in watched:
                    places.setdefault(tag, []).append(place)
        showing = set[Any]().union(*[watched[tag].fanouts for tag in places]) & fanouts.keys()
        found: dict[Tags, tuple[int, list[str]]] = {}
        for n, tags in enumerate({fanouts[each].tags for each in showing}):
            if n % PICKED_AT_ONCE == 0:
                await asyncio.sleep(0)
            used = tuple([tag for tag in tags if tag in places])
            if used not in found:
                of = sorted(set[int]().union(*[places[tag] for tag in used]))
                some = [ids[place] for place in of if can_be_shown(new[ids[place]])]
                found[used] = len(of), some[-MOST_WAITING:]
            number, some = found[used]
            self.left[tags] = self.left.get(tags, 0) + number
            if some:
                self.waiting.setdefault(tags, deque(maxlen=MOST_WAITING)).extend(some)

    async def look_up(self, store: Store, picks: Mapping[str, Collection[Tags]]) -> None:
        """Get ready what was picked, as far as it may be shown."""
        picked = {id: post for id in picks if (post := self.recent.posts.get(id))}
        for id, shown in (await self.posts.shown(store, picked)).items():
            body = dumps(as_json(id, picked[id], shown)).removesuffix("}")
            self.ready |= dict.fromkeys(picks[id], (id, body))

    def take(self, number: int) -> Collection[str] | None:
        now, events = self.posts.feed.clock(), dict[Tags, PostTold]()
        for tags, (id, body) in list(self.ready.items()):
            if id not in self.recent.posts:
                del self.ready[tags]
            elif self.may(self.due, tags, now):
                del self.ready[tags]
                self.wait(self.due, tags, now)
                events[tags] = id, body, max(0, self.left.pop(tags, 1) - 1)
        gone, self.gone = self.gone, {}
        self.sent.append((number, events, gone))
        if None in gone.values():
            return None
        return {tag for tags in (*events, *gone.values()) for tag in tags or ()}

    def may(self, times: Mapping[Tags, float], tags: Tags, now: float) -> bool:
        return times.get(tags, 0.0) <= now + EARLY_SECONDS

    def wait(self, times: dict[Tags, float], tags: Tags, now: float) -> None:
        """Let the next one come so much later than this one was due, or than now, if that is
        later: so that there are never more on the average."""
        times[tags] = max(times.get(tags, 0.0), now) + EVENT_SECONDS

    def first(self, tags: Sequence[str]) -> bytes:
        self.recent.listens = True
        return FORGOTTEN

    def between(self, tags: Sequence[str], before: int, last: int) -> bytes:
        """What was not taken back since, and what was."""
        if len(self.sent) == TICKS_KEPT and before < self.sent[0][0]:
            return FORGOTTEN
        key, events, gone = tuple(tags), list[bytes](), list[str]()
        for number, posts, taken_back in reversed(self.sent):
            if number <= before:
                break
            if number > last:
                continue
            id, body, left_out = posts.get(key, ("", "", 0))
            if id in self.recent.posts and len(events) < POSTS_BEHIND:
                events.append(sse.event(f'{body},"left_out":{left_out}}}', "post"))
            gone += [one for one, of in taken_back.items() if of is None or shares(of, tags)]
        told = [sse.event(dumps({"ids": gone}), "gone")] if gone else []
        return b"".join([*reversed(events), *told])

    async def close(self) -> None:
        await asyncio.gather(*map(end_of, self.looking))


def shares(some: Iterable[str], others: Collection[str]) -> bool:
    return any(each in others for each in some)


def add_posts(app: Quart, settings: Settings, feed: Feed) -> None:
    """Serve them, unless the owner wants none of it."""
    posts = ShownPosts(settings, feed) if settings.show_posts else None

    @app.get("/api/posts")
    async def newest() -> Response:
        if posts is None:
            raise Refused(404, Sentence("No posts are shown here: SHOW_POSTS is off."))
        tags, _ = selected(request.args, settings, feed)
        return await json(await posts.newest(opened(feed), tags))

    if posts:
        app.extensions["posts"] = posts
        feed.extras.add("posts", posts.events)
        feed.take_back = posts.events.take_back
        app.after_serving(posts.close)
