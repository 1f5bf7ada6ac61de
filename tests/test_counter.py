"""The counter against plain counting, and its bounds."""

from collections import Counter as Plain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.hashtags import key, named
from app.ingest import counter as module
from app.ingest.counter import MOST_BYTES, MOST_ENTRIES, MOST_MARKS, Counter, Cut, joined
from app.messages import MINUTE, MinuteCount, Post

posts = st.builds(
    Post,
    source=st.sampled_from(["x", "bluesky"]),
    id=st.just("1"),
    written=st.integers(1, 5).map(lambda minute: minute * MINUTE),
    author=st.just(""),
    hashtags=st.sets(st.sampled_from("abcABC")).map(lambda found: named(sorted(found))),
    cursor=st.sampled_from(["", "1", "2"]),
)
Steps = list[tuple[Post | int, bool]]
steps = st.lists(st.tuples(posts | st.integers(7, 9), st.booleans()))
"""A post, of the past or not; or a minute that begins, and whether Redis takes it."""


def post(source: str = "x", cursor: str = "", at: int = 0, **tags: str) -> Post:
    return Post(source, "1", at, "", tags, cursor)


def flat(cut: Cut) -> "Plain[tuple[str, int, str]]":
    """Source, minute and hashtag to posts."""
    found: Plain[tuple[str, int, str]] = Plain()
    for source, minute, tag, number in cut.entries():
        found[source, minute, tag] += number
    return found


def totals(cut: Cut) -> "Plain[tuple[str, str]]":
    found: Plain[tuple[str, str]] = Plain()
    for source, _, tag, number in cut.entries():
        found[source, tag] += number
    return +found


@given(steps, st.sets(st.sampled_from(["x", "bluesky"])))
def test_cuts_add_up_to_what_was_added(steps: Steps, complete: set[str]) -> None:
    """Wherever the cuts and the minutes fall, each post counts once under each hashtag it
    names: of a source that is not complete, each tracked one; posts of the past in their minute."""
    counter, total = Counter(frozenset("ab")), Plain[tuple[str, str]]()
    expected: Plain[tuple[str, str]] = Plain()
    past: Plain[tuple[str, int, str]] = Plain()
    found: Plain[tuple[str, int, str]] = Plain()
    for step, yes in steps:
        if isinstance(step, int):
            counter.begin(step)
            if yes:
                cut = counter.cut()
                total += totals(cut)
                found += flat(cut)
            continue
        counter.add(step, step.source in complete, past=yes)
        for tag in step.hashtags:
            if step.source in complete or tag in "ab":
                expected[step.source, tag] += 1
                past[step.source, step.time // MINUTE, tag] += yes
    cut = counter.cut()
    assert total + totals(cut) == expected
    assert {of: n for of, n in (found + flat(cut)).items() if 1 <= of[1] <= 5} == +past


@given(st.lists(st.lists(posts, max_size=5), min_size=1))
def test_cuts_that_are_joined_bring_the_same(ticks: list[list[Post]]) -> None:
    """In the minutes that it belongs to; the cursors are those of the last."""
    counter, cuts = Counter(frozenset()), []
    for minute, tick in enumerate(ticks):
        for one in tick:
            counter.add(one, past=False)
        counter.begin(10 + minute)
        cuts.append(counter.cut())
    one = joined(cuts)
    assert flat(one) == sum((flat(cut) for cut in cuts), Plain())
    assert one.cursors == cuts[-1].cursors
    assert one.size() <= sum(cut.size() for cut in cuts)
    for source in ("x", "bluesky"):
        assert flat(one.of({source})) == Plain(
            {k: n for k, n in flat(one).items() if k[0] == source}
        )


def test_the_cursor_goes_with_the_counts() -> None:
    """A cut hands over the cursor of the last post in it; a post without one leaves it."""
    counter = Counter(frozenset("a"))
    counter.add(post(a="a", cursor="7"))
    counter.add(post(a="a"))
    cut = counter.cut()
    assert (totals(cut), cut.cursors) == ({("x", "a"): 2}, {"x": "7"})
    again = counter.cut()
    assert (totals(again), again.cursors) == ({}, {"x": "7"})
    assert cut.name != again.name


def test_spellings_of_one_hashtag_are_one() -> None:
    """And how often each was seen is handed over, once."""
    counter = Counter(frozenset())
    for spelling in ("Science", "SCIENCE", "Science", "ＳＣＩＥＮＣＥ"):
        counter.add(post(**{key(spelling): spelling}))
    assert totals(counter.cut()) == {("x", "science"): 4}
    assert counter.take_spellings() == {
        "science": {"Science": 2, "SCIENCE": 1, "ＳＣＩＥＮＣＥ": 1}
    }
    assert counter.take_spellings() == {}


def test_what_comes_over_a_minute_s_end_is_of_the_tick_that_takes_it() -> None:
    """No tick tells of posts that are late, only because a minute ended since the last one."""
    counter = Counter(frozenset())
    counter.begin(7)
    counter.cut()
    counter.add(post(a="a"))
    counter.begin(8)
    assert counter.cut().present == {"x": {"a": 1}}


def test_what_redis_did_not_take_keeps_its_minute() -> None:
    """As long as it cannot be had."""
    counter = Counter(frozenset())
    for minute in (7, 8, 8, 9):
        counter.begin(minute)
        counter.add(post(a="a"))
    counter.begin(10)
    counter.add(post(a="a"))
    cut = counter.cut()
    assert cut.past == {"x": {7: {"a": 1}, 8: {"a": 2}, 9: {"a": 1}}}
    assert cut.present == {"x": {"a": 1}}
    assert cut.minute == 10


def test_a_cut_in_another_present_is_of_the_past() -> None:
    """Under its own name: it is the same commit."""
    cut = Cut(7, {"x": {"a": 1}}, {"x": {7: {"a": 2}, 3: {"b": 0}}}, {"x": "9"}, {"x": {3: {b"m"}}})
    later = cut.at(8)
    assert later.present == {}
    assert later.past == {"x": {7: {"a": 3}, 3: {"b": 0}}}
    assert (later.minute, later.name, later.cursors, later.marks) == (
        8, cut.name, cut.cursors, cut.marks,
    )  # fmt: skip
    assert cut.at(7) is cut


def test_a_silent_minute_is_known() -> None:
    """0 posts are handed over, and add up with others."""
    counter = Counter(frozenset("a"))
    for minute, number in ((1, 2), (2, 0), (1, 3)):
        counter.add_minute(MinuteCount("x", "a", minute * MINUTE, number))
    assert counter.entries == 2
    assert counter.cut().past == {"x": {1: {"a": 5}, 2: {"a": 0}}}


def test_forgetting_a_source_leaves_the_others() -> None:
    """What it counted since the cut is dropped, and it goes on from the given cursor."""
    counter = Counter(frozenset("a"))
    for past in (False, True):
        counter.add(post("replay", "9", MINUTE, a="a"), past=past)
        counter.add(post("x", "", MINUTE, a="a"), past=past)
    for source in ("replay", "x"):
        counter.mark(source, 1, {b"mark"})
    counter.forget("replay", "4")
    cut = counter.cut()
    assert totals(cut) == {("x", "a"): 2}
    assert (cut.cursors, cut.marks) == ({"replay": "4"}, {"x": {1: {b"mark"}}})


def test_it_is_full_by_entries() -> None:
    """4,000 hashtags; the same one again takes no room."""
    counter = Counter(frozenset())
    for n in range(MOST_ENTRIES):
        assert not counter.is_full
        for _ in range(2):
            counter.add(post(**{f"t{n}": f"t{n}"}))
    assert counter.is_full
    counter.cut()
    assert not counter.is_full


@pytest.mark.parametrize("past", [True, False])
def test_it_is_full_by_bytes(past: bool) -> None:
    """Long names take more: also one that is short, but was written long."""
    for spelled in ("\ufdfa" * 9, "\U0001d400" * 100):
        counter, n = Counter(frozenset()), 0
        while not counter.is_full:
            tags = named([spelled[:-4] + f"{n:04}"])
            assert tags
            counter.add(Post("x", "1", MINUTE, "", tags), past=past)
            n += 1
        assert n < MOST_ENTRIES
        cut, size = counter.cut(), 0
        for _, _, tag, _ in cut.entries():
            size += 5 * len(tag.encode()) + (0 if past else 400)
        assert size < 2 * MOST_BYTES


def test_it_is_full_by_marks() -> None:
    """20,000 posts that name the same hashtag: what is remembered of them is a commit's, too."""
    counter = Counter(frozenset())
    for n in range(MOST_MARKS):
        assert not counter.is_full
        counter.add(post(a="a"))
        counter.mark("x", 1, {b"%08d" % n})
    assert counter.is_full
    assert len(counter.cut().marks["x"][1]) == MOST_MARKS
    assert not counter.is_full


@pytest.mark.parametrize("past", [False, True])
def test_the_spellings_of_a_hashtag_are_bounded(past: bool) -> None:
    """However long Redis is away, and in however many ways strangers write it."""
    counter = Counter(frozenset("a"))
    for n in range(5000):
        spelled = "".join("aA"[n >> bit & 1] for bit in range(13))
        counter.add(Post("x", "1", MINUTE, "", {"a" * 13: spelled}), past=past)
    cut = counter.cut()
    assert totals(cut) == {("x", "a" * 13): 5000}
    assert len(counter.take_spellings()["a" * 13]) == 16


def test_a_post_brings_a_bounded_number() -> None:
    """30 hashtags, none longer than 100 as it is written, before anything else is done."""
    tags = named([f"tag{n}" for n in range(10_000)])
    assert list(tags) == [f"tag{n}" for n in range(30)]
    assert named(["x" * 101, "y" * 100, 5, None, "z" * 2**20]) == {"y" * 100: "y" * 100}


def test_a_long_outage_is_cut_in_parts() -> None:
    """Of a source that cannot wait: each part bounded, the oldest minutes first, none lost; of
    those that wait, all with the first one, as their cursors say."""
    tracked = [f"t{n}" for n in range(500)]
    counter = Counter(frozenset(tracked))
    for minute in range(60):
        counter.begin(100 + minute)
        for tag in tracked:
            counter.add(post("x", "no cursor to read from", **{tag: tag}), everything=False)
    counter.add(post("replay", "77", 90 * MINUTE, a="a"), past=True)
    counter.mark("replay", 90, {b"mark"})
    counter.begin(160)
    counter.add(post("replay", "78", a="a"))
    cuts = []
    while counter.entries:
        cuts.append(counter.cut({"replay"}))
        assert sum(1 for _ in cuts[-1].entries()) <= MOST_ENTRIES
        assert cuts[-1].bytes() <= MOST_BYTES
        assert len(cuts) < 20
    assert flat(cuts[0])["replay", 90, "a"] == flat(cuts[0])["replay", 160, "a"] == 1
    assert cuts[0].cursors["replay"] == "78" and cuts[0].marks == {"replay": {90: {b"mark"}}}
    minutes = [minute for cut in cuts for minute in sorted(cut.past.get("x", {}))]
    assert minutes == sorted(minutes) and set(minutes) == set(range(100, 160))
    assert sum(totals(cut)["x", tag] for cut in cuts for tag in tracked) == 30_000
    assert not any(cut.marks for cut in cuts[1:])


def test_what_is_left_is_added_to_and_its_source_forgotten() -> None:
    """The rest of a cut is counted like anything else."""
    counter = Counter(frozenset(["t"]))
    for minute in range(3):
        for n in range(3000):
            counter.add_minute(MinuteCount("x", f"t{n}", minute * MINUTE, 1))
    assert set(counter.cut().past["x"]) == {0, 1}
    counter.add_minute(MinuteCount("x", "t0", 2 * MINUTE, 5))
    assert set(counter.cut().past["x"]) == {1, 2}
    assert set(counter.past["x"]) == {2}
    counter.add_minute(MinuteCount("x", "t2999", 2 * MINUTE, 5))
    assert counter.past["x"][2]["t2999"] == 6
    counter.forget("x", "")
    assert not counter.cut().past


@pytest.mark.parametrize("past", [True, False])
def test_a_single_minute_that_is_too_large_is_cut_in_parts(past: bool) -> None:
    """Of a source that cannot wait: however many hashtags are tracked, no commit is too large for
    Redis; what is left keeps its minute."""
    tracked = [f"{n:05}" + "\U0001d400" * 95 for n in range(1000)]
    counter = Counter(frozenset(tracked))
    counter.begin(7)
    for tag in tracked:
        if past:
            counter.add_minute(MinuteCount("x", tag, 7 * MINUTE, 1))
        else:
            counter.add(post(**{tag: tag}), everything=False)
    cuts = []
    while counter.entries:
        cuts.append(counter.cut({"bluesky"}))
        assert cuts[-1].bytes() <= MOST_BYTES and len(cuts) < 10
        counter.begin(8)
    assert len(cuts) >= 2
    found = [entry for cut in cuts for entry in cut.entries()]
    assert sorted(found) == [("x", 7, tag if past else key(tag), 1) for tag in tracked]


def test_an_endless_outage_takes_a_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest minutes become one; no post is lost."""
    monkeypatch.setattr(module, "MOST_MINUTES", 10)
    counter = Counter(frozenset("a"))
    for minute in range(50):
        counter.begin(minute)
        counter.add(post(a="a"))
    counter.begin(50)
    assert sorted(counter.past["x"]) == list(range(40, 50))
    assert totals(counter.cut()) == {("x", "a"): 50}
