"""Which hashtags come together: against a slow count of the same posts."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import pytest

from app.ingest import co_occurrence as module
from app.ingest.board import BoardMaker
from app.ingest.co_occurrence import CoOccurrence
from app.ingest.recent_uses import NOBODY
from app.messages import MINUTE, Post
from app.store import keys
from app.store.state import Write

NOW = 1_700_000_000_000
Use = tuple[str, tuple[str, ...]]
"""Author and hashtags."""


def counting(uses: Iterable[Use], blocked: Sequence[str] = ()) -> CoOccurrence:
    board = BoardMaker(str.upper, blocked)
    for author, tags in uses:
        made = Post("x", "1", 0, author, dict.fromkeys(tags, "T"))
        board.lately.add(made, tags, NOW, NOW)
    return CoOccurrence(board)


def written(writes: Iterable[Write]) -> dict[str, Any]:
    """What the hash of the writes has."""
    found = {}
    for write in writes:
        assert write.key == keys.LATELY
        if write.kind == "hash":
            found |= {
                tag: json.loads(text) for tag, text in zip(write.names, write.values, strict=True)
            }
    return found


async def found(together: CoOccurrence, now: int = NOW) -> dict[str, Any]:
    """All that it writes, part by part."""
    await together.make(now)
    parts = []
    while part := stored(together, now):
        parts += part
    return written(parts)


def stored(together: CoOccurrence, now: int) -> list[Write]:
    """A part that Redis has then."""
    part = together.write(now)
    for write in part:
        together.wrote(write)
    return part


async def test_what_came_together_is_what_a_slow_count_says() -> None:
    """By people, of those that five people used; lift as its definition has it."""
    chance = Random(3)
    uses = [
        (f"a{chance.randrange(60)}" if chance.random() < 0.9 else "", tuple({f"t{int(12 * chance.random() ** 2)}" for _ in range(chance.randint(1, 4))}))
        for _ in range(400)
    ]  # fmt: skip
    told = await found(counting(uses))
    who = {
        tag: {author for author, tags in uses if author and tag in tags}
        for tag in {tag for _, tags in uses for tag in tags}
    }
    everybody = {author for author, _ in uses if author}
    assert set(told) == {tag for tag, authors in who.items() if len(authors) >= 5}
    assert len(told) > 8
    for tag, about in told.items():
        assert about["people"] == len(who[tag])
        expected = {}
        for other in told.keys() - {tag}:
            both = {author for author, tags in uses if author and {tag, other} <= set(tags)}
            if len(both) >= 2:
                lift = (len(both) / len(who[tag])) / (len(who[other]) / len(everybody))
                expected[other] = (len(both), round(lift, 1))
        listed = {each["tag"]: (each["people"], each["lift"]) for each in about["with"]}
        first = sorted(expected.items(), key=lambda each: (each[1][0], each[0]), reverse=True)[:10]
        assert list(listed.items()) == first
        assert all(each["name"] == each["tag"].upper() for each in about["with"])


async def test_what_is_blocked_is_nowhere() -> None:
    uses = [(f"a{n}", ("bad", "good", "fine")) for n in range(6)]
    told = await found(counting(uses, ["bad"]))
    assert {tag: [each["tag"] for each in about["with"]] for tag, about in told.items()} == {
        "good": ["fine"], "fine": ["good"],
    }  # fmt: skip


async def test_it_is_counted_every_minute_and_written_in_parts() -> None:
    """What nobody uses any more is taken away; a new ingester takes away what was there."""
    uses = [(f"a{n} {m}", (f"t{m}",)) for m in range(250) for n in range(5)]
    together = counting(uses)
    await together.make(NOW)
    assert together.write(NOW) == together.write(NOW), "until it is stored"
    first, second, third = (stored(together, NOW) for _ in range(3))
    assert [write.kind for write in first] == ["drop", "hash"]
    assert [len(part[-1].names) for part in (first, second, third)] == [100, 100, 50]
    assert first[-1].ends == NOW // 1000 + keys.BOARD_SECONDS
    assert together.write(NOW) == []
    await together.make(NOW + 59_000)
    assert together.write(NOW) == []
    later = NOW + 11 * MINUTE
    together.lately.forget(later)
    await together.make(later)
    [gone] = together.write(later)
    assert (gone.kind, len(gone.names)) == ("forget", 250)
    together.due = 0
    await together.make(later)
    [gone] = stored(together, later)
    assert len(gone.names) == 250, "that was not stored"
    assert together.write(later) == []
    together.written = frozenset(map(str, range(1001)))
    together.due = 0
    await together.make(later)
    together.wrote(gone)
    assert [write.kind for write in stored(together, later)] == ["drop"], "these are too many"
    assert together.write(later) == []
    await together.make(NOW)
    assert together.due == NOW + 60_000, "a clock that went back"


async def test_commits_go_on_while_it_counts() -> None:
    """Each takes what was found before; what is found is whole."""
    uses = [(f"a{n} {m}", (f"t{m}",)) for m in range(250) for n in range(5)]
    together = counting(uses)
    await together.make(NOW)
    together.due = 0
    counted = asyncio.create_task(together.make(NOW + 1))
    taken = []
    while not counted.done():
        taken += [write for write in stored(together, NOW) if write.kind == "hash"]
        await asyncio.sleep(0)
    await counted
    assert {about["at"] for about in written(taken).values()} == {NOW}
    assert sum(len(write.names) for write in taken) == 250
    assert len(together.unwritten) == 250


async def test_it_is_bounded_and_gives_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hostile posts of ten hashtags each: the pairs that are counted, the hashtags that are told,
    and the posts of one turn."""
    monkeypatch.setattr(module, "MOST_USES", 1000)
    monkeypatch.setattr(module, "MOST_TOLD", 20)
    chance = Random(1)
    uses = [(f"a{n}", tuple(f"t{m}" for m in chance.sample(range(40), 10))) for n in range(3000)]
    together, turns = counting(uses), 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    pairs, everybody = await together.pairs(frozenset(f"t{n}" for n in range(40)))
    task.cancel()
    assert turns >= 3000 // module.POSTS_AT_ONCE - 1
    assert 1000 <= sum(pairs.values()) < 1000 + 45
    assert everybody == 3000
    assert len(await found(together)) == 20
    assert NOBODY not in {who for uses in together.lately.slots.values() for who, _, _ in uses}
