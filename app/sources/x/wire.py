"""What X says in its stream, as much of it as we want: posts, and remarks about itself.

https://docs.x.com/x-api/posts/filtered-stream
"""

from typing import Any

from app.hashtags import named
from app.messages import Post
from app.sources import REFUSED, Part, members, quick_decoder, read_anyway
from app.texts import domains

REMARKS = frozenset({"delete", "limit", "warning"})
"""Members of messages that are of no concern to us."""
PROBLEMS = frozenset({"errors", "error", "title"})
"""Members of messages about the stream itself."""
TOLD_AT_MOST = 200
"""Characters of what X says of a problem that are said on."""


class Hashtag(Part):
    tag: str


class Url(Part):
    expanded_url: Any = None
    """What X's own short address stands for."""


class Entities(Part):
    hashtags: list[Hashtag] | None = None
    urls: list[Url] | None = None


class Note(Part):
    """The whole of a long post."""

    entities: Entities | None = None


class PostData(Part):
    """A post, as much of it as we want."""

    id: str | int
    """Of this version of the post."""
    edit_history_tweet_ids: list[str | int] | None = None
    """The ids of all its versions, the first one first."""
    created_at: Any = ""
    """A time as text (ISO 8601); whatever else it is, is no reason to drop the post."""
    author_id: str | int | None = None
    """Of who wrote it."""
    entities: Entities | None = None
    """Of its first 280 characters."""
    note_tweet: Note | None = None
    """The whole text of a long one."""


class Message(Part):
    """A line of the stream, as much of it as we want."""

    data: PostData | None = None


decode = quick_decoder(Message)


def parse(line: bytes | str) -> Post | None:
    """A line of the stream as a Post; None for one that carries no post.

    Hashtags stand in `entities`, and for a long post in those of its `note_tweet`. An
    edited post comes again under a new id: here it has the id it was first posted under.
    Raises ValueError or RecursionError for a line that is not of the wire form.
    """
    try:
        post = decode(line).data
    except REFUSED:
        post = read_anyway(line, Message).data
    if post is None:
        return None
    versions = post.edit_history_tweet_ids
    id, at, author = versions[0] if versions else post.id, post.created_at, post.author_id
    if not (tags := tags_of(post)):  # there are many: by place, as names would take longer
        return Post("x", f"{id}", f"{at}", f"{author or ''}")
    hosts = domains(links) if (links := links_of(post)) else ()
    return Post("x", f"{id}", f"{at}", f"{author or ''}", named(tags), domains=hosts)


def tags_of(post: PostData) -> list[str]:
    short, note = post.entities, post.note_tweet
    found = [hashtag.tag for hashtag in short.hashtags] if short and short.hashtags else []
    if note and note.entities:
        found += [hashtag.tag for hashtag in note.entities.hashtags or ()]
    return found


def links_of(post: PostData) -> list[Any]:
    short, note = post.entities, post.note_tweet
    found = [url.expanded_url for url in short.urls] if short and short.urls else []
    if note and note.entities:
        found += [url.expanded_url for url in note.entities.urls or ()]
    return found


def is_message(line: bytes) -> bool:
    """Whether a recorded line is one of X's stream: a post, or a remark of X about itself."""
    return not ({"data"} | REMARKS | PROBLEMS).isdisjoint(members(line))


def described(message: Any) -> str:
    """What X says of a problem, in any of the forms it has for that; "" for no problem."""
    if isinstance(message, list):
        return "; ".join(filter(None, map(described, message)))
    if not isinstance(message, dict):
        return printable(message) if isinstance(message, str) else ""
    if inner := message.get("errors") or message.get("error"):
        return described(inner)
    names = ("title", "connection_issue", "disconnect_type", "detail", "message", "value")
    said = [message[name] for name in names if isinstance(message.get(name), str)]
    return printable(": ".join(said))


def printable(text: str) -> str:
    """The text on one line, without what a terminal or UTF-8 cannot show."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
