"""Redis's clock, as it was heard, and what a wrong one does."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from servers import RedisServer
from writing import DatedStore, Desk

from app.ingest.clock import JUMP, DatedStates, RedisClock
from app.ingest.writer import MOST_STATES
from app.messages import Checkpoint, Message, SourceState
from app.settings import read
from app.sources import Source
from app.sources.demo import Demo
from app.sources.mastodon.timelines import RequestPace
from app.store.keys import LOG, STATES
from app.store.store import Store, connect


class Own:
    """Our own clock, in seconds."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def heard(at: int) -> tuple[RedisClock, Own]:
    own = Own()
    clock = RedisClock(own)
    assert not clock.hear(at)
    return clock, own


def test_it_goes_on_between_answers() -> None:
    """As fast as our own."""
    clock, own = heard(5_000_000)
    own.now += 2.5
    assert clock.now() == 5_002_500


def test_it_never_goes_back() -> None:
    """Though Redis's clock is set back a little, or runs slower than ours."""
    clock, own = heard(5_000_000)
    own.now += 1
    before = clock.now()
    assert not clock.hear(5_000_500)
    assert clock.now() == before
    own.now += 1
    assert clock.now() == 5_001_500


def test_another_clock_is_noticed() -> None:
    """A failover, or a clock that was set anew; in either direction."""
    for jump in (-JUMP - 1, JUMP + 1, 3_600_000):
        clock, _ = heard(50_000_000)
        assert clock.hear(50_000_000 + jump)
        assert clock.now() == 50_000_000 + jump
        assert not clock.hear(50_000_000 + jump)


def test_an_answer_that_was_long_under_way_is_no_other_clock() -> None:
    """It says what time it was at some moment since it was asked: the process was stopped."""
    for said in (5_000_000, 5_030_000, 5_060_000):
        clock, own = heard(5_000_000)
        clock.ask()
        own.now += 60
        assert not clock.hear(said)
        assert clock.now() == 5_060_000
        clock.ask()
        assert not clock.hear(5_060_000)
    clock, own = heard(5_000_000)
    clock.ask()
    own.now += 60
    assert clock.hear(5_060_000 + JUMP + 1)


class Saying(Source):
    """A source that says what a test wants, by a clock that is wrong."""

    name = "x"

    def __init__(self, own: Own, wrong: float) -> None:
        super().__init__(read({}), lambda: own.now + wrong)

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        yield Checkpoint(self.name, cursor)


NOW = 1_700_000_000_000


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_what_a_source_does_is_dated_by_redis_s_clock(hours: int) -> None:
    """Whatever its own says, and is set to later: ticks say the same as long as it does."""
    clock, own = heard(NOW)
    source, states = Saying(own, NOW / 1000 - own.now + hours * 3600), DatedStates(clock)
    own.now += 10
    source.say("live")
    own.now += 0.5
    since = NOW + 10_000
    first = states.of(source)
    assert (first.state, first.since, first.unbroken_since) == ("live", since, since)
    own.now += 100
    assert states.of(source) is first
    source.clock = lambda: own.now  # set anew, by years
    assert states.of(source) is first


@pytest.mark.parametrize(
    ("hours", "said", "dated"),
    [(0, -600, -600), (1, -600, -600), (-1, -4200, -600), (-1, -600, 0), (1, 3000, 0)],
)
def test_it_is_not_said_that_more_was_counted_than_was(hours: int, said: int, dated: int) -> None:
    """Since when nothing is missing may be by the network's clock or by the source's own, in
    seconds from now: of the two the later one is told, and at the latest since it works."""
    clock, own = heard(NOW)
    source, states = Saying(own, NOW / 1000 - own.now + hours * 3600), DatedStates(clock)
    source.say("live", unbroken_since=NOW / 1000 + said)
    assert states.of(source).unbroken_since == NOW + dated * 1000


@pytest.mark.parametrize("hours", [-1, 1])
def test_by_another_clock_nothing_was_counted_yet(hours: int) -> None:
    """Redis's is set anew: what sources do is dated by it from then on, and begins with it."""
    clock, own = heard(NOW)
    source, states = Saying(own, NOW / 1000 - own.now), DatedStates(clock)
    source.say("live", unbroken_since=NOW / 1000 - 7200)
    assert states.of(source).unbroken_since == NOW - 7_200_000
    own.now += 10
    now = NOW + 10_000 + hours * 3_600_000
    assert clock.hear(now)
    own.now += 10
    for _ in range(2):
        state = states.of(source)
        assert (state.since, state.unbroken_since) == (now, now)
        own.now += 10
    source.say("down")
    own.now += 1
    assert states.of(source).since == clock.now() - 1000


@pytest.mark.parametrize("hours", [-1, 1])
def test_no_source_waits_for_an_hour_that_its_clock_was_set_by(hours: int) -> None:
    """Mastodon's timelines are asked for as often as before; only the limit's end is by it."""
    own = Own()
    pace = RequestPace(own)
    for _ in range(3):
        now = NOW / 1000 + hours * 3600
        pace.sent(3.2, {"X-RateLimit-Remaining": "300", "X-RateLimit-Reset": f"{now:.0f}"}, now)
        assert pace.wait() == pytest.approx(3.2)
        own.now += 3.2
    assert pace.wait() < 0.01


@pytest.mark.parametrize("hours", [-1, 1])
async def test_the_demo_goes_on_where_its_clock_was_set(hours: int) -> None:
    """With the present: neither an hour of silence, nor an hour's posts at once."""
    ahead = 0.0
    settings = read({"DEMO_PAST_HOURS": "0"})
    demo = Demo(settings, lambda: time.monotonic() + 10_000 + ahead)
    stream = demo.posts("")
    first = [await slot(stream) for _ in range(3)]
    ahead = hours * 3600
    then = [await slot(stream) for _ in range(3)]
    assert [n - first[0] for n in first] == [n - then[0] for n in then] == [0, 1, 2]
    assert abs(then[0] - first[2] - hours * 36_000) < 600
    assert not demo.catching_up
    await stream.aclose()  # type: ignore[attr-defined]


async def slot(stream: AsyncIterator[Message]) -> int:
    """The next one that is whole."""
    async with asyncio.timeout(5):
        while not isinstance(message := await anext(stream), Checkpoint):
            pass
    return int(message.cursor)


@pytest.fixture
async def opened(redis_server: RedisServer) -> AsyncIterator[Redis]:
    redis = connect(redis_server.url)
    yield redis
    await redis.aclose()


@pytest.fixture
async def store(opened: Redis) -> DatedStore:
    return DatedStore(opened)


async def ids(store: DatedStore) -> list[str]:
    entries: Any = await store.redis.xrange(LOG)
    return [id.decode() for id, _ in entries]


class Setting(DatedStore):
    """Its clock is set anew after a commit was read for, and before it is stored."""

    by = 0

    async def commit(self, *arguments: Any) -> Any:
        self.now, self.by = self.now + self.by, 0
        return await super().commit(*arguments)


@pytest.mark.parametrize("by", [-3_600_000, 3_600_000])
async def test_a_clock_that_is_set_within_a_commit_is_noticed(opened: Redis, by: int) -> None:
    """The tick is in the log then, with an id by the new clock and a date by the old one: the
    next one begins the log anew."""
    store = Setting(opened)
    desk = await Desk(store).open()
    await desk.write()
    store.by = by
    await desk.write()
    assert store.commits[-1].oldest
    now = await desk.write()
    assert store.commits[-1].oldest == ""
    assert now.at == store.now
    await desk.write()
    assert store.commits[-1].oldest.partition("-")[0] == str(store.now - 900_000)
    assert len(await ids(store)) == 2


async def test_a_log_with_ids_of_the_future_begins_anew(store: DatedStore) -> None:
    """All that come after such an id are of its future, too, and would never be too old: with
    Redis's clock ahead for one commit, or by somebody's hand."""
    desk = await Desk(store).open()
    await desk.write()
    await store.redis.xadd(LOG, {"tick": "{}"}, id="9999999999999-5")
    await desk.write()
    assert (await ids(store))[-1] == "9999999999999-6"
    await desk.write()
    await desk.write()
    assert len(await ids(store)) == 2
    assert max(await ids(store)) < "9999"


class Undated(DatedStore):
    """By Redis's own clock."""

    async def read(self, fields: Any) -> Any:
        self.now, self.up = int(time.time() * 1000), time.monotonic()
        return await Store.read(self, fields)

    async def commit(self, *arguments: Any) -> Any:
        self.commits.append(arguments[1])
        return await Store.commit(self, *arguments)


async def test_the_log_in_redis_is_bounded_in_bytes(
    opened: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a flood of hashtags its oldest ticks go before their time: 15 minutes of ticks of a
    megabyte, twenty a second, would be 18 GB."""
    monkeypatch.setattr("app.store.keys.LOG_BYTES", 200_000)
    store = Undated(opened)
    desk = await Desk(store).open()
    sizes: list[int] = []
    for n in range(40):
        await desk.write({"x": {f"tag{n}x{m}": 1 for m in range(200)}})
        sizes.append(len(store.commits[-1].tick))
        kept = len(await ids(store))
        assert sum(sizes[-kept:]) <= 200_000 + sizes[-1]
        assert kept == n + 1 or sum(sizes[-kept:]) > 150_000
    assert kept < 30
    assert (await store.ticks_after(""))[-1].id == desk.state.tick


async def test_the_log_of_what_the_sources_do_is_rationed(store: DatedStore) -> None:
    """A network that comes and goes each second has some entries, then one every five minutes; each
    past that is asked for reads them all. Ticks tell of each change; who is told once more what is
    in the log already gets no entry."""
    desk = await Desk(store).open()
    for n in range(2 * MOST_STATES):
        desk.sources = {"x": SourceState("down", n, "", True, n)}
        tick = await desk.write()
        assert tick.sources["x"].since == n
    assert await store.redis.xlen(STATES) == MOST_STATES
    await desk.later(5)
    for _ in range(2):
        await desk.write()
    assert await store.redis.xlen(STATES) == MOST_STATES + 1
    assert (await store.states_since(0))[-1][1] == {
        b"sources": store.commits[-1].state["sources"].encode()
    }
    await desk.later(24 * 60)
    desk.sources = {"x": SourceState("live", 5, "", True, 5)}
    for _ in range(2):
        await desk.write()
    assert await store.redis.xlen(STATES) == MOST_STATES + 2
