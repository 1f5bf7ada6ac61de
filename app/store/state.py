"""What a commit leaves in Redis, and what it writes; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.messages import parse_id
from app.store import keys
from app.store.connection import StoreLost

RECENT = 64
"""Names of commits that are remembered."""
SEVERAL = "-"
"""In place of a fingerprint: a day whose authors were hashed by several keys."""


@dataclass(frozen=True)
class State:
    """What the last commit left, and what time it is."""

    version: str = ""
    """"2.17": the schema, and how many commits there were; "" before the first."""
    commit: str = ""
    """The last commit's name."""
    recent: tuple[str, ...] = ()
    """The names of the last 64 commits, the newest last."""
    tick: str = ""
    """The id of the last tick."""
    cursors: Mapping[str, str] = field(default_factory=dict)
    """Source name to where it goes on."""
    seen: Mapping[str, int] = field(default_factory=dict)
    """Source name to the newest minute of which it has marks (`seen:...`)."""
    networks: tuple[str, ...] = ()
    """Every source that ever counted, in the order of their coming."""
    moved: int = 0
    """The newest hour whose most used hashtags are kept longer; hours are numbered since 1970."""
    people: Mapping[int, str] = field(default_factory=dict)
    """Day since 1970 to the fingerprint of the key by which its authors are hashed; SEVERAL where
    there were two keys, so that nobody can say how many authors it had. The last is that of the
    last tick."""
    frozen: int = 0
    """The newest day whose people are numbers."""
    states: str = ""
    """The newest entry of `states`, as it was written."""
    time: int = 0
    """Redis's clock when this was read, in milliseconds since 1970."""

    @classmethod
    def from_hash(cls, stored: Mapping[bytes, bytes], time: int = 0) -> "State":
        """Raises StoreLost for data of a schema that this program does not know."""
        texts = {k.decode(): v.decode() for k, v in stored.items()}
        check_schema(texts)
        return cls.from_texts(texts, time)

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], time: int = 0) -> "State":
        """What is unreadable in it counts as not there."""
        return cls(
            version=texts.get("version", ""),
            commit=texts.get("commit", ""),
            recent=tuple(texts.get("recent", "").split()),
            tick=tick if is_id(tick := texts.get("tick", "")) else "",
            cursors={
                name.removeprefix("cursor:"): cursor
                for name, cursor in texts.items()
                if name.startswith("cursor:")
            },
            seen={
                name.removeprefix("seen:"): whole(minute)
                for name, minute in texts.items()
                if name.startswith("seen:")
            },
            networks=tuple(texts.get("networks", "").split()),
            moved=whole(texts.get("moved", "")),
            people=read_prints(texts.get("people", "")),
            frozen=whole(texts.get("frozen", "")),
            states=texts.get("sources", ""),
            time=time,
        )

    def after(self, fields: Mapping[str, str]) -> "State":
        """What it becomes when a commit has written these fields of it."""
        new = State.from_texts(fields)
        return replace(
            self,
            recent=new.recent or self.recent,
            cursors={**self.cursors, **new.cursors},
            seen={**self.seen, **new.seen},
            networks=new.networks or self.networks,
            moved=new.moved or self.moved,
            people=new.people or self.people,
            frozen=new.frozen or self.frozen,
            states=new.states or self.states,
        )

    @property
    def number(self) -> int:
        """How many commits there were; 0 for a version that somebody else wrote."""
        return whole(self.version.partition(".")[2])


def whole(text: str) -> int:
    """The number that a text is; 0 for another text, or one that is too long to be ours."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def read_prints(text: str) -> dict[int, str]:
    """Day to fingerprint, of what is written "20786=5f... 20787=-", the days in order."""
    parts = [part.partition("=") for part in text.split()]
    return dict(sorted((whole(day), found) for day, _, found in parts if whole(day)))


def is_id(text: str) -> bool:
    try:
        parse_id(text)
    except ValueError:
        return False
    return True


def check_schema(texts: Mapping[str, str]) -> None:
    """Raises StoreLost when the data is another version's, or half an import's."""
    if texts.get("importing"):
        raise StoreLost(
            "Redis: an import into it was not finished: repeat it, or empty this Redis (the "
            "private one: remove its DATA_FOLDER)."
        )
    schema = texts.get("schema", "1" if texts.get("version") else str(keys.SCHEMA))
    if schema == str(keys.SCHEMA):
        return
    newer = whole(schema) > keys.SCHEMA
    advice = (
        "update this program"
        if newer
        else "empty this Redis (the private one: remove its DATA_FOLDER), choose another database, "
        "or go on with the version before"
    )
    raise StoreLost(
        f"Redis: its data has schema {schema[:20]}, and this program knows {keys.SCHEMA}: {advice}."
    )


@dataclass
class Write:
    """One key's part of a commit; see commit.lua for the kinds."""

    kind: str
    key: str
    names: Sequence[str] = ()
    values: Sequence[str] | Sequence[bytes] = ()
    ends: int = 0
    """When the key is forgotten, in seconds since 1970; 0 for never."""


@dataclass(frozen=True)
class Commit:
    """All that one commit writes: worked out already, so that Redis has only to store it."""

    name: str
    """By which its writer knows it again."""
    tick: str
    """The tick as JSON, without its ids."""
    state: Mapping[str, str]
    """Fields of `state`."""
    writes: list[Write]
    """What becomes of the other keys."""
    states: Mapping[str, str] = field(default_factory=dict)
    """An entry for `states`; empty where nothing changed."""
    oldest: str = ""
    """The oldest id that the log keeps; "" begins the log anew."""
    people: str = ""
    """A part of the tick's JSON, `"science":12,"football":3`: the authors of what changed, where
    the script need not count them first."""
