"""The demo source: believable, and the same for the same seed."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from statistics import mean

import pytest
from network import Counting
from servers import eventually

from app.messages import MINUTE, Checkpoint, Message, MinuteCount, Post
from app.settings import read
from app.sources.demo import Demo
from app.sources.demo.posts import SLOT, counted, events_at, posts_in, rate
from app.sources.demo.words import NAMES, OTHERS, event_name

TAGS = ("science", "football")
MINUTE_SLOTS = MINUTE // SLOT


def posts(seed: int, start: int, slots: int) -> list[tuple[str, str]]:
    return [
        (post.id, ",".join(post.hashtags))
        for slot in range(start, start + slots)
        for post in posts_in(slot, TAGS, seed)
    ]


def truth(begin: int, end: int) -> Counter[str]:
    """Hashtag to posts of these slots."""
    found: Counter[str] = Counter()
    for slot in range(begin, end):
        for post in posts_in(slot, TAGS, 1):
            assert begin * SLOT <= slot * SLOT <= post.time < (slot + 1) * SLOT
            found.update(post.hashtags.keys())
    return found


def test_the_same_seed_gives_the_same_posts() -> None:
    """And another seed gives others."""
    assert posts(1, 5_000, 600) == posts(1, 5_000, 600)
    assert posts(1, 5_000, 600) != posts(2, 5_000, 600)


def test_rates_are_believable() -> None:
    """Every hashtag is always alive, has its own level, swells, and bursts now and then."""
    for tag in (*TAGS, "サッカー"):
        rates = [rate(tag, 1, second) for second in range(0, 7200, 5)]
        assert 0.05 < min(rates) < mean(rates) < max(rates) < 8
        assert max(rates) > 2 * mean(rates), "no burst in two hours"
    assert rate("science", 1, 1000) != rate("football", 1, 1000)


def test_posts_come_at_their_rate() -> None:
    """Over ten minutes the number of posts is what the rates add up to, within a sixth."""
    expected = sum(rate("science", 1, n * SLOT / 1000) * SLOT / 1000 for n in range(6000))
    named = sum("science" in tags.split(",") for _, tags in posts(1, 0, 6000))
    assert abs(named - 1.1 * expected) < expected / 6


def test_a_minute_s_numbers_are_those_of_its_posts() -> None:
    """Which nobody needs to make for that; nor is one post there twice."""
    for minute in (0, 29_400_017):
        slots = range(minute * MINUTE_SLOTS, (minute + 1) * MINUTE_SLOTS)
        assert counted(minute, TAGS, 1) == truth(slots.start, slots.stop)
        ids = [id for id, _ in posts(1, slots.start, MINUTE_SLOTS)]
        assert len(ids) == len(set(ids)) > 40


@pytest.mark.parametrize("start", [1_764_460_800, 1_764_460_825])
def test_in_the_first_minute_something_new_rises(start: int) -> None:
    """Whenever one looks, six people use a hashtag soon that nobody used in the day before."""
    slots = range(start * 10, (start + 75) * 10)
    people: dict[str, set[str]] = {}
    for slot in slots:
        for post in posts_in(slot, TAGS, 1):
            for tag in post.hashtags:
                people.setdefault(tag, set()).add(post.author)
    earlier = (events_at(start - seconds, 1) for seconds in range(10, 25 * 3600, 30))
    before = {name.lower() for found in earlier for name in found}
    assert len(before) > 2000
    assert any(len(people[tag]) >= 6 for tag in people.keys() - {*before, *OTHERS, *TAGS})


def test_events_that_follow_each_other_have_other_words() -> None:
    """And of a round, no name comes twice."""
    names = [event_name(n) for n in range(NAMES)]
    assert len({name.lower() for name in names}) == NAMES
    assert not [one for one, two in pairwise(names) if set(words(one)) & set(words(two))]


def words(name: str) -> list[str]:
    return "".join(f" {char}" if char.isupper() else char for char in name).split()


async def test_a_first_start_has_hours_behind_it() -> None:
    """By the minute, and the last ten minutes post by post; from the beginning of a minute on."""
    demo = Demo(read({"DEMO_PAST_HOURS": "1"}), clock=lambda: 1_764_460_830.05)
    got = await taken_up_to(demo, "", 17_644_608_300)
    begin = 1_764_460_860 - 3_600
    assert demo.public_state().unbroken_since == begin * 1000
    minutes = [message for message in got if isinstance(message, MinuteCount)]
    assert (minutes[0].minute, minutes[-1].minute) == (begin * 1000, 1_764_460_140_000)
    assert next(one for one in got if isinstance(one, Post)).time >= 1_764_460_200_000
    assert named(got, begin * 10, (begin + 600) * 10) == truth(begin * 10, (begin + 600) * 10)
    assert named(got, 17_644_600_200, 17_644_608_300) == truth(17_644_600_200, 17_644_608_300)


async def test_a_restart_has_all_that_it_missed() -> None:
    """From the middle of a minute on, half an hour later: each post once."""
    demo = Demo(read({}), clock=lambda: 1_764_460_830.05)
    begin, end = 17_644_590_345, 17_644_608_300
    got = await taken_up_to(demo, str(begin), end)
    assert named(got, 0, end) == truth(begin, end)
    assert demo.public_state().unbroken_since == begin * SLOT


async def test_a_restart_goes_on_at_the_cursor() -> None:
    """Stopped anywhere and started at its cursor, it gives the same posts as in one run."""
    now = [1000.0]
    demo = Demo(read({}), clock=lambda: now[0])
    first = demo.posts("9500")
    got = [await anext(first) for _ in range(100)]
    whole = await taken(demo, "9500", 200)
    assert got == whole[:100]
    last = [message for message in got if isinstance(message, Checkpoint)][-1]
    after = await taken(demo, last.cursor, 20)
    begin = whole.index(last) + 1
    assert after[: len(whole) - begin] == whole[begin : begin + 20]


async def test_without_a_past_a_long_pause_is_not_made_up_for() -> None:
    """After a night's sleep only the last minute comes at once; nothing is missing since then. A
    first start begins with the present."""
    demo = Demo(read({"DEMO_PAST_HOURS": "0"}), clock=lambda: 100_000.0)
    [first] = [one for one in await taken(demo, "5", 99) if isinstance(one, Checkpoint)][:1]
    assert int(first.cursor) == 999_401
    assert demo.public_state().unbroken_since == 99_940_000
    demo = Demo(read({"DEMO_PAST_HOURS": "0"}), clock=lambda: 100_000.0)
    waiting = asyncio.ensure_future(anext(demo.posts("")))
    await eventually(lambda: demo.public_state().works, "it has begun")
    assert demo.public_state().unbroken_since == 100_000_000
    assert not waiting.done()
    waiting.cancel()


async def test_it_catches_up_to_the_present() -> None:
    """What is older than a second; after a short pause, all of it is the present's."""
    demo, begun = Demo(read({}), clock=lambda: 1000.0), 0
    stream = demo.posts("9500")
    while begun < 9999:
        message = await anext(stream)
        if isinstance(message, Checkpoint):
            begun = int(message.cursor)
            assert demo.catching_up == (begun - 1 < 9990)
    assert (await taken(demo, "9901", 1), demo.catching_up)[1] is False


async def test_it_is_counted_once_however_often_it_starts(counting: Counting) -> None:
    """Ended in its past, and again in its present: what Redis has then is what there was."""
    settings = read({"DEMO_PAST_HOURS": "0.5", "HASHTAGS": ",".join(TAGS)})
    demos = [Demo(settings, lambda: time.time() - 30), Demo(settings), Demo(settings)]
    async with counting.of(demos[0]):
        await eventually(lambda: has_cursor(counting, 1), "some of it is stored")
    begin = demos[0].public_state().unbroken_since // SLOT
    for demo in demos[1:]:
        async with counting.of(demo):
            await is_in_the_present(counting)
    end = await cursor(counting)
    assert end - begin > 25 * MINUTE_SLOTS
    assert await counting.totals() == truth(begin, end)


async def is_in_the_present(counting: Counting) -> None:
    now = int(time.time() * 1000) // SLOT
    await eventually(lambda: has_cursor(counting, now), "it is in the present")


async def cursor(counting: Counting) -> int:
    return int((await counting.store.load()).cursors.get("demo", "0"))


async def has_cursor(counting: Counting, slot: int) -> bool:
    return await cursor(counting) >= slot


async def taken(demo: Demo, cursor: str, count: int) -> list[Message]:
    """So many messages from the cursor on."""
    stream = demo.posts(cursor)
    return [await anext(stream) for _ in range(count)]


async def taken_up_to(demo: Demo, cursor: str, slot: int) -> list[Message]:
    """All messages from the cursor to the slot."""
    found: list[Message] = []
    stream: AsyncIterator[Message] = demo.posts(cursor)
    while not found or found[-1] != Checkpoint("demo", str(slot)):
        found.append(await anext(stream))
    return found


def named(messages: list[Message], begin: int, end: int) -> Counter[str]:
    """Hashtag to posts of these slots, as the messages have them."""
    found: Counter[str] = Counter()
    for message in messages:
        if isinstance(message, Post) and begin * SLOT <= message.time < end * SLOT:
            found.update(message.hashtags.keys())
        if isinstance(message, MinuteCount) and begin * SLOT <= message.minute < end * SLOT:
            found[message.hashtag] += message.posts
    return found


async def test_what_is_no_cursor_is_a_first_start() -> None:
    """Somebody wrote it into Redis."""
    demo = Demo(read({"DEMO_PAST_HOURS": "0"}), clock=lambda: 100_000.0)
    for cursor in ("9" * 5000, "x", "-5", "²"):
        assert demo.first(cursor, 1_000_000) == 1_000_000, cursor
