"""What Prometheus is told: by every kind of process, of all workers, and as the README has it."""

import asyncio
import os
import re
import signal
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from servers import ROOT, App, RedisServer, eventually, free_port, get, viewing
from test_dashboard import names_asked_for
from test_workers import processes
from x_server import TOKEN, x_server
from x_source import line

from app.metrics import FIGURES, Durations, metric_of

Figures = dict[str, dict[frozenset[tuple[str, str]], float]]


def read(text: str) -> Figures:
    """Name to labels to number."""
    found: Figures = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert frozenset(sample.labels.items()) not in found[sample.name], "once"
            found[sample.name][frozenset(sample.labels.items())] = sample.value
    return found


async def asked(url: str) -> Figures:
    status, text = await get(f"{url}/metrics")
    assert status == 200
    return read(text)


def value(figures: Figures, name: str, **labels: str) -> float:
    """The sum of all with these labels."""
    return sum(n for of, n in figures[name].items() if labels.items() <= dict(of).items())


def test_a_histogram_is_cumulative() -> None:
    """As Prometheus wants it; what is as long as a bound is within it."""
    lasted = Durations()
    for seconds, times in ((0.0005, 1), (0.001, 2), (0.3, 3), (9, 1)):
        lasted.add(seconds, times)
    samples = {
        s.labels.get("le"): s.value for s in metric_of("pulse_commit_seconds", lasted).samples
    }
    assert (samples["0.001"], samples["0.2"], samples["0.5"], samples["+Inf"]) == (3, 3, 6, 7)


def test_the_readmes_table_is_the_codes() -> None:
    """Every figure with its labels and what it is; a hashtag is never a label."""
    text = (ROOT / "deploy" / "README.md").read_text()
    rows = re.findall(r"^\| `(pulse_\w+)`(?: by ([\w, ]+))? \| (\w+) \| (.*) \|$", text, re.M)
    assert rows == [
        (name, ", ".join(labels), kind, what) for name, (kind, labels, what) in FIGURES.items()
    ]
    assert not {"tag", "hashtag", "address"} & {
        each for _, of, _ in FIGURES.values() for each in of
    }


LIMITED = {"MAX_VIEWERS_PER_ADDRESS": "2", "TRUSTED_PROXIES": "192.0.2.1/32"}


async def known(url: str) -> Figures | None:
    """All figures, once hashtags are: they are counted every other second, first before there are any."""
    figures = await asked(url)
    return figures if value(figures, "pulse_hashtags") >= 2 else None


async def test_one_process_tells_all_of_it(
    start_app: Callable[..., App], redis_server: RedisServer
) -> None:
    """Every name of the table but X's, and every one that the dashboard and the rules ask for, the
    process's own among them. What was asked is counted."""
    app = start_app(REDIS_URL=redis_server.url, TICK_SECONDS="0.1", **LIMITED).started()
    async with viewing(f"{app.url}/events?tags=science") as events:
        async for event in events:
            if event.name == "counts" and event.data["counts"]["science"] > 3:
                break
        last = {"Last-Event-ID": event.id}
        async with viewing(f"{app.url}/events?tags=science", **last) as more:
            assert (await anext(more)).retry and (await anext(more)).data
            assert (await get(f"{app.url}/events"))[0] == 429
            figures = await eventually(lambda: known(app.url), "hashtags are counted")
            assert "science" not in (await get(f"{app.url}/metrics"))[1]
    assert value(figures, "pulse_viewers") == 2
    plain = {name for name, (kind, _, _) in FIGURES.items() if kind != "histogram"}
    assert plain - figures.keys() == {"pulse_x_posts_read", "pulse_x_posts_ceiling"}
    assert names_asked_for() - figures.keys() == {"pulse_x_posts_read", "pulse_x_posts_ceiling"}
    told_posts = value(figures, "pulse_posts_total", source="demo")
    assert told_posts >= 4 and value(figures, "pulse_uses_total", source="demo") >= 4
    assert figures["pulse_source_state"] == {
        frozenset({("source", "demo"), ("state", "live")}): 1.0
    }
    for name, least in (
        ("pulse_writer", 1), ("pulse_connects_total", 2), ("pulse_resumes_total", 1),
        ("pulse_frames_total", 4), ("pulse_frame_bytes_total", 400), ("pulse_ticks_total", 2),
        ("pulse_frame_age_seconds_count", 1), ("pulse_commit_seconds_count", 4),
        ("pulse_subscriptions_total", 1), ("pulse_hashtags", 2),
    ):  # fmt: skip
        assert value(figures, name) >= least, name
    assert value(figures, "pulse_refusals_total", reason="viewers_of_address") == 1
    assert 0 <= value(figures, "pulse_tick_lag_seconds") < 20


async def test_what_x_costs_is_told(
    start_app: Callable[..., App], redis_server: RedisServer
) -> None:
    """Posts read against the ceiling, of all who read today, and what stops at it; no token."""
    async with x_server() as x:
        chosen = {
            "SOURCES": "x", "X_BEARER_TOKEN": TOKEN, "X_API_URL": x.url, "X_POSTS_PER_DAY": "25",
            "REDIS_URL": redis_server.url, "HASHTAGS": "science", "TICK_SECONDS": "0.1",
        }  # fmt: skip
        for reads, begin, end, posts, state in (
            (10, 0, 10, 10, "live"),
            (25, 10, 40, 15, "budget"),
        ):
            x.connections.append([line(n, "science") for n in range(begin, end)])
            app = start_app(**chosen).started()

            async def told_of(app: App = app, reads: int = reads, state: str = state) -> bool:
                figures = await asked(app.url)
                read = value(figures, "pulse_x_posts_read")
                return (read, value(figures, "pulse_source_state", state=state)) == (reads, 1)

            await eventually(told_of, "all are told")
            status, text = await get(f"{app.url}/metrics")
            assert TOKEN not in text and status == 200
            assert value(found := read(text), "pulse_x_posts_ceiling") == 25
            assert value(found, "pulse_posts_total", source="x") == posts
            assert await asyncio.to_thread(app.stop) == 0, app.output


async def test_what_redis_does_is_told(
    start_app: Callable[..., App], redis_server: RedisServer
) -> None:
    """By both parts: trouble, and that it is over."""
    app = start_app(REDIS_URL=redis_server.url, TICK_SECONDS="0.1").started()

    async def trouble() -> float:
        return value(await asked(app.url), "pulse_redis_trouble")

    await eventually(lambda: ready(app.url), "it counts")
    await asyncio.to_thread(redis_server.end)
    await eventually(lambda: is_told(trouble, 2.0), "both say so")
    again = (redis_server.binary, redis_server.folder)
    with await asyncio.to_thread(partial(RedisServer, *again, port=redis_server.port)):
        await eventually(lambda: is_told(trouble, 0.0), "it is over")
        await eventually(lambda: ready(app.url), "and ticks come")
        figures = await asked(app.url)
        for part in ("ingest", "web"):
            assert value(figures, "pulse_redis_lost_total", part=part) >= 1
        assert value(figures, "pulse_subscriptions_total") >= 2


async def ready(url: str) -> bool:
    return (await get(f"{url}/readyz"))[0] == 200


async def is_told(asks: Callable[[], Any], wanted: float) -> bool:
    return bool(await asks() == wanted)


async def test_an_address_of_its_own(
    start_app: Callable[..., App], redis_server: RedisServer
) -> None:
    """Of every kind of process: the ingester has no other, and of the web it is there alone. Who
    asks there for something else gets nothing."""
    chosen = {"REDIS_URL": redis_server.url}
    web, ingest = (f"127.0.0.1:{free_port()}" for _ in range(2))
    app = start_app("web", METRICS_BIND=web, **chosen).started()
    start_app("ingest", METRICS_BIND=ingest, **chosen)
    assert (await get(f"{app.url}/metrics"))[0] == 404
    assert "pulse_viewers" in await asked(f"http://{web}")
    await eventually(lambda: listens(ingest), "it listens")
    figures = await asked(f"http://{ingest}")
    assert "pulse_posts_total" in figures and "pulse_viewers" not in figures
    assert (await get(f"http://{ingest}/"))[0] == 404
    reader, writer = await asyncio.open_connection("127.0.0.1", int(web.rpartition(":")[2]))
    writer.write(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20000)
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    taken = start_app("ingest", METRICS_BIND=web, **chosen)
    await eventually(lambda: not taken.running, "it ends")
    assert "METRICS_BIND cannot be used" in taken.output and "Traceback" not in taken.output


async def test_who_stands_by_is_in_no_trouble(
    start_app: Callable[..., App], redis_server: RedisServer
) -> None:
    """The second ingester reads no source, and nothing is wrong: no rule is to call anybody."""
    places = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    apps = []
    for place in places:
        apps.append(start_app("ingest", METRICS_BIND=place, REDIS_URL=redis_server.url))
        said = "demo: live" if place == places[0] else "standing by: the ingester"
        await eventually(lambda app=apps[-1], said=said: said in app.output, said)
    writes, waits = [await asked(f"http://{place}") for place in places]
    assert value(writes, "pulse_source_state", source="demo", state="live") == 1
    assert "pulse_source_state" not in waits
    for figures, writer in ((writes, 1), (waits, 0)):
        assert value(figures, "pulse_writer") == writer
        assert value(figures, "pulse_redis_trouble", part="ingest") == 0
        assert value(figures, "pulse_redis_lost_total", part="ingest") == 0
    apps[0].end()
    await eventually(lambda: counts_anew(places[1]), "the other one counts, and says of what")


async def counts_anew(place: str) -> bool:
    figures = await asked(f"http://{place}")
    return (
        "pulse_source_state" in figures and value(figures, "pulse_source_state", state="live") == 1
    )


async def listens(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("apart", [False, True])
async def test_several_workers_are_told_as_one(
    start_app: Callable[..., App], redis_server: RedisServer, apart: bool
) -> None:
    """Whichever is asked: of each its own, and together all; also by the address of their
    parent. One that was started anew is told in its place."""
    bind = {"METRICS_BIND": f"127.0.0.1:{free_port()}"} if apart else {}
    app = start_app("web", "--workers", "2", REDIS_URL=redis_server.url, **bind).started()
    url = f"http://{bind['METRICS_BIND']}" if apart else app.url

    async def workers() -> set[str]:
        return {dict(of)["worker"] for of in (await asked(url))["pulse_viewers"]}

    await eventually(lambda: are(workers, {"1", "2"}), "both answer")
    streams = [asyncio.create_task(watch(app.url)) for _ in range(20)]

    async def viewers() -> float:
        return value(await asked(url), "pulse_viewers")

    await eventually(lambda: is_told(viewers, 20.0), "all are counted, each once")
    for stream in streams:
        stream.cancel()
    await eventually(lambda: is_told(viewers, 0.0), "nobody is left")

    async def began() -> dict[str, float]:
        figures = await asked(url)
        return {dict(of)["worker"]: n for of, n in figures["process_start_time_seconds"].items()}

    before = await began()
    os.kill(processes(app)[0], signal.SIGKILL)

    async def anew() -> bool:
        now = await began()
        return now.keys() == before.keys() and sum(now[n] > before[n] for n in now) == 1

    await eventually(anew, "one is another one")


async def are(asks: Callable[[], Any], wanted: set[str]) -> bool:
    return bool(await asks() == wanted)


async def watch(url: str) -> None:
    async with viewing(f"{url}/events") as events:
        async for _ in events:
            pass
