"""What a board need not look at: it is the same as if it had looked at all."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as some
from test_board import NOW, add, past, post

from app.ingest import board as module
from app.ingest.board import MOSTLY_ENOUGH, UNKNOWN, BoardMaker, highest_first
from app.messages import MINUTE
from app.store.store import Store


@given(some.integers(0, 3 * MOSTLY_ENOUGH), some.integers(1, 100), some.randoms())
def test_each_has_its_place_whatever_the_others_have(size: int, most: int, chance: Random) -> None:
    values = {f"t{n}": chance.randrange(most) for n in range(size)}
    found = list(highest_first(values))
    assert sorted(found) == sorted(values)
    assert [values[key] for key in found] == sorted(values.values(), reverse=True)


async def test_those_that_rise_are_found_when_they_do(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though only those are looked at of which something is new: all the same are found as by
    looking at all, while people come and go, and while it is learned what is usual."""
    monkeypatch.setattr(module, "READ_AT_ONCE", 2)
    await past(store, {f"t{n}": n for n in range(0, 60, 2)})
    board, chance, seen = BoardMaker(str), Random(3), set[int]()
    for at in range(NOW, NOW + 20 * MINUTE, 15_000):
        busy = at // (4 * MINUTE) * 7
        tags = [f"t{(busy + int(chance.paretovariate(0.7))) % 60}" for _ in range(40)]
        add(board, ((at, post(f"{chance.randrange(50)}", tag)) for tag in tags))
        await board.make(store, ["x"], at)
        usual, crowded = board.usual, board.lately.crowded
        all_of_them = {t for t, n in crowded.items() if n >= usual.get(t, UNKNOWN).rises_from}
        assert board.may_rise.keys() == all_of_them
        seen.add(len(all_of_them))
    assert len(seen) > 4
