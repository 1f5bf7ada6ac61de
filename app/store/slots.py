"""A field of an hour or a day, read without an object for each minute; pure."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from app.store import keys
from app.store.keys import ENTRY, Past


class Slots(NamedTuple):
    """What keys.Past is, as bytes rather than a dictionary: a week of twenty hashtags in three
    sources has 600,000 minutes."""

    total: int
    """The running total at the end of the hour or day."""
    numbers: bytes
    """The slots with posts, in order; one of many posts may be there several times."""
    high: bytes
    low: bytes
    """Posts of each of them: 256 times the high byte, and the low one."""

    @classmethod
    def read(cls, packed: bytes) -> "Slots":
        """Raises ValueError for what is not packed so."""
        total, begin = keys.read_total(packed)
        if (len(packed) - begin) % ENTRY.size:
            raise ValueError("not the minutes of an hour or the hours of a day")
        numbers, high, low = (packed[begin + n :: ENTRY.size] for n in range(ENTRY.size))
        if numbers and max(numbers) >= 60:
            raise ValueError("no such minute")
        if bytes(sorted(numbers)) != numbers:
            return cls.read(Past.read(packed).pack())
        return cls(total, numbers, high, low)

    def posts(self, first: int, end: int) -> int:
        """Of the slots from this place in `numbers` up to that one."""
        return 256 * sum(self.high[first:end]) + sum(self.low[first:end])

    def by_steps(self, end: int, steps: int, offset: int) -> Iterator[tuple[int, int]]:
        """The first slot with posts of each step, and the posts of the step.

        end: the slot before which it ends; steps: of how many slots one is; offset: at which slot
        of a step slot 0 is.
        """
        place, last = 0, bisect_left(self.numbers, end)
        while place < last:
            slot = self.numbers[place]
            begin, over = place, slot + steps - (offset + slot) % steps
            place = bisect_left(self.numbers, min(over, end), place)
            yield slot, self.posts(begin, place)
