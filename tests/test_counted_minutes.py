"""In which minutes a source was counted."""

from test_ledger import DAY, HOUR, NOW, Book

from app.ingest.counted_minutes import CountedMinutes
from app.messages import MINUTE, SourceState
from app.store import keys
from app.store.keys import Past


class Register(Book):
    """Counted minutes, beside a ledger."""

    def __init__(self, *tracked: str) -> None:
        super().__init__(*tracked)
        self.counted = CountedMinutes(tracked)

    def tell(self, minute: int, since: int, state: str = "live") -> int:
        """One tick of a source that is unbroken since a minute: how many keys it writes."""
        sources = {"x": SourceState(state, 1, "", True, since * MINUTE)}
        spans = self.counted.spans(sources, minute)
        pages = self.memory.pages(self.counted.wanted(spans), "x")
        self.counted.enter(spans, pages)
        writes = pages.writes()
        self.memory.write(writes)
        self.counted.stored(spans)
        return len(writes)

    def minutes(self, hour: int) -> list[int]:
        found = self.hour(hour, "")
        assert found == self.hour(hour, "", keys.kept)
        return sorted(found.slots) if found else []


def test_each_minute_is_told_once() -> None:
    """In the hour and in what is kept longer; the hour in its day. In between, nothing is."""
    register = Register("a")
    assert register.tell(NOW, NOW) == 3
    assert register.tell(NOW, NOW) == 0
    assert register.tell(NOW + 1, NOW) == 2
    assert register.minutes(HOUR) == [10, 11]
    assert register.hour(DAY, "", keys.day) == Past(0, {1: 1})
    assert register.memory.ends[keys.hour(HOUR, "x")] == keys.end_of_hour(HOUR)


def test_a_source_that_does_not_work_is_not_counted() -> None:
    """Its minutes stay out; when it works again, from then on."""
    register = Register("a")
    register.tell(NOW, NOW)
    assert register.tell(NOW + 1, NOW, "down") == 0
    register.tell(NOW + 3, NOW + 3, "polling")
    assert register.minutes(HOUR) == [10, 13]


def test_one_that_went_back_is_counted_since_then() -> None:
    """Also over the ends of hours and of a day, also when it says so later."""
    register = Register("a")
    register.tell(NOW, NOW)
    register.tell(NOW, NOW - 75)
    assert register.minutes(HOUR - 2) == [55, 56, 57, 58, 59]
    assert register.minutes(HOUR - 1) == list(range(60))
    assert register.minutes(HOUR) == list(range(11))
    assert register.hour(DAY, "", keys.day) == Past(0, {0: 1, 1: 1})
    assert register.hour(DAY - 1, "", keys.day) == Past(0, {23: 1})


def test_a_tracked_hashtag_has_a_field_in_every_hour_that_was_counted() -> None:
    """With its total at the end of it: also in one that came and went while nobody was there."""
    register = Register("a", "b")
    register.present(NOW - 180, a=3)
    register.past(NOW, NOW - 60, a=2)
    register.tell(NOW, NOW - 170)
    for key in (keys.hour, keys.kept):
        assert register.hour(HOUR - 3, key=key) == Past(3, {10: 3})
        assert register.hour(HOUR - 2, key=key) == Past(3)
        assert register.hour(HOUR - 1, key=key) == Past(5, {10: 2})
        assert register.hour(HOUR, key=key) == Past(5)
        for ago in range(4):
            assert register.hour(HOUR - ago, "b", key) == Past()
    assert register.hour(DAY - 1, "b", keys.day) == register.hour(DAY, "b", keys.day) == Past()


def test_one_that_is_tracked_from_now_on_is_kept_with_its_minutes() -> None:
    """Those that it had in this hour before."""
    before = Register()
    before.present(NOW, a=2)
    register = Register("a")
    register.memory = before.memory
    register.tell(NOW, NOW)
    assert register.hour(HOUR, key=keys.kept) == Past(2, {10: 2})


def test_two_days_ago_there_are_no_hours_any_more() -> None:
    """But what is kept longer; and nothing of more than a week ago."""
    register = Register("a")
    register.tell(NOW, NOW - 30 * 24 * 60)
    assert keys.hour(HOUR - 48, "x") not in register.memory.values
    assert register.hour(HOUR - 48, key=keys.kept) == Past()
    assert register.hour(HOUR - 47) == Past()
    found = [key for key in register.memory.values if ":kept:" in key]
    assert len(found) == 7 * 24 + 1


def test_what_is_lost_was_not_counted() -> None:
    """Redis lost everything, and gets the last minutes again: before them is nothing."""
    register = Register("a")
    register.tell(NOW, NOW - 200)
    register.memory = Register().memory
    register.counted.begin({"x": NOW - 15, "y": 0})
    register.tell(NOW, NOW - 200)
    assert register.minutes(HOUR - 1) == [55, 56, 57, 58, 59]
    assert keys.hour(HOUR - 2, "x") not in register.memory.values
    register.counted.begin({"x": 0})
    register.tell(NOW + 1, NOW - 200)
    assert register.minutes(HOUR - 1) == [55, 56, 57, 58, 59]


def test_garbage_begins_anew() -> None:
    register = Register("a")
    register.tell(NOW, NOW)
    register.memory.values[keys.hour(HOUR, "x")][""] = b"\xff"
    register.memory.values[keys.kept(HOUR, "x")][""] = b"\xff"
    register.tell(NOW + 1, NOW)
    assert register.minutes(HOUR) == [10, 11]
