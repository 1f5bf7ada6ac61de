"""Which hashtags are unusual, and the last alerts: how that stands in Redis; pure."""

from typing import Annotated

import msgspec

LAST = 100
"""So many alerts are remembered, and so many wait to be delivered."""
LATEST_MOMENT = 253_402_300_799_999
"""Milliseconds: the end of the year 9999. What Redis has of a later time, none of us wrote."""

Moment = Annotated[int, msgspec.Meta(ge=0, le=LATEST_MOMENT)]
"""Milliseconds since 1970."""


class Alert(msgspec.Struct, frozen=True):
    """A hashtag began to be unusual, or is usual again."""

    id: str
    """The same for the same alert, however often it is told."""
    state: str
    """"start" or "end"."""
    tag: str
    """The hashtag's key."""
    name: str
    """As most posts write it."""
    at: Moment
    """When that was found, in milliseconds since 1970."""
    since: Moment
    """When the first of the ten minutes began that were unusual."""
    people: int
    """Of the last ten minutes."""
    usual: float
    """Posts that ten minutes of this hour usually have."""
    unusual: float
    """How unlikely so many people are: 4 is one in ten thousand."""
    sentence: str
    """All of this for people to read."""


class StoredAlerts(msgspec.Struct):
    """All that is known of alerts, as it stands in Redis."""

    bin: int = 0
    """The newest that was judged, numbered since 1970; 0 for none."""
    before: dict[str, Moment] = {}
    """Hashtags that were unusual in it, and not in the bin before, to when it began."""
    going: dict[str, Alert] = {}
    """Hashtags that are unusual, with the alert that said so."""
    last: list[Alert] = []
    """The last alerts, the newest last."""
    due: list[Alert] = []
    """Those of tracked hashtags that are to be delivered yet, the oldest first."""


read_alerts = msgspec.json.Decoder(StoredAlerts).decode
