"""Where the posts of the last ten minutes are, for who wants to see them.

Nothing is counted by it, so a post that is lost here is no harm; but one that is there no more must
not stay. So whenever it is not sure what Redis has, all of it goes.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import NamedTuple

from app.messages import Deletion, Post
from app.store import keys
from app.store.posts import StoredPost, recent, write_post, write_posts
from app.store.store import Store, StoreLost

LIFE = keys.POSTS_SECONDS * 1000
MOST_POSTS = 200_000
"""In Redis; at 600 a second those of 333 s. With more, the oldest go before their time."""
MOST_BYTES = 64 * 2**20
"""The same, all together."""
MOST_NEW = 5000
"""Between two ticks; more are left out."""
LONGEST_ID = 300
"""Characters; a post with a longer one is left out."""
MOST_ACCOUNTS = 10_000
"""That are taken back between two ticks; with more, all that Redis has goes."""
LOOKED_AT_ONCE = 10_000
"""Places that are gone through for those before others get a turn: some 1 ms."""
MEASURED = 500
"""So many are measured together, at least."""
TRIM_MILLISECONDS = 5000
"""So often what is too old goes, also while no post comes."""


class New(NamedTuple):
    """A post that Redis is to have."""

    source: str
    text: bytes
    """How it is written."""
    number: int
    """Of the posts that were taken in, from 1 on."""


class PostPlaces:
    """Where the newest posts are: those that Redis has, and those that it is to have.

    Bounds: new, writing and taken_back have MOST_NEW entries, places MOST_POSTS all together, sizes
    one for each MEASURED of them, gone no more than places had, accounts MOST_ACCOUNTS.
    """

    def __init__(self, wanted: bool = True) -> None:
        self.wanted = wanted
        """Whether any is to be shown; otherwise nothing of this is done."""
        self.new: dict[int, New] = {}
        """By what tells a post from others (key_of)."""
        self.number = 0
        """Of the last one that was taken in."""
        self.writing: Mapping[int, New] = {}
        """Those that are on their way to Redis."""
        self.taken_back: set[int] = set()
        """Those of them that were taken back meanwhile."""
        self.places: dict[str, dict[int, int]] = {}
        """Source to what tells a post from others to where it is in Redis (place_of)."""
        self.sizes: deque[tuple[int, int, int]] = deque()
        """Of what was written at once: where the last is, how many there are, and bytes."""
        self.gone: list[int] = []
        """Places of what is to be taken back."""
        self.accounts: dict[int, int] = {}
        """How the ids of posts begin that are to be taken back (beginning_of), to the number of
        the last one: an account may come back and write again."""
        self.anew = self.lost = False
        """Whether all that Redis has is to go first; whether the last try to write failed."""
        self.due = 0
        """When Redis is to be told even where there is nothing new; milliseconds since 1970."""

    async def recall(self, store: Store, sources: Collection[str]) -> AsyncIterator[StoredPost]:
        """Each post that Redis has; what is not of these sources is taken back then: nobody heard
        meanwhile what was deleted. Raises StoreLost."""
        async for entry in recent(store):
            if post := entry.post:
                place = place_of(entry.id)
                self.places.setdefault(post.source, {})[key_of(post.source, post.id)] = place
                self.measure(place, 1, len(write_post(post)))
                yield post
        for source in self.places.keys() - set(sources):
            self.forget(source)

    def add(self, post: Post, tags: Sequence[str], at: int, now: int) -> None:
        """Take in a post of that moment with these of its hashtags, unless it is known;
        milliseconds since 1970."""
        if not (self.wanted and now - LIFE < at <= now + LIFE):
            return
        if post.adult or max(len(post.id), len(post.author)) > LONGEST_ID:
            return
        key = key_of(post.source, post.id)
        is_known = key in self.places.get(post.source, ()) or key in self.writing
        if is_known or len(self.new) >= MOST_NEW:
            return
        names = tuple(map(str, tags))  # one that was typed is more than a text
        stored = StoredPost(post.source, post.id, post.author, at, names, post.domains, post.shown)
        with suppress(UnicodeError):  # half an emoji in an id
            self.number += 1
            self.new[key] = New(post.source, write_post(stored), self.number)

    def remove(self, deletion: Deletion) -> None:
        """Take back a post; or, with the next write, all so far whose ids begin so."""
        if deletion.id.endswith("/"):
            self.accounts[beginning_of(deletion.source, deletion.id)] = self.number
            if len(self.accounts) > MOST_ACCOUNTS:
                self.lose()
            return
        key = key_of(deletion.source, deletion.id)
        self.new.pop(key, None)
        if key in self.writing:
            self.taken_back.add(key)
        if place := self.places.get(deletion.source, {}).pop(key, 0):
            self.gone.append(place)

    async def remove_accounts(self) -> None:
        """Take back all posts of those accounts: one look at each place for all of them, some
        places at a time. What they write meanwhile stays."""
        accounts = self.accounts.copy()
        for source in list(self.places):
            looked_at = list(self.places.get(source, ()))
            for begin in range(0, len(looked_at), LOOKED_AT_ONCE):
                places = self.places.get(source, {})  # in another turn they may be others
                for key in written_by(accounts, looked_at[begin : begin + LOOKED_AT_ONCE]):
                    if place := places.pop(key, 0):
                        self.gone.append(place)
                await asyncio.sleep(0)
        last = self.accounts
        self.new = {k: new for k, new in self.new.items() if new.number > last.get(k >> BITS, 0)}
        self.accounts = {k: n for k, n in last.items() if accounts.get(k) != n}

    def forget(self, source: str) -> None:
        """Take back all of a source."""
        self.gone += self.places.pop(source, {}).values()
        self.new = {key: one for key, one in self.new.items() if one.source != source}
        self.taken_back |= {key for key, one in self.writing.items() if one.source == source}

    def lose(self) -> bool:
        """Nobody knows what Redis has, so all of it is to go; whether that is news."""
        is_news, self.lost = not self.lost, True
        self.new, self.places, self.gone, self.anew = {}, {}, [], True
        self.accounts = {}
        self.sizes.clear()
        self.taken_back |= self.writing.keys()
        return is_news

    async def write(self, store: Store, writer: str, now: int) -> bool:
        """Bring Redis up to date, if there is anything to tell; now: by its clock, in milliseconds
        since 1970. Whether something was taken back. Raises StoreLost."""
        if self.accounts:
            await self.remove_accounts()
        oldest = self.trim(now)
        waits = self.new or self.gone or self.anew or now >= self.due
        if not (self.wanted and waits):
            return False
        new, gone, anew = self.new, [id_of(place) for place in self.gone], self.anew
        self.new, self.gone, self.writing, self.taken_back = {}, [], new, set()
        self.anew = False  # lose() may say so while Redis is written to
        try:
            texts = [one.text for one in new.values()]
            ids = await write_posts(store, writer, texts, gone, oldest, anew)
        except asyncio.CancelledError:
            self.wanted = False  # we end; whoever comes next reads what is there
            raise
        except StoreLost:
            self.anew = True  # nobody knows whether it has them
            raise
        else:
            self.lost = False
            self.note(new, [place_of(id) for id in ids])
        finally:
            self.writing = {}
        self.due = now + TRIM_MILLISECONDS
        return anew or bool(gone)

    def note(self, new: Mapping[int, New], places: Sequence[int]) -> None:
        """Redis has these now."""
        for (key, one), place in zip(new.items(), places, strict=True):
            if key in self.taken_back:
                self.gone.append(place)
            else:
                self.places.setdefault(one.source, {})[key] = place
        if places:
            self.measure(places[-1], len(places), sum(len(one.text) for one in new.values()))

    def measure(self, last: int, posts: int, size: int) -> None:
        if self.sizes and self.sizes[-1][1] < MEASURED:
            _, more, longer = self.sizes.pop()
            posts, size = posts + more, size + longer
        self.sizes.append((last, posts, size))

    def trim(self, now: int) -> int:
        """Forget what is too old, or too much; the oldest moment that is kept."""
        oldest, over = max(0, now - LIFE), 0
        posts, size = (sum(each[n] for each in self.sizes) for n in (1, 2))
        while self.sizes and (
            self.sizes[0][0] < oldest << BITS or posts > MOST_POSTS or size > MOST_BYTES
        ):
            over, number, length = self.sizes.popleft()
            posts, size = posts - number, size - length
        if over:
            for places in self.places.values():
                for key in first(places, over):
                    del places[key]
        return max(oldest, (over >> BITS) + 1 if over else 0)


def written_by(accounts: Collection[int], keys: Iterable[int]) -> list[int]:
    """Those of these posts whose ids begin as one of these says."""
    return [key for key in keys if key >> BITS in accounts]


def first(places: Mapping[int, int], last: int) -> list[int]:
    """The keys of those that are not behind this place; they are in the order of their places."""
    return list(takewhile(lambda key: places[key] <= last, places))


BITS = 32
LOW = (1 << BITS) - 1


def key_of(source: str, id: str) -> int:
    """What tells a post from others: a hash of how its id begins and, below it, one of all of it.
    Python's own, whose secret is drawn anew with each process."""
    return beginning_of(source, id) << BITS | hash((source, id)) & LOW


def beginning_of(source: str, id: str) -> int:
    return hash((source, id.rpartition("/")[0])) & LOW


def place_of(id: str) -> int:
    """An entry's id as a number in the same order; the other way round is id_of()."""
    milliseconds, _, sequence = id.partition("-")
    return int(milliseconds) << BITS | min(int(sequence), LOW)


def id_of(place: int) -> str:
    return f"{place >> BITS}-{place & LOW}"
