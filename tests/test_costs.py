"""What a request may cost: answers that are kept, reading in pages, turns for others; counted."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from served import serving
from servers import RedisServer
from test_api import Site, now
from test_past import MINUTES_BACK, NOW, STREAM, Stored, posts_of_minutes
from yesterday import asked_of, fields_of, write

from app.messages import HOUR, MINUTE
from app.store import keys, past
from app.store.past import read_past
from app.store.slots import Slots
from app.store.store import Store, StoreLost, connect
from app.web import bodies, page
from app.web.bodies import Body, Kept, packed
from app.web.history import ROWS_AT_ONCE, Grid, as_csv, as_json, long_answer
from app.web.page import KEPT_PAGES, LOOK_SECONDS, Folder
from app.web.totals import READ_AT_ONCE, SharedReads

TAGS = [f"tag{n}" for n in range(20)]
NETWORKS = ["a", "b", "c"]
FIELDS_A_TURN = 300
"""Fields of Redis that are worked out before others get a turn: about 5 milliseconds."""


@pytest.fixture
async def site(redis_server: RedisServer) -> AsyncIterator[Site]:
    redis = connect(redis_server.url)
    yield Site(Store(redis))
    await redis.aclose()


async def calls(site: Site) -> int:
    return (await asked_of(site.store.redis))["hmget"]


async def test_a_past_is_made_once_a_tick_and_late_posts_are_in_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks the same until then has the same bytes, and Redis is not asked again; a post
    that belongs to an hour that is over is in the answer as soon as its tick is told."""
    moment = now()  # without a tick an answer is kept for a second
    monkeypatch.setattr(site.feed, "time", lambda: moment)
    late = (now() - 3 * HOUR) // MINUTE
    counted = {"demo": range(late - 600, now() // MINUTE + 1)}
    await write(site.store.redis, fields_of({"demo": {"science": {late - 90: 2}}}, counted, now()))
    site.hear(now() - 500)
    first = await site.history(tags="science", range="24h")
    asked = await calls(site)
    posts = {"demo": {"science": {late - 90: 2, late: 5}}}
    await write(site.store.redis, fields_of(posts, counted, now()))
    again = [await site.history(tags="science", range="24h") for _ in range(3)]
    assert again == [first] * 3
    assert await calls(site) == asked
    site.hear(now() - 100, {"science": {"demo": 7}})
    told = await site.history(tags="science", range="24h")
    before, after = (dict(each["series"]["science"]) for each in (first, told))
    assert (list(before.values())[-1], list(after.values())[-1]) == (2, 7)
    assert {n for at, n in after.items() if at <= late * MINUTE} <= {None, 0, 2}
    assert {n for at, n in after.items() if at > late * MINUTE + 3 * MINUTE} == {7}


async def test_those_who_come_together_share_one_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowd that opens the same page has one past made; other questions have their own."""
    moment = now()
    monkeypatch.setattr(site.feed, "time", lambda: moment)
    await write(site.store.redis, fields_of({}, {}, moment))
    site.hear(moment - 500)
    asked = await calls(site)
    questions = [{"tags": "x"}, {"tags": "y"}, {"tags": "x", "by": "source"}]
    told = await asyncio.gather(*(site.history(range="24h", **q) for q in questions * 20))
    assert [told[n] == told[n % 3] for n in range(60)] == [True] * 60
    assert await calls(site) - asked <= 3 * 26, "each once"


async def test_what_is_kept_is_bounded_and_no_older_than_the_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In bytes, the ones asked for least lately go; a making that began before does not count."""
    monkeypatch.setattr(bodies, "KEPT_BYTES", 10_000)
    kept, made = Kept(), list[int]()

    async def make() -> Body:
        made.append(len(made))
        await asyncio.sleep(0)
        return Body("text/plain", b"x" * 900, b"y" * 100)

    for n in range(50):
        await kept.get(n, lambda: 1, make)
        assert kept.size == sum(body.size for _, body in kept.bodies.values()) <= 10_000
    assert list(kept.bodies) == list(range(40, 50))
    assert not kept.making
    await asyncio.gather(*(kept.get(49, lambda: 1, make) for _ in range(9)))
    assert len(made) == 50
    moments = iter((2, 2, 3, 3, 3))  # the second question comes in a later moment than the making
    await asyncio.gather(*(kept.get(49, lambda: next(moments), make) for _ in range(2)))
    assert len(made) == 52
    assert list(kept.bodies) == [49], "what was made before the last moment is right for nobody"


async def test_a_long_body_is_compressed_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short one at once; both are what they were."""
    threads: list[Any] = []
    to_thread = asyncio.to_thread

    async def noted(*args: Any, **named: Any) -> Any:
        threads.append(args[0])
        return await to_thread(*args, **named)

    monkeypatch.setattr(asyncio, "to_thread", noted)
    for size, times in ((100, 0), (bodies.LONG + 1, 1)):
        body = await packed("text/plain", b"x" * size)
        assert gzip.decompress(body.gzipped) == body.plain == b"x" * size
        assert len(threads) == times


class Turns:
    """Counts how much is done before others get a turn."""

    def __init__(self) -> None:
        self.now, self.most = 0, 0

    def count(self, n: int = 1) -> None:
        self.now += n
        self.most = max(self.most, self.now)

    async def others(self) -> None:
        while True:
            self.now = 0
            await asyncio.sleep(0)


@pytest.mark.parametrize(("span", "hours"), [("24h", 25), ("7d", 169), ("30d", 31 * 24)])
async def test_the_longest_past_is_read_in_pages_and_made_in_turns(
    monkeypatch: pytest.MonkeyPatch, span: str, hours: int
) -> None:
    """Twenty hashtags of three sources, as a table: no read has more than a few thousand values,
    and no turn works out more than FIELDS_A_TURN fields."""
    grid, turns = Grid.of(span, NOW), Turns()
    minutes = range((NOW - hours * HOUR) // MINUTE, NOW // MINUTE + 1, 20)
    posts = {name: {tag: dict.fromkeys(minutes, 1) for tag in TAGS} for name in NETWORKS}
    fields = fields_of(posts, dict.fromkeys(NETWORKS, minutes), NOW, TAGS)
    stored: Any = Stored(fields, NETWORKS)
    read_slots, newest = Slots.read, dict.fromkeys(NETWORKS, STREAM)
    monkeypatch.setattr(Slots, "read", lambda packed: turns.count() or read_slots(packed))
    others = asyncio.create_task(turns.others())
    pasts, seen = await read_past(
        stored, TAGS, grid.begin, NOW, span == "30d", NETWORKS, newest, TAGS, grid.step
    )
    reads = [sum(map(len, asked.values())) for asked in stored.asked]
    assert max(reads) <= past.VALUES_AT_ONCE
    assert 0 < turns.most <= FIELDS_A_TURN
    turns.most, points = 0, Grid.points
    monkeypatch.setattr(Grid, "points", lambda *args: turns.count() or points(*args))
    told = await long_answer(grid, pasts, seen, newest, True)
    assert turns.most == len(NETWORKS), "a turn for the lines of each hashtag"
    assert (await as_json(told)).startswith(b'{"range":"')
    assert (await as_csv(told)).count(b"\r\n") == len(grid.steps) + 1 > 5 * ROWS_AT_ONCE
    others.cancel()


async def test_the_last_minutes_are_made_in_turns(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each hashtag may have thousands of points, which are looked at in a turn of their own; where
    the log begins anew between two of them there is no answer."""
    site.hear(now() - 500, {tag: {"demo": 1} for tag in TAGS})
    turns, points = Turns(), site.feed.points
    monkeypatch.setattr(site.feed, "points", lambda *args: turns.count() or points(*args))
    others = asyncio.create_task(turns.others())
    told = await site.history(tags=",".join(TAGS), range="15m")
    others.cancel()
    assert set(told["series"]) == set(TAGS) and turns.most == 1

    def anew(*args: Any) -> Any:
        site.feed.begun += 1
        return points(*args)

    monkeypatch.setattr(site.feed, "points", anew)
    site.hear(now() - 100)
    status, *_ = await site.get("/api/history?tags=tag1,tag2&range=15m")
    assert status == 503


@settings(max_examples=40)
@given(posts_of_minutes, posts_of_minutes, some.sampled_from([("24h", 47), ("7d", 167)]))
def test_totals_at_the_ends_of_steps_are_those_of_the_minutes(
    one: dict[int, int], other: dict[int, int], span: tuple[str, int]
) -> None:
    """Posts are added up by steps before anything else is done with them: nothing changes."""
    grid = Grid.of(span[0], NOW)
    posts = {"a": {"x": one}, "b": {"x": other}}
    fields = fields_of(posts, dict.fromkeys("ab", MINUTES_BACK), NOW)

    def answer(step: int) -> Any:
        stored: Any = Stored(fields, "ab")
        newest = dict.fromkeys("ab", STREAM)
        args = (stored, ["x"], grid.begin, NOW, False, "ab", newest, ())
        pasts, seen = asyncio.run(read_past(*args, step))
        return asyncio.run(long_answer(grid, pasts, seen, newest, True))

    assert answer(grid.step) == answer(MINUTE)


@given(some.dictionaries(some.integers(0, 59), some.integers(1, 200_000)), some.integers(0, 10**9))
def test_slots_are_those_of_the_field(slots: dict[int, int], total: int) -> None:
    """Whatever the order in which somebody wrote them."""
    whole = keys.Past(total, slots)
    entries = [keys.ENTRY.pack(slot, min(n, keys.MOST)) for slot, n in slots.items()]
    shuffled = keys.Past(total, {slot: min(n, keys.MOST) for slot, n in slots.items()})
    for past_, text in (
        (whole, whole.pack()),
        (shuffled, keys.pack_total(total) + b"".join(reversed(entries))),
    ):
        found = Slots.read(text)
        assert (found.total, dict(found.by_steps(60, 1, 0))) == (total, past_.slots)


async def test_however_many_ask_for_what_nobody_asked_redis_is_read_a_few_times(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams of twenty hashtags each, all of them others: what comes while Redis is read is read
    together, so nobody waits for all who came before, and nobody is refused."""
    async with serving(redis_server.url) as site:
        reads = list[int]()
        now, most, read = 0, 0, site.store.read

        async def counted(fields: Any) -> Any:
            nonlocal now, most
            reads.append(sum(map(len, fields.values())))
            now += 1
            most = max(most, now)
            try:
                return await read(fields)
            finally:
                now -= 1

        monkeypatch.setattr(site.store, "read", counted)
        opened = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(100)]
        for n, (_, writer) in enumerate(opened):
            tags = ",".join(f"never{n}of{m}" for m in range(20))
            writer.write(f"GET /events?tags={tags} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        async with asyncio.timeout(10):
            for reader, _ in opened:
                assert b" 200 " in await reader.readline()
                await reader.readuntil(b"event: counts")
        assert len(reads) < 50 and most == 1
        assert sum(reads) >= 2000 and max(reads) < READ_AT_ONCE + 20
        for _, writer in opened:
            writer.transport.abort()


class Reading:
    """Reads as often as it is let; what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.goes_on = asyncio.Semaphore(0)
        self.lost = False

    async def read(self, tags: Sequence[str]) -> None:
        self.asked.append(list(tags))
        await self.goes_on.acquire()
        if self.lost:
            raise StoreLost("gone", "told")


async def test_what_is_asked_meanwhile_is_read_together() -> None:
    """And what is lost is lost for all who waited for it, not for the next ones."""
    reading = Reading()
    together = SharedReads(reading.read)
    asks = [asyncio.create_task(together.ask([tag])) for tag in "abcb"]
    await asyncio.sleep(0)  # the first reads, and the others are in the next
    reading.lost = True
    reading.goes_on.release()
    told = await asyncio.gather(*asks[:1], return_exceptions=True)
    assert [type(each) for each in told] == [StoreLost]
    reading.lost = False
    reading.goes_on.release()
    await asyncio.gather(*asks[1:])
    assert reading.asked == [["a"], ["b", "c"]]
    many = [asyncio.create_task(together.ask([f"{n}x{m}" for m in range(20)])) for n in range(50)]
    await asyncio.sleep(0)
    for _ in many:
        reading.goes_on.release()
    await asyncio.gather(*many)
    sizes = [len(asked) for asked in reading.asked[2:]]
    assert sizes[0] == 20 and set(sizes[1:-1]) == {READ_AT_ONCE} and sum(sizes) == 1000


async def test_who_reads_for_others_may_go() -> None:
    """A visitor that leaves while Redis is read for several: it is read again for those who stay."""
    reading = Reading()
    together = SharedReads(reading.read)
    first = asyncio.create_task(together.ask("a"))
    await asyncio.sleep(0)
    led, other, third = (asyncio.create_task(together.ask(tag)) for tag in "bcb")
    await asyncio.sleep(0)
    led.cancel()
    for _ in range(3):
        reading.goes_on.release()
    await asyncio.gather(first, other, third)
    assert led.cancelled() and reading.asked[0] == ["a"]
    assert sorted(tag for asked in reading.asked[1:] for tag in asked) == ["b", "c"]


async def test_who_goes_while_redis_is_read_is_gone() -> None:
    """Though what reads swallows that, as redis-py may before Python 3.12: a stream would begin for
    nobody. What it read is of use to the others."""
    going_on = asyncio.Event()

    async def read(tags: Sequence[str]) -> None:
        with suppress(asyncio.CancelledError):
            await going_on.wait()

    together = SharedReads(read)
    gone = asyncio.create_task(together.ask("a"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    assert gone.cancelled()


async def test_a_page_is_made_once_and_says_its_own_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand visitors cost a thousand times the sending; another query is another page, and
    only so many are kept."""
    site.hear(now() - 500)
    made: list[str] = []
    rendered = page.rendered

    async def noted(*args: Any) -> Any:
        made.append(args[-2])  # the query
        return await rendered(*args)

    monkeypatch.setattr(page, "rendered", noted)
    texts = [(await site.get("/"))[1] for _ in range(5)]
    assert made == [""]
    times = [int(text.partition('"now":')[2].partition(",")[0]) for text in texts]
    assert times == sorted(times)
    assert 0 <= time.time() * 1000 - times[-1] < 60_000
    for path in ("/?tags=science", "/?view=total", "/embed?view=total", "/?tags=science"):
        await site.get(path)
    assert made == ["", "", "view=total"]
    for _ in range(2):
        await site.get("/embed?" + "x" * page.KEPT_LENGTH)
    assert len(made) == 5, "a long one is not kept"
    for n in range(KEPT_PAGES):
        await site.get(f"/embed?n={n}")
    await site.get("/")
    assert len(made) == 5 + KEPT_PAGES + 1


def test_the_folder_is_looked_at_every_few_seconds() -> None:
    """However many visitors there are; a file that changed is there after that."""
    times = iter([0.0] * 2 + [LOOK_SECONDS / 2] * 3 + [LOOK_SECONDS] * 2)
    folder = Folder(lambda: next(times))
    found = [folder.newest() for _ in range(5)]
    assert folder.looks == 2
    assert len({id(each) for each in found}) == 1, "nothing changed, and nothing is read again"
