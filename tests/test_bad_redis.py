"""A Redis that is not there, or holds what is not ours: one sentence, and nothing lost."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from posts import answer, counted, replaying
from servers import App, RedisServer, free_port, wait_until

from app.store.embedded import find_server
from app.store.store import LEASE, LOG, NAMES, SOURCES, SPELLINGS, STATE, STATES, TOTALS

POSTS = 300
FOREIGN_KEYS = (LEASE, TOTALS, SOURCES, STATE, LOG, STATES, SPELLINGS, NAMES)
FOREIGN_FIELDS = [
    (STATE, {"version": "one"}),
    (STATE, {"version": b"\xff"}),
    (STATE, {b"\xff": "text"}),
    (TOTALS, {"science": "many"}),
    (TOTALS, {"science": "1.5"}),
    (TOTALS, {"science": "9223372036854775807"}),
    (SOURCES, {"science replay": "many"}),
    (SOURCES, {"science another": "many"}),
]


@pytest.fixture
def recording(tmp_path: Path) -> dict[str, Any]:
    return replaying(tmp_path / "posts.jsonl", POSTS, speed="0")


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator["redis.Redis[bytes]"]:
    with redis.Redis(port=redis_server.port) as opened:
        yield opened


def ready(app: App) -> bool:
    return answer(app, "/readyz")[0] == 200


@pytest.mark.parametrize("command", [(), ("ingest",), ("web",)])
def test_redis_that_is_down_at_start_is_waited_for(
    start_app: Callable[..., App],
    tmp_path: Path,
    ending: ExitStack,
    recording: dict[str, Any],
    command: tuple[str, ...],
) -> None:
    """Each process starts, says once what is wrong, and goes on by itself; nothing is lost."""
    port = free_port()
    url = {"REDIS_URL": f"redis://127.0.0.1:{port}"}
    app = start_app(*command, **url, **recording)
    complaint = f"Redis: Error 111 connecting to 127.0.0.1:{port}"
    complaining = ["app.ingest.ingester"] * (command != ("web",)) + ["app.web.feed"] * (command != ("ingest",))
    for name in complaining:
        wait_until(lambda name=name: f"{name}: {complaint}" in app.output, f"{name} says so")
    if command != ("ingest",):
        app.started()
        status, told = answer(app, "/readyz")
        assert status == 503 and complaint in told["error"]
        assert answer(app, "/api/counts")[0] == 503

    server = ending.enter_context(RedisServer(find_server(), tmp_path / "redis", port=port))
    ingester = start_app("ingest", **url, **recording) if command == ("web",) else app
    viewer = start_app("web", **url).started() if command == ("ingest",) else app
    wait_until(lambda: ready(viewer), f"it is ready: {viewer.output}")
    wait_until(lambda: counted(viewer) >= POSTS, f"all is counted: {ingester.output}")
    assert counted(viewer) == POSTS
    for name in complaining:
        assert app.output.count(f"{name}: {complaint}") == 1, "it is said once"
        assert re.search(f"{name}: .*(?:well again|is back)", app.output)
    assert app.stop() == 0 and "Traceback" not in app.output
    assert server.running


def stored(client: "redis.Redis[bytes]") -> dict[bytes, bytes]:
    """All that is in Redis, byte for byte, but for the lease and what expires by itself."""
    return {key: client.dump(key) for key in client.scan_iter() if client.ttl(key) == -1}


def test_keys_of_others_are_named_and_left_alone(
    start_app: Callable[..., App], recording: dict[str, Any], client: "redis.Redis[bytes]",
    redis_server: RedisServer,
) -> None:  # fmt: skip
    """Where every key of ours is another's, each is named; nothing is changed until all are
    free, and then nothing that was counted is lost."""
    for key in FOREIGN_KEYS:
        client.rpush(key, "foreign")
    app = start_app(REDIS_URL=redis_server.url, **recording).started()
    left = set(FOREIGN_KEYS)
    while left:
        named = wait_until(
            lambda: next((key for key in left if f"the Redis key {key} is" in app.output), ""),
            f"another of {left} is named: {app.output}",
        )
        status, told = answer(app, "/readyz")
        assert status == 503 and told["error"].endswith(("?", "."))
        assert {client.lrange(key, 0, -1)[0] for key in left} == {b"foreign"}
        assert {key.decode() for key in client.scan_iter()} - {LEASE} <= left
        client.delete(named)
        left.remove(named)
    wait_until(lambda: counted(app) >= POSTS, f"all is counted: {app.output}")
    assert counted(app) == POSTS
    assert app.stop() == 0 and "Traceback" not in app.output


@pytest.mark.parametrize(("key", "fields"), FOREIGN_FIELDS)
def test_fields_of_others_are_named_and_left_alone(
    start_app: Callable[..., App], recording: dict[str, Any], client: "redis.Redis[bytes]",
    redis_server: RedisServer, key: str, fields: dict[Any, Any],
) -> None:  # fmt: skip
    """A field that cannot be ours is told with its key; once it is gone, all posts count."""
    client.hset(key, mapping=fields)
    before = stored(client)
    app = start_app("ingest", REDIS_URL=redis_server.url, **recording)
    wait_until(lambda: key in app.output, f"the key is named: {app.output}")
    assert stored(client) == before
    client.delete(key)
    wait_until(lambda: int(client.hget(TOTALS, "science") or 0) >= POSTS, "all is counted")
    assert client.hget(TOTALS, "science") == str(POSTS).encode()
    assert app.output.count(key) == 1, "it is said once"
    assert app.stop() == 0 and "Traceback" not in app.output


def test_foreign_cursor_and_ticks_are_passed_over(
    start_app: Callable[..., App], client: "redis.Redis[bytes]", redis_server: RedisServer
) -> None:
    """A cursor that is none means from now on, and what is no tick in the log is skipped."""
    client.hset(STATE, mapping={"cursor:demo": "yesterday", "version": "7", "commit": "a"})
    client.xadd(LOG, {"colour": "red"})
    client.xadd(LOG, {"tick": '{"at":1}'})
    client.hset(NAMES, mapping={"science": b"\xff"})
    client.hset(SPELLINGS, mapping={b"science \xff": "1000000"})
    app = start_app(REDIS_URL=redis_server.url).started()
    wait_until(lambda: ready(app), f"ticks arrive: {app.output}")
    assert "skipped 2 messages in Redis" in app.output
    assert app.stop() == 0 and "Traceback" not in app.output
