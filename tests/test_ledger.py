"""Increments and stored values to absolute ones, over the ends of minutes, hours and days."""

import logging
from collections import Counter as Plain
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.counter import Cut
from app.ingest.ledger import HOUR_MINUTES, Changes, Ledger, Pages
from app.messages import MINUTE
from app.store import keys
from app.store.keys import Past
from app.store.state import Write

NOW = (20_000 * 24 + 1) * HOUR_MINUTES + 10
"""A minute: ten past one at night."""
HOUR, DAY = NOW // HOUR_MINUTES, NOW // HOUR_MINUTES // 24


class Memory:
    """What would be in Redis."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, bytes]] = {}
        self.ends: dict[str, int] = {}

    def pages(self, wanted: Mapping[str, Iterable[str]], *networks: str) -> Pages:
        """Exactly the fields that are wanted, as they are."""
        return Pages(
            {
                key: {name: self.values[key][name] for name in names if name in self.values[key]}
                for key, names in wanted.items()
                if key in self.values
            },
            networks,
        )

    def write(self, writes: Iterable[Write]) -> None:
        for write in writes:
            assert write.kind == "hash"
            values = (v.encode() if isinstance(v, str) else v for v in write.values)
            pairs = zip(write.names, values, strict=True)
            self.values.setdefault(write.key, {}).update(pairs)
            self.ends[write.key] = write.ends

    def past(self, key: str, tag: str) -> Past | None:
        value = self.values.get(key, {}).get(tag)
        return Past.read(value) if value is not None else None

    def total(self, source: str, tag: str) -> tuple[int, int]:
        return keys.read_posts(self.values[keys.totals(source)][tag])


class Book:
    """A ledger with its memory."""

    def __init__(self, *tracked: str) -> None:
        self.ledger, self.memory = Ledger(tracked), Memory()

    def enter(self, cut: Cut) -> tuple[Changes, Pages]:
        pages = self.memory.pages(self.ledger.wanted(cut, ["x"]), "x")
        changes = self.ledger.enter(cut, pages)
        self.memory.write(pages.writes())
        return changes, pages

    def present(self, minute: int, **tags: int) -> Changes:
        return self.enter(Cut(minute, {"x": tags}))[0]

    def past(self, now: int, minute: int, **tags: int) -> Changes:
        return self.enter(Cut(now, {}, {"x": {minute: tags}}))[0]

    def hour(self, number: int, tag: str = "a", key: "Key" = keys.hour) -> Past | None:
        return self.memory.past(key(number, "x"), tag)


Key = type(keys.hour)


def test_a_post_of_now_is_in_its_hour() -> None:
    """With the running total; one that is not tracked is not kept longer yet."""
    book = Book("tracked")
    book.present(NOW, a=2)
    changes = book.present(NOW + 1, a=3)
    assert book.memory.total("x", "a") == (5, HOUR)
    assert book.hour(HOUR) == Past(5, {10: 2, 11: 3})
    assert set(book.memory.values) == {keys.totals("x"), keys.hour(HOUR, "x")}
    assert (changes.added, changes.late) == ({"a": {"x": 3}}, {})
    book.present(NOW + 60, a=1)
    assert book.hour(HOUR) == Past(5, {10: 2, 11: 3})
    assert book.hour(HOUR + 1) == Past(6, {10: 1})


def test_a_tracked_one_is_in_its_hour_and_day_at_once() -> None:
    """As absolute values, in every commit; each key lives by what it holds."""
    book = Book("a")
    book.present(NOW, a=2)
    book.present(NOW + 60, a=1)
    assert book.hour(HOUR, key=keys.kept) == book.hour(HOUR) == Past(2, {10: 2})
    assert book.hour(HOUR + 1, key=keys.kept) == book.hour(HOUR + 1) == Past(3, {10: 1})
    assert book.hour(DAY, key=keys.day) == Past(3, {1: 2, 2: 1})
    assert book.memory.ends == {
        keys.totals("x"): 0,
        keys.hour(HOUR, "x"): keys.end_of_hour(HOUR),
        keys.hour(HOUR + 1, "x"): keys.end_of_hour(HOUR + 1),
        keys.kept(HOUR, "x"): keys.end_of_kept(HOUR),
        keys.kept(HOUR + 1, "x"): keys.end_of_kept(HOUR + 1),
        keys.day(DAY, "x"): keys.end_of_day(DAY),
    }


def test_late_posts_raise_what_comes_after_them() -> None:
    """All running totals from their hour to the present one; also over the end of a day."""
    book = Book("a")
    for minute in (NOW - 180, NOW - 60, NOW):
        book.present(minute, a=1)
    changes = book.past(NOW, NOW - 121, a=5)
    assert changes.late == {"a": {"x": [((NOW - 121) * MINUTE, 5)]}}
    assert book.memory.total("x", "a") == (8, HOUR)
    for key in (keys.hour, keys.kept):
        assert book.hour(HOUR - 3, key=key) == Past(1, {10: 1})
        assert book.hour(HOUR - 2, key=key) == Past(6, {9: 5})
        assert book.hour(HOUR - 1, key=key) == Past(7, {10: 1})
        assert book.hour(HOUR, key=key) == Past(8, {10: 1})
    assert book.hour(DAY - 1, key=keys.day) == Past(6, {22: 1, 23: 5})
    assert book.hour(DAY, key=keys.day) == Past(8, {0: 1, 1: 1})


@pytest.mark.parametrize(
    ("tag", "ago", "counted_ago"),
    [
        ("a", 47 * 60, 47 * 60), ("a", 47 * 60 + 1, None), ("a", 7 * 24 * 60, None), ("a", -1, None),
        ("t", 47 * 60 + 1, 47 * 60 + 1), ("t", 7 * 24 * 60, 7 * 24 * 60),
        ("t", 7 * 24 * 60 + 1, None), ("t", NOW, None), ("t", 1, 1), ("t", 0, 0),
    ],
)  # fmt: skip
def test_a_post_counts_into_its_own_minute_if_that_is_not_too_long_ago(
    tag: str, ago: int, counted_ago: int | None
) -> None:
    """47 hours, or 7 days for a tracked one; else into the present, and it is not told as late."""
    book = Book("t")
    changes = book.past(NOW, NOW - ago, **{tag: 2})
    counted = NOW - (counted_ago or 0)
    hour, slot = divmod(counted, HOUR_MINUTES)
    assert book.memory.total("x", tag) == (2, hour)
    assert changes.added == {tag: {"x": 2}}
    late = {} if counted_ago is None else {tag: {"x": [(counted * MINUTE, 2)]}}
    assert changes.late == late
    recent = HOUR - hour < 48
    assert book.hour(hour, tag) == (Past(2, {slot: 2}) if recent else None)
    assert book.hour(hour, tag, keys.kept) == (Past(2, {slot: 2}) if tag == "t" else None)
    if tag == "t":
        assert book.hour(hour // 24, tag, keys.day) == Past(2, {hour % 24: 2})


def test_a_silent_minute_makes_a_field() -> None:
    """It is known that nothing was there."""
    book = Book("a")
    changes = book.past(NOW, NOW - 70, a=0)
    assert book.hour(HOUR - 1) == book.hour(HOUR - 1, key=keys.kept) == Past()
    assert not changes.added and not changes.late


def test_what_is_kept_already_is_raised() -> None:
    """Of one that is not tracked, where it was among the most used; otherwise not."""
    book = Book()
    book.present(NOW - 60, a=1)
    book.memory.write(
        [
            Write("hash", keys.kept(HOUR - 1, "x"), ["a"], [Past(1, {10: 1}).pack()]),
            Write("hash", keys.day(DAY, "x"), ["a"], [Past(1, {0: 1}).pack()]),
        ]
    )
    book.past(NOW, NOW - 60, a=2, b=7)
    assert book.hour(HOUR - 1) == book.hour(HOUR - 1, key=keys.kept) == Past(3, {10: 3})
    assert book.hour(DAY, key=keys.day) == Past(3, {0: 3})
    assert book.hour(HOUR - 1, "b") == Past(7, {10: 7})
    assert book.hour(HOUR - 1, "b", keys.kept) is None
    assert book.hour(DAY, "b", keys.day) is None


GARBAGE = [b"", b"\xff", b"many 7", b"\x80" * 20, b"\x05\xff\x00\x01", b"9" * 40]


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize(
    "kind", [keys.totals("x"), *(f"{keys.PREFIX}{k}:" for k in ("hour", "kept", "day"))]
)
def test_garbage_counts_as_not_there(
    kind: str, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever it is: no other value suffers, it is said once, and counting goes on."""
    book = Book("a")
    for minute in (NOW - 61, NOW):
        book.present(minute, a=3, b=3)
    for key in [key for key in book.memory.values if key.startswith(kind)]:
        book.memory.values[key]["a"] = garbage
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            pages = book.enter(Cut(NOW, {"x": {"a": 1, "b": 1}}, {"x": {NOW - 61: {"a": 1}}}))[1]
            book.ledger.say(pages)
    total = book.memory.total("x", "a")[0]
    assert total == (8 if kind == keys.totals("x") else 14)
    assert book.memory.total("x", "b") == (10, HOUR)
    assert book.hour(HOUR) and book.hour(HOUR - 1)
    is_read = ":kept:" not in kind and (garbage != b"9" * 40 or ":totals:" in kind)
    if garbage and is_read:  # what is kept is a copy; and 9s may be minutes
        assert 1 <= len(caplog.records) <= 2
        assert "none of ours so far" in caplog.text and kind in caplog.text


def test_counts_are_of_every_source_that_counted_it() -> None:
    """Also where this cut has nothing of it; garbage in one of many makes none of them suffer."""
    memory, ledger = Memory(), Ledger(())
    memory.values[keys.totals("x")] = {"a": b"5 1", "c": b"many 7"}
    memory.values[keys.totals("y")] = {"a": b"7 1", "b": b"0 1"}
    cut = Cut(NOW, {"x": {"a": 2, "c": 1}, "y": {"c": 4}}, {"y": {NOW - 1: {"b": 0}}})
    pages = memory.pages(ledger.wanted(cut, ["x", "y", "z"]), "x", "y", "z")
    changes = ledger.enter(cut, pages)
    assert changes.added == {"a": {"x": 2}, "c": {"x": 1, "y": 4}}
    counts = ledger.totals(pages, changes.added, ["x", "y", "z"])
    assert counts == {"a": {"x": 7, "y": 7}, "c": {"x": 1, "y": 4}}
    assert pages.unreadable == 1
    memory.write(pages.writes())
    assert memory.values[keys.totals("x")] == {"a": b"7 %d" % HOUR, "c": b"1 %d" % HOUR}


def test_a_total_that_shrank_makes_nothing_less_than_nothing() -> None:
    """Somebody took the total away: what is late cannot be below 0."""
    book = Book()
    book.present(NOW, a=100)
    del book.memory.values[keys.totals("x")]["a"]
    book.past(NOW, NOW - 61, a=1)
    assert book.hour(HOUR - 1) == Past(1, {9: 1})
    assert book.memory.total("x", "a")[0] == 1


entries = st.tuples(st.integers(0, 50 * 60), st.booleans(), st.integers(1, 3))


@given(st.lists(entries, max_size=30), st.booleans())
def test_any_order_of_posts_sums_up(found: list[tuple[int, bool, int]], tracked: bool) -> None:
    """Each hour has its posts, and begins where the one before it ends."""
    book = Book(*"a" * tracked)
    expected: Plain[int] = Plain()
    now = NOW - 50 * 60
    for ago, is_past, posts in found:
        if is_past:
            book.past(now, now - ago, a=posts)
            oldest = 7 * 24 * 60 if tracked else 47 * 60
            expected[now - ago if ago <= oldest else now] += posts
        else:
            now = max(now, NOW - ago)
            book.present(now, a=posts)
            expected[now] += posts
    total = 0
    for hour in sorted({minute // 60 for minute in expected}):
        past = book.hour(hour)
        mine = {at % 60: n for at, n in expected.items() if at // 60 == hour}
        total += sum(mine.values())
        if now // 60 - hour >= keys.HOUR_HOURS:  # Redis has forgotten the hour's own key by now
            past = book.hour(hour, key=keys.kept)
            if not tracked:
                continue
        elif tracked:
            kept = book.hour(hour, key=keys.kept)
            assert kept and kept.total == total
        assert past and past.slots.items() <= mine.items()
        assert past.total == total
    assert not expected or book.memory.total("x", "a")[0] == total
