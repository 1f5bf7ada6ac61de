"""Posts that were counted late: in the ticks of their own time, and never a spike."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from test_feed import feed_with, tick, view

from app.feed import Feed
from app.late import APART, with_past
from app.messages import Past, Tick

MINUTE = 60_000


def at(milliseconds: int, past: Past | None = None, **counts: int) -> Tick:
    """A tick at this time; its id is made of it."""
    split = {tag: {"x": total, "y": 0} for tag, total in counts.items()}
    id, before = f"{milliseconds}-0", f"{milliseconds - 500}-0"
    return Tick(id, before, milliseconds, 0.5, counts, split, {}, {"x": "live"}, {}, past or {})


def every(begin: int, end: int, **counts: int) -> list[Tick]:
    return [at(n, **counts) for n in range(begin, end, 500)]


def test_ticks_are_raised_from_the_time_of_the_posts_on() -> None:
    """Evenly over their minute; what was before stays, and so do the other hashtags."""
    past = {"a": {"x": [(MINUTE, 60), (3 * MINUTE, 120)]}}
    late = at(5 * MINUTE, past, a=280, b=5)
    told = with_past(every(0, 5 * MINUTE, a=100, b=5), late)
    assert [t.id for t in told] == [t.id for t in every(0, 5 * MINUTE)]
    line = {t.at: t.counts["a"] for t in told}
    expected = {0: 0, 60: 0, 61: 1, 90: 30, 120: 60, 180: 60, 210: 120, 240: 180, 299: 180}
    assert {second: line[second * 1000] - 100 for second in expected} == expected
    assert all(t.by_source["a"] == {"x": t.counts["a"], "y": 0} for t in told)
    assert all(t.counts["b"] == 5 for t in told)


def test_of_a_minute_that_was_not_over_the_posts_end_with_the_tick() -> None:
    """The line meets the tick that counts them."""
    late = at(MINUTE + 20_000, {"a": {"x": [(MINUTE, 40)]}}, a=40)
    told = with_past(every(0, late.at, a=0), late)
    assert [t.counts["a"] for t in told[-4:]] == [36, 37, 38, 39]


def test_a_pause_is_filled_where_the_posts_are() -> None:
    """Points between the last tick before and the first one after, and none where X told nothing."""
    past = {"a": {"x": [(2 * MINUTE + 30_000, 0), (3 * MINUTE, 12)]}}
    ticks = every(0, MINUTE, a=7) + every(5 * MINUTE, 6 * MINUTE, a=7)
    told = with_past(ticks, at(6 * MINUTE, past, a=19))
    new = [t for t in told if MINUTE <= t.at < 5 * MINUTE]
    begin, end = 2 * MINUTE + 30_000, 4 * MINUTE
    assert begin <= new[0].at < begin + APART and end - APART <= new[-1].at < end
    assert all(later.at - one.at == APART for one, later in pairwise(new))
    assert [t.counts["a"] for t in new] == sorted(t.counts["a"] for t in new)
    assert (new[0].counts["a"], told[-1].counts["a"]) == (7, 19)
    assert [t.at for t in told] == sorted(t.at for t in told)


def test_a_pause_is_filled_no_further_back_than_the_log_reaches() -> None:
    """However long it was: a tick from the far future, whoever sent it, costs nothing."""
    late = at(10**15, {"a": {"x": [(0, 1), (10**15 - MINUTE, 1)]}}, a=2)
    told = with_past(every(0, 1000, a=0), late)
    assert len(told) < 2 + 900_000 / APART
    assert told[-1].counts["a"] == 1


def test_slow_ticks_are_no_pauses() -> None:
    """Where a tick takes ten seconds, nothing is missing between two."""
    ticks = [replace(at(n * 10_000, a=0), seconds=10.0) for n in range(89)]
    late = replace(at(890_000, {"a": {"x": [(MINUTE, 6)]}}, a=6), seconds=10.0)
    assert [t.id for t in with_past(ticks, late)] == [t.id for t in ticks]


def test_the_time_before_the_first_tick_is_filled() -> None:
    """As far as the log reaches: at the very first start, posts of the last day are known."""
    begin = 100 * MINUTE
    found = [(n * MINUTE, 1) for n in range(100)]
    told = with_past(every(begin, begin + 1000, a=3), at(begin + 1000, {"a": {"x": found}}, a=103))
    assert told[0].at == begin + 1000 - 900_000 + APART
    assert told[0].counts["a"] == 3 + 85
    assert [t.counts["a"] for t in told[-2:]] == [103, 103]


@given(
    st.lists(st.integers(0, 20), max_size=40),
    st.lists(st.integers(0, 20), min_size=1, max_size=5),
    st.integers(0, 10 * MINUTE),
)
def test_totals_never_fall_and_end_where_they_should(
    pauses: list[int], posts: list[int], begin: int
) -> None:
    """Whatever ticks there were: the line rises up to the tick that counts the posts."""
    times = [sum(pauses[:n]) * 2500 for n in range(len(pauses))]
    ticks = [at(time, a=n) for n, time in enumerate(times)]
    found = [(begin + n * MINUTE, number) for n, number in enumerate(posts)]
    late = at(20 * MINUTE, {"a": {"x": found}}, a=len(ticks) + sum(posts))
    line = [t.counts["a"] for t in (*with_past(ticks, late), late)]
    assert line == sorted(line)


async def test_viewers_get_a_fresh_history_and_no_spike() -> None:
    """Whoever watches, and whoever comes back to a time before: one history, then ticks again."""
    feed, _ = feed_with(*(tick(n, a=1) for n in range(1, 11)))
    viewer = view(feed)
    await viewer.read()
    assert await viewer.waits()
    feed.hear(late_tick(11))
    feed.hear(tick(12, a=31))
    for got in (await viewer.then(), await view(feed, last_id="4-0").read()):
        assert [(name, id) for name, id, _ in got] == [("history", "12-0"), ("counts", "12-0")]
        line = dict(got[0][2]["series"]["a"])
        assert (line[2000], line[4000], line[5500], line[6000]) == (1, 18, 31, 31)
    resumed = view(feed, last_id="11-0")
    assert [id for _, id, _ in await resumed.read()] == ["12-0"]
    assert await viewer.waits()
    feed.hear(tick(13, a=32))
    assert [(name, id) for name, id, _ in await viewer.then()] == [("counts", "13-0")]


def late_tick(n: int) -> Tick:
    """The n-th tick, with thirty posts from the third second on."""
    like = tick(n, a=31)
    fields = {name: getattr(like, name) for name in Tick.__slots__}
    return Tick(**{**fields, "past": {"a": {"x": [(2001, 30)]}}})


async def test_every_web_process_tells_the_same() -> None:
    """One that heard the ticks as they came, and one that reads them from the log."""
    ticks = [tick(n, a=1) for n in range(1, 11)] + [late_tick(11), tick(12, a=31)]
    one, _ = feed_with(*ticks[:11])
    one.hear(None)
    one.hear(ticks[11])
    other, _ = feed_with(*ticks)
    assert list(one.ticks) == list(other.ticks)


async def test_a_filled_pause_costs_the_log_nothing() -> None:
    """Ticks that are put in leave it like all others, when they are too old."""
    feed = Feed(0.5, clock=lambda: 0.0)
    past: Past = {"a": {"x": [(n * MINUTE, 1) for n in range(20)]}}
    for each in [*every(0, MINUTE, a=0), *every(20 * MINUTE, 20 * MINUTE + 1000, a=0)]:
        feed.hear(each)
    feed.hear(at(20 * MINUTE + 1000, past, a=20))
    assert len(feed.ticks) == len(feed.arrived) > 100
    for each in every(20 * MINUTE + 1500, 40 * MINUTE, a=20):
        feed.hear(each)
    assert len(feed.ticks) == len(feed.arrived) == 1801
