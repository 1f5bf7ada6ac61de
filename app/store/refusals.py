"""What Redis refuses, as a sentence that names the right or the setting that is missing; pure."""

import os
import re
import ssl
from collections.abc import Mapping
from typing import Any

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from app.store import keys

FULL = "it is full, so nothing more can be counted: raise its maxmemory"
DISK = "it cannot write to its disk, so nothing more can be counted"
READ_ONLY = "it is a read only replica: REDIS_URL must name the primary"
REFUSALS = {
    r"publish to the channel": f"+publish or &{keys.TICKS}",
    r"a channel|one of the channels": f"&{keys.TICKS}",
    r"a key\b|one of the keys": f"~{keys.PREFIX}*",
    r"run the '([\w|-]+)' command": r"+\1",
    r"EXEC without MULTI": "+multi",
    r"can't run this command": "+@write",
}
"""What Redis and Valkey write, and the right that the user lacks (ACL SETUSER)."""


TLS_REFUSALS = {
    r"WRONG_VERSION|UNKNOWN_PROTOCOL|RECORD_LAYER": "it speaks no TLS: REDIS_URL must begin with "
    "redis, not rediss",
    r"ALERT_CERTIFICATE_REQUIRED|ALERT_HANDSHAKE_FAILURE": "it asks for a certificate of ours: "
    "REDIS_CERT and REDIS_KEY",
    r"ALERT_(UNKNOWN_CA|BAD_CERT|CERTIFICATE|DECRYPT)": "it does not believe the certificate in "
    "REDIS_CERT",
}
"""What OpenSSL calls the reason, and what is to be done about it."""
FEW_REPLICAS = "it has too few replicas (min-replicas-to-write), so nothing more can be counted"
MOVING = "our keys are just being moved to another node of its cluster"


class Elsewhere(ResponseError):
    """Who has our keys, or takes writes, is another one now, or soon."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def is_elsewhere(error: ResponseError) -> str:
    """Why this may not be the primary any more, where that can move; "" for another refusal."""
    if isinstance(error, MovedError):
        return "our keys have moved to another node of its cluster"
    if isinstance(error, AskError):
        return MOVING
    if isinstance(error, ReadOnlyError):
        return "what was the primary is a replica now"
    if isinstance(error, ClusterDownError):
        return "its cluster is down"
    return FEW_REPLICAS if "NOREPLICAS" in str(error) else ""


def explained(error: Exception) -> str:
    """What is missing; "" for an error of another kind. Nothing of it is what Redis wrote, but
    for a command's name."""
    text = str(error)
    if refused := tls_refusal(error):
        return refused
    if isinstance(error, Elsewhere):
        return error.why
    if isinstance(error, AskError):  # or MovedError, which is one
        return (
            "our keys are on another node of its cluster: REDIS_URL must be "
            f"redis+cluster://{error.host}:{error.port} (with TLS rediss+…), which follows them"
        )
    if isinstance(error, TryAgainError):
        return MOVING
    if isinstance(error, ClusterDownError):
        return "its cluster is down"
    if "unknown command" in text:
        sentinel = "it is a Sentinel, whose REDIS_URL is redis+sentinel://host/name (rediss+…)"
        return f"it does not know what it is asked: {sentinel}, or no Redis of 6.2 or newer"
    if "MISCONF" in text:
        return DISK
    if "NOREPLICAS" in text:
        return FEW_REPLICAS
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


def tls_refusal(error: BaseException | None) -> str:
    """Why TLS came to nothing, wherever redis-py has put it; "" for an error of another kind."""
    while error and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    if not isinstance(error, ssl.SSLError):
        return ""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.partition(",")[0]  # after the comma stands a host's name
        mend = "REDIS_CA is whose word is taken"
        if "mismatch" in why:
            mend = "REDIS_URL must name it as the certificate does"
        return f"its certificate is not believed ({why}): {mend}"
    for pattern, sentence in TLS_REFUSALS.items():
        if re.search(pattern, error.reason or ""):
            return sentence
    return ""


def readable(error: BaseException) -> str:
    """What redis-py says of it, without the tuples and lists that it quotes."""
    text = str(error) or type(error).__name__
    text = re.sub(r" : \(\d+, '(.*)'\)", r": \1", text)
    if "Connect call failed" in text and (found := re.search(r"connecting to ([^ ]*[^ .])", text)):
        numbers = dict.fromkeys(re.findall(r"Err(?:or|no) (\d+)", text))
        reasons = " and ".join(os.strerror(int(number)) for number in numbers)
        text = f"no connection to {found[1]} ({reasons})"
    return text


def evicts(about: Mapping[str, Any]) -> str:
    """Why one should not count on a Redis that says this of itself; "" for no reason.

    One that throws away what it likes when it is full takes totals, and what keeps a post from
    being counted twice.
    """
    policy = about.get("maxmemory_policy", "noeviction")
    if policy == "noeviction" or not about.get("maxmemory"):
        return ""
    return f"its maxmemory-policy is {policy}: it may throw totals away; set noeviction"


def trouble_of(about: Mapping[str, Any], may_evict: bool = False) -> str:
    """Why nothing is counted in a Redis that says this of itself (INFO); "" for no reason."""
    if not may_evict and (policy := evicts(about)):
        return policy
    most = int(about.get("maxmemory", 0))
    used = int(about.get("used_memory", 0)) - int(about.get("mem_not_counted_for_evict", 0))
    if 0 < most <= used and about.get("maxmemory_policy") == "noeviction":
        return FULL
    if "err" in (about.get("aof_last_write_status"), about.get("rdb_last_bgsave_status")):
        return DISK
    if about.get("role") == "slave":
        is_linked = about.get("master_link_status") == "up"
        why = "no ingester counts at its primary" if is_linked else "its primary is away"
        return f"it is a replica, and {why}"
    return ""
