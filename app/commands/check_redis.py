"""What an owner should know of a Redis: for `python -m app check`, and for the ingester's log."""

from collections.abc import Awaitable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from app.store import keys
from app.store.posts import write_posts
from app.store.refusals import READ_ONLY, evicts, trouble_of
from app.store.state import Commit, State
from app.store.store import LeaseLost, Store, StoreLost

OLDEST_REDIS = (6, 2)
NOBODY = "the check"
"""Who writes here; no lease is ever its own."""
FAR = 2**53
"""Milliseconds: nothing is as late."""


@dataclass(frozen=True)
class Finding:
    """One sentence; `works` is False for what must be mended first, `fine` for what may be."""

    works: bool
    sentence: str
    fine: bool = True

    @property
    def mark(self) -> str:
        return "FAIL" if not self.works else "ok  " if self.fine else "WARN"


async def check_redis(store: Store, shows_posts: bool = True) -> list[Finding]:
    """Rights, room, version, persistence and eviction; a Redis that hides its settings is taken
    at its word."""
    try:
        await store.load()  # refuses the data of another version
    except StoreLost as lost:
        return [Finding(False, str(lost))]
    found = [Finding(False, sentence) for sentence in await refusals(store, shows_posts)]
    try:
        about = await store.about()
    except StoreLost as lost:
        return [*found, Finding(True, str(lost), fine=False)]
    version = str(about.get("redis_version", "?"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST_REDIS:
        found.append(Finding(False, f"Redis: version {version} is too old, 6.2 is needed."))
    else:
        found.append(Finding(True, f"Redis: version {version} answers."))
    if trouble := trouble_told(about, store.may_evict):
        found = [each for each in found if trouble.partition(",")[0] not in each.sentence]
        found.append(Finding(False, f"Redis: {trouble}."))
    return [*found, *eviction(store, about), *replication(about), await persistence(store, about)]


def trouble_told(about: Mapping[str, Any], may_evict: bool) -> str:
    """What this Redis says of itself that is in the way; "" for nothing."""
    if about.get("role") not in (None, "master"):
        return f"{READ_ONLY}, unless only pages are served"
    return trouble_of(about, may_evict)


async def refusals(store: Store, shows_posts: bool) -> list[str]:
    """What this Redis does not let us do, of all that ingester and page ask of it; each is asked
    so that nothing is changed."""
    asked: list[Awaitable[Any]] = [
        # it follows on no commit that there is, so that nothing is stored
        store.commit(State(version="none"), Commit("check", "{}", {}, []), NOBODY),
        followed(store),
        store.bound_lease(FAR / 1000),
        store.give_lease(NOBODY),
        store.scan(keys.totals("check"), 0, 1),
        store.lengths([keys.totals("check")]),
        store.members([keys.seen("check", 0)]),
        store.states_since(FAR),
        store.text(keys.POPULAR),
    ]
    if shows_posts:  # nothing is to be forgotten where nothing is
        asked.append(write_posts(store, NOBODY, [], [], 0, anew=False, key=f"{keys.POSTS}:check"))
    found = []
    for each in asked:
        try:
            await each
        except LeaseLost:
            pass  # an ingester is at work
        except StoreLost as lost:
            found.append(str(lost))
    return list(dict.fromkeys(found))


async def followed(store: Store) -> None:
    """Subscribe, and leave again."""
    async with aclosing(store.follow("", silence=1.0)) as ticks:  # type: ignore[type-var]
        async for _ in ticks:
            return


async def redis_warnings(store: Store) -> list[str]:
    """What this Redis may do to the totals: throw them away, or forget them in a failover or a
    restart."""
    try:
        about = await store.about()
    except StoreLost:
        return []
    found = [*eviction(store, about), *replication(about), await persistence(store, about)]
    return [finding.sentence for finding in found if not finding.fine]


def eviction(store: Store, about: Mapping[str, Any]) -> list[Finding]:
    """What the server does when it is full; nothing of one on which we do not count."""
    policy = str(about.get("maxmemory_policy", "noeviction"))
    if evicts(about) and not store.may_evict:
        return []
    if policy == "noeviction":
        return [Finding(True, "Redis: maxmemory-policy is noeviction: it throws no totals away.")]
    if not about.get("maxmemory"):
        return [Finding(True, "Redis: it has no maxmemory, so it throws no totals away.")]
    text = f"Redis: maxmemory-policy is {policy}, as ALLOW_EVICTION allows: totals may be wrong."
    return [Finding(True, text, fine=False)]


def replication(about: Mapping[str, Any]) -> list[Finding]:
    """Whether a primary goes on alone when it is cut off from who may take its place; nothing of
    a server that has no replicas.

    INFO says how many are near enough only where some must be (both min-replicas settings).
    """
    replicas = int(about.get("connected_slaves", 0))
    if about.get("role") != "master" or not replicas:
        return []
    if "min_slaves_good_slaves" in about:
        return [Finding(True, "Redis: it takes nothing without a replica (min-replicas-to-write).")]
    have = "a replica" if replicas == 1 else f"{replicas} replicas"
    text = (
        f"Redis: it has {have}, and min-replicas-to-write is 0: cut off from them it goes on taking"
    )
    return [Finding(True, f"{text} commits that a failover throws away.", fine=False)]


async def persistence(store: Store, about: Mapping[str, Any]) -> Finding:
    if about.get("aof_enabled"):
        sync = await store.server_setting("appendfsync")
        if sync == "no":
            text = "Redis: appendfsync is no: a power cut forgets what was not yet on disk."
            return Finding(True, text, fine=False)
        return Finding(True, f"Redis: appendonly is on, appendfsync is {sync or 'not told'}.")
    saves = await store.server_setting("save")
    if saves is None:
        return Finding(True, "Redis: it does not tell whether it keeps totals on disk.")
    if not saves:
        text = "Redis: it keeps nothing on disk: a restart of it forgets the totals."
    else:
        text = "Redis: without appendonly a crash of it forgets minutes; set appendonly yes."
    return Finding(True, text, fine=False)
