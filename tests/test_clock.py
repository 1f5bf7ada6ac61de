"""Redis's clock, as it was heard."""

from app.ingest.clock import JUMP, RedisClock


class Own:
    """Our own clock, in seconds."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def heard(at: int) -> tuple[RedisClock, Own]:
    own = Own()
    clock = RedisClock(own)
    assert not clock.hear(at)
    return clock, own


def test_it_goes_on_between_answers() -> None:
    """As fast as our own."""
    clock, own = heard(5_000_000)
    own.now += 2.5
    assert clock.now() == 5_002_500


def test_it_never_goes_back() -> None:
    """Though Redis's clock is set back a little, or runs slower than ours."""
    clock, own = heard(5_000_000)
    own.now += 1
    before = clock.now()
    assert not clock.hear(5_000_500)
    assert clock.now() == before
    own.now += 1
    assert clock.now() == 5_001_500


def test_another_clock_is_noticed() -> None:
    """A failover, or a clock that was set anew; in either direction."""
    for jump in (-JUMP - 1, JUMP + 1, 3_600_000):
        clock, _ = heard(50_000_000)
        assert clock.hear(50_000_000 + jump)
        assert clock.now() == 50_000_000 + jump
        assert not clock.hear(50_000_000 + jump)


def test_an_answer_that_was_long_under_way_is_no_other_clock() -> None:
    """It says what time it was at some moment since it was asked: the process was stopped."""
    for said in (5_000_000, 5_030_000, 5_060_000):
        clock, own = heard(5_000_000)
        clock.ask()
        own.now += 60
        assert not clock.hear(said)
        assert clock.now() == 5_060_000
        clock.ask()
        assert not clock.hear(5_060_000)
    clock, own = heard(5_000_000)
    clock.ask()
    own.now += 60
    assert clock.hear(5_060_000 + JUMP + 1)
