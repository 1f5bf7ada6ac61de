"""The keys by which authors are hashed: a random one for each UTC day, destroyed after two days.

They lie in a file, so that who was counted before a restart is known again; never in Redis. Who
has Redis alone cannot find out who used a hashtag, not even by trying all authors; and when a key
is gone, nobody can.
"""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

log = logging.getLogger(__name__)

KEY_BYTES = 32
KEPT_DAYS = 2
"""The key of a day is destroyed when the day after it is over."""
LONGEST = 4096
"""Bytes of the file that are read; ours has 200."""


class DayKeys:
    """The keys of today and yesterday; without a file, of this process alone. Bound: those two, and
    one of tomorrow."""

    def __init__(
        self, file: Path | None = None, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.file, self.random = file, random
        self.keys: dict[int, bytes] = {}
        """Day since 1970 to key."""
        self.today = 0
        """The day for which they were looked after last; 0 to read the file again."""

    def begin(self, today: int) -> None:
        """It is this day: have a key for it and for the day before, and destroy all others. One of
        tomorrow was today's by a clock that went back since."""
        if today == self.today:
            return
        stored = read(self.file) if self.file else self.keys
        wanted = range(today - KEPT_DAYS + 1, today + 1)
        known = {**self.keys, **stored}
        self.keys = {day: known.get(day) or self.random(KEY_BYTES) for day in wanted}
        self.keys |= {day: key for day, key in known.items() if day == today + 1}
        self.today = today
        if self.file and self.keys != stored:
            try:
                write(self.file, self.keys)
            except OSError as error:
                log.warning(
                    "%s cannot be written (%s): after a restart, nobody can say how many authors "
                    "a hashtag had that day",
                    self.file,
                    error.strerror,
                )

    def read_again(self) -> None:
        """Another process may have changed the file."""
        self.today = 0

    def fingerprint(self, day: int) -> str:
        """What tells the key of a day from others; "" where there is none."""
        return fingerprint(self.keys[day]) if day in self.keys else ""


def fingerprint(key: bytes) -> str:
    return blake2b(b"fingerprint", key=key, digest_size=8, person=b"people").hexdigest()


def read(file: Path) -> dict[int, bytes]:
    """The keys in the file, by their days; what is none of ours counts as not there."""
    found: dict[int, bytes] = {}
    try:
        if file.stat().st_mode & 0o077:
            log.warning("%s could be read by others: it is for its owner alone now", file)
            file.chmod(0o600)
        with file.open("rb") as opened:
            lines = opened.read(LONGEST).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("%s cannot be read: %s", file, error.strerror)
        return {}
    for line in lines:
        day, _, key = line.partition(" ")
        with suppress(ValueError):
            if len(made := bytes.fromhex(key)) == KEY_BYTES:
                found[int(day)] = made
    return found


def write(file: Path, keys: dict[int, bytes]) -> None:
    """All of the file or, where that cannot be, nothing; for its owner alone. Raises OSError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as opened:
        opened.writelines(f"{day} {key.hex()}\n" for day, key in sorted(keys.items()))
        opened.flush()
        os.fsync(handle)
    new.replace(file)
