"""X through the real tweepy client against a local server that fails in every way X can.

No wait is slept: each is read from the SourceLost that asks for it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from network import Counting, settings
from servers import START_SECONDS, App, RedisServer, eventually, free_port, get
from x_server import TOKEN, XServer, x_server
from x_source import Clock, first, limit, line, source, until_lost, waiting

from app.messages import Post
from app.sources import SourceLost
from app.sources.x.stream import NO_COVERAGE, X


@pytest.fixture
async def api() -> AsyncIterator[XServer]:
    async with x_server() as server:
        yield server


async def test_a_post_comes_from_the_wire(api: XServer) -> None:
    """With its id, time, author and hashtags; the fields that hold them are asked for."""
    when = {"created_at": "2026-11-24T00:00:00.500Z", "author_id": "7"}
    api.connections.append([line(5, "Science", **when)])
    x = source(api)
    post = Post("x", "5", "2026-11-24T00:00:00.500Z", "7", {"science": "Science"}, NO_COVERAGE)
    assert await first(x, 1) == [post]
    assert post.time == 1795478400500
    assert x.state == "live"
    query = next(query for what, query, _ in api.asked if what == "stream")
    assert query == "tweet.fields=created_at,author_id,entities,note_tweet"
    await eventually(lambda: not api.open, "X sees that the connection is closed")


@pytest.mark.parametrize("at", ["rules", "stream"])
@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, limit(0, 300), 301),
        (429, limit(40, 300), 60),  # not for its rate: too many connections, or the month's cap
        (429, {}, 60),
        (429, {"x-rate-limit-reset": "soon"}, 60),
        (420, {}, 60),
        (402, {}, 60),
        (409, {}, 5),
        (500, {}, 5),
        (503, {}, 5),
    ],
)
async def test_an_error_of_http_is_waited_out(
    api: XServer, at: str, status: int, headers: dict[str, str], wait: float
) -> None:
    """As long as X documents; the next try works and counts."""
    failures = api.failures if at == "stream" else api.rule_failures
    failures.append((status, headers, {"title": "Sorry", "detail": "not now"}))
    api.connections.append([line(1, "science"), "close"])
    x = source(api)
    ids, lost = await until_lost(x)
    assert api.fired == [status]
    assert (ids, lost.wait, lost.for_good) == ([], wait, False)
    assert str(lost) == f"X answered {status}: Sorry: not now"
    assert (await until_lost(x))[0] == ["1"]


@pytest.mark.parametrize("at", ["rules", "stream"])
@pytest.mark.parametrize(("status", "says"), [(400, "request"), (401, "TOKEN"), (403, "app")])
async def test_what_no_waiting_mends_stops_for_good(
    api: XServer, at: str, status: int, says: str
) -> None:
    """With a sentence that says what is wrong."""
    failures = api.failures if at == "stream" else api.rule_failures
    failures.append((status, {}, {"title": "No"}))
    _, lost = await until_lost(source(api))
    assert api.fired == [status]
    assert lost.for_good
    assert says in str(lost)


async def test_what_x_says_of_a_problem_is_bounded(api: XServer) -> None:
    """And a secret that it repeats is not cut in two, so that half of it would be said."""
    api.failures.append((503, {}, {"title": "x" * 195 + TOKEN}))
    _, lost = await until_lost(source(api))
    assert str(lost) == f"X answered 503: {'x' * 195}(hidd"


async def test_waits_grow_with_every_failure_in_a_row(api: XServer) -> None:
    """Doubled for errors and limits; a success that lasted begins anew, a short one does not."""
    clock = Clock()
    x = source(api, clock=clock)
    waits = []
    for status in (503, 503, 429, 503, 429):
        api.failures.append((status, {}, {}))
        waits.append((await until_lost(x))[1].wait)
    assert waits == [5, 10, 60, 20, 120]
    api.connections.append([line(1), "close"])
    assert (await until_lost(x))[1].wait == 0
    api.failures.append((503, {}, {}))
    assert (await until_lost(x))[1].wait == 40
    api.keep_alive = 0.01
    async with waiting(x):
        await eventually(lambda: api.open, "X is connected")
        clock.now += 20
        await eventually(lambda: not x.waits.errors, "a keep-alive after 20 s")
    api.failures.append((503, {}, {}))
    assert (await until_lost(x))[1].wait == 5
    assert api.fired == [503, 503, 429, 503, 429, "close", 503, 503]


async def test_a_clean_close_is_one_connect_and_a_longer_wait_each_time(api: XServer) -> None:
    """tweepy by itself comes back 4,150 times a second."""
    api.connections.extend(["close"] for _ in range(8))
    x = source(api)
    waits = [(await until_lost(x))[1].wait for _ in range(8)]
    assert api.fired == ["close"] * 8
    assert api.connects == 8
    assert waits == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]


async def test_never_more_than_fifty_connects_in_fifteen_minutes(api: XServer) -> None:
    """Of X that closes every connection at once, for as long as it takes, by its own clock."""
    clock, times = Clock(), []
    x = source(api, clock=clock)
    while len(times) < 60:
        api.connections.append(["close"])
        _, lost = await until_lost(x)
        if api.connects > len(times):
            times.append(clock.now)
        assert lost.wait is not None
        clock.now += lost.wait
    assert api.fired == ["close"] * 60
    assert all(b - a >= 900 for a, b in zip(times, times[50:], strict=False))


async def test_a_cut_in_the_middle_of_a_line_loses_only_that_line(api: XServer) -> None:
    """Every post that had arrived by then is counted, though we are slow; then at once again."""
    api.connections.append([*(line(n) for n in range(3000)), "cut"])
    posts = source(api).posts("")
    ids = [(await anext(posts)).id]  # type: ignore[union-attr]
    await eventually(lambda: api.fired and not api.open, "the connection is cut")
    await get(f"{api.url}/")  # a round trip: by now our end knows it as well
    with pytest.raises(SourceLost) as lost:
        async with asyncio.timeout(START_SECONDS):
            async for post in posts:
                ids.append(post.id)  # type: ignore[union-attr]
    assert ids == [str(n) for n in range(3000)]
    assert lost.value.wait == 0


async def test_silence_without_keep_alives_is_noticed(api: XServer) -> None:
    """A connection that says nothing is dead, whatever TCP believes."""
    api.connections.append([line(1), "stall"])
    ids, lost = await until_lost(source(api, stall=1.0))
    assert api.fired == ["stall"]
    assert (ids, lost.wait) == (["1"], 0)
    assert "it does not answer" in str(lost)


async def test_keep_alives_keep_a_quiet_stream(api: XServer) -> None:
    """No post for longer than the stall limit is no stall while X shows that it lives."""
    api.keep_alive = 0.01
    x = source(api, stall=0.8)
    async with waiting(x) as post:
        await eventually(lambda: api.keep_alives * api.keep_alive > 2 * x.stall, "a long quiet")
        assert not post.done()
        assert x.state == "live"


async def test_a_server_that_is_not_there_is_a_cut() -> None:
    """Refused, or a name that does not resolve: the same linear waits."""
    x = X(settings(("science",), x_api_url=f"http://127.0.0.1:{free_port()}", x_bearer_token="t"))
    assert [(await until_lost(x))[1].wait for _ in range(3)] == [0, 0.25, 0.5]


@pytest.mark.parametrize(("at", "status"), [("stream", 204), ("stream", 304), ("rules", 304)])
async def test_an_answer_that_is_no_stream_is_not_retried_unseen(
    api: XServer, at: str, status: int
) -> None:
    """tweepy alone would try again by itself, for ever."""
    failures = api.failures if at == "stream" else api.rule_failures
    failures.append((status, {}, None))
    _, lost = await until_lost(source(api))
    assert api.fired == [status]
    assert api.connects == (at == "stream")
    assert lost.wait in (0, 5)
    assert str(status) in str(lost)


async def test_totals_are_true_through_all_of_it(api: XServer, redis_server: RedisServer) -> None:
    """An ingester with a real Redis: closes, a cut, a stall, duplicates, quotes and notes."""
    note = {"entities": {"hashtags": [{"tag": "Science"}]}}
    api.connections.extend(
        [
            [line(1, "Science"), line(2, "science", "SCIENCE"), "close"],
            [line(2, "science"), line(3, "other"), line(4, note_tweet=note), "cut"],
            ["garbage", line(5), line(6, "science", "football"), "stall"],
            [line(6, "science", "football"), line(7, "football")],
        ]
    )
    counting = Counting(redis_server)
    api.keep_alive = 0.02
    async with counting.of(source(api, "science", "football", stall=1.5)):
        await counting.reach({"science": 4, "football": 2})
        assert api.connects == 4
    await counting.aclose()
    assert api.fired == ["close", "cut", "stall"]


async def test_no_token_is_in_any_log(api: XServer, caplog: pytest.LogCaptureFixture) -> None:
    """Not even where a gateway's error page repeats what it was sent."""
    caplog.set_level(logging.DEBUG, logger="app")
    echo = {"title": "Bad Gateway", "detail": f"your headers: Authorization: Bearer {TOKEN}"}
    for body in (echo, f"<p>{TOKEN}</p>"):
        for failures in (api.failures, api.rule_failures):
            failures.append((502, {}, body))
            x = source(api)
            _, lost = await until_lost(x)
            x.say("down", str(lost))
            assert "(hidden)" in str(lost)
    assert api.fired == [502] * 4
    assert "hidden" in caplog.text
    assert TOKEN not in caplog.text


async def test_a_wrong_token_is_one_sentence_and_no_more_requests(
    api: XServer, start_app: Callable[..., App]
) -> None:
    """The process stays up, says it to viewers, and keeps the token to itself."""
    secret = "wrong-secret-token"
    app = start_app(SOURCES="x", X_API_URL=api.url, X_BEARER_TOKEN=secret, TICK_SECONDS="0.1")
    await eventually(lambda: "TOKEN is not valid" in app.output, "it is said")
    app.started()

    async def told() -> Any:
        status, told = await get(f"{app.url}/api/counts")
        return status == 200 and told["sources"]["x"] == "down" and told

    shown = await eventually(told, "viewers see it")
    assert "X_BEARER_TOKEN is not valid" in shown["details"]["x"]["reason"]
    assert app.stop() == 0
    assert api.fired == [401]
    assert secret not in app.output
