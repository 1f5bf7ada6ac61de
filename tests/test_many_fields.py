"""How Redis keeps hashes of which many fields change at once."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from servers import RedisServer
from writing import HOUR, DatedStore, Desk

from app.ingest.ledger import MANY
from app.store import keys
from app.store.store import connect

HASHES = keys.totals("x"), keys.hour(HOUR, "x")


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[DatedStore]:
    redis = connect(redis_server.url)
    yield DatedStore(redis)
    await redis.aclose()


@pytest.mark.parametrize("fields", [MANY // 2, 2 * MANY])
async def test_what_changes_in_many_places_is_a_table(store: DatedStore, fields: int) -> None:
    """Where few do, it is the list that takes less room; and it has the hashtags and nothing else."""
    desk, tags = await Desk(store).open(), {f"t{n}" for n in range(fields)}
    for _ in range(2):
        await desk.write({"x": dict.fromkeys(tags, 1)})
    found: Any = [await store.redis.object("ENCODING", key) for key in HASHES]
    assert [encoding == b"hashtable" for encoding in found] == [fields > MANY] * 2
    for key in HASHES:
        assert {name.decode() for name in await store.redis.hkeys(key)} - {""} == tags
    assert await store.redis.hget(keys.totals("x"), "t0") == f"2 {HOUR}".encode()
    assert await desk.past(keys.hour(HOUR, "x"), "t0") == keys.Past(2, {0: 2})
