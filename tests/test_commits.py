"""What is remembered of commits, and what is done when Redis has other ones."""

import pytest

from app.ingest import commits as module
from app.ingest.commits import Commits
from app.ingest.counter import MOST_BYTES, MOST_ENTRIES, Cut
from app.messages import MINUTE
from app.store.state import State


def state(number: int, commit: str = "", minute: int = 0, **more: object) -> State:
    return State(f"2.{number}" if number else "", commit, time=minute * MINUTE, **more)  # type: ignore[arg-type]


class Past:
    """Commits that all went well so far."""

    def __init__(self) -> None:
        self.commits, self.number = Commits(state(0)), 0

    def make(self, minute: int = 0, cursor: str = "", **tags: int) -> Cut:
        cursors = {"replay": cursor} if cursor else {}
        cut = self.commits.trying = Cut(minute, {"x": tags} if tags else {}, cursors=cursors)
        self.number += 1
        self.commits.done(cut, state(self.number, cut.name, minute))
        return cut

    def names(self) -> list[str]:
        return [made.cut.name for made in self.commits.attempts]

    def brought(self) -> int:
        """Posts that are to be committed again."""
        cuts = list(self.commits.again)
        return sum(posts for cut in cuts for _, _, _, posts in cut.entries())


def test_fifteen_minutes_are_remembered() -> None:
    """By when they were stored, and always the last one."""
    past = Past()
    made = [past.make(minute, a=1).name for minute in range(100)]
    assert past.names() == made[-16:]
    last = past.make(1000)
    assert past.names() == [last.name]


def test_a_number_of_numbers_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """All together; what is marked as counted counts, and a long name as several."""
    monkeypatch.setattr(module, "MOST_REMEMBERED", 10)
    past = Past()
    made = [past.make(0, a=1, b=1, c=1).name for _ in range(5)]
    assert past.names() == made[-3:]
    marked = past.commits.trying = Cut(marks={"x": {1: {b"%d" % n for n in range(8)}}})
    past.commits.done(marked, state(6, marked.name))
    assert past.names() == [marked.name]
    past.make(0, **{"\ufdfa" * 1800: 1})
    assert len(past.names()) == 1
    assert sum(made.size for made in past.commits.attempts) == (100 + 5 * 1800 * 3) // 400


def test_what_is_committed_again_is_bounded() -> None:
    """No commit has more than 4,000 hashtags or 512 KiB, though many small ones become one."""
    past = Past()
    for n in range(50):
        past.make(0, **{f"{n}.{m}": 1 for m in range(300)})
    for n in range(5):
        past.make(0, **{f"{n}.{m}." + "\ufdfa" * 1700: 1 for m in range(20)})
    assert past.commits.reconcile(state(0), [], []).commits == 56
    assert past.brought() == 50 * 300 + 5 * 20
    sizes, number = [], 0
    while cut := past.commits.next_again():
        sizes.append(cut.size())
        assert cut.size() <= MOST_ENTRIES and cut.bytes() <= MOST_BYTES
        number += 1
        past.commits.done(cut, state(number, cut.name))
    assert sum(sizes) == 50 * 300 + 5 * 20
    assert len(sizes) <= 9
    assert len(past.names()) <= 1 + 56 + len(sizes)


def test_an_older_copy_of_ours_lacks_what_came_after_it() -> None:
    """And no source is read again: all is in memory."""
    past = Past()
    made = [past.make(n, cursor=str(n), **{"a": 2**n}) for n in range(5)]
    missing = past.commits.reconcile(state(3, made[2].name), ["replay"], ["replay"])
    assert (missing.commits, missing.read_again, missing.since) == (2, set(), 0)
    assert past.brought() == 2**3 + 2**4
    again = past.commits.next_again()
    assert again and again.cursors == {"replay": "4"}


def test_one_of_an_older_one_that_comes_after_all_is_known() -> None:
    """A failover to an old copy, and then one back: what is counted again in the first is not
    counted once more in the second. Sources that go back do so there: their cursor tells more."""
    past = Past()
    made = [past.make(n, **{"a": 2**n}) for n in range(5)]
    past.commits.reconcile(state(1, made[0].name), ["replay"], [])
    cut = past.commits.next_again()
    assert cut
    past.commits.done(cut, state(2, cut.name))
    past.number = 2
    past.make(5, a=2**5)
    newer = state(4, made[3].name, cursors={"replay": "7"})
    missing = past.commits.reconcile(newer, ["replay"], [])
    assert missing.read_again == {"replay"}
    assert past.brought() == 2**4 + 2**5


def test_an_empty_redis_gets_all_that_is_remembered() -> None:
    """A source that begins at the beginning does that; one without a cursor there could only
    go on with the present. Since when nothing is missing is told."""
    past = Past()
    for minute in range(100, 130):
        past.make(minute, cursor=str(minute), a=1)
    missing = past.commits.reconcile(state(0), ["replay", "bluesky"], ["replay"])
    assert (missing.commits, missing.read_again, missing.since) == (16, {"replay"}, 114)
    assert past.brought() == 16
    assert not any("replay" in cut.cursors for cut in past.commits.again)


def test_a_stranger_s_commit_makes_sources_go_back() -> None:
    """Ours are in it; what was tried is not, and comes again."""
    past = Past()
    last = past.make(0, a=1)
    past.commits.trying = Cut(0, {"x": {"a": 4}, "replay": {"a": 8}})
    stranger = state(2, "stranger", recent=(last.name, "stranger"), cursors={"replay": "7"})
    missing = past.commits.reconcile(stranger, ["replay"], [])
    assert missing.read_again == {"replay"}
    assert past.brought() == 4
