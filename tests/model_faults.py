"""What fails while the model is compared, and proofs that it did; sources and a group of tasks that
do nothing by themselves."""

from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any

from app.messages import MINUTE, Post, Tick
from app.settings import read
from app.sources import Source
from app.store.state import State
from app.store.store import Store, StoreLost

BEGIN = 4_102_444_800_000 + 50 * MINUTE
"""The year 2100, ten minutes before an hour ends: Redis's own clock forgets nothing of it."""
EVENTS = {
    "read", "commit", "answer", "scan", "posts of the past", "minutes told", "restarted",
    "an hour ended with nobody there", "a day ended", "another clock", "older", "emptied",
    "a stranger", "forgotten", "moved", "a move was cut",
}  # fmt: skip
"""What is to happen at least once, or the rest proves nothing; the first four are what fails."""
fired: Counter[str] = Counter()
"""How often each of EVENTS happened."""


def never() -> set[str]:
    """Which of EVENTS did not happen."""
    return {event for event in EVENTS if not fired[event]}


class Still(Source):
    """A source whose posts the test hands over itself."""

    def __init__(self, name: str, complete: bool, goes_back: bool, start: bool) -> None:
        super().__init__(read({}), clock=lambda: 0.0)
        self.name, self.complete = name, complete  # type: ignore[misc]
        self.goes_back, self.goes_back_to_the_start = goes_back, start

    async def posts(self, cursor: str) -> AsyncIterator[Post]:
        raise AssertionError("nobody reads this source")
        yield


class FaultyStore(Store):
    """Fails once where it is told to, and says that it is another time."""

    def __init__(self, redis: Any) -> None:
        super().__init__(redis)
        self.now = BEGIN
        self.fail, self.scans = "", 0
        """What fails, and after how many scans, where it is one of those."""
        self.told: list[Tick] = []
        """Every tick that was stored."""
        self.moved: list[int] = []
        """Every hour that was moved."""

    def trip(self, where: str) -> None:
        if self.fail == where:
            self.fail = ""
            fired[where] += 1
            raise StoreLost(f"no answer to a {where}")

    async def read(self, fields: Any) -> Any:
        self.trip("read")
        state, values = await super().read(fields)
        return replace(state, time=self.now), values

    async def commit(self, seen: State, commit: Any, *arguments: Any) -> State:
        self.trip("commit")
        state = await super().commit(seen, commit, *arguments)
        if state.commit == commit.name:
            self.told.append(Tick.from_json(commit.tick.replace("{", '{"previous":"",', 1), "1-1"))
            if 0 < seen.moved < int(commit.state["moved"]):
                self.moved.append(int(commit.state["moved"]))
        self.trip("answer")
        return replace(state, time=self.now)

    async def scan(self, *arguments: Any) -> Any:
        self.scans -= 1
        if self.scans < 0:
            self.trip("scan")
        return await super().scan(*arguments)


class Group:
    """What an ingester starts a source's reading with: here, the test reads it."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def create_task(self, reading: Coroutine[Any, Any, None], name: str) -> "Group":
        reading.close()
        self.begun.append(name)
        return self

    def cancel(self) -> None:
        pass
