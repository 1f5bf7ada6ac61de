"""Posts from Bluesky, through a Jetstream websocket.

The wire form: https://github.com/bluesky-social/jetstream (README, "Consuming Jetstream").
"""

from typing import Any

from app.hashtags import keyed
from app.messages import Post

COLLECTION = "app.bsky.feed.post"
TAG = "app.bsky.richtext.facet#tag"


def parse(message: dict[str, Any]) -> Post | None:
    """A Jetstream commit event as a Post; None for what is no new post.

    Hashtags stand in the record's facets and in its `tags`. Raises KeyError, TypeError,
    AttributeError or ValueError for a message that is not of the wire form.
    """
    commit = message.get("commit") or {}
    if commit.get("operation") != "create" or commit.get("collection") != COLLECTION:
        return None
    record = commit["record"]
    spellings = [
        feature["tag"]
        for facet in record.get("facets") or ()
        for feature in facet.get("features") or ()
        if feature.get("$type") == TAG and isinstance(feature.get("tag"), str)
    ]
    spellings += [tag for tag in record.get("tags") or () if isinstance(tag, str)]
    time_us = int(message["time_us"])
    return Post(
        source="bluesky",
        id=f"{message['did']}/{commit['rkey']}",
        at=time_us // 1000,
        author=str(message["did"]),
        hashtags=keyed(spellings),
        cursor=str(time_us),
    )
