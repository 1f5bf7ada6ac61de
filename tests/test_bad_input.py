"""Whatever is put in wrongly from outside: one clear sentence, no traceback, nothing lost."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from posts import answer, counted, post, replaying
from servers import ROOT, App, free_port, wait_until

POSTS = 300


@pytest.fixture
def recording(tmp_path: Path) -> dict[str, Any]:
    return replaying(tmp_path / "posts.jsonl", POSTS, speed="0")


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
        ("hypercorn.toml", 'loglevel = "loud"\n', "Unknown level: 'LOUD'."),
        ("hypercorn.toml", 'accesslog = "/no/such/folder/log"\n', "No such file or directory"),
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
    hypercorn = str(Path(sys.executable).with_name("hypercorn"))
    command = (hypercorn, "--bind", f"127.0.0.1:{free_port()}", "app:create_app()")
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
        lambda: counted(app) == POSTS - 1,
        f"every good line is counted: {app.output}",
    )
    assert f"{len(garbage) + 1} bad lines skipped" in app.output
    assert app.stop() == 0 and "Traceback" not in app.output


def test_hashtags_without_end_are_bounded(
    start_app: Callable[..., App], recording: dict[str, Any]
) -> None:
    """Of a post with ten thousand hashtags the first 30 count, of one with a name of a megabyte
    none, and what comes after them is counted."""
    names = ["x" * 2**20, *(f"many{n}" for n in range(10_000)), "science"]
    tags = [{"start": 0, "end": 1, "tag": name} for name in names]
    told = {"id": "0", "text": "", "created_at": "2024-01-01", "entities": {"hashtags": tags}}
    file = recording["REPLAY_FILE"]
    file.write_text(json.dumps({"data": told}) + "\n" + file.read_text())
    app = start_app(**recording).started()
    wait_until(lambda: counted(app) == POSTS, f"all others are counted: {app.output}")
    asked = ",".join(["many0", "many28", "many29", "many30", "many9999"])
    status, told = answer(app, f"/api/counts?tags={asked}")
    assert status == 200
    assert told["counts"] == {"many0": 1, "many28": 1, "many29": 1, "many30": 0, "many9999": 0}
    assert app.stop() == 0 and "Traceback" not in app.output
