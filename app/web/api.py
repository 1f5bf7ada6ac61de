"""The JSON: counts, the past, completion of hashtags, and how the process is."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Container, Sequence
from functools import lru_cache
from itertools import islice

import msgspec
from msgspec.json import encode
from quart import Quart, Response, request

from app.hashtags import LONGEST, MARKS, NotAHashtag, key, typed
from app.sentences import Sentence
from app.settings import Settings
from app.store import keys
from app.store.past import read_past
from app.store.store import Store, StoreLost
from app.web.about import about
from app.web.alerts import atom
from app.web.answers import Refused, check_is_counted, json, one_of, respond, selected
from app.web.bodies import Body, Kept, packed, respond_with
from app.web.feed import BEGAN_ANEW, Feed
from app.web.history import OLDEST, RANGES, Answer, Grid, as_csv, as_json, long_answer, short_answer
from app.web.ticks import Head
from app.web.usual_band import bands

log = logging.getLogger(__name__)

COMPLETED = 20
"""Hashtags that one answer completes to."""
POPULAR_SECONDS = 5.0
"""For so long, what Redis said is most used is not asked again."""


def add_api(app: Quart, settings: Settings, feed: Feed) -> None:
    add_health(app, feed)
    add_history(app, settings, feed)
    add_hashtags(app, settings, feed)

    @app.get("/api/counts")
    async def counts() -> Response:
        tags, by_source = selected(request.args, settings, feed)
        newest_head(feed)
        fanout = await feed.fanout(tags, by_source)
        head = newest_head(feed)
        about = {
            "names": fanout.names(),
            "sources": {name: each.state for name, each in head.sources.items()},
            "details": {
                name: {"since": each.since, "reason": each.reason}
                for name, each in head.sources.items()
            },
        }
        found = {"counts": fanout.totals(), "people": fanout.people()}
        return await json({"at": head.at, **found, **about})


def add_history(app: Quart, settings: Settings, feed: Feed) -> None:
    kept = Kept()

    @app.get("/api/history")
    async def history() -> Response:
        tags, by_source = selected(request.args, settings, feed)
        span, between = one_of(request.args, "range", *RANGES), asked_time(feed.time())
        form = one_of(request.args, "format", "json", "csv")
        has_band = one_of(request.args, "band", "0", "1") == "1"
        if has_band and form == "csv":
            why = Sentence("band=1 is for format=json: a table has no place for it.")
            raise Refused(400, why)

        async def make() -> Body:
            now = feed.time()
            grid = Grid.between(*between, now) if between else Grid.of(span, now)
            told = await past(feed, settings, tags, grid, by_source)
            if has_band:
                store = opened(feed)
                told["usual"] = await bands(store, tags, grid, await feed.networks(store))
            if form == "csv":
                return await packed("text/csv; charset=utf-8", await as_csv(told))
            return await packed("application/json; charset=utf-8", await as_json(told))

        asked = tags, by_source, span, between, form, has_band
        body = await kept.get(asked, lambda: moment(feed), make)
        return respond_with(body, "no-store")


def moment(feed: Feed) -> tuple[str, int]:
    """Until when an answer is right: the next tick, and where there is none, a second."""
    return feed.newest.id if feed.newest else "", feed.time() // 1000


def add_hashtags(app: Quart, settings: Settings, feed: Feed) -> None:
    """Which hashtags there are: completion, one of them, the board, and alerts."""
    popular, kept = Completion(), Kept()

    @app.get("/api/hashtags")
    async def completion() -> Response:
        prefix = typed_prefix(request.args.get("q", ""))
        found = await popular.read(opened(feed))
        return await json({"hashtags": completed(found, prefix, settings.blocked_hashtags)})

    @app.get("/api/hashtags/<name>")
    async def hashtag(name: str) -> Response:
        tag = typed_tag(name)
        check_is_counted(tag, settings, feed)

        async def make() -> Body:
            told = await about(feed, opened(feed), tag)
            return await packed("application/json; charset=utf-8", encode(told) + b"\n")

        return respond_with(await kept.get(tag, lambda: moment(feed), make), "no-store")

    @app.get("/alerts.atom")
    async def alerts() -> Response:
        known = await feed.alerts.newest(opened(feed), feed.clock())
        headers = {"Content-Type": "application/atom+xml; charset=utf-8"}
        headers["Cache-Control"] = "public, max-age=60"
        return await respond(atom(known.last, feed.time()), 200, headers)

    @app.get("/api/board")
    async def board() -> Response:
        whole = one_of(request.args, "all", "0", "1") == "1"
        if not (newest := await feed.newest_board.read(opened(feed))):
            why = Sentence("There is no board yet: the ingester makes one every few seconds.")
            raise Refused(503, why)
        return await json(newest.answer(whole))


def add_health(app: Quart, feed: Feed) -> None:
    @app.get("/healthz")
    async def health() -> Response:
        return await json({"ok": True, "now": feed.time()})

    @app.get("/readyz")
    async def ready() -> Response:
        if why := feed.why_not_ready():
            raise Refused(503, why)
        return await json({"ok": True})


def asked_time(now: int) -> tuple[int, int] | None:
    """The time of the past that a query asks for, in place of a range."""
    words = [request.args.get(name, "") for name in ("from", "to")]
    if not any(words):
        return None
    if "range" in request.args:
        raise Refused(400, Sentence("Either range, or from and to."))
    if not all(re.fullmatch("[0-9]{1,15}", word) for word in words):
        why = Sentence("from and to: expected two times, in milliseconds since 1970.")
        raise Refused(400, why)
    begin, until = map(int, words)
    if not begin < min(until, now):
        raise Refused(400, Sentence("from is not before to, or not in the past."))
    if begin < now - OLDEST:
        why = Sentence("from: nothing is kept for more than {days} days.", days=keys.DAY_DAYS)
        raise Refused(400, why)
    return begin, until


def opened(feed: Feed) -> Store:
    if not feed.store:
        raise Refused(503, feed.why_not_ready())
    return feed.store


def newest_head(feed: Feed) -> Head:
    if not (present := feed.present):
        raise Refused(503, feed.why_not_ready() or BEGAN_ANEW)
    return present


async def past(
    feed: Feed, settings: Settings, tags: Sequence[str], grid: Grid, by_source: bool
) -> Answer:
    """The answer to /api/history. Raises StoreLost."""
    if grid.span == "15m":
        newest_head(feed)
        fanout = await feed.fanout(tags, by_source)  # the feed knows the totals while we have it
        begun, points = feed.begun, {}
        for tag in tags:
            points[tag] = feed.points(tag, grid.begin)
            await asyncio.sleep(0)  # it has thousands
        if feed.begun != begun:
            raise StoreLost(BEGAN_ANEW)
        del fanout
        head = newest_head(feed)
        gaps = feed.gaps(grid.begin, grid.now)
        return await short_answer(grid, points, gaps, head.at, head.seconds, by_source)
    sources = feed.newest.sources if feed.newest else {}
    store = opened(feed)
    pasts, seen = await read_past(
        store,
        tags,
        grid.begin,
        grid.now,
        by_hours=grid.by_hours,
        networks=await feed.networks(store),
        newest=sources,
        tracked=settings.hashtags,
        step=grid.step,
    )
    if not grid.span:
        pasts = {tag: of.until(grid.end) for tag, of in pasts.items()}
    return await long_answer(grid, pasts, seen, sources, by_source)


def typed_prefix(text: str) -> str:
    """The key of what a person has typed so far of a hashtag; "" where that is nothing.

    Raises Refused with a sentence.
    """
    body = text.strip()
    body = body[1:] if body[:1] and body[0] in MARKS else body
    is_year = body.isdecimal() and len(body) <= LONGEST
    if not body or is_year:  # 2026 is no hashtag yet, but may become #2026worldcup
        return key(body)
    return typed_tag(text)


def typed_tag(text: str) -> str:
    """The key of a hashtag that a person typed. Raises Refused with a sentence."""
    try:
        return str(typed(text))
    except NotAHashtag as error:
        raise Refused(400, error.args[0]) from error


Used = tuple[str, str, int]
"""A hashtag's key, the spelling that most posts have, and how many posts."""
read_popular = msgspec.json.Decoder(list[Used]).decode


class Completion:
    """The most used hashtags of the last day, as the ingester writes them now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.due = clock, float("-inf")
        self.found: list[Used] = []
        """At most keys.POPULAR_MOST, the most used first."""

    async def read(self, store: Store) -> list[Used]:
        """Raises StoreLost."""
        if self.clock() >= self.due:
            text = await store.text(keys.POPULAR)
            self.due = self.clock() + POPULAR_SECONDS
            try:
                self.found = read_popular(text) if text else []
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                log.warning("the Redis key %s is not what we write: %s", keys.POPULAR, error)
                self.found = []
        return self.found


def completed(
    popular: Sequence[Used], prefix: str, blocked: Container[str] = ()
) -> list[dict[str, str | int]]:
    """Those that begin so and that tags= takes, at most 20, the most used first."""
    begun = (used for used in popular if used[0].startswith(prefix) and used[0] not in blocked)
    found = (used for used in begun if can_be_typed(used[0]))
    return [
        {"tag": tag, "name": name, "posts": posts} for tag, name, posts in islice(found, COMPLETED)
    ]


@lru_cache(maxsize=2 * keys.POPULAR_MOST)
def can_be_typed(tag: str) -> bool:
    """Whether a hashtag can be asked for: networks have some with spaces or commas in them."""
    try:
        return typed(tag) == tag
    except NotAHashtag:
        return False
