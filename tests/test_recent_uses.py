"""Who used which hashtags in the last ten minutes: exact sets, and their bounds."""

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as some

from app.ingest import recent_uses as module
from app.ingest.recent_uses import LEAST_PEOPLE, SLOT, SLOTS, RecentUses, people
from app.messages import Post

NOW = 4_102_444_800_000
MINUTE = 60_000


def post(author: str, *tags: str, adult: bool = False, source: str = "x") -> Post:
    return Post(source, "1", 0, author, dict.fromkeys(tags, "T"), "", adult)


def add(lately: RecentUses, post: Post, at: int = NOW, now: int | None = None) -> None:
    lately.add(post, post.hashtags.keys(), at, now or at)


def counted(lately: RecentUses) -> Mapping[str, tuple[int, int]]:
    """Hashtag to posts and people."""
    return {tag: (sum(of.values()), people(of)) for tag, of in lately.tags.items()}


def test_people_are_counted_once() -> None:
    """However often they post; of two networks they are two."""
    lately = RecentUses()
    for author, source in (("ada", "x"), ("ada", "x"), ("bob", "x"), ("ada", "bluesky")):
        add(lately, post(author, "a", "b", source=source))
    add(lately, post("bob", "b"))
    assert counted(lately) == {"a": (4, 3), "b": (5, 3)}


def test_who_is_not_known_is_nobody() -> None:
    """A network that does not say adds posts and no people."""
    lately = RecentUses()
    for _ in range(10):
        add(lately, post("", "a"))
    assert counted(lately) == {"a": (10, 0)}
    assert lately.crowded == {}


def test_what_is_not_for_everybody_does_not_count() -> None:
    """Nor a post with more than ten hashtags; ten are as many as may be."""
    lately = RecentUses()
    add(lately, post("ada", "a", adult=True))
    add(lately, post("ada", *map(str, range(11))))
    add(lately, post("ada"))
    assert counted(lately) == {}
    add(lately, post("ada", *map(str, range(10))))
    assert len(counted(lately)) == 10


def test_only_the_last_ten_minutes_are_there() -> None:
    """Of what a source went back for, what is of them, whenever it comes; of no other time."""
    lately = RecentUses()
    for at in (NOW - 11 * MINUTE, 0, NOW + MINUTE):
        add(lately, post("ada", "a"), at, NOW)
    assert counted(lately) == {}
    add(lately, post("ada", "a"), NOW)
    add(lately, post("bob", "a"), NOW - 9 * MINUTE, NOW)
    lately.forget(NOW + 30_000)
    assert counted(lately) == {"a": (2, 2)}
    lately.forget(NOW + 2 * MINUTE)
    assert counted(lately) == {"a": (1, 1)}
    lately.forget(NOW + 10 * MINUTE)
    assert (counted(lately), lately.slots, lately.uses) == ({}, {}, 0)


def test_what_another_clock_dated_is_forgotten() -> None:
    """Redis's clock went back by an hour: it would lie in the future for so long."""
    lately = RecentUses()
    add(lately, post("ada", "a"))
    lately.forget(NOW - 60 * MINUTE)
    assert counted(lately) == {}
    assert lately.since == NOW - 60 * MINUTE
    add(lately, post("bob", "a"), NOW - 60 * MINUTE)
    assert counted(lately) == {"a": (1, 1)}


def test_it_says_since_when_it_is_whole() -> None:
    """Since its first post, or for ten minutes."""
    lately = RecentUses()
    add(lately, post("ada", "a"))
    lately.forget(NOW + MINUTE)
    assert lately.since == NOW
    lately.forget(NOW + 20 * MINUTE)
    assert NOW + 10 * MINUTE <= lately.since <= NOW + 10 * MINUTE + SLOT


def test_a_flood_makes_the_time_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first; what comes at one moment alone is bounded too."""
    monkeypatch.setattr(module, "MOST_USES", 100)
    lately = RecentUses()
    for n in range(1000):
        add(lately, post(f"a{n}", f"t{n}"), NOW + n * 1000)
        assert lately.uses <= 100
    newest = NOW + 999_000
    assert newest - 100_000 - SLOT <= lately.since <= newest - 80_000
    for n in range(1000):
        add(lately, post(f"a{n}", f"t{n}"), newest + SLOT)
    assert lately.uses == len(lately.tags) == 100
    assert len(lately.slots) == 1


def test_of_long_hashtags_there_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each counts as several, when it comes and when it goes."""
    monkeypatch.setattr(module, "MOST_USES", 60)
    lately = RecentUses()
    for n in range(1000):
        add(lately, post(f"a{n}", f"{n:0100}"), NOW)
    assert len(lately.tags) == 10
    lately.forget(NOW + 20 * MINUTE)
    assert (lately.uses, lately.tags) == (0, {})


uses = some.lists(
    some.tuples(
        some.integers(0, 3 * SLOTS * SLOT),
        some.integers(0, 12),
        some.sets(some.sampled_from("abc"), min_size=1),
    ),
    max_size=300,
)


@given(uses)
def test_it_is_what_a_slow_count_is(found: list[tuple[int, int, set[str]]]) -> None:
    """At every moment; and the crowded are those of five people, of which the grown are told."""
    lately, now = RecentUses(), 0
    taken: dict[str, int] = {}
    for n, (at, author, tags) in enumerate(sorted(found, key=lambda each: each[0])):
        now = at
        add(lately, post(f"{author}" if author else "", *tags), at)
        lately.forget(now)
        expected: dict[str, Counter[int]] = {}
        for then, who, named in sorted(found, key=lambda each: each[0])[: n + 1]:
            if then // SLOT > now // SLOT - SLOTS:
                for tag in named:
                    expected.setdefault(tag, Counter())[who] += 1
        assert counted(lately) == {
            tag: (of.total(), len(of.keys() - {0})) for tag, of in expected.items()
        }
        people_of = {tag: len(of.keys() - {0}) for tag, of in expected.items()}
        assert lately.crowded == {tag: n for tag, n in people_of.items() if n >= LEAST_PEOPLE}
        grown = {tag for tag, number in lately.crowded.items() if number > taken.get(tag, 0)}
        assert grown <= lately.grown.keys() <= lately.crowded.keys()
        if n % 3 == 0:
            assert lately.take_grown().keys() >= grown and not lately.grown
            taken = dict(lately.crowded)
