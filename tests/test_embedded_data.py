"""What was counted outlives the embedded server, the app, and a crash of the machine."""

import asyncio
import os
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from embedded_server import alive, lock_is_free, server_process
from embedded_server import total as total_of
from posts import AUTHORS, answer, replaying
from servers import App, wait_until
from stored import totals

from app.store.embedded import embedded
from app.store.store import Store

POSTS = 2000


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Each test in a folder of its own; a socket's path is short only from there."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def total() -> int:
    return total_of("replay")


@pytest.fixture
def recording(tmp_path: Path) -> dict[str, Any]:
    return replaying(tmp_path / "posts.jsonl", POSTS, speed="1")


def test_app_that_is_killed_takes_its_server_along(
    start_app: Callable[..., App], recording: dict[str, Any]
) -> None:
    """After kill -9 of the app its server ends by itself, and no post is lost or counted twice, nor
    is an author: the key of the day lies in a file."""
    today = datetime.now(UTC).date()
    app = start_app(**recording)
    wait_until(lambda: total() > 100, f"it counts: {app.output}")
    process = server_process()
    app.signal(signal.SIGKILL)
    app.popen.wait()
    wait_until(lambda: not alive(process) and lock_is_free(), "the server ends by itself")
    again = start_app(**recording)
    wait_until(lambda: "has ended" in again.output, f"it goes on to the end: {again.output}")
    wait_until(lambda: total() >= POSTS, "all are counted")
    _, told = answer(again, "/api/counts?tags=science")
    assert told["people"] == {"science": AUTHORS} or datetime.now(UTC).date() > today
    assert Path("data/people.key").stat().st_mode & 0o777 == 0o600
    assert again.stop() == 0, again.output
    assert_counted_once()


def test_no_post_is_lost_when_the_server_is_killed(
    start_app: Callable[..., App], recording: dict[str, Any]
) -> None:
    """After kill -9 of the server alone the app has it back, and every post counts once."""
    app = start_app(**recording)
    for more in (100, 600, 1100):
        wait_until(lambda more=more: total() > more, f"it counts: {app.output}")
        os.kill(process := server_process(), signal.SIGKILL)
        wait_until(lambda gone=process: server_process() not in (0, gone), "it is back")
    assert app.output.count("The embedded Redis ended") == 3
    wait_until(lambda: "has ended" in app.output, f"the recording is read: {app.output}")
    wait_until(lambda: total() >= POSTS, f"all are counted: {app.output}")
    assert app.stop() == 0, app.output
    assert "Traceback" not in app.output
    assert_counted_once()


def test_file_that_was_cut_short_loads(
    start_app: Callable[..., App], recording: dict[str, Any]
) -> None:
    """Where a crash of the machine cut the file in mid-write, the rest loads, and posts
    that were in the lost part are read again."""
    app = start_app(**recording)
    wait_until(lambda: total() > 500, f"it counts: {app.output}")
    os.kill(server_process(), signal.SIGKILL)
    app.signal(signal.SIGKILL)
    app.popen.wait()
    wait_until(lock_is_free, "all is over")
    [file] = Path("data/appendonlydir").glob("*.incr.aof")
    os.truncate(file, file.stat().st_size - 1000)
    again = start_app(**recording)
    wait_until(lambda: "has ended" in again.output, f"it goes on to the end: {again.output}")
    wait_until(lambda: total() >= POSTS, "all are counted")
    assert again.stop() == 0, again.output
    assert_counted_once()


def modes(folder: Path) -> dict[str, str]:
    """The rights to each file and folder, as `ls` shows them."""
    return {
        str(path.relative_to(folder.parent)): stat.filemode(path.stat().st_mode)
        for path in (folder, *folder.rglob("*"))
    }


async def test_only_the_owner_may_read_the_data(redis_binary: str, here: Path) -> None:
    """The folder, those above it that had to be made, the socket and every file, whatever the
    umask is; also of a folder of an older start, which others could read."""
    before = os.umask(0)
    try:
        for top, folder in (
            (Path("data/live"), "data"),
            (Path("data"), "data"),
            (Path("old"), "old"),
        ):
            if folder == "old":
                shutil.copytree("data", "old", ignore=shutil.ignore_patterns("redis.sock"))
                for path in (Path("old"), *Path("old").rglob("*")):
                    path.chmod(0o755 if path.is_dir() else 0o644)
            async with embedded(top, redis_binary) as client:
                await client.set("told", "once")
                found = modes(Path(folder))
            found = {name: mode for name, mode in found.items() if not name.startswith("old/live/")}
            assert {mode[4:] for mode in found.values()} == {"------"}, found
            assert found[f"{top}/redis.sock"].startswith("srw")
            assert found[f"{top}/appendonlydir"] == "drwx------"
    finally:
        os.umask(before)


async def test_a_folder_with_other_things_in_it_is_left_to_whom_it_serves(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of /var/lib, say, the others would have no use any more; our own files are private there,
    too. The same holds for /tmp, after it was used before."""
    Path("lib").mkdir()
    Path("lib/another's").write_text("")
    for path in (Path("lib"), Path("lib/another's")):
        path.chmod(0o755)
    tmp = Path("tmp")
    tmp.mkdir()
    (tmp / "lock").touch()
    tmp.chmod(0o1777)
    for folder, mode in ((Path("lib"), "drwxr-xr-x"), (tmp, "drwxrwxrwt")):
        async with embedded(folder) as client:
            await client.set("told", "once")
            found = modes(folder)
        assert found.pop(str(folder)) == mode
        assert found.pop("lib/another's", "-rwxr-xr-x") == "-rwxr-xr-x"
        found.pop("tmp/lock", "")
        assert {mode[4:] for mode in found.values()} == {"------"}, found
    assert not caplog.records


async def test_a_folder_of_another_user_is_named(
    here: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a container's volume: it is used, and the log says that it is not ours to close."""

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    Path("data").mkdir()
    monkeypatch.setattr(Path, "chmod", refuse)
    async with embedded(Path("data")) as client:
        assert await client.ping()
    assert "data belongs to another user, who may let others read it" in caplog.text


def assert_counted_once() -> None:
    """A last look at what is stored: each of the posts, none of them twice."""

    async def stored() -> dict[str, int]:
        async with embedded(Path("data")) as client:
            return await totals(Store(client))

    assert asyncio.run(stored()) == {"science": POSTS}
