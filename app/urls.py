"""URLs of other servers: which texts are one, and how much of one may be shown; pure."""

from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit


def url(*schemes: str) -> Callable[[str], str]:
    """What reads a URL with one of these schemes, or none at all: it raises ValueError for another
    text."""

    def parse(text: str) -> str:
        if not text:
            return text
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.hostname or parts.scheme == "unix"):
            raise ValueError("not such a URL")
        if any(char.isspace() for char in text):
            raise ValueError("space in it")
        (parts.hostname or "").encode("idna")  # raises ValueError for what is no host's name
        parts.port  # noqa: B018 - raises ValueError for a port that is none
        return text.rstrip("/") if parts.scheme != "unix" else text

    return parse


def urls(*schemes: str) -> Callable[[str], tuple[str, ...]]:
    """The same for a comma list of at least one."""
    one = url(*schemes)

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(one(part.strip()) for part in text.split(",") if part.strip())
        if not found:
            raise ValueError("no URL")
        return found

    return parse


def redis_url(text: str) -> str:
    """The URL of a Redis, or of one that moves (store/primary.py). Raises ValueError."""
    kind = urlsplit(text).scheme.partition("+")[2]
    if kind not in ("sentinel", "cluster"):
        return one_redis(text)
    for each in each_host(text):
        url("redis", "rediss")(each)
    name, _, database = urlsplit(text).path.strip("/").partition("/")
    if bool(name) != (kind == "sentinel") or not (database or "0").isdecimal():
        raise ValueError("a Sentinel must know the primary's name; a cluster has one database")
    return text.rstrip("/")


def one_redis(text: str) -> str:
    parts = urlsplit(url("redis", "rediss", "unix")(text))
    database = parts.path.removeprefix("/")
    if parts.scheme != "unix" and database and not (database.isascii() and database.isdecimal()):
        raise ValueError("no such database")  # redis-py would take the first one instead
    return text


def each_host(address: str) -> list[str]:
    """A URL of its own for each host of one that may name several, "redis+cluster://h1:1,h2:2"."""
    parts = urlsplit(address)
    user, at, hosts = parts.netloc.rpartition("@")
    scheme = parts.scheme.partition("+")[0]
    rest = urlunsplit(("", "", parts.path, parts.query, ""))
    return [f"{scheme}://{user}{at}{host}{rest}" for host in hosts.split(",")]


def showable(address: str) -> str:
    """An address as its owner may see it, in the log and by `check`: scheme, host, port and path.

    Without a user, a password, a query or a fragment, any of which may be a secret; a path with
    an `@` may be half of a mistyped password. "(hidden)" for what is no URL.
    """
    try:
        parts = urlsplit(address)
        for each in each_host(address):
            urlsplit(each).port  # noqa: B018 - raises ValueError for a port that is none
    except ValueError:
        return "(hidden)"
    place = parts.netloc.rpartition("@")[2]
    if not (place or parts.scheme == "unix"):
        return "(hidden)"
    path = "" if "@" in parts.path else parts.path
    return f"{parts.scheme}://{place}{path}"
