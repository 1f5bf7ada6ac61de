"""What a Jetstream says over the wire, as much of it as we want, and what of it is a post.

https://github.com/bluesky-social/jetstream ("Legacy v1 JSON Payload")
"""

from typing import Any

from msgspec import field

from app.hashtags import add_tag
from app.messages import Post
from app.sources import Part, decoder

COLLECTION = "app.bsky.feed.post"
TAG = "app.bsky.richtext.facet#tag"


class Feature(Part):
    """Clients write what they like here: a tag is one only where it is a text."""

    type: Any = field(name="$type", default=None)
    tag: Any = None


class Facet(Part):
    features: list[Feature] | None = None


class Record(Part):
    """What the client wrote."""

    facets: list[Facet] | None = None
    tags: list[Any] | None = None


class Commit(Part):
    """A change to somebody's repository; only one that deletes has no record."""

    operation: str
    collection: str
    rkey: str
    record: Record | None = None


class Event(Part):
    """time_us: when the server saw it, in microseconds since 1970."""

    did: str
    time_us: int
    commit: Commit | None = None


read_event = decoder(Event)


def parse(line: bytes | str) -> Post | None:
    """A Jetstream event as a Post; None for what is no new post.

    Raises ValueError or RecursionError for a line that is not of the wire form.
    """
    return post_of(read_event(line))


def post_of(event: Event) -> Post | None:
    commit = event.commit
    if commit is None or commit.operation != "create" or commit.collection != COLLECTION:
        return None
    if commit.record is None:
        raise ValueError("a new post without a record")
    return Post(
        source="bluesky",
        id=f"{event.did}/{commit.rkey}",
        written=event.time_us // 1000,
        author=event.did,
        hashtags=named(commit.record),
        cursor=f"{event.time_us}",
    )


def named(record: Record) -> dict[str, str]:
    """Hashtags stand in the record's facets and in its `tags`."""
    tags: dict[str, str] = {}
    for facet in record.facets or ():
        for feature in facet.features or ():
            if feature.type == TAG and isinstance(feature.tag, str):
                add_tag(tags, feature.tag)
    for tag in record.tags or ():
        if isinstance(tag, str):
            add_tag(tags, tag)
    return tags
