"""Totals of the past as a page asks for them: steps of a range, points, gaps; pure, but that
others get a turn between the hashtags of an answer.

What the points are made of comes from Redis (app/store/past.py) or, for the last 15 minutes,
from the feed. All times are milliseconds since 1970.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import groupby, islice
from operator import or_
from typing import Any

import msgspec

from app.messages import DAY, HOUR, MINUTE, BySource, SourceState
from app.store.keys import DAY_DAYS, KEPT_HOURS
from app.store.past import HashtagPast, Running
from app.store.source_log import SourceLog
from app.store.spans import Spans, joined, without
from app.web.gaps import (
    SHORTEST,
    Gap,
    clipped,
    gap_of,
    is_pause,
    outages,
    spells_of,
)

MOST_POINTS = 600
ROWS_AT_ONCE = 50
"""Of a table, that are written in one go; each may have 100 columns and more."""
RANGES = {
    "15m": (900, 500),
    "1h": (3_600, MINUTE),
    "24h": (86_400, MINUTE),
    "7d": (7 * 86_400, MINUTE),
    "30d": (30 * 86_400, HOUR),
}
"""Seconds, and of how many milliseconds a step is a multiple."""
OLDEST = DAY_DAYS * DAY
"""Milliseconds: of nothing before is anything kept."""


Points = list[tuple[int, int | None]]
"""A time, and the running total then; None where nothing is known to have been counted."""
Answer = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """The steps of a range, the last of which has the present moment in it, or of a time of the
    past: whole ones."""

    span: str
    """Empty for a time of the past."""
    begin: int
    """Of the first step, milliseconds since 1970."""
    end: int
    """Of the last step, likewise; it may be in the future."""
    step: int
    """How long each is, in milliseconds."""
    now: int
    """Milliseconds since 1970, by Redis's clock."""
    by_hours: bool = False
    """Whether hours will do: only they are kept for so long."""

    @classmethod
    def of(cls, span: str, now: int) -> "Grid":
        seconds, smallest = RANGES[span]
        least = -(-seconds * 1000 // MOST_POINTS)
        step = -(-least // smallest) * smallest
        end = -(-now // step) * step
        begin = end - -(-seconds * 1000 // step) * step
        return cls(span, begin, end, step, now, smallest == HOUR)

    @classmethod
    def between(cls, begin: int, until: int, now: int) -> "Grid":
        """All that a time of the past touches; by the minute, where minutes are kept. One that ends
        in the future, however far, ends now: longer steps would begin before all that is kept."""
        until = min(until, now)
        by_hours = begin < now - KEPT_HOURS * HOUR
        smallest = HOUR if by_hours else MINUTE
        least = -(-(until - begin) // (MOST_POINTS - 2))  # it may touch two more at its ends
        step = -(-least // smallest) * smallest
        end = -(-until // step) * step
        return cls("", begin // step * step, end, step, now, by_hours)

    @property
    def steps(self) -> range:
        """When each step begins."""
        return range(self.begin, self.end, self.step)

    @cached_property
    def times(self) -> list[int]:
        """Of the points; the last step is not over: its point is of now."""
        return [*range(self.begin + self.step, self.end, self.step), self.until]

    @property
    def until(self) -> int:
        """When it is over, or now."""
        return min(self.end, self.now)

    @property
    def all(self) -> int:
        """Every step."""
        return (1 << len(self.steps)) - 1

    def touched(self, spans: Spans) -> int:
        """Which of the steps have a part of that time in them; a bit of each, the first lowest."""
        found, steps = 0, len(self.steps)
        for begin, end in spans:
            first = min(max(0, (begin - self.begin) // self.step), steps)
            last = min(max(first, -(-(end - self.begin) // self.step)), steps)
            found |= (1 << last) - (1 << first)
        return found

    def filled(self, spans: Spans) -> int:
        """Which of the steps are all within that time, as bits."""
        return self.all & ~self.touched(without([(self.begin, self.end)], spans))

    def runs(self, steps: int) -> Spans:
        """The time of the steps that these bits are of."""
        found, at = Spans(), 0
        while steps:
            begin = at + lowest(steps)
            steps >>= begin - at
            at = begin + lowest(~steps)
            steps >>= at - begin
            found.append((self.begin + begin * self.step, self.begin + at * self.step))
        return found

    def values(self, before: int, changes: Sequence[tuple[int, int]]) -> list[int]:
        """The total at the end of each step; what comes later, by another clock, is in the last."""
        found, total, last = list[int](), before, len(self.steps) - 1
        for at, later in changes:
            step = min(max(0, (at - self.begin) // self.step), last)
            found += [total] * (step - len(found))
            total = later
        return found + [total] * (last + 1 - len(found))

    def points(self, values: Iterable[int], known: int) -> Points:
        if known == self.all:
            return list(zip(self.times, values, strict=True))
        bits = f"{known:0{len(self.steps)}b}"[::-1]
        pairs = zip(self.times, values, bits, strict=True)
        return [(at, total if bit == "1" else None) for at, total, bit in pairs]


def lowest(bits: int) -> int:
    """The place of the lowest one that is set."""
    return (bits & -bits).bit_length() - 1


class GridLine:
    """One hashtag on the grid."""

    def __init__(self, grid: Grid, past: HashtagPast) -> None:
        self.grid = grid
        self.known = {name: grid.touched(of.counted) for name, of in past.sources.items()}
        """In which steps each source is known, as bits."""
        self.values = {n: grid.values(of.before, of.changes) for n, of in past.sources.items()}
        self.any = reduce(or_, self.known.values(), 0)
        """In which steps anything is known."""
        self.lost = grid.touched(past.lost) & ~self.any
        """In which steps it was counted, but is not kept."""

    def points(self) -> Points:
        sums = map(sum, zip(*self.values.values(), strict=True))
        return self.grid.points(sums if self.values else [0] * len(self.grid.steps), self.any)

    def by_source(self) -> dict[str, Points]:
        return {
            name: self.grid.points(values, self.known[name]) for name, values in self.values.items()
        }


async def long_answer(
    grid: Grid,
    pasts: Mapping[str, HashtagPast],
    seen: SourceLog,
    newest: Mapping[str, SourceState],
    by_source: bool,
) -> Answer:
    """The answer to /api/history for a range that lies in Redis.

    seen: what the sources did, and since when; newest: what they do now.
    """
    lines: dict[str, GridLine] = {}
    for tag, past in pasts.items():
        lines[tag] = GridLine(grid, past)
        await asyncio.sleep(0)
    asked = {name for past in pasts.values() for name in past.sources}
    told = [*seen, (max(grid.now, *(at for at, _ in seen[-1:]), grid.begin), dict(newest))]
    of_asked = [
        (at, {name: state for name, state in sources.items() if name in asked})
        for at, sources in told
    ]
    out = clipped(outages(spells_of(of_asked)), grid.begin, grid.until)
    began = is_begun(grid, pasts, seen)
    gaps = [
        *out,
        *nobody(grid, lines.values(), out, began),
        *lost_gaps(grid, lines),
        *partly(grid, lines.values(), of_asked),
    ]
    begin_exactly(gaps, grid, pasts)
    return answer(grid, await series_of(lines, by_source), gaps)


def begin_exactly(gaps: Iterable[Gap], grid: Grid, pasts: Mapping[str, HashtagPast]) -> None:
    """Let what was before all counting end when that began, not where a step does: it is told of
    every range, and is one moment."""
    of_all = (of for past in pasts.values() for of in past.sources.values())
    first = min((begin for of in of_all for begin, _ in of.counted), default=grid.begin)
    for gap in gaps:
        if gap.get("kind") == "start":
            gap["to"] = min(max(gap["to"], first), grid.until)


async def series_of(lines: Mapping[str, GridLine], by_source: bool) -> dict[str, Any]:
    series: dict[str, Any] = {}
    for tag, line in lines.items():
        await asyncio.sleep(0)
        series[tag] = line.by_source() if by_source else line.points()
    return series


def answer(grid: Grid, series: Mapping[str, Any], gaps: Iterable[Gap]) -> Answer:
    return ({"range": grid.span} if grid.span else {}) | {
        "step": grid.step,
        "at": grid.now,
        "series": dict(series),
        "gaps": sorted(gaps, key=lambda gap: int(gap["from"])),
    }


def is_begun(grid: Grid, pasts: Mapping[str, HashtagPast], seen: SourceLog) -> bool:
    """Whether any of these was counted before the range already."""
    lines = [line for past in pasts.values() for line in past.sources.values()]
    before = seen[0][1] if seen and seen[0][0] <= grid.begin else {}
    return any(line.before for line in lines) or any(
        name in before and before[name].complete for past in pasts.values() for name in past.sources
    )


def nobody(grid: Grid, lines: Iterable[GridLine], out: Iterable[Gap], has_begun: bool) -> list[Gap]:
    """The time in which nothing was counted, as far as no source's trouble explains it: one
    that is counted later makes no gap of what was."""
    alive = reduce(or_, (line.any | line.lost for line in lines), 0)
    begun = 0 if has_begun else lowest(alive) if alive else len(grid.steps)
    started = grid.begin + begun * grid.step
    dead = grid.runs(grid.all & ~alive)
    if dead and grid.end >= grid.now and dead[-1] == (grid.end - grid.step, grid.end):
        dead.pop()  # the step that has just begun
    explained = joined((gap["from"], gap["to"]) for gap in out if gap["all"])
    return [
        gap_of("start" if end <= started else "ingester", begin, min(end, grid.until))
        for begin, end in without(dead, explained)
        if end - begin >= SHORTEST
    ]


def lost_gaps(grid: Grid, lines: Mapping[str, GridLine]) -> list[Gap]:
    """What is not kept any more; with the hashtags, where it is not so for all."""
    tags_of: dict[tuple[int, int], list[str]] = {}
    for tag, line in lines.items():
        for span in grid.runs(line.lost):
            tags_of.setdefault(span, []).append(tag)
    return [
        gap_of("kept", begin, end) | ({"tags": tags} if len(tags) < len(lines) else {})
        for (begin, end), tags in tags_of.items()
    ]


def partly(grid: Grid, lines: Iterable[GridLine], seen: SourceLog) -> list[Gap]:
    """When some sources were counted and others were not, although they worked: those that are
    known went back later to what the ingester had missed."""
    known: dict[str, int] = {}
    for line in lines:
        for name, steps in line.known.items():
            known[name] = known.get(name, 0) | steps
    lacks = 0
    for name, steps in known.items():
        lacks |= grid.filled(when_worked(name, seen)) & ~steps
    lacks &= reduce(or_, known.values(), 0) & (grid.all >> 1)  # the last one has just begun

    def counted(at: int) -> str:
        step = (at - grid.begin) // grid.step
        return " and ".join(name for name, steps in known.items() if steps >> step & 1)

    found: list[Gap] = []
    for begin, end in grid.runs(lacks):
        for names, stretch in groupby(range(begin, end, grid.step), key=counted):
            times = list(stretch)
            why = f"only {names} was counted"
            until = times[-1] + grid.step
            found.append({"from": times[0], "to": until, "reason": why, "all": False})
    return found


def when_worked(name: str, seen: SourceLog) -> Spans:
    return joined(
        (spell.begin, spell.end)
        for spell in spells_of(seen)
        if name in spell.sources and spell.sources[name].works
    )


async def short_answer(
    grid: Grid,
    points: Mapping[str, Sequence[tuple[int, BySource]]],
    told: Sequence[Gap],
    newest: int,
    seconds: float,
    by_source: bool,
) -> Answer:
    """The answer for the last 15 minutes, from what the feed knows.

    points: of each hashtag the totals where the log begins, then each change; told: the gaps up
    to the newest tick, which was at `newest` and lasts so many seconds.
    """
    begin = min((line[0][0] for line in points.values() if line), default=grid.end)
    gaps = list(told)
    if begin - grid.begin >= SHORTEST and not any(gap["kind"] == "kept" for gap in told):
        gaps.append(gap_of("start", grid.begin, begin))
    if is_pause(newest, grid.now, seconds):
        gaps.append(gap_of("ingester", newest, grid.now))
    dead = joined((gap["from"], gap["to"]) for gap in gaps if gap["all"])
    alive, lines = without([(begin, grid.end)], dead), dict[str, GridLine]()
    for tag, line in points.items():
        await asyncio.sleep(0)
        lines[tag] = GridLine(grid, HashtagPast(of_sources(line, alive), []))
    return answer(grid, await series_of(lines, by_source), gaps)


def of_sources(line: Sequence[tuple[int, BySource]], counted: Spans) -> dict[str, Running]:
    found = {}
    for name in line[-1][1] if line else ():
        changes = [(at, totals.get(name, 0)) for at, totals in line]
        found[name] = Running(changes[0][1], changes, counted)
    return found


async def as_json(told: Answer) -> bytes:
    """The answer as it is sent, each hashtag's line encoded in a turn of its own."""
    series = {}
    for tag, line in told["series"].items():
        series[tag] = msgspec.Raw(msgspec.json.encode(line))
        await asyncio.sleep(0)
    whole = {**told, "series": series}
    return msgspec.json.encode(whole, enc_hook=str) + b"\n"  # a Typed hashtag is a text, too


async def as_csv(told: Answer) -> bytes:
    """The series as a table: a row for each time, a column for each hashtag (and source)."""
    columns: dict[str, Points] = {}
    for tag, line in told["series"].items():
        named = line if isinstance(line, dict) else {"": line}
        columns |= {f"{tag}/{name}" if name else tag: points for name, points in named.items()}
    rows, written = zip(*columns.values(), strict=True), [",".join(["time", *columns])]
    while page := [row_of(line) for line in islice(rows, ROWS_AT_ONCE)]:
        written += page
        await asyncio.sleep(0)
    return "\r\n".join([*written, ""]).encode()


def row_of(line: Sequence[tuple[int, int | None]]) -> str:
    totals = ("" if total is None else str(total) for _, total in line)
    return ",".join([str(line[0][0]), *totals])
