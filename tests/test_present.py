"""What a running ingester makes of the last ten minutes: it outlives a restart, and reaches who is
to be told."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from servers import eventually
from test_alerts import Receiver
from test_alerts import receiver as receiver

from app.ingest import alerts, present
from app.ingest.board import BoardMaker, usual_of
from app.ingest.ingester import Ingester
from app.ingest.webhook import Webhook
from app.messages import Message, Post
from app.settings import read
from app.sources import Source
from app.store import keys
from app.store.alerts import StoredAlerts, read_alerts
from app.store.store import Store, StoreLost


class Given(Source):
    """Posts that a test made, and then silence."""

    name = "bluesky"
    complete = True

    def __init__(self, made: Sequence[Post]) -> None:
        super().__init__(read({}))
        self.made = made

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        self.say("live")
        for post in self.made:
            yield post
        await asyncio.Event().wait()


def posts(people: int, *tags: str, hosts: tuple[str, ...] = ()) -> list[Post]:
    return [
        Post("bluesky", f"a{n}/1", 0, f"a{n}", {tag: tag.title() for tag in tags}, f"{n}", domains=hosts)
        for n in range(people)
    ]  # fmt: skip


@asynccontextmanager
async def ingesting(store: Store, made: Sequence[Post], **more: Any) -> AsyncIterator[Ingester]:
    ingester = Ingester([Given(made)], store, ["a"], 0.1, **more)
    task = asyncio.create_task(ingester.run())
    yield ingester
    assert not task.done(), task.exception()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(present, "BOARD_SECONDS", 0.1)


async def board_of(store: Store) -> dict[str, Any]:
    text = await store.text(keys.BOARD)
    found: dict[str, Any] = json.loads(text) if text else {}
    return found


async def test_a_restart_goes_on_with_the_posts_that_redis_has(store: Store) -> None:
    """The same hashtags with the same numbers, without a post that came since."""

    async def is_there() -> dict[str, Any]:
        found = await board_of(store)
        return found if found.get("used") else {}

    found = []
    for made in (posts(8, "a", "b", hosts=("h", "i")), []):
        async with ingesting(store, made):
            board = await eventually(is_there, "there is a board")
            found.append(
                [(e["tag"], e["posts"], e["people"], e["busiest_link"]) for e in board["used"]]
            )
            assert board["since"] <= board["at"]
        await store.redis.delete(keys.BOARD)
    assert found[0] == found[1] == [("b", 8, 8, 1.0), ("a", 8, 8, 1.0)]


async def test_a_redis_from_an_older_copy_gets_its_alerts_back(store: Store) -> None:
    """With the next ticks, and not only when the next ten minutes are over."""
    async with ingesting(store, posts(8, "a")) as ingester:
        await eventually(lambda: ingester.present.alerts.is_loaded, "it knows what Redis has")
        ingester.present.alerts.save()
        await eventually(lambda: store.redis.exists(keys.ALERTS), "alerts are there")
        await store.redis.flushall()
        await eventually(lambda: store.redis.exists(keys.ALERTS), "and are there again")


async def test_an_alert_that_begins_after_a_lost_answer_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is stored, with what was told then; nobody hears of it, and it is tried again."""
    async with ingesting(store, posts(8, "a")) as ingester:
        await eventually(lambda: ingester.present.alerts.is_loaded, "it knows what Redis has")
        alerts = ingester.present.alerts
        commit = store.commit

        async def lost(*arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr(store, "commit", commit)
            await commit(*arguments, **options)
            alerts.stored.bin = 7
            alerts.save()
            raise StoreLost("the answer is lost")

        monkeypatch.setattr(store, "commit", lost)

        async def is_there() -> bool:
            text = await store.text(keys.ALERTS)
            return bool(text) and read_alerts(text).bin == 7

        await eventually(is_there, "it is there with the next tick")
        assert store.commit == commit


async def test_what_came_together_is_in_redis(store: Store) -> None:
    async with ingesting(store, posts(8, "a", "b")):

        async def told() -> Any:
            text = await store.redis.hget(keys.LATELY, "a")  # type: ignore[misc]
            return json.loads(text) if text else None

        found = await eventually(told, "it was counted")
    assert (
        found["with"] == [{"tag": "b", "name": "b", "people": 8, "lift": 1.0}]
        or found["with"][0]["name"] == "B"
    )
    assert 0 < await store.redis.ttl(keys.LATELY) <= keys.BOARD_SECONDS


async def test_from_posts_to_who_is_told(
    store: Store, receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a tracked hashtag; another one's alert is remembered and not delivered."""
    made, url = receiver
    monkeypatch.setattr(alerts, "BIN", 500)

    async def learn(self: BoardMaker, *_: object) -> None:
        self.usual = dict.fromkeys(self.lately.crowded, usual_of(0.1))

    monkeypatch.setattr(BoardMaker, "learn", learn)
    uses = [*posts(20, "a"), *(Post("bluesky", f"b{n}", 0, f"b{n}", {"b": "B"}) for n in range(20))]
    async with ingesting(store, uses, webhook=Webhook(url, "secret")):
        await eventually(lambda: made.came, "it came")

        async def is_stored() -> Any:
            text = await store.text(keys.ALERTS)
            found = read_alerts(text) if text else StoredAlerts()
            return found if found.last and not found.due else None

        stored = await eventually(is_stored, "Redis knows that it came")
    [(_, body)] = made.came
    assert json.loads(body)["tag"] == "a"
    assert {alert.tag for alert in stored.last} == stored.going.keys() == {"a", "b"}


@pytest.mark.parametrize("where", ["load", "make"])
async def test_a_cancel_that_is_lost_ends_it(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """As redis-py may lose one before Python 3.12: the end of the process would wait for ever."""
    waits = asyncio.Event()

    async def lost(*_: object) -> None:
        waits.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        raise StoreLost("gone")

    made = present.Present(str, (), ())
    made.alerts.is_loaded = where == "make"
    monkeypatch.setattr(made.alerts if where == "load" else made.board, where, lost)
    nobody: Any = None
    task = asyncio.create_task(made.run(nobody, (), lambda: 0))
    await waits.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
