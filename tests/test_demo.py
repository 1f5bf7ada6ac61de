"""The demo source: believable, and the same for the same seed."""

from statistics import mean

from app.messages import Checkpoint, Message
from app.settings import read
from app.sources.demo import SLOT_SECONDS, Demo, posts_in, rate

TAGS = ("science", "football")


def posts(seed: int, start: int, slots: int) -> list[tuple[str, str]]:
    return [
        (post.id, ",".join(post.hashtags))
        for slot in range(start, start + slots)
        for post in posts_in(slot, TAGS, seed)
    ]


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
    expected = sum(rate("science", 1, n * SLOT_SECONDS) * SLOT_SECONDS for n in range(6000))
    named = sum("science" in tags.split(",") for _, tags in posts(1, 0, 6000))
    assert abs(named - 1.1 * expected) < expected / 6


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


async def test_a_long_pause_is_not_made_up_for() -> None:
    """After a night's sleep only the last minute comes at once; nothing is missing since then."""
    demo = Demo(read({}), clock=lambda: 100_000.0)
    [first] = [one for one in await taken(demo, "5", 99) if isinstance(one, Checkpoint)][:1]
    assert int(first.cursor) == 999_401
    assert demo.told().unbroken_since == 99_940_000


async def test_it_catches_up_to_ten_seconds_before_its_start() -> None:
    """What is younger is the present's, as is all that a first start gives."""
    demo, begun = Demo(read({}), clock=lambda: 1000.0), 0
    stream = demo.posts("9500")
    while begun < 9950:
        message = await anext(stream)
        if isinstance(message, Checkpoint):
            begun = int(message.cursor)
            assert demo.catching_up == (begun - 1 < 9900)
    assert (await taken(demo, "9999", 1), demo.catching_up)[1] is False


async def taken(demo: Demo, cursor: str, count: int) -> list[Message]:
    """So many messages from the cursor on."""
    stream = demo.posts(cursor)
    return [await anext(stream) for _ in range(count)]
