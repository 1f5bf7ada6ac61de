"""`python -m app record`, as an owner runs it."""

import signal
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import App, RedisServer, eventually, wait_until
from x_server import TOKEN, x_server

from app.commands.record import network, recording


def test_networks_can_be_recorded_and_what_is_none_cannot() -> None:
    """The sentence has all that can be."""
    assert network("bluesky") == "bluesky"
    for name in ("demo", "replay", "twitter", ""):
        with pytest.raises(
            ArgumentTypeError, match=r"^'.*': expected one of bluesky, mastodon, x$"
        ):
            network(name)


async def test_record_writes_what_replay_reads(
    start_app: Callable[..., App], redis_server: RedisServer, recordings: Path, tmp_path: Path
) -> None:
    """The lines arrive in the file as they were received; Ctrl-C leaves no half line."""
    lines = (recordings / "x_v2_client_fixtures/wire_reduced.jsonl").read_text().splitlines()
    file = tmp_path / "posts.jsonl"
    async with x_server() as x:
        x.connections.append([*lines])
        app = start_app(
            "record", "--source", "x", str(file),
            X_API_URL=x.url, X_BEARER_TOKEN=TOKEN, REDIS_URL=redis_server.url,
        )  # fmt: skip
        await eventually(
            lambda: file.exists() and len(file.read_bytes().splitlines()) == len(lines),
            "all is written",
        )
        app.signal(signal.SIGINT)
        await eventually(lambda: not app.running, "it ends")
    assert app.wait() == 0, app.output
    assert file.read_text().splitlines() == lines


def test_record_says_what_is_wrong(
    start_app: Callable[..., App], redis_server: RedisServer
) -> None:
    """A missing setting, and a file that cannot be written, are a sentence each."""
    for file, more, sentence in (
        ("a.jsonl", {}, "X_BEARER_TOKEN is not set"),
        ("/nowhere/a.jsonl", {"X_BEARER_TOKEN": "t"}, "/nowhere/a.jsonl cannot be written"),
    ):
        app = start_app("record", "--source", "x", file, REDIS_URL=redis_server.url, **more)
        wait_until(lambda app=app: not app.running, "it ends")
        assert app.wait() == 1
        assert sentence in app.output
        assert "Traceback" not in app.output


def test_a_recording_rotates_at_its_size(tmp_path: Path) -> None:
    """Whole lines only, none lost, line ends inside a message folded."""
    file = tmp_path / "a.jsonl"
    with recording(file, rotate=50) as into:
        for n in range(20):
            into.write(f'{{"n":\n{n:10}}}')
    parts = sorted(
        tmp_path.glob("a.jsonl*"),
        key=lambda p: (p.suffix == ".jsonl", int(p.suffix[1:]) if p.suffix[1:].isdigit() else 0),
    )
    assert len(parts) > 3
    assert all(part.stat().st_size <= 50 for part in parts)
    lines = [line for part in parts for line in part.read_text().splitlines()]
    assert lines == [f'{{"n": {n:10}}}' for n in range(20)]
