"""Alerts: which hashtags began to be unusual, and which are usual again.

Each ten minutes are judged once, when they are over. Unusual is what so many people use as one in
ten thousand such bins has by chance; an alert begins with the second of two in a row, and ends with
the first that is not. Posts count into the minutes of their own time (recent_uses.py), so what
comes late raises no alert of now.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable
from hashlib import blake2b
from heapq import nlargest
from time import gmtime, strftime

import msgspec

from app.ingest.board import BoardMaker, Standing
from app.ingest.recent_uses import SLOT
from app.messages import HOUR, MINUTE
from app.store import keys
from app.store.alerts import LAST, Alert, StoredAlerts, read_alerts
from app.store.state import Write
from app.store.store import Store

log = logging.getLogger(__name__)

BIN = 10 * MINUTE
LATEST = 2 * SLOT
"""So long after its end a bin can be judged: what is in the last ten minutes is nearly what was in
it. Of one that was not, nobody knows."""
MOST_BEFORE, MOST_GOING = 1000, 200
"""Hashtags of one bin that may begin with the next, and that are unusual at a time: the most
unusual ones."""
DELIVERY_HOURS = 24
"""What could not be delivered for so long is given up."""


class AlertMaker:
    """Judges each bin, and remembers; Redis has it with the next commit.

    delivered: the hashtags whose alerts are delivered to somebody; blocked: those of which nothing
    is told.
    """

    def __init__(self, delivered: Collection[str] = (), blocked: Collection[str] = ()) -> None:
        self.delivered, self.blocked = frozenset(delivered), frozenset(blocked)
        self.stored = StoredAlerts()
        self.is_loaded = False
        """Whether it is known what Redis has; before that, nothing is judged or written."""
        self.text = ""
        """What is to be written; "" where Redis has all."""
        self.news = asyncio.Event()
        """Set while something is to be delivered."""

    async def load(self, store: Store) -> None:
        """Go on from what the last ingester left. Raises StoreLost."""
        text = await store.text(keys.ALERTS)
        try:
            self.stored = read_alerts(text) if text else StoredAlerts()
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            log.warning("the Redis key %s is not what we write: %s", keys.ALERTS, error)
            self.stored = StoredAlerts()
        self.is_loaded = True
        if not self.delivered:
            self.stored.due = []
        self.forget_blocked()
        self.look_for_due()

    def forget_blocked(self) -> None:
        """What was told of a hashtag before it was blocked is told no more, nor that it ended."""
        stored, blocked = self.stored, self.blocked
        if blocked.isdisjoint([*stored.going, *(each.tag for each in stored.last + stored.due)]):
            return
        stored.going = {tag: each for tag, each in stored.going.items() if tag not in blocked}
        stored.last = [each for each in stored.last if each.tag not in blocked]
        stored.due = [each for each in stored.due if each.tag not in blocked]
        self.save()

    def judge(self, board: BoardMaker, now: int) -> None:
        """Judge the bin that is over, if that was not done; milliseconds since 1970."""
        stored, number = self.stored, now // BIN
        if not self.is_loaded or number == stored.bin or now - number * BIN > LATEST:
            return
        found = {each.tag: each for each in board.unusual(now)}
        before = stored.before if number == stored.bin + 1 else {}
        if board.lately.since <= now - BIN + LATEST:  # else there may have been more people
            self.end([tag for tag in stored.going if tag not in found], board, now)
        begun = [tag for tag in before if tag in found and tag not in stored.going]
        for tag in nlargest(MOST_GOING - len(stored.going), begun, lambda tag: found[tag].score):
            standing, name = found[tag], board.name_of(tag)
            stored.going[tag] = alert_of("start", name, standing, standing.usual, before[tag], now)
            self.note(stored.going[tag])
        most = nlargest(MOST_BEFORE, found.keys() - stored.going.keys(), lambda t: found[t].score)
        stored.before = dict.fromkeys(most, (number - 1) * BIN)
        stored.bin = number
        self.save()

    def end(self, tags: Iterable[str], board: BoardMaker, now: int) -> None:
        """These are usual again."""
        for tag in tags:
            start, name = self.stored.going.pop(tag), board.name_of(tag)
            standing = board.standing(tag, now)
            self.note(alert_of("end", name, standing, start.usual, start.since, now))

    def note(self, alert: Alert) -> None:
        """Remember it, and let it be delivered."""
        self.stored.last = [*self.stored.last, alert][-LAST:]
        if alert.tag in self.delivered:
            self.stored.due = [*self.stored.due, alert][-LAST:]
            self.look_for_due()

    def look_for_due(self) -> None:
        (self.news.set if self.stored.due else self.news.clear)()

    async def next_due(self) -> Alert:
        """Wait for one that is to be delivered."""
        await self.news.wait()
        return self.stored.due[0]

    def settle(self, alert: Alert) -> None:
        """It was delivered, or given up."""
        self.stored.due = [each for each in self.stored.due if each.id != alert.id]
        self.look_for_due()
        self.save()

    def write_again(self) -> None:
        """Redis may have lost it, or have what it was before."""
        if self.is_loaded:
            self.save()

    def save(self) -> None:
        self.text = msgspec.json.encode(self.stored).decode()

    def write(self) -> list[Write]:
        """What the next commit is to write."""
        return [Write("string", keys.ALERTS, values=[self.text])] if self.text else []

    def wrote(self, write: Write) -> None:
        """This is in Redis now."""
        if write.key == keys.ALERTS and write.values == [self.text]:
            self.text = ""


def is_given_up(alert: Alert, now: int) -> bool:
    """Whether it is too old to be delivered."""
    return now - alert.at > DELIVERY_HOURS * HOUR


def alert_of(
    state: str, name: str, standing: Standing, usual: float | None, since: int, now: int
) -> Alert:
    posts = round(usual or 0, 1)
    told = f"{standing.tag}\n{since}\n{state}".encode()
    return Alert(
        id=blake2b(told, digest_size=12).hexdigest(),
        state=state,
        tag=standing.tag,
        name=name,
        at=now,
        since=since,
        people=standing.people,
        usual=posts,
        unusual=round(standing.score, 1),
        sentence=sentence(state, name, standing.people, posts, since),
    )


def sentence(state: str, name: str, people: int, usual: float, since: int) -> str:
    began = strftime("%H:%M UTC", gmtime(since // 1000))
    who = f"{people} {'person' if people == 1 else 'people'} in ten minutes"
    if state == "end":
        return f"#{name} is usual again: {who}. It was unusual since {began}."
    posts = round(usual)
    what = f"{posts} posts are" if posts > 1 else "one post is" if posts else "hardly a post is"
    return f"#{name} is unusual: {who}, where {what} usual at this hour. Since {began}."
