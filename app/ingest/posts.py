"""Where the posts of the last ten minutes are, for who wants to see them.

Nothing is counted by it, so a post that is lost here is no harm; but one that is there no more must
not stay. So whenever it is not sure what Redis has, all of it goes.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, takewhile

from app.messages import Deletion, Post
from app.store import keys
from app.store.posts import StoredPost, recent, write_post, write_posts
from app.store.store import Store

LIFE = keys.POSTS_SECONDS * 1000
MOST_POSTS = 200_000
"""In Redis; at 600 a second those of 333 s. With more, the oldest go before their time."""
MOST_BYTES = 64 * 2**20
"""The same, all together."""
MOST_NEW = 5000
"""Between two ticks; more are left out."""
LONGEST_ID = 300
"""Characters; a post with a longer one is left out."""
MEASURED = 500
"""So many are measured together, at least."""
TRIM_MILLISECONDS = 5000
"""So often what is too old goes, also while no post comes."""


class Posts:
    """Those that Redis has, and those that it is to have.

    Bounds: new has MOST_NEW entries, places MOST_POSTS all together, sizes one for each MEASURED
    of them, gone no more than places had.
    """

    def __init__(self, wanted: bool = True) -> None:
        self.wanted = wanted
        """Whether any is to be shown; otherwise nothing of this is done."""
        self.new: dict[int, tuple[str, bytes]] = {}
        """What tells a post from others (key_of) to its source and how it is written."""
        self.writing: Mapping[int, tuple[str, bytes]] = {}
        """Those that are on their way to Redis."""
        self.taken_back: set[int] = set()
        """Those of them that were taken back meanwhile."""
        self.places: dict[str, dict[int, int]] = {}
        """Source to what tells a post from others to where it is in Redis (place_of)."""
        self.sizes: deque[tuple[int, int, int]] = deque()
        """Of what was written at once: where the last is, how many there are, and bytes."""
        self.gone: list[int] = []
        """Places of what is to be taken back."""
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
            self.new[key] = post.source, write_post(stored)

    def remove(self, deletion: Deletion) -> None:
        """Take back a post, or all whose ids begin so."""
        places = self.places.get(deletion.source, {})
        named: Iterable[int] = (key_of(deletion.source, deletion.id),)
        if deletion.id.endswith("/"):
            beginning = beginning_of(deletion.source, deletion.id)
            known = chain(places, self.new, self.writing)
            named = [key for key in known if key >> BITS == beginning]
        for key in named:
            self.new.pop(key, None)
            if key in self.writing:
                self.taken_back.add(key)
            if place := places.pop(key, 0):
                self.gone.append(place)

    def forget(self, source: str) -> None:
        """Take back all of a source."""
        self.gone += self.places.pop(source, {}).values()
        self.new = {key: one for key, one in self.new.items() if one[0] != source}
        self.taken_back |= {key for key, one in self.writing.items() if one[0] == source}

    def lose(self) -> bool:
        """Nobody knows what Redis has, so all of it is to go; whether that is news."""
        is_news, self.lost = not self.lost, True
        self.new, self.places, self.gone, self.anew = {}, {}, [], True
        self.sizes.clear()
        self.taken_back |= self.writing.keys()
        return is_news

    async def write(self, store: Store, writer: str, now: int) -> None:
        """Bring Redis up to date, if there is anything to tell; now: by its clock, in milliseconds
        since 1970. Raises StoreLost."""
        oldest = self.trim(now)
        waits = self.new or self.gone or self.anew or now >= self.due
        if not (self.wanted and waits):
            return
        new, gone, anew = self.new, [id_of(place) for place in self.gone], self.anew
        self.new, self.gone, self.writing, self.taken_back = {}, [], new, set()
        self.anew = True  # until Redis says that it has them
        try:
            texts = [text for _, text in new.values()]
            ids = await write_posts(store, writer, texts, gone, oldest, anew)
            self.anew = self.lost = False
            self.note(new, [place_of(id) for id in ids])
        except asyncio.CancelledError:
            self.wanted = False  # we end; whoever comes next reads what is there
            raise
        finally:
            self.writing = {}
        self.due = now + TRIM_MILLISECONDS

    def note(self, new: Mapping[int, tuple[str, bytes]], places: Sequence[int]) -> None:
        """Redis has these now."""
        for (key, (source, _)), place in zip(new.items(), places, strict=True):
            if key in self.taken_back:
                self.gone.append(place)
            else:
                self.places.setdefault(source, {})[key] = place
        if places:
            self.measure(places[-1], len(places), sum(len(text) for _, text in new.values()))

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
