"""How many people used a hashtag on a UTC day: authors by a keyed hash, of all networks together,
so that one with an account in two of them is two.

A post's author belongs to the day of the post's time where its source went back to it, otherwise
to today; of a day before yesterday nobody is counted any more. To add an author again changes
nothing: what is read again, or committed again, needs no other care.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from app.ingest.counter import Authored, Authors, Cut
from app.ingest.day_keys import KEPT_DAYS, DayKeys
from app.ingest.ledger import Pages
from app.messages import dumps
from app.store import keys
from app.store.keys import AUTHOR_BYTES, FEW
from app.store.state import SEVERAL, State, Write

KEPT_PRINTS = 8
"""Days whose fingerprints stay in `state`: longer than their people are in Redis."""

MOST_BYTES = FEW * AUTHOR_BYTES
"""Of a field."""

Crowds = dict[tuple[int, str], bytes]
"""Day and hashtag to the authors that its HyperLogLog is to have."""


@dataclass
class PeopleOfCommit:
    """What a commit says and writes of people."""

    day: int = 0
    """As the tick has it."""
    people: str = ""
    """A part of the tick's JSON (state.Commit)."""
    writes: list[Write] = field(default_factory=list)
    prints: dict[int, str] = field(default_factory=dict)
    """Day to fingerprint, as `state` is to have them."""


class People:
    """Counts authors; it remembers none of them."""

    def __init__(self, day_keys: DayKeys, are_known: bool = True) -> None:
        self.day_keys = day_keys
        self.are_known = are_known
        """Whether any source says who wrote its posts."""

    def hashed(self, authored: Iterable[tuple[int, Authored]], today: int) -> Authors:
        """Posts and the days they are of, as a cut has their authors."""
        self.day_keys.begin(today)
        found: dict[str, dict[int, dict[str, set[bytes]]]] = {}
        for day, (source, author, tags) in authored:
            day = min(day, today) or today  # of no time, or of one to come, as its network has it
            if key := self.day_keys.keys.get(day):
                text = f"{source} {author}".encode(errors="replace")
                short = blake2b(text, key=key, digest_size=AUTHOR_BYTES).digest()
                of_day = found.setdefault(source, {}).setdefault(day, {})
                for tag in tags:
                    if tag in of_day:
                        of_day[tag].add(short)
                    else:
                        of_day[tag] = {short}
        return {
            source: {
                day: {tag: b"".join(authors) for tag, authors in tags.items()}
                for day, tags in days.items()
            }
            for source, days in found.items()
        }

    def wanted(self, cut: Cut, today: int) -> dict[str, set[str]]:
        """The fields that are read before the cut is entered: key to names."""
        changed = set[str]()
        if self.are_known:  # the tick is to have the people of what changed
            changed.update(*cut.present.values())
            changed.update(tag for by in cut.past.values() for tags in by.values() for tag in tags)
        wanted = {keys.people(today): changed}
        for day, tags in cut.authors_by_day():
            wanted.setdefault(keys.people(day), set()).update(tags)
        return wanted

    def enter(
        self, cut: Cut, pages: Pages, state: State, today: int, changed: Collection[str]
    ) -> PeopleOfCommit:
        """Work out who is new; changed: the hashtags that the tick tells of."""
        self.day_keys.begin(today)
        prints = self.agreed(state.people, today)
        made = PeopleOfCommit(prints=prints)
        if self.are_known and prints[today] != SEVERAL:
            made.day = today
        crowds: Crowds = {}
        for day, tags in cut.authors_by_day():
            if prints.get(day, SEVERAL) != SEVERAL and day in self.day_keys.keys:
                add(pages, day, tags, crowds)
        for (day, tag), authors in crowds.items():
            made.writes += crowd_writes(day, tag, authors, day == made.day and tag in changed)
        if made.day:
            made.people = known_people(pages, made.day, changed, crowds)
        return made

    def agreed(self, stored: Mapping[int, str], today: int) -> dict[int, str]:
        """Day to fingerprint, as `state` is to have it: SEVERAL for a day that was counted by
        another key than ours as well, in another folder or on another host."""
        agreed = {}
        for day in range(today - KEPT_DAYS + 1, today + 1):
            ours = self.day_keys.fingerprint(day)
            agreed[day] = ours if stored.get(day, ours) == ours else SEVERAL
        older = {day: p for day, p in stored.items() if today - KEPT_PRINTS < day < min(agreed)}
        return {**older, **agreed}


def add(pages: Pages, day: int, tags: Mapping[str, bytes], crowds: Crowds) -> None:
    """Add authors, hashtag to hashes, to the day's fields, which have up to FEW each. Where there
    are more, or were before, they go to `crowds`, for the hashtag's HyperLogLog."""
    key = keys.people(day)
    stored, changed = pages.values.get(key, {}), pages.changed[key]
    pages.ends[key] = keys.end_of_people(day)
    for tag, authors in tags.items():
        before = changed.get(tag) or stored.get(tag, b"")
        size, is_waiting = len(before), bool(crowds) and (day, tag) in crowds
        is_one = len(authors) == AUTHOR_BYTES and not (size % AUTHOR_BYTES or is_waiting)
        if is_one and size < MOST_BYTES:  # as nearly always: it need not be taken apart
            if authors not in before:
                changed[tag] = before + authors
            continue
        if is_waiting or keys.is_crowd(before):
            crowds[day, tag] = crowds.get((day, tag), b"") + authors
            continue
        try:
            known = keys.read_people(before)
        except ValueError:
            pages.skip(key, tag)
            known, before = 0, b""
        together = dict.fromkeys([*split(before), *split(authors)])
        if len(together) > FEW:
            crowds[day, tag] = b"".join(together)
            changed.pop(tag, None)  # what another network brought before is among them
        elif len(together) > known:
            changed[tag] = b"".join(together)


def split(authors: bytes) -> list[bytes]:
    return [authors[n : n + AUTHOR_BYTES] for n in range(0, len(authors), AUTHOR_BYTES)]


def crowd_writes(day: int, tag: str, authors: bytes, is_told: bool) -> list[Write]:
    """What adds authors to a HyperLogLog, and what counts them then."""
    key, ends = keys.crowd(day, tag), keys.end_of_people(day)
    counted = [keys.people(day), tag, dumps(tag) + ":" if is_told else ""]
    return [
        Write("authors", key, values=split(authors), ends=ends),
        Write("count", key, counted, ends=ends),
    ]


def known_people(pages: Pages, day: int, changed: Iterable[str], crowds: Crowds) -> str:
    """The people of what changed, as JSON without its braces; those of crowds are counted later."""
    key = keys.people(day)
    stored, new = pages.values.get(key, {}), pages.changed.get(key, {})
    found = {}
    for tag in changed:
        value = new.get(tag) or stored.get(tag, b"")
        size = len(value)
        if size <= MOST_BYTES and not size % AUTHOR_BYTES:  # as nearly always
            if not crowds or (day, tag) not in crowds:
                found[tag] = size // AUTHOR_BYTES
        elif (day, tag) not in crowds:
            try:
                found[tag] = keys.read_people(value)
            except ValueError:
                pages.skip(key, tag)
    return msgspec.json.encode(found)[1:-1].decode()
