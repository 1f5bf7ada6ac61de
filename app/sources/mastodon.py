"""Posts from a Mastodon server, through its streaming API.

The wire form: https://docs.joinmastodon.org/methods/streaming/ (events and their payloads).
"""

import json
from typing import Any

from app.hashtags import keyed
from app.messages import Post
from app.sources import milliseconds


def parse(message: dict[str, Any]) -> Post | None:
    """A streaming event as a Post; None for what is no new post (an edit, a delete, a boost).

    Raises KeyError, TypeError, AttributeError or ValueError for a message that is not of
    the wire form.
    """
    if message.get("event") != "update":
        return None
    payload = message["payload"]
    return parse_status(json.loads(payload) if isinstance(payload, str) else payload)


def parse_status(status: dict[str, Any]) -> Post | None:
    """A status as the REST API gives it, as a Post; None for a boost of another one."""
    if status.get("reblog"):
        return None
    return Post(
        source="mastodon",
        id=str(status["id"]),
        at=milliseconds(status.get("created_at")),
        author=str((status.get("account") or {}).get("id", "")),
        hashtags=keyed([tag["name"] for tag in status.get("tags") or ()]),
    )
