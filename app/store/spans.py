"""Stretches of time, in milliseconds since 1970; pure."""

from collections.abc import Iterable

Spans = list[tuple[int, int]]
"""Begin and end of each, in order, apart from each other."""


def joined(spans: Iterable[tuple[int, int]]) -> Spans:
    """The same time in as few stretches as it takes."""
    found: Spans = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


def without(spans: Iterable[tuple[int, int]], holes: Spans) -> Spans:
    """What of the stretches is in none of the holes."""
    found: Spans = []
    for begin, end in spans:
        for hole, until in holes:
            if until > begin and hole < end:
                if hole > begin:
                    found.append((begin, hole))
                begin = until
        if begin < end:
            found.append((begin, end))
    return found
