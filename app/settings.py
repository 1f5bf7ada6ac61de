"""What may be chosen from outside: read once, from the environment and `.env`."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from io import StringIO
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from pkgutil import iter_modules
from typing import Any
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from app.hashtags import key, typed_list
from app.urls import redis_url, url, urls

SOURCE_NAMES = tuple(found.name for found in iter_modules([str(Path(__file__).parent / "sources")]))
"""Every network that there is a file, or a folder, for in app/sources/."""


SECRET_SHORTEST = 4
"""Characters; to hide shorter ones would make a text unreadable and keep nothing secret."""
LONGEST_NAME = 40
"""Characters that are shown of a name in `.env`: more may be a secret in a wrong place."""


class SettingsError(Exception):
    """A setting is wrong; the sentence has its name, its value and what was expected."""


def hashtags(text: str) -> tuple[str, ...]:
    tags = typed_list(text)
    if not tags:
        raise ValueError("no hashtag")
    return tags


def blocked(text: str) -> frozenset[str]:
    """The keys of a comma list or, after an @, of a file with one a line; also such as nobody
    could type."""
    try:
        parts = (
            Path(text[1:]).read_text(encoding="utf-8-sig").splitlines()
            if text.startswith("@")
            else text.split(",")
        )
    except OSError as error:
        raise ValueError("no file that can be read") from error
    return frozenset(tag for part in parts if (tag := key(part.strip())))


def source_names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    if not names or not set(names) <= set(SOURCE_NAMES):
        raise ValueError("unknown source")
    return names


def number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not least <= value <= most:  # also refuses nan
            raise ValueError("out of range")
        return value

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError("unknown word")
        return text.lower()

    return parse


def true_or_false(text: str) -> bool:
    return one_of("true", "false", "on", "off")(text) in ("true", "on")


def at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if value < least:
            raise ValueError("too small")
        return value

    return parse


def address_and_port(text: str) -> tuple[str, int] | None:
    host, colon, port = text.rpartition(":")
    if not text:
        return None
    if not (colon and host and 0 < int(port) <= 65535):
        raise ValueError("no address and port")
    return host.strip("[]"), int(port)


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    found = tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    if not found:
        raise ValueError("no network")
    return found


def token(text: str) -> str:
    if not all("!" <= char <= "~" for char in text):
        raise ValueError("cannot stand in a header")
    return text


def setting(
    default: str,
    expected: str,
    parse: Callable[[str], Any],
    secret: bool = False,
    address: bool = False,
) -> Any:
    """One field of Settings: its name in capitals is the environment variable.

    secret: it is never shown, however wrong it is. address: it is a URL, in which a secret may
    stand as a password or in the query.
    """
    about = {"default": default, "expected": expected, "parse": parse}
    hidden = {"secret": secret, "address": address}
    return field(metadata=about | hidden, repr=not (secret or address))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings; the table in docs/running.md says what each one means."""

    hashtags: tuple[str, ...] = setting(
        "science,football", "a comma list of hashtags such as science,#football", hashtags
    )
    sources: tuple[str, ...] = setting(
        "demo", f"a comma list of {', '.join(SOURCE_NAMES)}", source_names
    )
    redis_url: str = setting(
        "",
        "a redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// URL",
        redis_url,
        secret=True,
        address=True,
    )
    redis_ca: str = setting("", "a file of certificates, in PEM", str)
    redis_cert: str = setting("", "a file with our certificate, in PEM", str)
    redis_key: str = setting("", "a file with its key, in PEM", str)
    allow_eviction: bool = setting("false", "true or false", true_or_false)
    data_folder: str = setting("data", "a folder for the private server's data", str)
    log_format: str = setting("text", "text or json", one_of("text", "json"))
    people_key_file: str = setting("", "a file in a folder that can be written to", str)
    tick_seconds: float = setting("0.5", "a number of seconds from 0.1 to 10", number(0.1, 10))
    bind: str = setting("", "an address and port such as 127.0.0.1:8000", str)
    metrics_bind: tuple[str, int] | None = setting(
        "", "an address and port such as 127.0.0.1:9100", address_and_port
    )
    express_lane: bool = setting("true", "true or false", true_or_false)
    max_viewers: int = setting("20000", "a whole number of viewers, 1 or more", at_least(1))
    max_viewers_per_address: int = setting(
        "100", "a whole number of viewers, 1 or more", at_least(1)
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = setting(
        "127.0.0.0/8,::1", "a comma list of networks such as 127.0.0.0/8,::1", networks
    )
    x_bearer_token: str = setting("", "the bearer token of an X app", token, secret=True)
    x_api_url: str = setting(
        "https://api.twitter.com", "an http:// or https:// URL", url("http", "https"), address=True
    )
    x_mode: str = setting("stream", "stream or counts", one_of("stream", "counts"))
    x_backfill: bool = setting("false", "true or false", true_or_false)
    x_posts_per_day: int = setting("10000", "a whole number of posts, 0 or more", at_least(0))
    jetstream_url: tuple[str, ...] = setting(
        ",".join(
            f"wss://jetstream{n}.us-{side}.bsky.network"
            for side in ("east", "west")
            for n in (1, 2)
        ),
        "a comma list of ws:// or wss:// URLs of Jetstream servers",
        urls("ws", "wss"),
        address=True,
    )
    bluesky_api_url: str = setting(
        "https://public.api.bsky.app",
        "an http:// or https:// URL",
        url("http", "https"),
        address=True,
    )
    mastodon_url: str = setting(
        "",
        "the http:// or https:// URL of a Mastodon server",
        url("http", "https"),
        address=True,
    )
    mastodon_token: str = setting("", "the access token of a Mastodon user", token, secret=True)
    replay_file: str = setting("", "a file of recorded messages, one a line", str)
    replay_speed: float = setting(
        "1", "a number from 0 (as fast as it goes) to 1000000", number(0, 1e6)
    )
    demo_seed: int = setting("1", "a whole number", int)
    demo_past_hours: float = setting("24", "a number of hours from 0 to 24", number(0, 24))
    max_hashtags: int = setting(
        "1000000", "a whole number of hashtags, 1000 or more", at_least(1000)
    )

    public_url: str = setting(
        "", "the http:// or https:// URL at which people find the page", url("http", "https")
    )
    blocked_hashtags: frozenset[str] = setting(
        "", "a comma list of hashtags, or @ and the name of a file with one a line", blocked
    )
    show_posts: bool = setting("true", "true or false", true_or_false)
    alert_url: str = setting(
        "", "an http:// or https:// URL", url("http", "https"), secret=True, address=True
    )
    alert_secret: str = setting(
        "", "a text of visible ASCII characters without spaces", token, secret=True
    )

    @property
    def people_keys(self) -> Path:
        """The file of the keys by which authors are hashed."""
        return Path(self.people_key_file or Path(self.data_folder, "people.key"))

    def hide(self, text: str) -> str:
        """What somebody else wrote, without a secret of ours that it may repeat."""
        for secret in sorted(self.secrets(), key=len, reverse=True):
            text = text.replace(secret, "(hidden)")
        return text

    def secrets(self) -> set[str]:
        """Tokens, and the passwords and the values of the queries of addresses, as they are
        written there and as they are meant; what is shorter than SECRET_SHORTEST is none."""
        found: set[str] = set()
        for item in fields(self):
            value = getattr(self, item.name)
            if item.metadata["address"]:
                for address in (value,) if isinstance(value, str) else value:
                    parts = urlsplit(address)
                    found |= {part.rpartition("=")[2] for part in parts.query.split("&")}
                    found.add(parts.password or "")
            elif item.metadata["secret"]:
                found.add(value)
        found |= {unquote(secret) for secret in found}
        return {secret for secret in found if len(secret) >= SECRET_SHORTEST}

    def demand(self, name: str, why: str) -> None:
        """Raises SettingsError when this setting, by its field's name, is empty."""
        if not getattr(self, name):
            expected = next(f for f in fields(self) if f.name == name).metadata["expected"]
            raise SettingsError(f"{name.upper()} is not set: expected {expected}, {why}.")


def read(environ: Mapping[str, str]) -> Settings:
    """Settings from a mapping of names to texts; a missing or empty one has its default.

    Raises SettingsError for the first that is wrong. Secrets are never quoted.
    """
    values: dict[str, Any] = {}
    for item in fields(Settings):
        name, about = item.name.upper(), item.metadata
        text = environ.get(name, "").strip() or about["default"]
        try:
            values[item.name] = about["parse"](text)
        except ValueError:
            raise SettingsError(
                f"{name}={quoted(text, about)}: expected {about['expected']}."
            ) from None  # what parsing says of it may quote it, too
    return Settings(**values)


def quoted(text: str, about: Mapping[str, Any]) -> str:
    """A wrong value, where neither it nor a part of it may be a secret."""
    may_be_secret = about["secret"] or (about["address"] and not {"@", "?"}.isdisjoint(text))
    return "(hidden)" if may_be_secret else repr(text)


def load(folder: Path = Path()) -> Settings:
    """Settings of this process. Raises SettingsError."""
    return read(given(folder))


def given(folder: Path = Path()) -> dict[str, str]:
    """What is set: in the environment, else in `.env` in the folder. Raises SettingsError."""
    return {**written_in(folder / ".env"), **os.environ}


def place(folder: Path = Path()) -> str:
    """Where settings are from, in words."""
    file = (folder / ".env").resolve()
    return str(file) if file.exists() else f"the environment (there is no {file})"


def unknown_names(folder: Path = Path()) -> list[str]:
    """A sentence about each name in the folder's `.env` that is no setting, so that nothing comes
    of it. Raises SettingsError."""
    names = [item.name.upper() for item in fields(Settings)]
    found = []
    for name in written_in(folder / ".env"):
        if name not in names:
            like = get_close_matches(name.upper(), names, 1)
            meant = f": {like[0]} may be meant" if like else ""
            found.append(f".env: {name[:LONGEST_NAME]} is no setting and does nothing{meant}.")
    return found


def written_in(file: Path) -> dict[str, str]:
    """The names and values in the file, none where there is no file. Raises SettingsError."""
    try:
        text = file.read_text(encoding="utf-8-sig") if file.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: expected a readable UTF-8 file ({error}).") from error
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            line = binding.original.line
            raise SettingsError(f"{file}: expected NAME=value from line {line} on.")
    stored = dotenv_values(stream=StringIO(text))
    return {name: value for name, value in stored.items() if value is not None}
