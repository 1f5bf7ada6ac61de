"""What the model says of posts: which of them are in Redis, and the minute in which each is counted.

Beside it stand the authors of each day and hashtag (people_model.py), and the hours that are kept
longer. It says of each fault which posts are in Redis afterwards, and what is brought again.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from model_faults import FaultyStore
from people_model import Crowds, Hashed
from stored import Fields, Of, all_fields, check_chain, slots, totals_by_source

from app.ingest.day_keys import DayKeys
from app.ingest.ledger import OLDEST_MINUTES, OLDEST_TRACKED_MINUTES
from app.messages import MINUTE
from app.store import keys

TRACKED, OTHERS = ("a", "b"), ("c", "d")


@dataclass
class Given:
    """A post, or some of a minute's. minute: 0 for the present one, until a tick takes it; hashed:
    its author, once it is cut."""

    source: str
    tag: str
    minute: int = 0
    past: bool = False
    author: str = ""
    hashed: Hashed | None = None
    is_cut: bool = False


@dataclass
class Copy:
    """Redis as it was, the names of its last commits, how many, which posts were in it, and whose;
    and which hashtags of which hours were kept longer."""

    data: dict[bytes, bytes] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    last: str = ""
    number: int = 0
    there: dict[int, int] = field(default_factory=dict)
    crowds: Crowds = field(default_factory=lambda: Crowds(DayKeys()))
    kept: frozenset[tuple[str, int]] = frozenset()


Made = tuple[int, str, list[int]]
"""When a commit was made (a minute), its name, and its posts."""


@dataclass
class Model:
    """crowds: the authors in Redis. given: all posts, by number. there: those in Redis, to the
    minute in which they count; prints: what Redis says of the days' keys since the last commit.
    waiting: those that are brought with the next tick; entered: such of them as were in Redis
    before an answer was lost. made: the commits that are remembered; again: such as are to be
    made again. kept: hashtags that are not tracked, and the hours of which they are kept longer."""

    crowds: Crowds
    given: list[Given] = field(default_factory=list)
    there: dict[int, int] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    entered: set[int] = field(default_factory=set)
    made: list[Made] = field(default_factory=list)
    again: list[Made] = field(default_factory=list)
    prints: Mapping[int, str] = field(default_factory=dict)
    kept: frozenset[tuple[str, int]] = frozenset()

    def by_hour(self) -> frozenset[tuple[str, int]]:
        """Which hashtags have posts in which hours."""
        return frozenset((self.given[n].tag, at // 60) for n, at in self.there.items())

    def begin(self, now: int, name: str, again: Iterable[Made] = ()) -> None:
        self.made, self.again, self.entered = [(now, name, [])], list(again), set()

    def enter(self, posts: Iterable[int], now: int) -> None:
        """These are in Redis, if they were not before."""
        for n in posts:
            if n not in self.there and n not in self.entered:
                of = self.given[n]
                oldest = OLDEST_TRACKED_MINUTES if of.tag in TRACKED else OLDEST_MINUTES
                self.there[n] = of.minute if now - oldest <= of.minute <= now else now
                self.crowds.enter(of.tag, of.hashed, now, self.prints)

    def cut(self, now: int) -> None:
        """What waits and was not cut before is, in this minute."""
        for of in [self.given[n] for n in self.waiting]:
            if not of.is_cut:
                of.hashed = self.crowds.hashed(of.source, of.author, of.minute, now)
                of.is_cut = True

    def store(self, now: int, name: str) -> None:
        """What waited is in Redis, and remembered for 15 minutes."""
        again = [(now, made, posts) for _, made, posts in self.again]
        for _, _, posts in [*again, (now, name, self.waiting)]:
            self.enter(posts, now)
        self.made += [*again, (now, name, self.waiting)]
        self.waiting, self.again, self.entered = [], [], set()
        self.forget(now)

    def is_answered(self, now: int, name: str) -> None:
        """It is known by now that what was entered is in Redis."""
        self.made.append((now, name, [n for n in self.waiting if n in self.entered]))
        self.waiting = [n for n in self.waiting if n not in self.entered]
        self.entered = set()
        self.forget(now)

    def forget(self, now: int) -> None:
        while len(self.made) > 1 and self.made[0][0] < now - 15:
            self.made.pop(0)

    def becomes(self, is_now: Copy, now: int, older: bool) -> None:
        """Redis is this now: what it lacks is brought again, as far as that is remembered."""
        made = [*self.made, *self.again]
        known = [n for n, one in enumerate(made) if one[1] and one[1] in is_now.names]
        keep = known[-1] + 1 if known else 0 if older else len(self.made)
        self.there, self.crowds = dict(is_now.there), is_now.crowds.copy()
        self.kept = is_now.kept
        self.begin(now, is_now.last, made[keep:])

    def is_read_again(self, posts: Container[int]) -> None:
        """These come once more from their source."""
        self.waiting = [n for n in self.waiting if n not in posts]
        self.again = [(at, name, [n for n in of if n not in posts]) for at, name, of in self.again]

    async def compare(self, store: FaultyStore, hour: int, went_back: bool) -> None:
        """Totals and all of the past are those of the posts. hour: the newest by which Redis forgot;
        went_back: whether its clock ever did, so that parts of the past may not follow each other."""
        found = await totals_by_source(store)
        totals = {(s, t): n for t, parts in found.items() for s, n in parts.items() if n}
        where = [(self.given[n].source, self.given[n].tag, at) for n, at in self.there.items()]
        assert totals == Counter((source, tag) for source, tag, _ in where)
        tick = store.told[-1]
        for tag, parts in tick.counts.items():
            assert {s: n for s, n in parts.items() if n} == {
                s: n for (s, t), n in totals.items() if t == tag
            }
        fields = await all_fields(store.redis)
        recent = {of: past for of, past in fields["hour"].items() if of[2] > hour - 48}
        assert slots(recent, 60) == Counter(of for of in where if of[2] // 60 > hour - 48)
        kept = {
            of: past
            for of, past in fields["kept"].items()
            if of[1] in TRACKED and of[2] > hour - 7 * 24
        }
        tracked = [of for of in where if of[1] in TRACKED]
        assert slots(kept, 60) == Counter(of for of in tracked if of[2] // 60 > hour - 7 * 24)
        days = {of: past for of, past in fields["day"].items() if of[1] in TRACKED}
        assert slots(days, 24) == Counter((source, tag, at // 60) for source, tag, at in tracked)
        for of, past in recent.items():
            # where the clock went back into it, it is not over
            if of[2] != store.now // MINUTE // 60:
                self.compare_kept(of, past, fields)
        if not went_back:
            check_chain(recent, totals)
            check_chain(kept, totals)

    def compare_kept(self, of: Of, past: keys.Past, fields: Fields) -> None:
        """An hour that is over, and what is kept of it for longer."""
        source, tag, hour = of
        is_kept = (tag, hour) in self.kept
        assert fields["kept"].get(of, None if is_kept else past) == past
        if is_kept:
            of_day = fields["day"][source, tag, hour // 24]
            assert of_day.slots[hour % 24] == sum(past.slots.values())
