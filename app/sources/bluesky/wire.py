"""Jetstream's messages (https://github.com/bluesky-social/jetstream, "Legacy v1 JSON Payload")."""

import re
from collections.abc import Iterator
from typing import Any

from msgspec import field

from app.hashtags import named
from app.messages import Deletion, Post
from app.sources import Part, decoder, members
from app.texts import domains

COLLECTION = "app.bsky.feed.post"
TAG = "app.bsky.richtext.facet#tag"
LINK = "app.bsky.richtext.facet#link"
TAKEN_BACK = frozenset({"delete", "update"})
"""What may become of a post later: either way it is not what it was."""
ADULT = frozenset({"porn", "sexual", "nudity", "graphic-media"})
"""Labels that a post's author may give it."""
MOST_LABELS = 10
"""Of a post; the protocol allows no more."""
LATEST = 10**17
"""A time in the year 5138: what is later is no time."""


class Feature(Part):
    """Clients write what they like here: a tag is one only where it is a text."""

    type: Any = field(name="$type", default=None)
    tag: Any = None
    uri: Any = None


class Facet(Part):
    features: list[Feature] | None = None


class Record(Part):
    """What the client wrote; its hashtags stand in its facets and in its `tags`, its links in its
    facets and in its `embed`, and what its author says of it in its `labels`."""

    facets: list[Facet] | None = None
    tags: list[Any] | None = None
    labels: Any = None
    embed: Any = None


class RepoCommit(Part):
    """A change to somebody's repository; only one that deletes has no record."""

    operation: str
    collection: str
    rkey: str
    rev: Any = ""
    record: Record | None = None


class Event(Part):
    """A message. time_us: when the server saw it, in microseconds since 1970."""

    did: str
    time_us: int
    commit: RepoCommit | None = None
    account: Any = None


read_event = decoder(Event)


def parse(line: bytes | str) -> Post | None:
    """A message as a Post; None for what is no new post.

    Raises ValueError or RecursionError for a line that is not of the wire form.
    """
    return post_of(read_event(line))


def is_message(line: bytes) -> bool:
    """Whether a recorded line is a message of a Jetstream server."""
    found = members(line)
    return bool(found.get("commit") or found.get("kind"))


def may_have_hashtags(raw: bytes) -> bool:
    """False only where decoding could find none; letters that JSON escapes are rare."""
    return b"facet#tag" in raw or b'"tags"' in raw or b"\\u00" in raw


def may_take_back(raw: bytes) -> bool:
    """False only where decoding could find no Deletion, but for escaped letters as before."""
    return b'"delete"' in raw or b'"update"' in raw or b'"active"' in raw


def deletion_of(event: Event) -> Deletion | None:
    """A post that is taken back, or all of an account that is deleted, suspended or left."""
    commit, account = event.commit, event.account
    if commit:
        is_ours = commit.collection == COLLECTION and commit.operation in TAKEN_BACK
        return Deletion("bluesky", f"{event.did}/{commit.rkey}") if is_ours else None
    is_left = isinstance(account, dict) and account.get("active") is False
    return Deletion("bluesky", f"{event.did}/") if is_left else None


def post_of(event: Event) -> Post | None:
    """None for what is no new post. Raises ValueError for a new post without a record."""
    commit = event.commit
    if commit is None or commit.operation != "create" or commit.collection != COLLECTION:
        return None
    if commit.record is None:
        raise ValueError("a new post without a record")
    hashtags = named(tags_of(commit.record))
    return Post(
        source="bluesky",
        id=f"{event.did}/{commit.rkey}",
        written=event.time_us // 1000 if 0 <= event.time_us < LATEST else 0,
        author=event.did,
        hashtags=hashtags,
        adult=commit.record.labels is not None and is_adult(commit.record.labels),
        domains=domains(links_of(commit.record)) if hashtags else (),
    )


def tags_of(record: Record) -> Iterator[Any]:
    for facet in record.facets or ():
        for feature in facet.features or ():
            if feature.type == TAG:
                yield feature.tag
    yield from record.tags or ()


def links_of(record: Record) -> Iterator[Any]:
    for facet in record.facets or ():
        for feature in facet.features or ():
            if feature.type == LINK:
                yield feature.uri
    embed = record.embed if isinstance(record.embed, dict) else {}
    for card in (embed, embed.get("media")):
        external = card.get("external") if isinstance(card, dict) else None
        if isinstance(external, dict):
            yield external.get("uri")


def is_adult(labels: Any) -> bool:
    """Whether a post's author labels it so (https://atproto.com/specs/label, "self-labels")."""
    values = labels.get("values") if isinstance(labels, dict) else None
    listed = values[:MOST_LABELS] if isinstance(values, list) else ()
    said = [value.get("val") for value in listed if isinstance(value, dict)]
    return any(isinstance(each, str) and each in ADULT for each in said)


TID = re.compile("[2-7a-j][2-7a-z]{12}")
"""https://atproto.com/specs/tid: 64 bits, five to a letter: a 0, 53 of microseconds since 1970,
and 10 by which two servers' differ."""
DIGITS = str.maketrans("234567abcdefghijklmnopqrstuvwxyz", "0123456789abcdefghijklmnopqrstuv")


def committed_at(event: Event) -> int:
    """When the author's server made the commit, in microseconds since 1970, by its revision: on
    every Jetstream server the same. 0 where it does not say."""
    rev = event.commit.rev if event.commit else ""
    if type(rev) is not str or not TID.fullmatch(rev):
        return 0
    return int(rev.translate(DIGITS), 32) >> 10
