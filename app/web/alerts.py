"""Alerts, as the ingester wrote them (app/ingest/alerts.py): events, and a feed for readers."""

import logging
import re
from collections import deque
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree as xml

import msgspec

from app.store import keys
from app.store.alerts import LAST, Alert
from app.store.store import Store
from app.web import sse

log = logging.getLogger(__name__)

READ_SECONDS = 2.0
"""For so long, what Redis said is not asked again."""
ATOM = "http://www.w3.org/2005/Atom"
"""The namespace (RFC 4287, section 1.2)."""
NO_XML = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""What cannot stand in XML (XML 1.0, section 2.2). `re` keeps what it makes of it, which takes long
enough to be left to who needs it first."""


class KnownAlerts(msgspec.Struct, frozen=True):
    """What Redis has of alerts."""

    going: dict[str, Alert] = {}
    """Hashtags that are unusual, with the alert that said so."""
    last: list[Alert] = []
    """The last alerts, the newest last."""


read_known = msgspec.json.Decoder(KnownAlerts).decode


class AlertOfTick(NamedTuple):
    """An alert that went with a tick."""

    number: int
    """Of the tick that it goes with."""
    tag: str
    event: bytes


class AlertEvents:
    """Alerts for those who chose to be told them (extras.py).

    Bounds: known by what the ingester writes; new has LAST alerts, ids and sent twice as many.
    """

    def __init__(self) -> None:
        self.due = float("-inf")
        """When Redis is asked again, in seconds of the feed's clock."""
        self.text: bytes | None = None
        """What Redis said last; None before the first time."""
        self.known = KnownAlerts()
        self.ids: deque[str] = deque(maxlen=2 * LAST)
        """Of the alerts that were there already: a Redis that lost them may get them back."""
        self.new: list[Alert] = []
        """Those that belong to no tick yet."""
        self.sent: deque[AlertOfTick] = deque(maxlen=2 * LAST)
        """Those that went with ticks, the newest last."""

    async def newest(self, store: Store, now: float) -> KnownAlerts:
        """What Redis has, as of a moment ago. Raises StoreLost."""
        if now >= self.due:
            text = await store.text(keys.ALERTS)
            self.due = now + READ_SECONDS
            if text != self.text:
                self.hear(text)
        return self.known

    def hear(self, text: bytes) -> None:
        is_first, self.text = self.text is None, text
        try:
            self.known = read_known(text) if text else KnownAlerts()
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            log.warning("the Redis key %s is not what we write: %s", keys.ALERTS, error)
            self.known = KnownAlerts()
        new = [alert for alert in self.known.last[-LAST:] if alert.id not in self.ids]
        self.ids += [alert.id for alert in new]
        if not is_first:  # what was there before us is no news
            self.new = [*self.new, *new][-LAST:]

    async def read(self, store: Store, now: float) -> bool:
        await self.newest(store, now)
        return bool(self.new)

    def take(self, number: int) -> Collection[str] | None:
        new, self.new = self.new, []
        self.sent += [AlertOfTick(number, alert.tag, event_of(alert)) for alert in new]
        return [alert.tag for alert in new]

    def first(self, tags: Sequence[str]) -> bytes:
        """Of those that are unusual now."""
        going = self.known.going
        return b"".join([event_of(going[tag]) for tag in tags if tag in going])

    def between(self, tags: Sequence[str], before: int, last: int) -> bytes:
        found = [each for each in self.sent if before < each.number <= last and each.tag in tags]
        return b"".join([each.event for each in found])


def event_of(alert: Alert) -> bytes:
    return sse.event(msgspec.json.encode(alert).decode(), "alert")


def atom(alerts: Sequence[Alert], now: int) -> bytes:
    """A feed for readers, the newest first (RFC 4287); now: milliseconds since 1970, when it is of
    for want of an alert."""
    feed = xml.Element("feed", xmlns=ATOM)
    add(feed, "id", "urn:hashtag-pulse:alerts")
    add(feed, "title", "hashtag pulse: unusual hashtags")
    add(feed, "updated", written(alerts[-1].at if alerts else now))
    add(add(feed, "author"), "name", "hashtag pulse")
    add(feed, "link", rel="self", href="alerts.atom")
    for alert in reversed(alerts):
        entry = add(feed, "entry")
        add(entry, "id", f"urn:hashtag-pulse:alert:{quote(alert.id)}")
        add(entry, "title", alert.sentence)
        add(entry, "updated", written(alert.at))
        add(entry, "link", rel="alternate", href=f"./?tags={quote(alert.tag)}")
        add(entry, "content", alert.sentence)
    told: bytes = xml.tostring(feed, encoding="utf-8", xml_declaration=True)
    return told


def add(parent: xml.Element, name: str, text: str = "", **attributes: str) -> xml.Element:
    found = xml.SubElement(parent, name, attributes)
    found.text = re.sub(NO_XML, "\ufffd", text) or None
    return found


def written(at: int) -> str:
    """A time as Atom has it, in whole seconds."""
    return datetime.fromtimestamp(at // 1000, UTC).isoformat().replace("+00:00", "Z")
