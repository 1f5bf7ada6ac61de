"""What Redis refuses, as a sentence that names the right or the setting that is missing; pure."""

import re
from collections.abc import Mapping
from typing import Any

from redis.exceptions import AuthenticationError, OutOfMemoryError, ReadOnlyError

from app.store import keys

FULL = "it is full, so nothing more can be counted: raise its maxmemory"
READ_ONLY = "it is a read only replica: REDIS_URL must name the primary"
REFUSALS = {
    r"publish to the channel": f"+publish or &{keys.TICKS}",
    r"a channel|one of the channels": f"&{keys.TICKS}",
    r"a key\b|one of the keys": f"~{keys.PREFIX}*",
    r"run the '([\w|-]+)' command": r"+\1",
    r"can't run this command": "+@write",
}
"""What Redis and Valkey write, and the right that the user lacks (ACL SETUSER)."""


def explained(error: Exception) -> str:
    """What is missing; "" for an error of another kind. Nothing of it is what Redis wrote, but
    for a command's name."""
    text = str(error)
    if isinstance(error, AuthenticationError):
        wrong = "invalid" in text or "WRONGPASS" in text
        return f"{'it does not take' if wrong else 'it asks for'} the password of REDIS_URL"
    if isinstance(error, ReadOnlyError):
        return READ_ONLY
    if isinstance(error, OutOfMemoryError):
        return FULL
    for pattern, right in REFUSALS.items():
        if found := re.search(pattern, text):
            return f"its user lacks the right {found.expand(right)} (see ACL SETUSER)"
    return ""


def trouble_of(about: Mapping[str, Any]) -> str:
    """Why nothing can be counted in a Redis that says this of itself (INFO); "" for no reason."""
    most = int(about.get("maxmemory", 0))
    used = int(about.get("used_memory", 0)) - int(about.get("mem_not_counted_for_evict", 0))
    if 0 < most <= used and about.get("maxmemory_policy") == "noeviction":
        return FULL
    if about.get("role") == "slave" and about.get("master_link_status") != "up":
        return "it is a replica, and its primary is away"
    return ""
