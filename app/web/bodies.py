"""Bodies of answers: compressed once, and what was made lately kept for who asks the same."""

import asyncio
import gzip
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from quart import Response, request

LONG = 16 * 1024
"""Bytes; more is compressed beside the loop: a megabyte takes 30 milliseconds."""
KEPT_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Body:
    """The whole of an answer, in both forms."""

    type: str
    plain: bytes
    gzipped: bytes

    @property
    def size(self) -> int:
        return len(self.plain) + len(self.gzipped)


async def packed(type: str, plain: bytes) -> Body:
    """The body with its compressed form; gzip at level 5: a third of the time, a tenth longer."""
    if len(plain) > LONG:
        return Body(type, plain, await asyncio.to_thread(gzip.compress, plain, 5, mtime=0))
    return Body(type, plain, gzip.compress(plain, 5, mtime=0))


def respond_with(body: Body, caching: str, mark: str = "") -> Response:
    """The form that the client takes. mark: of the content; who has it already is told so."""
    headers, data = {"Cache-Control": caching, "Vary": "Accept-Encoding"}, body.plain
    if accepts_gzip():
        headers["Content-Encoding"], data = "gzip", body.gzipped
    response = Response(data, content_type=body.type, headers=headers)
    if mark:
        response.set_etag(mark, weak=True)
        if request.if_none_match.contains_weak(mark):
            known = Response(b"", 304, headers=response.headers)
            del known.headers["Content-Length"]  # RFC 9110, 8.6: that would be of the whole
            return known
    return response


def accepts_gzip() -> bool:
    return request.accept_encodings["gzip"] > 0


class Kept:
    """Bodies of this moment and the last. Bound: KEPT_BYTES; those that were made last stay.

    A body is for all who ask for the same in the same moment, also for those who come while it is
    being made.
    """

    def __init__(self) -> None:
        self.moment: Hashable = None
        self.moments = 0
        """How many there were."""
        self.bodies: OrderedDict[Hashable, tuple[int, Body]] = OrderedDict()
        """What was asked for to the moment in which its making began, and the body."""
        self.size = 0
        """Bytes of all bodies."""
        self.making: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        """An entry lives as long as somebody waits for it."""

    async def get(
        self,
        asked: Hashable,
        moment: Callable[[], Hashable],
        make: Callable[[], Awaitable[Body]],
    ) -> Body:
        """What was asked for, made no earlier than in the moment in which this is called."""
        came = self.number(moment())
        async with self.making.setdefault(asked, asyncio.Lock()):
            made, body = self.bodies.get(asked, (-1, None))
            if body is None or made < came:
                begun = self.number(moment())
                body = await make()
                self.keep(asked, begun, body)
        return body

    def number(self, moment: Hashable) -> int:
        if moment != self.moment:
            self.moment, self.moments = moment, self.moments + 1
            self.drop_old()
        return self.moments

    def drop_old(self) -> None:
        """What was made before the last moment is right for nobody who comes now, nor for whoever
        came in that one and waits still."""
        while self.bodies and next(iter(self.bodies.values()))[0] < self.moments - 1:
            self.drop_first()

    def drop_first(self) -> None:
        self.size -= self.bodies.popitem(last=False)[1][1].size

    def keep(self, asked: Hashable, begun: int, body: Body) -> None:
        if asked in self.bodies:
            self.size -= self.bodies.pop(asked)[1].size
        self.bodies[asked] = begun, body
        self.size += body.size
        while self.size > KEPT_BYTES:
            self.drop_first()
