"""The lease: who may take it, and when."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest
from servers import RedisServer, eventually

from app.ingest import lease
from app.ingest.lease import become_writer, is_dead
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
    await become_writer(store, "a", 5, lambda trouble: None)
    assert store.seen == ["", "taken"]
    assert await store.writer() == "a"


async def test_a_lease_that_was_just_lost_is_left_to_its_writer_for_a_look(store: Watched) -> None:
    """A Redis that came back older has forgotten it: the writer takes it with its next tick."""
    await store.redis.set(LEASE, "elsewhere/1/a")
    said: list[str] = []
    waiting = asyncio.create_task(become_writer(store, "b", 5, said.append))
    await eventually(lambda: said, "it stands by")
    assert said[0] == "standing by: the ingester elsewhere/1/a is writing"
    await store.redis.delete(LEASE)
    await waiting
    assert store.seen[-4:] == ["elsewhere/1/a", "", "", "taken"]


async def test_a_lease_taken_without_an_answer_is_ours(store: Watched) -> None:
    """Redis has given it, and the answer was lost: there is nobody to wait for."""
    await store.redis.set(LEASE, "a")
    await become_writer(store, "a", 5, lambda trouble: None)
    assert store.seen == ["a"]


def test_only_a_process_of_this_machine_is_known_to_be_dead() -> None:
    """The name says where an ingester runs; of other machines nothing is known."""
    here = socket.gethostname()
    assert is_dead(f"{here}/{2**22 + 1}/x")
    for name in (f"{here}/{os.getpid()}/x", f"{here}/1/x", f"not{here}/{2**22 + 1}/x", "?", ""):
        assert not is_dead(name)
