"""`python -m app check`: what an owner runs before going live. Each finding is one sentence."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.ingest.day_keys import fingerprint
from app.ingest.day_keys import read as read_keys
from app.messages import DAY, MinuteCount, Post
from app.settings import Settings, place, showable, unknown_names
from app.sources import Source, SourceLost, pick
from app.store import embedded, keys
from app.store.posts import may_look_up, write_posts
from app.store.refusals import READ_ONLY, evicts, trouble_of
from app.store.state import SEVERAL, Commit, State
from app.store.store import LeaseLost, Store, StoreLost
from app.web.bluesky_posts import PACE_MILLISECONDS, Lookups, NoAnswer, read_answer

FIRST_POSTS_SECONDS = 10.0
OLDEST_REDIS = (6, 2)
NOBODYS_POST = "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/aaaaaaaaaaaaa"
"""Of the right form; who is asked for it answers that there is none."""
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


async def check(
    settings: Settings,
    store: Store,
    picked: Callable[[str], Source],
    seconds: float = FIRST_POSTS_SECONDS,
) -> AsyncIterator[Finding]:
    """Every finding, as it is made: where all is, what in `.env` is no setting, Redis, then each
    source in turn.

    picked: makes a source that is only to be looked at, by its name.
    """
    yield Finding(True, f"Settings: {place()}. Data: {embedded.place(settings)}.")
    for sentence in unknown_names():
        yield Finding(True, sentence, fine=False)
    for finding in await check_redis(store, settings.show_posts):
        yield finding
    if said := await check_people(settings.people_keys, store):
        yield said
    for name in settings.sources:
        yield await check_source(picked(name), seconds)
        if cost := pick(name, settings).price():
            yield Finding(True, cost)
    if settings.show_posts and "bluesky" in settings.sources:
        yield await check_lookups(settings.bluesky_api_url, store)


async def check_source(source: Source, seconds: float) -> Finding:
    """Connect, and see what comes in the first seconds."""
    posts = 0

    async def read() -> None:
        nonlocal posts
        async with aclosing(source.posts(source.first_look())) as stream:  # type: ignore[type-var]
            async for message in stream:
                if isinstance(message, MinuteCount):
                    posts += message.posts
                posts += isinstance(message, Post)

    try:
        async with asyncio.timeout(seconds):
            await read()
    except TimeoutError:
        pass
    except SourceLost as lost:
        return Finding(False, f"{source.name}: {str(lost).rstrip('.')}.")
    if source.state == "connecting":
        return Finding(False, f"{source.name}: no connection within {seconds:g} s.")
    word = "post" if posts == 1 else "posts"
    return Finding(True, f"{source.name}: {source.state}, {posts} {word} within {seconds:g} s.")


async def check_lookups(url: str, store: Store) -> Finding:
    """Whether posts of Bluesky can be looked up; without that they alone are not shown."""
    lookups, where = Lookups(url), showable(url)
    try:
        if wait := await may_look_up(store, PACE_MILLISECONDS):
            await asyncio.sleep(min(wait, 2 * PACE_MILLISECONDS) / 1000)
        read_answer(await lookups.get([NOBODYS_POST]) or b"")
    except (NoAnswer, StoreLost) as trouble:
        text = f"bluesky: posts cannot be looked up at {where}: {str(trouble).rstrip('.')}."
        return Finding(True, text, fine=False)
    finally:
        await lookups.close()
    return Finding(True, f"bluesky: posts can be looked up at {where}.")


SAME_FILE = "Give all ingesters of this Redis the same PEOPLE_KEY_FILE."


async def check_people(file: Path, store: Store) -> Finding | None:
    """Whether authors are counted by the key of today that is in the file; None where nobody has
    counted any today, and where Redis cannot be read."""
    try:
        state = await store.load()
    except StoreLost:
        return None
    today = state.time // DAY
    counted = state.people.get(today)
    if counted is None:
        return None
    if counted == SEVERAL:
        text = "People: two ingesters had different keys: today's authors are counted no more."
        return Finding(True, f"{text} {SAME_FILE}", fine=False)
    key = read_keys(file).get(today)
    if not key or fingerprint(key) != counted:
        text = f"People: today's authors are counted by another key than that in {file}:"
        return Finding(True, f"{text} an ingester here would end that. {SAME_FILE}", fine=False)
    return Finding(True, f"People: authors are counted by the key in {file}.")


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
