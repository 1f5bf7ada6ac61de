"""When nothing, or not everything, was counted in the last 15 minutes; pure."""

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from app.messages import SourceState
from app.store.keys import HOUR_HOURS

PAUSE = 8_000
"""Milliseconds between two ticks; in a longer pause nobody ticked."""
SHORTEST = 5_000
"""Milliseconds; a source that is back sooner has no gap that anybody could see."""

Gap = dict[str, Any]
"""{"from": milliseconds since 1970, "to": likewise, "reason": text, "all": whether no source
worked, "kind": "start" before all counting, "ingester" when that was down, "kept" for what is
not kept any more, "sources" when those did not work; then also "sources": {name: {"state": text,
"reason": text}}}"""
REASONS = {
    "start": "not counted yet",
    "ingester": "ingester was down",
    "kept": f"a hashtag that is not tracked is kept for {HOUR_HOURS} hours",
}
Sources = Mapping[str, SourceState]


class Spell(NamedTuple):
    """How long the sources were in the same states; times in milliseconds since 1970."""

    begin: int
    end: int
    sources: Sources


def is_pause(begin: int, end: int, seconds: float) -> bool:
    """Whether the time between two ticks is too long; seconds: what the later one had."""
    return end - begin > max(PAUSE, 4_000 * seconds)


def all_gaps(spells: Sequence["Spell"], pauses: Sequence[tuple[int, int]]) -> list[Gap]:
    """All of them, in order; pauses: the times of ticks between which nobody ticked."""
    found = outages(spells)
    for begin, end in pauses:
        found += pause(begin, end, [s for s in spells if s.end > end or s is spells[-1]])
    return sorted(found, key=lambda gap: int(gap["from"]))


def pause(begin: int, end: int, later: Sequence["Spell"]) -> list[Gap]:
    """The gap that a pause of the ingester left, as far as it was not filled later."""
    filled: dict[str, int] = {}
    for spell in later:
        claim(spell, filled)
    newest = later[-1].sources if later else {}
    works = [name for name, state in newest.items() if state.works]
    whole = [name for name in works if newest[name].complete] or works
    end = min(end, max((filled.get(name, end) for name in whole), default=end))
    if end - begin < SHORTEST:
        return []
    return [gap_of("ingester", begin, end)]


def gap_of(kind: str, begin: int, end: int) -> Gap:
    """A gap in which nothing was counted, of any source."""
    return {"from": begin, "to": end, "reason": REASONS[kind], "kind": kind, "all": True}


def claim(spell: "Spell", filled: dict[str, int]) -> None:
    """Note since when nothing is missing of a source, by what it says of itself."""
    for name, state in spell.sources.items():
        if state.works and state.unbroken_since:
            filled[name] = min(filled.get(name, spell.end), state.unbroken_since)


def outages(spells: Sequence[Spell]) -> list[Gap]:
    """When a source did not work, but for what it went back to and read later."""
    filled: dict[str, int] = {}
    found: list[Gap] = []
    for spell in reversed(spells):
        found += missing(spell, filled)[::-1]
        claim(spell, filled)
    return [gap for gap in joined(found[::-1]) if gap["to"] - gap["from"] >= SHORTEST]


def joined(gaps: Sequence[Gap]) -> list[Gap]:
    """Gaps of the same sources that follow each other as one, with what was told last."""
    found: list[Gap] = []
    for gap in gaps:
        if (
            found
            and found[-1]["to"] == gap["from"]
            and set(found[-1]["sources"]) == set(gap["sources"])
        ):
            gap = {**gap, "from": found.pop()["from"]}
        found.append(gap)
    return found


def missing(spell: Spell, filled: Mapping[str, int]) -> list[Gap]:
    """What is missing of one spell; filled: since when all is known of a source by now."""
    ends = {
        name: end
        for name, state in spell.sources.items()
        if not state.works and (end := min(spell.end, filled.get(name, spell.end))) > spell.begin
    }
    edges = sorted({spell.begin, *ends.values()})
    return [
        outage(begin, end, [name for name in ends if ends[name] >= end], spell.sources)
        for begin, end in pairwise(edges)
    ]


def outage(begin: int, end: int, names: Sequence[str], sources: Sources) -> Gap:
    said = {name: {"state": sources[name].state, "reason": sources[name].reason} for name in names}
    why = "; ".join(f"{name}: {each['reason'] or each['state']}" for name, each in said.items())
    gap: Gap = {"from": begin, "to": end, "reason": why, "kind": "sources"}
    return {**gap, "sources": said, "all": len(names) == len(sources)}


def spells_of(seen: Sequence[tuple[int, Sources]]) -> list[Spell]:
    """Times and what the sources did then, as spells; equal states may be of several objects."""
    begins = [
        (next(times)[0], sources) for sources, times in groupby(seen, key=lambda each: each[1])
    ]
    ends = [*(begin for begin, _ in begins[1:]), *(at for at, _ in seen[-1:])]
    return [Spell(at, end, sources) for (at, sources), end in zip(begins, ends, strict=True)]


def clipped(gaps: Sequence[Gap], begin: int, end: int) -> list[Gap]:
    """The gaps within this time."""
    return [
        {**gap, "from": max(gap["from"], begin), "to": min(gap["to"], end)}
        for gap in gaps
        if gap["to"] > begin and gap["from"] < end
    ]
