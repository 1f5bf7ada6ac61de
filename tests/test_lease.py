"""The lease: who may take it, and when."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from servers import RedisServer, eventually, wait_until

from app.ingest import lease
from app.ingest.lease import become_writer, is_dead
from app.process import birth
from app.store.keys import LEASE
from app.store.store import Store, connect


class Watched(Store):
    """Remembers what was seen at each look, and "taken" where the lease was taken then."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.seen: list[str] = []

    async def writer(self) -> str:
        self.seen.append(await super().writer())
        return self.seen[-1]

    async def take_lease(self, writer: str, seconds: float) -> bool:
        self.seen.append("taken")
        return await super().take_lease(writer, seconds)


@pytest.fixture
async def store(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.02)
    redis = connect(redis_server.url)
    yield Watched(redis)
    await redis.aclose()


async def test_a_free_lease_is_taken_at_once(store: Watched) -> None:
    """Nobody waits who has seen neither another writer nor trouble."""
    await become_writer(store, "a", 5, 0.01, lambda told, _: None)
    assert store.seen == ["", "taken"]
    assert await store.writer() == "a"


@pytest.mark.parametrize(("tick", "looks"), [(0.01, 1), (0.03, 3)])
async def test_a_lease_that_was_just_lost_is_left_to_its_writer_for_longer_than_a_tick(
    store: Watched, tick: float, looks: int
) -> None:
    """A Redis that came back older, or empty, has forgotten it: the writer takes it with its next
    tick, and has in memory what Redis lost."""
    await store.redis.set(LEASE, "elsewhere/1/a")
    said: list[str] = []
    waiting = asyncio.create_task(
        become_writer(store, "b", 5, tick, lambda told, _: said.append(told))
    )
    await eventually(lambda: said, "it stands by")
    assert said[0] == "standing by: the ingester elsewhere/1/a is writing"
    await store.redis.delete(LEASE)
    await waiting
    assert store.seen[-looks - 3 :] == ["elsewhere/1/a", "", *[""] * looks, "taken"]


async def test_a_lease_taken_without_an_answer_is_ours(store: Watched) -> None:
    """Redis has given it, and the answer was lost: there is nobody to wait for."""
    await store.redis.set(LEASE, "a")
    await become_writer(store, "a", 5, 0.01, lambda told, _: None)
    assert store.seen == ["a"]


@pytest.mark.parametrize("left", [None, 3_600_000])
async def test_a_lease_that_lasts_longer_than_any_runs_out_all_the_same(
    store: Watched, monkeypatch: pytest.MonkeyPatch, left: int | None
) -> None:
    """Redis's clock was set back by an hour when its writer died, or a replica took over that is
    an hour behind; or somebody wrote a lease that never ends. Nobody waits for an hour."""
    monkeypatch.setattr(lease, "MOST_LEASE_SECONDS", 0.2)
    await store.redis.set(LEASE, "elsewhere/1/a", px=left)
    await become_writer(store, "b", 5, 0.01, lambda told, _: None)
    assert await store.writer() == "b"
    assert 4000 < await store.redis.pttl(LEASE) <= 5000


def name(**other: str) -> str:
    """The name of an ingester that is this very process, but for these parts."""
    boot, namespace, began = birth().split(".")
    parts = {
        "host": socket.gethostname(), "process": str(os.getpid()),
        "boot": boot, "namespace": namespace, "began": began, **other,
    }  # fmt: skip
    return "{host}/{process}/{boot}.{namespace}.{began}/0123abcd".format(**parts)


NOBODY = str(2**22 + 1)
"""More than any process has as its number, on Linux."""


@pytest.mark.skipif(not birth(), reason="this system does not tell when a process began")
def test_a_writer_is_dead_only_where_that_is_proven() -> None:
    """Where no process has its number, on this very kernel and in this PID namespace; or where
    another one has it, that began at another time."""
    assert not is_dead(name())
    assert is_dead(name(process=NOBODY))
    assert is_dead(name(began="1"))
    for part in ("host", "boot", "namespace"):
        assert not is_dead(name(process=NOBODY, **{part: "1"})), part
    assert not is_dead(name(process="1", began=began_at(1)))


@pytest.mark.skipif(not birth(), reason="this system does not tell when a process began")
def test_one_that_nobody_has_taken_leave_of_is_dead() -> None:
    """It was killed, and its parent did not ask for it yet: its number is still its own."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    who = name(process=str(child.pid), began=began_at(child.pid))
    assert not is_dead(who)
    child.kill()
    wait_until(lambda: is_dead(who), "it is dead")
    assert Path(f"/proc/{child.pid}").exists()
    child.wait()
    assert is_dead(who)


def test_nothing_is_known_of_a_name_that_is_none_of_ours() -> None:
    """An ingester of the version before, and whatever else stands there."""
    host = socket.gethostname()
    for other in (f"{host}/{NOBODY}/x", f"{host}/{'9' * 40}/{birth()}/x", "?", "", "/" * 9,
                  f"{host}/-1/{birth()}/x", f"{host}/{NOBODY}//x", f"{host}/{NOBODY}/../x"):  # fmt: skip
        assert not is_dead(other), other


def test_where_the_system_tells_nothing_a_lease_has_to_run_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """macOS has no /proc, and in a sandbox it may be closed."""
    who = name(process=NOBODY) if birth() else f"{socket.gethostname()}/{NOBODY}/x"
    monkeypatch.setattr("app.process.PROC", Path("/nowhere"))
    assert birth() == ""
    assert not is_dead(who)


def began_at(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
