"""The source: a day that is over, then posts as their time comes."""

import asyncio
from collections.abc import AsyncIterator, Iterator

from app.messages import MINUTE, Checkpoint, Message, MinuteCount
from app.sources import Source
from app.sources.demo.posts import SLOT, counted, posts_in

CATCH_UP_SECONDS = 60
"""So far back it goes at least, to where it was when it ended."""
LONGEST_PAUSE = 120
"""Seconds; after a longer one it goes on with the present: our clock was set, or we slept."""
PRESENT_SECONDS = 10
"""Who was away for no longer goes on with the present, and not with the past."""
SHOWN_SECONDS = 600
"""Posts that are older are in no list of posts and on no board: their number is enough."""
MINUTE_SLOTS = MINUTE // SLOT


class Demo(Source):
    """Posts that nobody wrote, as many as real networks might have."""

    name = "demo"
    is_live = False
    complete = goes_back = True

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        """What came since the cursor, or, at the first start, in DEMO_PAST_HOURS: by the minute,
        and post by post what is new enough to be shown; then posts as their time comes."""
        begun = seen = self.due()
        slot = self.first(cursor, begun)
        self.catching_up = slot < begun - slots(PRESENT_SECONDS)
        self.say("live", "demo data", unbroken_since=slot * SLOT / 1000)
        while True:
            due = self.due()
            if abs(due - seen) > slots(LONGEST_PAUSE):
                slot = begun = due
            seen = due
            if slot >= due:
                await asyncio.sleep(SLOT / 1000)
                continue
            if slot % MINUTE_SLOTS == 0 and slot + MINUTE_SLOTS <= begun - slots(SHOWN_SECONDS):
                for count in self.minute(slot):
                    yield count
                slot += MINUTE_SLOTS
                await asyncio.sleep(0)  # others get a turn: there may be hundreds of minutes
            else:
                self.catching_up = self.catching_up and slot < due - slots(1)
                for post in posts_in(slot, self.settings.hashtags, self.settings.demo_seed):
                    yield post
                slot += 1
            # the slot, or the minute, is whole: only now may a restart begin after it
            yield Checkpoint(self.name, str(slot))

    def first(self, cursor: str, now: int) -> int:
        """The slot to begin with."""
        past = round(slots(3600) * self.settings.demo_past_hours)
        if cursor.isdecimal() and len(cursor) < 20:
            return min(max(int(cursor), now - max(past, slots(CATCH_UP_SECONDS))), now)
        return min(-(-(now - past) // MINUTE_SLOTS) * MINUTE_SLOTS, now)

    def minute(self, slot: int) -> Iterator[MinuteCount]:
        """How many posts each hashtag has in the minute that begins with the slot."""
        tags = tuple(map(str, self.settings.hashtags))  # one that was typed is more than a text
        found = counted(slot // MINUTE_SLOTS, tags, self.settings.demo_seed)
        for tag, posts in found.items():
            yield MinuteCount(self.name, tag, slot * SLOT, posts)

    def due(self) -> int:
        """The slot that is not over yet."""
        return int(self.clock() * 1000) // SLOT


def slots(seconds: int) -> int:
    return seconds * 1000 // SLOT
