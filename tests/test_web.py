"""What the web process answers, over a real socket, from a real Redis; mostly with a real
ingester, and where a test says what was counted, without one."""

import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from served import Site, serving
from servers import (
    ROOT,
    App,
    Event,
    Process,
    RedisServer,
    changes,
    eventually,
    free_port,
    get,
    viewing,
)

from app.messages import SourceState
from app.store.embedded import find_server


@pytest.fixture(scope="module", params=["on", "off"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Ingester and web together on the demo source, shared by the tests that only read; once
    by a connection that is taken and once through Hypercorn alone."""
    chosen = {"HASHTAGS": "science,football,サッカー", "TICK_SECONDS": "0.1"}
    with App(tmp_path_factory.mktemp("web"), EXPRESS_LANE=request.param, **chosen) as started:
        yield started.ready()


async def test_stream_begins_with_retry_then_totals_then_ticks(app: App) -> None:
    """The first bytes are a retry, then the current totals, then a tick for every change."""
    async with viewing(f"{app.url}/events") as events:
        assert (await anext(events)).retry == 2000
        first = await anext(events)
        assert first.name == "counts"
        second = await anext(events)
    assert second.name == "counts"
    assert set(first.data) == {"at", "tick", "counts", "people", "names", "sources", "details"}
    assert list(first.data["counts"]) == ["science", "football", "サッカー"]
    assert first.data["sources"] == {"demo": "live"}
    assert first.id < second.id
    assert first.data["at"] < second.data["at"]


@pytest.mark.parametrize(
    "tags", ["science", "%23Science", quote("＃ＳＣＩＥＮＣＥ"), "science,SCIENCE"]
)
async def test_tags_choose_hashtags_however_they_are_spelt(app: App, tags: str) -> None:
    """Mark, case and width do not matter; each is there once."""
    status, told = await get(f"{app.url}/api/counts?tags={tags}")
    assert status == 200
    assert list(told["counts"]) == ["science"]


async def test_a_hashtag_of_another_script_is_chosen_percent_encoded(app: App) -> None:
    """And comes back in its own script."""
    async with viewing(f"{app.url}/events?tags={quote('サッカー')}&history=900") as events:
        await anext(events)
        history = await anext(events)
    assert history.name == "history"
    assert list(history.data["series"]) == ["サッカー"]


async def test_by_source_splits_the_totals(app: App) -> None:
    """In the stream and in the JSON."""
    _, told = await get(f"{app.url}/api/counts?by=source&tags=science")
    assert list(told["counts"]["science"]) == ["demo"]
    async with viewing(f"{app.url}/events?by=source&tags=science") as events:
        await anext(events)
        assert list((await anext(events)).data["counts"]["science"]) == ["demo"]


@pytest.mark.parametrize("how", ["header", "query", "both"])
async def test_a_stream_is_resumed_by_id(app: App, how: str) -> None:
    """Every tick after the id, in order; the header wins over the query."""
    async with viewing(f"{app.url}/events") as events:
        await anext(events)
        seen = [await anext(events)]
        while len(changes(seen)) < 4:
            seen.append(await anext(events))
    header = {"Last-Event-ID": seen[0].id} if how != "query" else {}
    query = {"query": seen[0].id, "both": "garbage"}.get(how, "")
    async with viewing(f"{app.url}/events?last_event_id={query}", **header) as events:
        await anext(events)
        again: list[Event] = []
        while not again or again[-1].id < seen[-1].id:
            again.append(await anext(events))
    ids = [event.id for event in again]
    assert {event.name for event in again} == {"counts"}
    assert ids == sorted(set(ids))
    assert set(changes(seen)[1:]) <= set(changes(again))
    assert seen[0].id not in ids


@pytest.mark.parametrize(("id", "query"), [("garbage", ""), ("1-1", ""), ("garbage", "?history=2")])
async def test_an_unknown_id_is_no_error(app: App, id: str, query: str) -> None:
    """One that is too old gets a history; one that is none gets what was asked for."""
    async with viewing(f"{app.url}/events{query}", **{"Last-Event-ID": id}) as events:
        await anext(events)
        if id == "1-1" or query:
            told = await anext(events)
            assert told.name == "history"
            assert not query or min(told.data["series"]["science"])[0] >= told.data["at"] - 2000
        assert (await anext(events)).name == "counts"


async def test_headers_of_the_stream(app: App) -> None:
    """Those that keep browsers, caches and nginx from holding events back."""
    async with aiohttp.ClientSession() as session:
        for method in ("GET", "HEAD"):
            async with session.request(method, f"{app.url}/events") as response:
                assert response.status == 200
                assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
                assert response.headers["Cache-Control"] == "no-store, no-transform"
                assert response.headers["X-Accel-Buffering"] == "no"
                if method == "HEAD":
                    assert await response.read() == b""


@pytest.mark.parametrize(
    ("path", "accept", "status", "sentence"),
    [
        ("events?tags=two%20words", "*/*", 400, "'two words' is not a hashtag: it has ' ' in it."),
        ("events?tags=123", "*/*", 400, "'123' is not a hashtag: it has no letter."),
        ("events?tags=" + ",".join(f"t{n}" for n in range(21)), "*/*", 400, "At most 20 hashtags"),
        (
            "events?tags=science&new=football",
            "*/*",
            400,
            "new names #football, which tags does not",
        ),
        ("events?tags=science&new=%20,2024", "*/*", 400, "'2024' is not a hashtag"),
        ("events?history=x", "*/*", 400, "history='x': expected seconds from 0 to 900."),
        ("events?history=901", "*/*", 400, "history='901'"),
        ("events?history=nan", "*/*", 400, "history='nan'"),
        ("events?by=colour", "*/*", 400, "by='colour': expected source"),
        ("events", "text/html", 406, "accept text/event-stream"),
        ("events", "text/event-stream;q=0, text/html", 406, "accept text/event-stream"),
        ("events", "*/*;q=0", 406, "accept text/event-stream"),
        ("api/counts?tags=%3Cimg%3E", "*/*", 400, "is not a hashtag"),
        ("nothing", "*/*", 404, "There is nothing at /nothing."),
    ],
)
async def test_a_bad_request_gets_one_sentence(
    app: App, path: str, accept: str, status: int, sentence: str
) -> None:
    """As JSON, before the stream starts."""
    got, told = await get(f"{app.url}/{path}", Accept=accept)
    assert got == status
    assert list(told) == ["error"]
    assert sentence in told["error"]


@pytest.fixture(params=["on", "off"])
async def site(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Site]:
    """The web app with the test as its ingester."""
    async with serving(redis_server.url, lane=request.param) as opened:
        yield opened


def url(site: Site, path: str) -> str:
    return f"http://127.0.0.1:{site.port}/{path}"


async def test_a_hashtag_that_nobody_asked_has_its_total_and_its_past_at_once(site: Site) -> None:
    """Whether it was used lately, long ago or never; then every change of it."""
    await site.writer.commit({"old": 70, "gone": 3})
    await site.writer.lose_log()
    for n in range(3):
        await site.writer.commit({"fresh": 1 + n})
    await site.hears()
    tags = "old,fresh,never"
    async with viewing(url(site, f"events?tags={tags}&history=900")) as events:
        assert (await anext(events)).retry == 2000
        history, now = await anext(events), await anext(events)
        assert now.data["counts"] == {"old": 70, "fresh": 6, "never": 0}
        assert history.id == now.id
        shown = {t: [total for _, total in line] for t, line in history.data["series"].items()}
        assert shown["old"] == [70, 70] and shown["never"] == [0, 0]
        assert shown["fresh"][-1] == 6
        await site.writer.commit({"never": 1})
        assert (await anext(events)).data["counts"] == {"old": 70, "fresh": 6, "never": 1}


async def test_a_page_adds_a_hashtag_to_a_running_stream(site: Site) -> None:
    """With `new`, the past of that one, and what it missed of all."""
    async with viewing(url(site, "events?tags=science")) as events:
        await anext(events)
        last = (await anext(events)).id
    await site.writer.commit({"rain": 5, "science": 1})
    await site.hears()
    query = f"events?tags=science,rain&new=rain&last_event_id={last}"
    async with viewing(url(site, query)) as events:
        await anext(events)
        history, missed = await anext(events), await anext(events)
    assert (history.name, history.id) == ("history", last)
    assert list(history.data["series"]) == ["rain"]
    assert missed.data["counts"] == {"science": 2, "rain": 5}


async def test_where_only_tracked_hashtags_are_counted_another_is_not_found(site: Site) -> None:
    """A sentence says which source was not asked for it; tracked ones are shown as ever."""
    site.writer.sources = {"x": SourceState("live")}
    await site.publish()
    await site.hears()
    status, told = await get(url(site, "events?tags=rain"))
    assert status == 404
    assert told["error"] == (
        "#rain is not tracked here, and x was not asked for it; tracked are #science, #football."
    )
    assert (await get(url(site, "api/counts?tags=football")))[1]["counts"] == {"football": 0}
    site.writer.sources["bluesky"] = SourceState("down", complete=True)
    await site.publish()
    await site.hears()
    assert (await get(url(site, "api/counts?tags=rain")))[0] == 200


async def test_a_hashtag_that_cannot_be_learnt_is_a_sentence(site: Site) -> None:
    """Before the stream starts; what is known already is served all the while."""
    await site.store.redis.set("{hashtag}:totals:demo", "no hash")
    for path in ("events", "api/counts"):
        async with (
            aiohttp.ClientSession() as session,
            session.get(url(site, f"{path}?tags=rain")) as response,
        ):
            assert response.status == 503 and response.headers["Retry-After"]
            assert "{hashtag}:totals:demo is of another type" in (await response.json())["error"]
    assert (await get(url(site, "api/counts?tags=science")))[0] == 200


async def test_head_learns_nothing_and_ends(site: Site) -> None:
    """Headers as with GET, and no fan-out for it."""
    async with (
        aiohttp.ClientSession() as session,
        session.head(url(site, "events?tags=rain")) as response,
    ):
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert not site.feed.watched


@pytest.mark.parametrize("accept", ["text/event-stream", "text/*", "text/html, */*;q=0.1", ""])
async def test_an_accept_that_allows_events_gets_them(app: App, accept: str) -> None:
    """Browsers, curl and libraries each send another one."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{app.url}/events", headers={"Accept": accept}) as response,
    ):
        assert response.status == 200


async def test_writing_methods_are_refused(app: App) -> None:
    """405, as JSON."""
    async with aiohttp.ClientSession() as session, session.post(f"{app.url}/events") as response:
        assert response.status == 405
        assert "use GET" in (await response.json())["error"]
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


async def test_ready_and_healthy(app: App) -> None:
    """Both while ticks arrive."""
    status, told = await get(f"{app.url}/healthz")
    assert (status, told["ok"]) == (200, True)
    assert abs(told["now"] - time.time() * 1000) < 60_000
    assert await get(f"{app.url}/readyz") == (200, {"ok": True})


async def test_web_and_ingester_as_two_processes(
    start_app: Callable[..., App], redis_server: RedisServer
) -> None:
    """Not ready, and no totals, until an ingester works; then both, without a restart."""
    web = start_app("web", REDIS_URL=redis_server.url).started()
    status, told = await get(f"{web.url}/readyz")
    assert (status, told) == (503, {"error": "No tick has come yet: is an ingester running?"})
    assert (await get(f"{web.url}/api/counts"))[0] == 503
    start_app("ingest", REDIS_URL=redis_server.url)
    await eventually(lambda: is_ready(web), "the web process is ready")
    assert (await get(f"{web.url}/api/counts"))[1]["sources"] == {"demo": "live"}


async def is_ready(app: App) -> bool:
    return (await get(f"{app.url}/readyz"))[0] == 200


async def test_a_second_web_process_serves_the_firsts_viewers(
    start_app: Callable[..., App], redis_server: RedisServer
) -> None:
    """Ids are Redis's own, so any process resumes any stream, without a gap."""
    start_app("ingest", REDIS_URL=redis_server.url, TICK_SECONDS=0.1)
    one = start_app("web", REDIS_URL=redis_server.url, TICK_SECONDS=0.1).started()
    other = start_app("web", REDIS_URL=redis_server.url, TICK_SECONDS=0.1).started()
    await eventually(lambda: is_ready(one), "ticks arrive")
    async with viewing(f"{one.url}/events") as events:
        await anext(events)
        last = await anext(events)
    async with viewing(f"{other.url}/events", **{"Last-Event-ID": last.id}) as events:
        await anext(events)
        assert (await anext(events)).name == "counts"


async def test_hypercorns_own_command_serves_the_app(tmp_path: Path) -> None:
    """`hypercorn --config hypercorn.toml 'app:create_app()'` is a working web process."""
    import sys

    from servers import Process, free_port

    port = free_port()
    text = (ROOT / "hypercorn.toml").read_text().replace(":8000", f":{port}")
    (tmp_path / "hypercorn.toml").write_text(text)
    with RedisServer(find_server(), tmp_path / "redis") as redis:
        env = {"REDIS_URL": redis.url, "PYTHONPATH": str(ROOT)}
        with (
            Process(
                sys.executable, "-m", "hypercorn", "--config", "hypercorn.toml", "app:create_app()",
                cwd=tmp_path, env=env,
            ) as web,
            App(tmp_path, "ingest", REDIS_URL=redis.url),
        ):  # fmt: skip
            await eventually(lambda: "Running on" in web.output, "hypercorn serves")
            async with viewing(f"http://127.0.0.1:{port}/events") as events:
                await anext(events)
                assert (await anext(events)).name == "counts"


IMPATIENT = """
from quart import Quart
Quart.default_config = {**Quart.default_config, "RESPONSE_TIMEOUT": 0.3}
from app.__main__ import main
main()
"""


async def test_a_stream_outlives_quarts_patience(tmp_path: Path, ending: ExitStack) -> None:
    """With 0.3 s in the place of a minute, after which it cuts what is still being sent."""
    port = free_port()
    env = {"PYTHONPATH": str(ROOT), "BIND": f"127.0.0.1:{port}", "TICK_SECONDS": "0.1"}
    env |= {"DEMO_PAST_HOURS": "0", **os.environ}
    ending.enter_context(Process(sys.executable, "-c", IMPATIENT, cwd=tmp_path, env=env))
    await eventually(lambda: answers(port), "it serves")
    async with viewing(f"http://127.0.0.1:{port}/events") as events:
        await anext(events)
        came = [(await anext(events)).data["at"] for _ in range(5)]
    assert came[-1] - came[0] > 300


def answers(port: int) -> bool:
    with socket.socket() as opened:
        return opened.connect_ex(("127.0.0.1", port)) == 0
