"""Totals of the past: of 15 minutes from the shared log, of days and months from Redis.

commit.lua keeps, for every tracked hashtag, the total at the end of each minute for 8 days
and of each hour for 400: a minute is a slot of 8 bytes in a string that holds a day, an
hour one in a string that holds 30 days, and a slot without a tick is zero. That is 9 strings
of 11.5 KB and 15 of 5.8 KB, which Redis gives up to twice the room: less than 400 KB for a
hashtag, after more than a year.
"""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from app.messages import Tick, parse_id
from app.store import STATES, Store, store_lost

MOST_POINTS = 600
REASONS = {"start": "not counted yet", "ingester": "ingester was down"}
WORKING = frozenset({"live", "polling"})
SHORTEST_GAP = 5_000
"""Milliseconds; a source that is back sooner has no gap that anybody could see."""

Points = list[tuple[int, int | None]]
"""Milliseconds since 1970, and the running total then; None where nothing was counted."""
Gap = dict[str, Any]
"""{"from": milliseconds, "to": milliseconds, "reason": text, "all": whether no source worked,
"kind": "start" before all counting, "ingester" when that was down, "sources" when those were;
then also "sources": {name: {"state": text, "reason": text}}}"""


@dataclass(frozen=True)
class Slots:
    """One kind of slot: its seconds, how many a string holds, and the string's name."""

    seconds: int
    in_string: int
    name: str


MINUTES, HOURS = Slots(60, 1440, "minutes"), Slots(3600, 720, "hours")
RANGES = {
    "15m": (900, None),
    "1h": (3_600, MINUTES),
    "24h": (86_400, MINUTES),
    "7d": (7 * 86_400, MINUTES),
    "30d": (30 * 86_400, HOURS),
}


async def past(
    store: Store, ticks: Sequence[Tick], tags: Sequence[str], span: str, now: int
) -> dict[str, Any]:
    """The answer to /api/history; `now` in milliseconds since 1970. Raises StoreLost."""
    seconds, slots = RANGES[span]
    step = step_of(seconds, slots)
    end = -(-now // step) * step
    begin = end - -(-seconds * 1000 // step) * step
    raw = {
        tag: await stored(store, tag, slots, begin, end) if slots else logged(ticks, tag, begin)
        for tag in tags
    }
    if slots and ticks:  # the hours in Redis may be a minute behind
        told = parse_id(ticks[-1].id)[0] // 1000 // slots.seconds * slots.seconds * 1000
        for tag in tags:
            raw[tag][told] = ticks[-1].counts.get(tag, 0)
    outages = await source_gaps(store, tags, begin, now)
    series = {tag: points(line, begin, end, step, outages) for tag, line in raw.items()}
    silent = missing(together(series.values()), step, outages)
    return {
        "range": span,
        "step": step,
        "at": now,
        "series": {tag: cut_to(line, now) for tag, line in series.items()},
        "gaps": sorted(outages + silent, key=lambda gap: int(gap["from"])),
    }


def step_of(seconds: int, slots: Slots | None) -> int:
    """Milliseconds from one point to the next: whole slots, and at most 600 points."""
    smallest = slots.seconds * 1000 if slots else 500
    least = -(-seconds * 1000 // MOST_POINTS)
    return -(-least // smallest) * smallest


def logged(ticks: Iterable[Tick], tag: str, begin: int) -> dict[int, int]:
    """Time to total, from the ticks that the process has."""
    return {t.at: t.counts[tag] for t in ticks if t.at >= begin and tag in t.counts}


async def stored(store: Store, tag: str, slots: Slots, begin: int, end: int) -> dict[int, int]:
    """Time to total, from the slots; the time is the slot's beginning."""
    first, last = begin // 1000 // slots.seconds, end // 1000 // slots.seconds
    names = range(first // slots.in_string, last // slots.in_string + 1)
    with store_lost():
        strings: Any = await store.redis.mget(
            [f"{{hashtag}}:{slots.name}:{name}:{tag}" for name in names]
        )
    found = {}
    for name, string in zip(names, strings, strict=True):
        whole = len(string or b"") // 8 * 8
        for n, (total,) in enumerate(struct.iter_unpack(">d", (string or b"")[:whole])):
            slot = name * slots.in_string + n
            if total and first <= slot < last:
                found[slot * slots.seconds * 1000] = int(total) - 1
    return found


def points(line: Mapping[int, int], begin: int, end: int, step: int, gaps: list[Gap]) -> Points:
    """The last total in every step, at the step's end; None where no source worked."""
    at_end = {at // step: total for at, total in sorted(line.items())}
    dead = [(gap["from"], gap["to"]) for gap in gaps if gap["all"]]
    return [
        (
            at + step,
            None
            if any(start <= at and at + step <= stop for start, stop in dead)
            else at_end.get(at // step),
        )
        for at in range(begin, end, step)
    ]


def together(lines: Iterable[Points]) -> Points:
    """A total of any hashtag at each time: one that is tracked later makes no gap of what was."""
    return [
        (at[0][0], next((total for _, total in at if total is not None), None))
        for at in zip(*lines, strict=True)
    ]


def missing(line: Points, step: int, gaps: list[Gap]) -> list[Gap]:
    """The stretches without a point that no source's trouble explains."""
    found: list[Gap] = []
    for is_none, stretch in groupby(line, key=lambda point: point[1] is None):
        times = [at for at, _ in stretch]
        begin, end = times[0] - step, times[-1]
        explained = any(g["all"] and g["from"] <= begin and end <= g["to"] for g in gaps)
        newest = end == line[-1][0] and len(times) == 1  # the step that has just begun
        if is_none and not explained and not newest:
            started = any(total is not None for at, total in line if at < end)
            kind = "ingester" if started else "start"
            gap = {"from": begin, "to": end, "reason": REASONS[kind], "kind": kind}
            found.append({**gap, "all": True})
    return found


def cut_to(line: Points, now: int) -> Points:
    """The last step is not over: its point is of now."""
    return [(min(at, now), total) for at, total in line]


async def source_gaps(store: Store, tags: Sequence[str], begin: int, now: int) -> list[Gap]:
    """When a source did not work, and why; but for what was filled since, of all the hashtags."""
    with store_lost():
        entries: Any = await store.redis.xrevrange(STATES, max=str(begin), count=1)
        entries += await store.redis.xrange(STATES, min=f"({begin}")
    changes = [change for id, entry in entries if (change := read_change(id, entry))]
    filled = [spans for _, entry in entries for spans in read_filled(entry)]
    ends = [*(at for at, _, _ in changes[1:]), now][: len(changes)]
    gaps = [
        {"from": max(start, begin), "to": min(stop, now), "reason": why, "all": False}
        for start, stop, why in sorted(alone(entries, tags))
        if stop > begin and start < now
    ]
    for (at, sources, reasons), end in zip(changes, ends, strict=True):
        down = {
            name: {"state": state, "reason": reasons.get(name, "")}
            for name, state in sources.items()
            if state not in WORKING
        }
        for start, stop, out in pieces(max(at, begin), end, list(down), tags, filled):
            if out and stop - start >= SHORTEST_GAP:
                said = {name: down[name] for name in out}
                why = "; ".join(
                    f"{n}: {each['reason'] or each['state']}" for n, each in said.items()
                )
                gap = {"from": start, "to": stop, "reason": why, "kind": "sources"}
                gaps.append({**gap, "sources": said, "all": len(out) == len(sources)})
    return gaps


Filled = tuple[str, str, int, int]
"""A hashtag and a source whose posts of a time are known by now: its begin and end."""


def pieces(
    begin: int, end: int, down: Sequence[str], tags: Sequence[str], filled: Sequence[Filled]
) -> Iterable[tuple[int, int, list[str]]]:
    """The time cut where anything was filled, and which of the sources are out in each piece."""
    known = [span for span in filled if span[1] in down and span[2] < end and span[3] > begin]
    edges = {edge for span in known for edge in span[2:] if begin < edge < end}
    for start, stop in pairwise(sorted({begin, end} | edges)):
        has = {(tag, name) for tag, name, first, last in known if first <= start and stop <= last}
        yield start, stop, [name for name in down if any((tag, name) not in has for tag in tags)]


def read_filled(entry: Mapping[bytes, bytes]) -> list[Filled]:
    """What an entry says was filled; nothing where it is none of ours."""
    try:
        return [
            (str(tag), str(source), int(begin), int(end))
            for tag, parts in json.loads(entry.get(b"filled", b"{}")).items()
            for source, spans in parts.items()
            for begin, end in spans
        ]
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return []


def read_change(
    id: bytes, entry: Mapping[bytes, bytes]
) -> tuple[int, dict[str, str], dict[str, str]] | None:
    """When, each source's state, and each one's reason; None for an entry that is not ours."""
    try:
        sources, details = json.loads(entry[b"sources"]), json.loads(entry[b"details"])
        reasons = {str(name): str(about["reason"]) for name, about in details.items()}
        return int(id.split(b"-")[0]), {str(n): str(s) for n, s in sources.items()}, reasons
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def alone(entries: Sequence[Any], tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """When only what was filled is known, while there are more sources: begin, end, reason."""
    found = set()
    for _, entry in entries:
        names = sorted({source for tag, source, _, _ in read_filled(entry) if tag in tags})
        try:
            more = len(json.loads(entry[b"sources"])) > len(names)
            spans = json.loads(entry.get(b"alone", b"{}"))
            times = [(int(at), int(end)) for tag in tags for at, end in spans.get(tag, ())]
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
            continue
        found |= {(at, end, f"only {', '.join(names)} was counted") for at, end in times if more}
    return found


def as_csv(told: Mapping[str, Any]) -> str:
    """The series as a table: a row for each time, a column for each hashtag."""
    tags = list(told["series"])
    rows = [",".join(["time", *tags])]
    for line in zip(*told["series"].values(), strict=True):
        totals = ("" if total is None else str(total) for _, total in line)
        rows.append(",".join([str(line[0][0]), *totals]))
    return "\r\n".join(rows) + "\r\n"
