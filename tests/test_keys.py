"""How values are packed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.keys import (
    Past,
    end_of_day,
    end_of_hour,
    end_of_kept,
    first_posts,
    pack_total,
    read_all_posts,
    read_posts,
    read_total,
    with_posts,
    written_posts,
)

numbers = st.integers(0, 2**62)
pasts = st.builds(
    Past, numbers, st.dictionaries(st.integers(0, 59), st.integers(1, 200_000), max_size=5)
)


@given(pasts)
def test_a_past_is_read_back(past: Past) -> None:
    assert Past.read(past.pack()) == past


@given(st.lists(st.tuples(st.integers(0, 59), st.integers(0, 70_000)), max_size=12), numbers)
def test_adding_is_the_same_as_packing_anew(steps: list[tuple[int, int]], total: int) -> None:
    """Whatever the order of the slots, and however many posts; 0 make it be there."""
    packed, past = b"", Past()
    for slot, posts in steps:
        packed = (
            with_posts(packed, slot, posts, total) if packed else first_posts(slot, posts, total)
        )
        past.total = total
        if posts:
            past.slots[slot] = past.slots.get(slot, 0) + posts
        assert Past.read(packed) == past
        assert packed == past.pack()


@given(st.binary(max_size=20), st.integers(0, 59), st.integers(0, 70_000), numbers)
def test_garbage_is_a_value_error(garbage: bytes, slot: int, posts: int, total: int) -> None:
    """Or a past, never another exception."""
    for read in (
        lambda: Past.read(garbage),
        lambda: with_posts(garbage, slot, posts, total),
        lambda: read_total(garbage),
        lambda: read_posts(garbage),
    ):
        try:
            read()
        except ValueError:
            continue


@given(numbers)
def test_totals_are_read_back(total: int) -> None:
    packed = pack_total(total)
    assert read_total(packed + b"\xff") == (total, len(packed))
    assert len(packed) <= 9


@given(st.integers(0, 10**15 - 1), st.integers(0, 10**9 - 1))
def test_a_field_of_totals_is_read_back(posts: int, hour: int) -> None:
    assert read_posts(written_posts(posts, hour).encode()) == (posts, hour)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"7",
        b"7 ",
        b" 7",
        b"-1 5",
        b"1.5 5",
        b"many 5",
        b"\xd9\xa3 5",
        b"1 2 3",
        b"9" * 16 + b" 5",
        b"5 " + b"9" * 10,
        b"1" * 5000,
    ],
)
def test_what_is_no_total_is_refused(value: bytes) -> None:
    """Also one so long that counting on would not fit into JSON."""
    with pytest.raises(ValueError, match="not a total"):
        read_posts(value)


fields = st.one_of(
    st.builds(written_posts, st.integers(0, 10**9), st.integers(0, 10**9)).map(str.encode),
    st.text("019 \n-x", max_size=6).map(str.encode),
    st.sampled_from([b"", b" ", b"\n", b"1 2\n3 4", b"1", b"2 3 4", b"9" * 5000 + b" 1"]),
)


@given(st.lists(fields, max_size=6))
def test_many_totals_are_read_at_once_or_refused(values: list[bytes]) -> None:
    """All as one by one; where that refuses one of them, whatever the others make up for it."""
    try:
        posts = read_all_posts(values)
    except ValueError:
        return
    assert posts == [read_posts(value)[0] for value in values]


def test_usual_totals_are_read_at_once() -> None:
    """Not one by one, which takes twice as long: none of them is refused."""
    values = [written_posts(10**n, 496_000 + n).encode() for n in range(9)]
    assert read_all_posts(values) == [10**n for n in range(9)]
    assert read_all_posts([]) == []


def test_a_key_lives_by_what_it_holds() -> None:
    """48 hours, 8 days and 400 days after the end of the hour or day."""
    assert end_of_hour(100) == (101 + 48) * 3600
    assert end_of_kept(100) == (101 + 8 * 24) * 3600
    assert end_of_day(4) == (5 + 400) * 86_400
