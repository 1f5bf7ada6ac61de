"""Whatever is put in wrongly from outside: one clear sentence, no traceback, nothing lost."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import redis
from servers import ROOT, App, RedisServer, free_port, wait_until

from app.embedded import find_server
from app.store import LEASE, LOG, NAMES, SOURCES, SPELLINGS, STATE, STATES, TOTALS

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
    """Settings that replay a file of posts of X at once, each with #science."""
    file = tmp_path / "posts.jsonl"
    file.write_text("".join(post(n) for n in range(POSTS)))
    return {"SOURCES": "replay", "REPLAY_FILE": file, "REPLAY_SPEED": "0", "TICK_SECONDS": "0.1"}


def post(number: int, tag: str = "science") -> str:
    tags = {"hashtags": [{"start": 0, "end": len(tag) + 1, "tag": tag}]}
    return json.dumps({"data": {"id": str(number + 1), "text": f"#{tag}", "entities": tags}}) + "\n"


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator["redis.Redis[bytes]"]:
    with redis.Redis(port=redis_server.port) as opened:
        yield opened


def answer(app: App, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urlopen(f"{app.url}{path}", timeout=10) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def ready(app: App) -> bool:
    return answer(app, "/readyz")[0] == 200


def all_counted(app: App) -> bool:
    status, told = answer(app, "/api/counts?tags=science")
    return status == 200 and told["counts"]["science"] >= POSTS


def refused(app: App) -> str:
    """The one sentence with which it would not start."""
    assert app.wait() == 1, app.output
    assert "Traceback" not in app.output
    [line] = app.output.splitlines()
    assert line.startswith("hashtag pulse: ") and line.endswith(".")
    return line


@pytest.mark.parametrize("command", [(), ("ingest",), ("web",)])
def test_wrong_setting_stops_the_start(
    start_app: Callable[..., App], command: tuple[str, ...]
) -> None:
    """Every process refuses a wrong setting with its name, its value and what was expected."""
    line = refused(start_app(*command, TICK_SECONDS="soon"))
    assert "TICK_SECONDS='soon': expected a number of seconds from 0.1 to 10." in line


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"HASHTAGS": "science,two words"}, "HASHTAGS='science,two words'"),
        ({"REDIS_URL": "redis://:hunter2@localhost?colour=red"}, "REDIS_URL=(hidden)"),
        ({"REDIS_URL": "redis://:hunter2@localhost?socket_timeout=x"}, "REDIS_URL=(hidden)"),
        ({"SOURCES": "replay", "REPLAY_FILE": "."}, "REPLAY_FILE='.'"),
        ({"SOURCES": "replay", "REPLAY_FILE": "gone.jsonl"}, "REPLAY_FILE='gone.jsonl'"),
        ({"BIND": "8000 please"}, "BIND='8000 please': expected an address and port"),
        ({"BIND": "127.0.0.1:70000"}, "BIND='127.0.0.1:70000': expected an address and port"),
        ({"BIND": "192.0.2.1:8000"}, "BIND='192.0.2.1:8000' cannot be used"),
        ({"BIND": "no.such.host.invalid:8000"}, "BIND='no.such.host.invalid:8000' cannot"),
        ({"BIND": "fd://99"}, "BIND='fd://99' cannot be used"),
    ],
)
def test_start_is_refused_in_one_sentence(
    start_app: Callable[..., App], settings: dict[str, str], says: str
) -> None:
    """What cannot work is said before anything starts, and no secret with it."""
    line = refused(start_app(**settings))
    assert says in line and "hunter2" not in line
    assert not list(Path(line).parent.glob("data/redis.sock"))


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        (".env", "SOURCES=demo\nwhat is this\n", ".env: expected NAME=value from line 2 on."),
        (".env", "SOURCES=twitter\n", "SOURCES='twitter': expected a comma list of"),
        ("hypercorn.toml", "backlogg = 5\n", "backlogg is no setting of Hypercorn."),
        ("hypercorn.toml", "create_sockets = 5\n", "create_sockets is no setting of Hypercorn."),
        ("hypercorn.toml", 'backlog = "many"\n', "backlog = 'many': expected int or float."),
        ("hypercorn.toml", 'bind = "127.0.0.1\n', "hypercorn.toml: "),
        ("hypercorn.toml", 'bind = "everywhere"\n', "hypercorn.toml: bind='everywhere': expected"),
        ("hypercorn.toml", "bind = [5]\n", "hypercorn.toml: bind=5: expected"),
        ("hypercorn.toml", 'certfile = "c"\nkeyfile = "k"\n', "the certificate cannot be used"),
    ],
)
def test_broken_file_stops_the_start(
    start_app: Callable[..., App], tmp_path: Path, file: str, content: str, says: str
) -> None:
    """A file of settings that is misspelt or broken is named, with what is wrong in it."""
    (tmp_path / file).write_text(content)
    bind = {"BIND": ""} if "bind" in content else {}
    assert says in refused(start_app(**bind))


def test_hypercorns_own_command_says_it_too(tmp_path: Path) -> None:
    """`hypercorn 'app:create_app()'` with a wrong setting ends with the same sentence."""
    command = (str(Path(sys.executable).with_name("hypercorn")), "app:create_app()")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HASHTAGS": "two words"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "HASHTAGS='two words': expected a comma list of hashtags" in done.stderr
    assert "Traceback" not in done.stderr


def test_port_in_use_is_said(start_app: Callable[..., App]) -> None:
    """Where another program has the port, the sentence has the address and the reason."""
    first = start_app("web").started()
    line = refused(start_app("web", port=first.port))
    assert f"BIND='127.0.0.1:{first.port}' cannot be used: another program has it." in line
    assert first.answers()


def test_garbage_in_a_recording_is_skipped(
    start_app: Callable[..., App], recording: dict[str, Any]
) -> None:
    """Every good line counts, however bad the ones between, and the bad ones are told."""
    garbage = [b"\xff\xfe\n", b"{\n", b"[]\n", b"5\n", b"null\n", b'{"data":5}\n', b"{}" * 50000]
    lines = recording["REPLAY_FILE"].read_bytes().splitlines(keepends=True)
    for n, bad in enumerate(garbage):
        lines.insert(n * 20, bad)
    lines.append(post(POSTS).encode()[:-20])  # cut in the middle
    recording["REPLAY_FILE"].write_bytes(b"".join(lines))
    app = start_app(**recording).started()
    # the last piece of garbage has no line end and takes a post with it
    wait_until(lambda: "has ended" in app.output, f"the recording is read: {app.output}")
    wait_until(
        lambda: answer(app, "/api/counts")[1].get("counts", {}).get("science") == POSTS - 1,
        f"every good line is counted: {app.output}",
    )
    assert f"{len(garbage) + 1} bad lines skipped" in app.output
    assert app.stop() == 0 and "Traceback" not in app.output


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
    complaining = ["app.ingest"] * (command != ("web",)) + ["app.feed"] * (command != ("ingest",))
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
    wait_until(lambda: all_counted(viewer), f"all is counted: {ingester.output}")
    assert answer(viewer, "/api/counts")[1]["counts"]["science"] == POSTS
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
    wait_until(lambda: all_counted(app), f"all is counted: {app.output}")
    assert answer(app, "/api/counts")[1]["counts"]["science"] == POSTS
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
