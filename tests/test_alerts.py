"""Alerts: what begins and ends one, what is remembered of it, and how it is delivered."""

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from aiohttp import web
from secret_settings import SECRET, USER, has_secret
from servers import eventually, free_port
from test_board import PRESENT, crowd, past, post

from app.ingest import webhook as module
from app.ingest.alerts import BIN, MOST_BEFORE, MOST_GOING, AlertMaker
from app.ingest.board import BoardMaker, usual_of
from app.ingest.present import SHORT, Present
from app.ingest.webhook import SIGNATURE, Webhook
from app.messages import HOUR, MINUTE
from app.store import keys
from app.store.alerts import LAST, Alert, read_alerts
from app.store.posts import StoredPost
from app.store.store import Store

BEGIN = PRESENT * HOUR + 20 * MINUTE
"""The beginning of a bin."""


class Bins:
    """Ten minutes after ten minutes, with so many people in each; six posts an hour are usual."""

    def __init__(self, alerts: AlertMaker, blocked: Iterable[str] = ()) -> None:
        self.alerts, self.board, self.number = alerts, BoardMaker(str.title, tuple(blocked)), 0
        self.alerts.is_loaded = True
        self.board.lately.since = 1

    def go_on(self, late: int = 2000, **people: int) -> list[tuple[str, str]]:
        """The next bin, which is judged so long after its end: the new alerts."""
        begin = BEGIN + self.number * BIN
        self.number += 1
        for tag, number in people.items():
            self.board.usual[tag] = usual_of(6)
            for n in range(number):
                at = begin + SLOT_AFTER + n * (BIN - 2 * SLOT_AFTER) // number
                self.board.lately.add(post(f"{tag} {n}", tag), [tag], at, at)
        before = {alert.id for alert in self.alerts.stored.last}
        end = begin + BIN + late
        self.board.lately.forget(end)
        self.alerts.judge(self.board, end)
        return [(a.state, a.tag) for a in self.alerts.stored.last if a.id not in before]


SLOT_AFTER = 20_000
"""Milliseconds at the ends of a bin without a post."""


def test_two_bins_in_a_row_begin_one_and_the_first_usual_one_ends_it() -> None:
    bins = Bins(AlertMaker())
    assert bins.go_on(a=50, b=50) == []
    assert bins.go_on(a=50, b=2) == [("start", "a")]
    assert bins.go_on(a=50, b=50) == []
    assert bins.go_on(a=2, b=2) == [("end", "a")]
    assert bins.go_on() == []
    start, end = bins.alerts.stored.last
    assert (start.since, start.at) == (BEGIN, BEGIN + 2 * BIN + 2000)
    assert (start.people, start.usual, start.name) == (50, 1.0, "A")
    assert start.unusual > 4
    assert start.sentence == (
        "#A is unusual: 50 people in ten minutes, where one post is usual at this hour. "
        "Since 08:20 UTC."
    )
    assert (end.since, end.people, end.usual) == (BEGIN, 2, 1.0)
    assert end.sentence == (
        "#A is usual again: 2 people in ten minutes. It was unusual since 08:20 UTC."
    )
    assert start.id != end.id and start.id.isalnum()


def test_one_bin_alone_is_none_nor_are_two_with_one_between() -> None:
    bins = Bins(AlertMaker())
    found = [bins.go_on(a=people) for people in (50, 1, 50, 1, 1, 50)]
    assert found == [[]] * 6


def test_few_people_one_author_and_blocked_hashtags_begin_none() -> None:
    """As on the board: five people, not mostly one author, nothing that is blocked."""
    bins = Bins(AlertMaker(), ["bad"])
    for _ in range(3):
        begin = BEGIN + bins.number * BIN + MINUTE
        for tag, authors in (("few", 4), ("bot", 8)):
            bins.board.usual[tag] = usual_of(0.1)
            for n in range(200):
                who = f"{tag} {n % authors if tag == 'few' or n < 20 else 0}"
                bins.board.lately.add(post(who, tag), [tag], begin, begin)
        assert bins.go_on(bad=50) == []


async def test_of_what_is_blocked_after_it_was_told_nothing_is_left(store: Store) -> None:
    """Neither that it is unusual, nor in the feed, nor to be delivered; nor that it ends."""
    bins = Bins(AlertMaker(["a", "b"]))
    assert (bins.go_on(a=50, b=50), len(bins.go_on(a=50, b=50))) == ([], 2)
    await store.redis.set(keys.ALERTS, bins.alerts.write()[0].values[0])
    after = AlertMaker(["a", "b"], blocked=["a"])
    await after.load(store)
    stored = after.stored
    assert [alert.tag for alert in (*stored.going.values(), *stored.last, *stored.due)] == ["b"] * 3
    assert read_alerts(after.write()[0].values[0]) == stored, "so does Redis"
    bins.alerts, bins.board.blocked = after, frozenset({"a"})
    assert bins.go_on() == [("end", "b")]


def test_who_comes_late_is_judged_by_what_is_known() -> None:
    """A bin that was not judged within 20 s is none; without all of its posts, nothing ends."""
    bins = Bins(AlertMaker())
    bins.go_on(a=50)
    assert bins.go_on(late=21_000, a=50) == []
    assert bins.go_on(a=50) == [], "nobody knows of the one between"
    assert bins.go_on(a=50) == [("start", "a")]
    bins.board.lately.since = BEGIN + bins.number * BIN + MINUTE
    assert bins.go_on(a=1) == []
    assert bins.go_on(a=1) == [("end", "a")]


def test_a_bin_is_judged_once() -> None:
    bins = Bins(AlertMaker())
    bins.go_on(a=50)
    bins.alerts.judge(bins.board, BEGIN + BIN + 7000)
    assert bins.alerts.stored.before == {"a": BEGIN}
    assert bins.go_on(a=50) == [("start", "a")]
    bins.alerts.judge(bins.board, BEGIN + 2 * BIN + 7000)
    assert len(bins.alerts.stored.last) == 1


def test_late_posts_raise_no_alert_of_now() -> None:
    """A source that went back brings posts of their own time: those of an hour before are of no
    bin of now."""
    bins = Bins(AlertMaker())
    for _ in range(3):
        now = BEGIN + bins.number * BIN + MINUTE
        for n in range(500):
            bins.board.lately.add(post(f"late {n}", "a"), ["a"], now - HOUR, now)
        assert bins.go_on(a=1) == []


def test_what_is_remembered_is_bounded() -> None:
    bins = Bins(AlertMaker(f"t{n}" for n in range(2000)))
    many = {f"t{n}": 30 + n % 7 for n in range(1200)}
    bins.go_on(**many)
    stored = bins.alerts.stored
    assert len(stored.before) == MOST_BEFORE == 1000
    bins.go_on(**many)
    assert len(stored.going) == MOST_GOING == 200
    assert len(stored.last) == len(stored.due) == LAST == 100
    assert min(alert.people for alert in stored.going.values()) == 35, "the most unusual ones"


NO_TIME = b'{"before": {"a": 253402300800000}}'
NOTHING = [b"", b"nothing", b'{"bin": "x"}', b"\xff", b"[" * 100_000, NO_TIME]


@pytest.mark.parametrize("text", NOTHING)
async def test_it_goes_on_from_what_redis_has(store: Store, text: bytes) -> None:
    """What somebody else wrote there counts as nothing; the process goes on."""
    bins = Bins(AlertMaker(["a"]))
    bins.go_on(a=50)
    [write] = bins.alerts.write()
    assert (write.key, write.ends) == (keys.ALERTS, 0)
    await store.redis.set(keys.ALERTS, write.values[0])
    after = AlertMaker(["a"])
    after.judge(bins.board, BEGIN + 2 * BIN)
    assert after.write() == [], "nothing before it is known what there is"
    await after.load(store)
    bins.alerts = after
    assert bins.go_on(a=50) == [("start", "a")]
    await store.redis.set(keys.ALERTS, text)
    await after.load(store)
    assert after.stored == read_alerts(b"{}")


def test_it_is_written_until_it_is_stored() -> None:
    bins = Bins(AlertMaker())
    bins.go_on(a=50)
    first = bins.alerts.write()
    assert bins.alerts.write() == first
    bins.go_on(a=50)
    second = bins.alerts.write()
    bins.alerts.wrote(first[0])
    assert bins.alerts.write() == second != first
    bins.alerts.wrote(second[0])
    assert bins.alerts.write() == []


def test_a_board_after_a_restart_is_as_before(store: Store) -> None:
    """From the posts that Redis has; after a short pause it counts as whole."""
    chance, now = Random(1), BEGIN
    uses = [
        StoredPost("x", f"{n}", f"a{chance.randrange(40)}", now - 590_000 + n * 1000, ("a", "b")[: 1 + n % 2], ("h",))
        for n in range(590)
    ]  # fmt: skip
    one, other = (Present(str, (), ()) for _ in range(2))
    for each in uses:
        one.lately.put(each.source, each.author, each.tags, each.domains, each.at, each.at)
        one.lately.since = one.lately.since or each.at
        other.recall(each, now)
    for present in (one, other):
        present.lately.forget(now)
    assert one.lately.slots == other.lately.slots and one.lately.crowded == other.lately.crowded
    assert one.lately.hosts == other.lately.hosts
    assert other.lately.since == one.lately.since == now - 590_000
    paused = Present(str, (), ())
    for each in uses:
        paused.recall(each, now + SHORT)
    paused.lately.forget(now + SHORT)
    assert paused.lately.since == now + SHORT


async def test_the_first_bin_after_a_start_needs_what_is_usual(store: Store) -> None:
    """The board knows it; a real one, with Redis."""
    await past(store, {"a": 3})
    board, alerts = BoardMaker(str), AlertMaker()
    await alerts.load(store)
    for bin_ in range(2):
        begin = BEGIN + bin_ * BIN
        for at, made in crowd("a", 60, begin + MINUTE):
            board.lately.add(made, made.hashtags.keys(), at, at)
        board.lately.since = 1
        await board.make(store, ["x"], begin + BIN)
        alerts.judge(board, begin + BIN)
    assert [alert.state for alert in alerts.stored.last] == ["start"]


# delivery


class Receiver:
    """Somebody who is told alerts: what came, and what is answered."""

    def __init__(self) -> None:
        self.came: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[Any] = []
        """Statuses, the first one first; 204 when there is none left."""

    async def take(self, request: web.Request) -> web.Response:
        self.came.append((dict(request.headers), await request.read()))
        status = self.answers.pop(0) if self.answers else 204
        if status == "silence":
            await asyncio.sleep(60)
        headers = {"Location": "/elsewhere"} if status in (302, 307, 308) else {}
        return web.Response(status=status, headers=headers, text="no " + "x" * 100_000)


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    made, app, port = Receiver(), web.Application(), free_port()
    app.router.add_post("/{path:.*}", made.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield made, f"http://{USER}:{SECRET}@127.0.0.1:{port}/hook?token={SECRET}"
    await runner.cleanup()


@asynccontextmanager
async def delivering(
    alerts: AlertMaker, url: str, secret: str = "", now: int = BEGIN
) -> AsyncIterator[None]:
    task = asyncio.create_task(Webhook(url, secret).run(alerts, lambda: now))
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def due(*tags: str) -> AlertMaker:
    """AlertMaker of these hashtags that began."""
    bins = Bins(AlertMaker(tags))
    for _ in range(2):
        bins.go_on(**dict.fromkeys(tags, 50))
    return bins.alerts


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.01)


async def test_an_alert_is_signed_and_told_once(receiver: tuple[Receiver, str]) -> None:
    made, url = receiver
    alerts = due("a")
    [alert] = alerts.stored.due
    async with delivering(alerts, url, "secret key"):
        await eventually(lambda: not alerts.stored.due, "it was delivered")
    [(headers, body)] = made.came
    signed = hmac.new(b"secret key", body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"sha256={signed}"
    assert headers["Content-Type"].startswith("application/json")
    assert json.loads(body)["id"] == alert.id
    assert json.loads(body)["sentence"].startswith("#A is unusual: 50 people")
    [write] = alerts.write()
    assert read_alerts(write.values[0]).due == []


@pytest.mark.parametrize("status", [302, 307, 400, 404, 429, 500, "silence", "closed"])
async def test_it_is_tried_until_it_came(
    receiver: tuple[Receiver, str],
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: Any,
) -> None:
    """With the same id; one line of the log, without the address; where it redirects to nobody
    goes; the others wait for it, in their order."""
    made, url = receiver
    monkeypatch.setattr(module, "SECONDS", 0.1)
    made.answers = [status] * 3 if status != "closed" else []
    alerts = due("a", "b")
    first, second = (alert.id for alert in alerts.stored.due)
    nowhere = f"http://{USER}:{SECRET}@127.0.0.1:{free_port()}/?token={SECRET}"
    with caplog.at_level(logging.DEBUG, "app"):
        if status == "closed":
            async with delivering(alerts, nowhere):
                await eventually(lambda: caplog.records, "it is said")
            assert len(alerts.stored.due) == 2
        async with delivering(alerts, url):
            await eventually(lambda: not alerts.stored.due, "both were delivered")
    tries = [json.loads(body)["id"] for _, body in made.came]
    assert tries == [first] * (4 if status != "closed" else 1) + [second]
    assert len(caplog.records) == 1, caplog.text
    assert not has_secret(caplog.text) and "127.0.0.1" not in caplog.text
    assert all(SIGNATURE not in headers for headers, _ in made.came), (
        "there is no secret to sign by"
    )


async def test_a_restart_loses_none(receiver: tuple[Receiver, str], store: Store) -> None:
    """What was due is in Redis until it is known that it came: so it may come twice."""
    made, url = receiver
    [write] = due("a").write()
    await store.redis.set(keys.ALERTS, write.values[0])
    ids = []
    for _ in range(2):  # the second one after a kill before the commit
        alerts = AlertMaker(["a"])
        await alerts.load(store)
        async with delivering(alerts, url):
            await eventually(lambda alerts=alerts: not alerts.stored.due, "it was delivered")
        ids += [json.loads(made.came[-1][1])["id"]]
    assert ids[0] == ids[1]
    nobodys = AlertMaker()
    await nobodys.load(store)
    assert nobodys.stored.due == [], "without an address nothing waits"


async def test_after_a_day_it_is_given_up(
    receiver: tuple[Receiver, str], caplog: pytest.LogCaptureFixture
) -> None:
    made, url = receiver
    alerts = due("a")
    at = alerts.stored.due[0].at
    async with delivering(alerts, url, now=at + 24 * HOUR + 1):
        await eventually(lambda: not alerts.stored.due, "it is gone")
    assert not made.came and "given up" in caplog.text


def test_nobody_sees_the_address_or_the_secret() -> None:
    assert "x" not in repr(Webhook("xx", "xx")).removeprefix("Webhook")
    assert Alert.__struct_fields__[0] == "id"
