"""How long to wait before trying again; randomness is an argument."""

import pytest

from app.retry import WAIT_AT_MOST, Backoff, wait_of


def test_the_bound_doubles_up_to_the_longest() -> None:
    """With the worst of luck the waits are 1, 2, 4 and at most 5 seconds."""
    backoff = Backoff(first=1, longest=5, jitter=lambda: 1.0)
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 5, 5]


def test_jitter_is_full() -> None:
    """Any wait from nothing to the bound can come, so clients do not return together."""
    luck = iter([0.0, 0.5, 1.0])
    backoff = Backoff(first=8, longest=8, jitter=lambda: next(luck))
    assert [backoff.next() for _ in range(3)] == [0, 4, 8]


def test_success_begins_anew() -> None:
    """After something worked the next failure counts as the first."""
    backoff = Backoff(first=1, longest=60, jitter=lambda: 1.0)
    for _ in range(1000):
        backoff.next()
    assert backoff.next() == 60
    backoff.reset()
    assert backoff.next() == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "9" * 8000}, WAIT_AT_MOST),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"X-RateLimit-Reset": "1970-01-01T00:01:40Z"}, 90.0),
        ({"RateLimit-Reset": "100"}, 90.0),
        ({"Retry-After": "0"}, 1.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Mon, 1 Jan 2024 00:00:00 +99999999999999999999"}, None),
        ({"Retry-After": f"Mon, 1 Jan {'9' * 20} 00:00:00 GMT"}, None),
        ({"X-RateLimit-Reset": "Mon, 1 Jan 2024 00:00:00 -99999999999999999999"}, None),
        ({}, None),
    ],
)
def test_whatever_a_server_says_is_a_wait_or_none(
    headers: dict[str, str], seconds: float | None
) -> None:
    """In any of the forms that headers have; never longer than an hour."""
    assert wait_of(headers, 10.0) == seconds
