"""A Redis that is not there, or holds what is not ours: one sentence, and nothing lost."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from posts import answer, counted, replaying
from servers import ROOT, App, RedisServer, eventually, free_port, get, wait_until

from app.store import keys
from app.store.embedded import find_server
from app.store.keys import LEASE, LOG, STATE, STATES, Past
from app.store.refusals import FULL, READ_ONLY

POSTS = 300
NOW = int(time.time() * 1000)
HOUR = keys.hour_of(NOW)
HOURS = [keys.hour(n, "replay") for n in (HOUR, HOUR + 1)]
KEPT = [keys.kept(n, "replay") for n in (HOUR, HOUR + 1)]
DAYS = [keys.day(n, "replay") for n in (HOUR // 24, HOUR // 24 + 1)]
TOTALS = keys.totals("replay")
FOREIGN_KEYS = (LEASE, TOTALS, STATE, LOG, STATES, HOURS[0], KEPT[0], DAYS[0])
STATES_OF_OTHERS: list[tuple[dict[Any, Any], str]] = [
    ({"version": "one"}, "its data has schema 1, and this program knows 2"),
    ({"version": b"\xff"}, STATE),
    ({b"\xff": "text"}, STATE),
    ({"schema": "3", "version": "3.1"}, "its data has schema 3, .*update this program"),
]
GARBAGE = [
    (TOTALS, {"science": "many"}),
    (TOTALS, {"science": "1.5 1"}),
    (TOTALS, {"science": "9223372036854775807 1", b"\xff": "1 1"}),
    (keys.totals("another"), {"science": "many"}),
    *((key, {"science": b"\xff", "": b"\x00\x01"}) for key in (*HOURS, *DAYS)),
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
    complaint = f"Redis: no connection to 127.0.0.1:{port} (Connection refused)."
    complaining = ["app.ingest.ingester"] * (command != ("web",)) + ["app.web.freshness"] * (
        command != ("ingest",)
    )
    for name in complaining:
        wait_until(lambda name=name: f"{name}: {complaint}" in app.output, f"{name} says so")
    if command != ("ingest",):
        app.started()
        status, told = answer(app, "/readyz")
        assert (status, told) == (503, {"error": "Redis does not answer."})
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


@pytest.mark.parametrize(("fields", "sentence"), STATES_OF_OTHERS)
def test_a_state_of_others_is_told_and_left_alone(
    start_app: Callable[..., App], recording: dict[str, Any], client: "redis.Redis[bytes]",
    redis_server: RedisServer, fields: dict[Any, Any], sentence: str,
) -> None:  # fmt: skip
    """Data of another program, and of another version of ours; once it is gone, all counts."""
    client.hset(STATE, mapping=fields)
    before = stored(client)
    app = start_app("ingest", REDIS_URL=redis_server.url, **recording)
    wait_until(lambda: re.search(sentence, app.output), f"it is told: {app.output}")
    assert stored(client) == before
    client.delete(STATE)
    wait_until(lambda: total(client) >= POSTS, f"all is counted: {app.output}")
    assert total(client) == POSTS
    assert len(re.findall(sentence, app.output)) == 1, "it is said once"
    assert app.stop() == 0 and "Traceback" not in app.output


@pytest.mark.parametrize(("key", "fields"), GARBAGE)
def test_garbage_in_a_field_counts_as_not_there(
    start_app: Callable[..., App], recording: dict[str, Any], client: "redis.Redis[bytes]",
    redis_server: RedisServer, key: str, fields: dict[Any, Any],
) -> None:  # fmt: skip
    """Nobody is blocked by it, nothing else is lost; it is counted, and said."""
    client.hset(STATE, mapping={"schema": "2", "version": "2.7", "networks": "another replay"})
    client.hset(key, mapping=fields)
    app = start_app("ingest", REDIS_URL=redis_server.url, **recording)
    wait_until(lambda: total(client) >= POSTS, f"all is counted: {app.output}")
    assert total(client) == POSTS
    is_later = keys.hour_of(int(time.time() * 1000)) > HOUR  # than when these tests were read
    present = HOURS[is_later]
    hours = [name for name in HOURS if name != key or name == present]
    found = [Past.read(client.hget(name, "science") or b"\x00") for name in hours]
    assert sum(posts for past in found for posts in past.slots.values()) == POSTS
    assert app.stop() == 0 and "Traceback" not in app.output
    is_read = key not in (*HOURS, *DAYS) or key in (present, DAYS[0])
    assert "values in Redis were none of ours so far" in app.output or not is_read or is_later


def total(client: "redis.Redis[bytes]") -> int:
    try:
        return keys.read_posts(client.hget(TOTALS, "science") or b"0 0")[0]
    except ValueError:
        return 0


def test_foreign_cursor_and_ticks_are_passed_over(
    start_app: Callable[..., App], client: "redis.Redis[bytes]", redis_server: RedisServer
) -> None:
    """A cursor that is none means from now on, and what is no tick in the log is skipped, as is one
    of the schema before."""
    fields = {"cursor:demo": "yesterday", "schema": "2", "version": "2.7", "commit": "a"}
    client.hset(STATE, mapping={**fields, "tick": "no id", "moved": "9" * 5000})
    client.xadd(LOG, {"colour": "red"})
    older = {"at": 1, "seconds": 0.5, "counts": {"science": 3}, "sources": {"x": "live"}}
    client.xadd(LOG, {"tick": json.dumps(older)})
    app = start_app(REDIS_URL=redis_server.url).started()
    wait_until(lambda: ready(app), f"ticks arrive: {app.output}")
    assert "skipped 2 messages in Redis" in app.output
    assert app.stop() == 0 and "Traceback" not in app.output


@pytest.mark.parametrize(("schema", "advice"), [("3", "update this program"), (None, "empty this")])
async def test_data_of_another_version_is_refused_everywhere(
    start_app: Callable[..., App],
    client: "redis.Redis[bytes]",
    redis_server: RedisServer,
    schema: str | None,
    advice: str,
) -> None:
    """The ingester, the page and `check` say so in the same sentence, and nothing is changed."""
    fields = {"version": "17", "commit": "a"} | ({"schema": schema} if schema else {})
    client.hset(STATE, mapping=fields)
    app = start_app(REDIS_URL=redis_server.url).started()
    await eventually(lambda: "its data has schema" in app.output, "the ingester says so")

    async def said() -> bool:
        status, told = await get(f"{app.url}/readyz")
        return status == 503 and advice in told["error"]

    await eventually(said, "readiness says so")
    checked = start_app("check", REDIS_URL=redis_server.url)
    assert checked.wait() == 1
    assert f"its data has schema {schema or 1}" in checked.output and advice in checked.output
    assert client.hgetall(STATE) == {k.encode(): v.encode() for k, v in fields.items()}
    assert "Traceback" not in app.output + checked.output


[GIVEN] = re.findall(
    r"^ACL SETUSER pulse on >password (.*)$", (ROOT / "docs" / "operating.md").read_text(), re.M
)
RIGHTS = f"reset on >pw {GIVEN}"
"""What docs/operating.md says that is needed."""
LACKS = "Redis: its user lacks the right {} (see ACL SETUSER)."


INGESTER, PAGE = "app.ingest.ingester", "app.web.freshness"


@pytest.mark.parametrize(
    ("taken", "missing"),
    [
        ("resetchannels", {INGESTER: "+publish or &{hashtag}:ticks", PAGE: "&{hashtag}:ticks"}),
        ("resetkeys", {INGESTER: "~{hashtag}:*", PAGE: "~{hashtag}:*"}),
        ("-publish", {INGESTER: "+publish or &{hashtag}:ticks"}),
        ("-xadd", {INGESTER: "+xadd"}),
        ("-subscribe", {PAGE: "+subscribe"}),
    ],
)
def test_a_right_that_is_missing_is_said_until_it_is_given(
    start_app: Callable[..., App], recording: dict[str, Any], client: "redis.Redis[bytes]",
    redis_server: RedisServer, taken: str, missing: dict[str, str],
) -> None:  # fmt: skip
    """By the ingester and by the page, whoever lacks it, once; then all goes on by itself, and
    each post is counted once."""
    client.execute_command("ACL", "SETUSER", "pulse", *RIGHTS.split(), taken)
    url = f"redis://pulse:pw@127.0.0.1:{redis_server.port}"
    ingester = start_app("ingest", REDIS_URL=url, **recording)
    web = start_app("web", REDIS_URL=url).started()
    for name, right in missing.items():
        app, said = ingester if name == INGESTER else web, f"{name}: {LACKS.format(right)}"
        wait_until(lambda app=app, said=said: said in app.output, f"{said} {app.output}")
    if PAGE in missing:
        assert answer(web, "/readyz") == (503, {"error": LACKS.format(missing[PAGE])})
    client.execute_command("ACL", "SETUSER", "pulse", *RIGHTS.split())
    wait_until(lambda: ready(web) and counted(web) >= POSTS, f"all is counted: {web.output}")
    assert counted(web) == total(client) == POSTS
    for app in (ingester, web):
        said = [line.partition(" W ")[2] for line in app.output.splitlines() if "lacks" in line]
        assert len(said) == len(set(said)), said
        assert app.stop() == 0 and "Traceback" not in app.output and "pw@" not in app.output


@pytest.mark.parametrize("why", ["full", "a replica"])
def test_a_redis_that_takes_nothing_says_why(
    start_app: Callable[..., App], recording: dict[str, Any], client: "redis.Redis[bytes]",
    redis_server: RedisServer, why: str,
) -> None:  # fmt: skip
    """The ingester names the setting, and so does the page, which hears no tick: nobody has to
    look for an ingester that is there. Then all goes on."""
    if why == "full":
        client.config_set("maxmemory", "1")
    else:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
    by_ingester, by_page = (
        (f"Redis: {FULL}.",) * 2
        if why == "full"
        else (f"Redis: {READ_ONLY}.", "Redis: it is a replica, and its primary is away.")
    )
    ingester = start_app("ingest", REDIS_URL=redis_server.url, **recording)
    web = start_app("web", REDIS_URL=redis_server.url).started()
    wait_until(lambda: f"app.ingest.ingester: {by_ingester}" in ingester.output, ingester.output)
    wait_until(lambda: answer(web, "/readyz") == (503, {"error": by_page}), "the page says so")
    checked = start_app("check", REDIS_URL=redis_server.url, **recording)
    assert checked.wait(40) == 1
    assert f"FAIL  {by_ingester.rstrip('.')}" in checked.output
    if why == "full":
        client.config_set("maxmemory", "0")
    else:
        client.execute_command("REPLICAOF", "NO", "ONE")
    wait_until(lambda: ready(web) and counted(web) >= POSTS, f"all is counted: {web.output}")
    assert counted(web) == total(client) == POSTS
    for app in (ingester, web):
        assert app.stop() == 0 and "Traceback" not in app.output
