"""How long to wait before trying again; randomness is an argument."""

from app.retry import Backoff


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
