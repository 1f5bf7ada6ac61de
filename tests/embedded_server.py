"""A look from outside at the embedded server in ./data of the current folder."""

import fcntl
from pathlib import Path
from typing import Any

import redis

from app.store import keys


def ask(*command: str) -> Any:
    """What the embedded server in ./data answers; nothing where none does."""
    try:
        with redis.Redis(unix_socket_path="data/redis.sock") as client:
            return client.execute_command(*command)
    except redis.RedisError:
        return None


def total(source: str, tag: str = "science") -> int:
    """How many posts of a source are counted under a hashtag."""
    value = ask("HGET", keys.totals(source), tag)
    return keys.read_posts(value)[0] if value else 0


def server_process() -> int:
    found = ask("INFO", "server")
    return int(found["process_id"]) if found else 0


def alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "\nState:\tZ" not in status


def lock_is_free() -> bool:
    with Path("data/lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
