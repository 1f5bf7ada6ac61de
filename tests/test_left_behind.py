"""What many viewers that come and go leave behind: nothing, and no other's bytes."""

import gc
import os
import resource
import socket
from pathlib import Path
from typing import Any

import pytest
from raw import CLOSE, RESET, Raw, get, watching
from served import Site, serving
from servers import RedisServer, eventually
from test_endings import HEALTH, nobody
from test_endings import site as site
from test_endings import way as way

from app.web import taken
from app.web.viewer import Viewer


async def test_a_descriptor_that_is_used_again_gets_no_others_bytes(
    redis_server: RedisServer,
) -> None:
    """Events of one turn that are about a viewer which was dropped in it are about nobody, whoever
    has its descriptor by then."""
    async with serving(redis_server.url) as site:
        first, second = Raw(site), Raw(site)
        for each in (first, second):
            await watching(each, get("takeover"))
        ours: taken.Taken = site.app.extensions["taken"]
        numbers = {each.connection.fileno() for each in site.taken}
        last, ended = {}, ours.ended

        def drop_the_other(viewer: Viewer) -> None:
            """One goes, and takes the other with it, of which the turn has an event, too."""
            ended(viewer)
            last.setdefault("dropped", viewer)
            for other in site.taken:
                ours.drop(other)
            while len(last) < 3:  # their descriptors are others' now
                pair = socket.socketpair()
                last[f"pair {len(last)}"] = pair

        ours.ended = drop_the_other
        first.close()
        second.close()
        await eventually(lambda: not site.taken, "both are gone")
        pairs = [one for each in last.values() if isinstance(each, tuple) for one in each]
        assert numbers & {one.fileno() for one in pairs}, "a number is used again"
        await site.publish()
        await site.hears()
        for one in pairs:
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.recv(1)
        for one in pairs:
            one.close()
        ours.ended = ended
        assert site.app.extensions["limits"].viewers == 0


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


CONNECTS = int(os.environ.get("CONNECTS", "100"))
"""In CI few; the long form has 5,000."""


async def test_nothing_is_left_of_many_that_come_and_go(
    site: Site, raw: Any, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of them rudely, twice in a row: descriptors, and the memory of the second time."""
    files, used = [], []
    for _ in range(3):
        for begin in range(0, CONNECTS, 50):
            viewers = [raw() for _ in range(begin, min(begin + 50, CONNECTS))]
            for n, viewer in enumerate(viewers):
                rude = [
                    get(way)[:30],
                    get(way) + HEALTH,
                    get(way, "history=900&tags=science,art"),
                    get(way),
                ]
                await viewer.send(rude[n % 4])
            for n, viewer in enumerate(viewers):
                if n % 4:
                    await viewer.until(rb"event: counts")
                if n % 8 == 2:
                    viewer.socket.shutdown(socket.SHUT_WR)
                    await viewer.read_all()
                viewer.close(RESET if n % 2 else CLOSE)
        await nobody(site)
        gc.collect()
        files.append(open_files())
        used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert files[2] <= files[1] <= files[0] + 2, f"after each time: {files}"
    assert used[2] - used[1] < 2048, f"KiB at most, after each time: {used}"
    assert not caplog.text
