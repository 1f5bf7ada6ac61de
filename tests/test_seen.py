"""What was counted of sources that may bring it again: known by its mark, in bounds."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from network import Counting, settings
from servers import eventually

from app.ingest import seen
from app.ingest.seen import Seen
from app.messages import MINUTE, Post
from app.sources import Source


def post(id: str, minute: int) -> Post:
    return Post("x", id, minute * MINUTE, "", {"a": "a"})


def test_a_post_is_seen_once() -> None:
    """In whichever of the last 15 minutes it says to be; its mark says nothing of its id."""
    known = Seen()
    minute, marks = known.add(post("1", 7)) or (0, set())
    assert (minute, [len(mark) for mark in marks]) == (7, [8])
    assert known.add(post("1", 7)) is known.add(post("1", 8)) is None
    assert known.add(post("2", 6))
    assert Seen({7: marks}).add(post("1", 9)) is None
    assert known.add(post("\ud800", 7))
    assert (known.newest, known.old()) == (7, [])


def test_what_is_older_than_15_minutes_of_its_source_may_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One without a time is kept as long as all others."""
    monkeypatch.setattr(seen, "FEW", 0)
    known = Seen()
    for minute in (100, 116, 101, 0):
        known.add(post(str(minute), minute))
    assert sorted(known.minutes) == [100, 101, 116]
    assert known.old() == [100]
    assert known.add(post("0", 0)) is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood makes the oldest minutes forgotten before their time, down to the present one."""
    monkeypatch.setattr(seen, "MOST", 1000)
    marks = Seen()
    for n in range(20_000):
        assert marks.add(post(str(n), 100 + n // 400))
        for minute in marks.old():
            del marks.minutes[minute]
        assert sum(map(len, marks.minutes.values())) <= 1000
    assert marks.add(post("19999", 149)) is None, "the last ones are known"


def test_one_without_a_time_is_remembered_as_long_as_all_others() -> None:
    """Also one of an hour ago: not only until the next minute."""
    marks = Seen()
    for n, at in enumerate((100, 0, 40)):
        minute, _ = marks.add(post(str(n), at)) or (0, b"")
        assert minute == 100
    marks.add(post("1000", 115))
    assert marks.old() == []
    assert all(marks.add(post(str(n), at)) is None for n, at in enumerate((115, 0, 40)))


def test_what_had_no_time_is_remembered_for_longer() -> None:
    """It may be of much later than the last one before: it was forgotten 15 minutes after that."""
    known = Seen()
    for n, at in enumerate((100, 0, 0)):
        known.add(post(str(n), at))
    minute, marks = known.add(post("3", 110)) or (0, set())
    assert (minute, len(marks)) == (110, 3)
    for n, at in enumerate((116, 126)):
        assert known.add(post(f"later{n}", at))
        for old in known.old():
            del known.minutes[old]
    assert sorted(known.minutes) == [116, 126]
    assert [known.add(post(str(n), 126)) is None for n in range(4)] == [False, True, True, False]


def test_of_what_has_no_time_few_are_remembered_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last ones; of all others as many as of any minute."""
    monkeypatch.setattr(seen, "FEW", 3)
    known = Seen()
    for n in range(10):
        known.add(post(str(n), 0 if n else 100))
    assert len(known.undated) == 3
    minute, marks = known.add(post("later", 101)) or (0, set())
    assert (minute, len(marks)) == (101, 4)


def test_those_before_it_is_known_what_time_it_is_are_remembered_as_long() -> None:
    """The first ones say to be of last year; it was counted twice when they came again. What is
    to be remembered in Redis has their marks, too."""
    known = Seen()
    first = [known.add(post(str(n), 5)) for n in range(3)]
    minute, marks = known.add(post("3", 1000)) or (0, set())
    assert (minute, len(marks)) == (1000, 4)
    assert marks > set().union(*(found for _, found in filter(None, first)))
    assert (known.old(), list(known.minutes)) == ([], [1000])
    assert all(known.add(post(str(n), 5)) is None for n in range(4))


def test_after_an_outage_what_was_before_it_goes() -> None:
    """Of many posts none is told again to Redis: a commit is bounded."""
    known = Seen()
    for n in range(seen.FEW + 1):
        known.add(post(str(n), 5))
    minute, marks = known.add(post("later", 1000)) or (0, set())
    assert (minute, len(marks), known.old()) == (1000, 1, [5])


class Timeless(Source):
    """Brings the same posts with every connection, and says of none when it was."""

    name = "x"
    complete = goes_back = repeats = True
    brought = 0

    async def posts(self, cursor: str) -> AsyncIterator[Post]:
        self.say("live")
        for n in range(5):
            yield post(str(n), 0)
            self.brought += 1
        await asyncio.Event().wait()


async def test_what_has_no_time_is_known_after_a_restart(counting: Counting) -> None:
    """Such as came first, while our own clock was behind: it was counted again."""
    for _ in range(2):
        source = Timeless(settings(("a",)))
        async with counting.of(source):
            await eventually(lambda: source.brought == 5, "all are brought")  # noqa: B023
            await counting.reach({"a": 5})
