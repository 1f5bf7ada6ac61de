"""When a post was written, ticks as JSON, and ids that compare."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.messages import Post, SourceState, Tick, is_after, parse_id

GOOD: dict[str, Any] = {
    "id": "2-0",
    "previous": "1-0",
    "at": 5,
    "seconds": 0.5,
    "counts": {"サッカー": {"x": 3, "bluesky": 7}},
    "added": {"サッカー": {"x": 3}},
    "late": {"サッカー": {"x": [[60_000, 2], [0, 1]]}},
    "names": {"サッカー": "ｻｯｶｰ"},
    "gone": ["science"],
    "sources": {
        "x": {"state": "live", "since": 1, "reason": "", "complete": True, "unbroken_since": 1}
    },
}
NEEDED = {"id", "previous", "at", "seconds"}


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
    assert Post("x", "1", written, "").time == at


def test_a_tick_is_read_back() -> None:
    """Every member of the JSON arrives in its field."""
    tick = Tick.from_json(json.dumps(GOOD))
    assert (tick.id, tick.previous, tick.at, tick.seconds) == ("2-0", "1-0", 5, 0.5)
    assert tick.counts == {"サッカー": {"x": 3, "bluesky": 7}}
    assert tick.added == {"サッカー": {"x": 3}}
    assert tick.late == {"サッカー": {"x": [(60_000, 2), (0, 1)]}}
    assert tick.names == {"サッカー": "ｻｯｶｰ"}
    assert tick.gone == ["science"]
    assert tick.sources == {"x": SourceState("live", 1, "", True, 1)}


def test_a_tick_of_the_log_has_the_id_of_its_entry() -> None:
    """Which is not in its text; nor is what a tick without changes has nothing of."""
    few = {"previous": "", "at": 5, "seconds": 0.5}
    tick = Tick.from_json(json.dumps(few), "7-1")
    assert (tick.id, tick.counts, tick.gone, tick.sources) == ("7-1", {}, [], {})
    with pytest.raises(ValueError, match="not a stream id"):
        Tick.from_json(json.dumps(few))


def test_a_tick_of_the_version_before_is_a_value_error() -> None:
    """Its totals were of all sources together."""
    old = {
        "id": "2-0", "previous": "1-0", "at": 5, "tick": 0.5, "counts": {"a": 3},
        "by_source": {"a": {"x": 3}}, "names": {"a": "A"}, "sources": {"x": "live"},
        "details": {"x": {"since": 1, "reason": ""}}, "past": {},
    }  # fmt: skip
    with pytest.raises(ValueError, match="not a tick"):
        Tick.from_json(json.dumps(old))


@pytest.mark.parametrize("name", list(GOOD))
def test_what_a_tick_needs(name: str) -> None:
    """Its ids, its time and how long it lasted; all else may be left out."""
    few = {key: value for key, value in GOOD.items() if key != name}
    if name not in NEEDED:
        assert Tick.from_json(json.dumps(few)).id == "2-0"
        return
    with pytest.raises(ValueError, match=r".+"):
        Tick.from_json(json.dumps(few))


@pytest.mark.parametrize("found", [5, [5], [[1]], [[1, 2, 3]], [[1, -1]], [[1.5, 1]], [[0, "a"]]])
def test_late_posts_of_another_form_are_a_value_error(found: Any) -> None:
    """Down to the last number of it."""
    with pytest.raises(ValueError, match=r".+"):
        Tick.from_json(json.dumps({**GOOD, "late": {"a": {"x": found}}}))


@pytest.mark.parametrize("name", list(GOOD))
@pytest.mark.parametrize(
    "wrong", [None, "a", -1, 1.5, [], {"a": "b"}, {"a": -1}, {"a": True}, 10**30, 1e999]
)
def test_a_foreign_message_is_a_value_error(name: str, wrong: Any) -> None:
    """Whatever stands in any member, it is a tick or a ValueError, never another exception."""
    try:
        Tick.from_json(json.dumps({**GOOD, name: wrong}))
    except ValueError:
        return
    right = {"previous": str, "seconds": (int, float), "names": dict, "gone": list}
    assert isinstance(wrong, right[name])  # type: ignore[arg-type]


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
    ("id", "other", "after"),
    [
        ("10-0", "9-0", True),
        ("9-1", "9-0", True),
        ("9-0", "9-0", False),
        ("1-0", "", True),
        ("", "", False),
        ("", "1-0", False),
    ],
)
def test_one_comes_after_another(id: str, other: str, after: bool) -> None:
    """And every one after none at all."""
    assert is_after(id, other) is after


@pytest.mark.parametrize(
    "bad", ["", "1", "1-", "-1", "a-b", "1-1-1", "٣-1", " 1-1", "1" * 50, None, 5]
)
def test_what_is_no_id_is_refused(bad: Any) -> None:
    """Including digits of other scripts, and numbers long enough to be an attack."""
    with pytest.raises(ValueError, match="not a stream id"):
        parse_id(bad)
