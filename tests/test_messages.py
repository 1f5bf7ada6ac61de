"""When a post was written, ticks as JSON, and ids that compare."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.messages import Post, Tick, parse_id

GOOD: dict[str, Any] = {
    "id": "2-0",
    "previous": "1-0",
    "at": 5,
    "tick": 0.5,
    "counts": {"サッカー": 3},
    "by_source": {"サッカー": {"x": 3}},
    "names": {"サッカー": "サッカー"},
    "sources": {"x": "live"},
    "details": {"x": {"since": 1, "reason": ""}},
    "past": {"サッカー": {"x": [[60_000, 2], [0, 1]]}},
}


@pytest.mark.parametrize(
    ("written", "at"),
    [
        (1_795_478_400_500, 1_795_478_400_500),
        ("2026-11-24T00:00:00.500Z", 1_795_478_400_500),
        ("2026-11-24T01:00:00+01:00", 1_795_478_400_000),
        ("0000-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59-23:59", 253_402_387_139_000),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_a_post_knows_when_it_was_written(written: int | str, at: int) -> None:
    """In milliseconds since 1970, however its network wrote it; 0 is for not known."""
    assert Post("x", "1", written, "").at == at


def test_a_tick_is_read_back() -> None:
    """Every member of the JSON arrives in its field."""
    tick = Tick.from_json(json.dumps(GOOD))
    assert (tick.id, tick.previous, tick.at, tick.seconds) == ("2-0", "1-0", 5, 0.5)
    assert tick.counts == {"サッカー": 3}
    assert tick.by_source == {"サッカー": {"x": 3}}
    assert tick.sources == {"x": "live"}
    assert tick.details == {"x": {"since": 1, "reason": ""}}
    assert tick.past == {"サッカー": {"x": [(0, 1), (60_000, 2)]}}


def test_a_tick_of_before_there_was_a_past_is_read_as_well() -> None:
    """The log of an older ingester."""
    old = {name: value for name, value in GOOD.items() if name != "past"}
    assert Tick.from_json(json.dumps(old)).past == {}


@pytest.mark.parametrize("found", [5, [5], [[1]], [[1, 2, 3]], [[1, -1]], [[1.5, 1]], [[0, "a"]]])
def test_a_past_of_another_form_is_a_value_error(found: Any) -> None:
    """Down to the last number of it."""
    with pytest.raises(ValueError, match=r".+"):
        Tick.from_json(json.dumps({**GOOD, "past": {"a": {"x": found}}}))


@pytest.mark.parametrize("name", list(GOOD))
@pytest.mark.parametrize(
    "wrong", [None, "a", -1, 1.5, [], {"a": "b"}, {"a": -1}, {"a": True}, 1e999]
)
def test_a_foreign_message_is_a_value_error(name: str, wrong: Any) -> None:
    """Whatever stands in any member, it is a tick or a ValueError, never another exception."""
    try:
        Tick.from_json(json.dumps({**GOOD, name: wrong}))
    except ValueError:
        return
    assert name in ("previous", "at", "tick", "by_source", "names", "sources", "details", "counts")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff", b'{"id":"1-1"}', b"[" * 100_000]
)
def test_garbage_is_a_value_error(text: bytes) -> None:
    """Not JSON, not an object, not complete, not even text."""
    with pytest.raises(ValueError, match=r".+"):
        Tick.from_json(text)


@given(st.tuples(st.integers(0, 10**18), st.integers(0, 10**18)))
def test_ids_compare_as_numbers(pair: tuple[int, int]) -> None:
    """As text "10-0" would come before "9-0"."""
    assert parse_id(f"{pair[0]}-{pair[1]}") == pair


@pytest.mark.parametrize(
    "bad", ["", "1", "1-", "-1", "a-b", "1-1-1", "٣-1", " 1-1", "1" * 50, None, 5]
)
def test_what_is_no_id_is_refused(bad: Any) -> None:
    """Including digits of other scripts, and numbers long enough to be an attack."""
    with pytest.raises(ValueError, match="not a stream id"):
        parse_id(bad)
