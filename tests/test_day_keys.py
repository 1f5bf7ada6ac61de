"""The keys by which authors are hashed: a day's each, in a file for its owner alone; and what is kept
of a day when its key is gone."""

from pathlib import Path
from typing import Any

import pytest
from test_people import Desk
from test_people import store as store
from writing import BEGIN, HOUR, DatedStore

from app.ingest import freezing
from app.ingest.day_keys import DayKeys
from app.ingest.people import People
from app.messages import DAY
from app.store import keys

TODAY = BEGIN // DAY


def test_the_keys_are_in_a_file_of_their_owner(tmp_path: Path) -> None:
    """The same after a restart; of today and yesterday alone."""
    file = tmp_path / "new" / "keys"
    first = DayKeys(file)
    first.begin(20_000)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [line.split()[0] for line in file.read_text().splitlines()] == ["19999", "20000"]
    again = DayKeys(file)
    again.begin(20_000)
    assert again.keys == first.keys and len(set(first.keys.values())) == 2
    first.begin(20_001)
    assert first.keys.keys() == {20_000, 20_001} and first.keys[20_000] == again.keys[20_000]
    assert "19999" not in file.read_text()
    assert [path.name for path in file.parent.iterdir()] == ["keys"]
    again.begin(20_001)
    assert again.keys == first.keys, "another process has made today's"
    first.begin(20_000)
    assert first.keys[20_001] == again.keys[20_001], (
        "a clock that goes back destroys no key of today"
    )


def test_a_file_that_others_may_read_is_made_private(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And what is no key of ours in it is passed over."""
    file = tmp_path / "keys"
    file.write_text(f"19999 {'ab' * 32}\nx {'ab' * 32}\n20000 abc\n20000 abcd\n{'x' * 9000}\n")
    file.chmod(0o644)
    keys_of = DayKeys(file)
    keys_of.begin(20_000)
    assert keys_of.keys[19_999] == b"\xab" * 32 and len(keys_of.keys[20_000]) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert "could be read by others" in caplog.text
    assert "abab" not in caplog.text


def test_without_a_file_keys_are_the_process_s(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One that cannot be written is said once a day, and counting goes on."""
    (tmp_path / "file").write_text("")
    for file in (None, tmp_path / "file" / "keys"):
        keys_of = DayKeys(file)
        keys_of.begin(20_000)
        before = keys_of.keys[20_000]
        keys_of.read_again()
        keys_of.begin(20_000)
        assert keys_of.keys[20_000] == before
    assert "cannot be written (File exists)" in caplog.text


def test_the_hashes_of_two_days_have_nothing_in_common() -> None:
    """An author cannot be followed from one day to the next."""
    people_of = People(DayKeys())
    authored = [(TODAY - n, ("a", f"{m}", ["x"])) for n in (0, 1) for m in range(100)]
    days = people_of.hashed(authored, TODAY)["a"]
    split = [{of["x"][n : n + 8] for n in range(0, 800, 8)} for of in days.values()]
    assert [len(found) for found in split] == [100, 100]
    assert not split[0] & split[1]
    assert HOUR // 24 == TODAY


async def test_a_number_that_redis_lost_is_kept_all_the_same(
    store: DatedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers are written a few at a time; a Redis from an older copy has not all of those."""
    monkeypatch.setattr(freezing, "PAGE", 1)
    desk = await Desk(store, tmp_path / "keys", ("one", "two", "three")).open()
    desk.post("1", "one", "two", "three")
    await desk.tick()
    kept: Any = keys.people_kept(TODAY)
    while await store.redis.hlen(kept) < 2:
        copy = {name: await store.redis.dump(name) for name in await store.redis.keys()}
        await desk.later(30)
        await desk.tick()
        assert store.now < (TODAY + 3) * DAY
    async with store.redis.pipeline(transaction=True) as pipe:
        pipe.flushall()
        for name, value in copy.items():
            pipe.restore(name, 0, value)
        await pipe.execute()
    assert await store.redis.hlen(kept) == 1
    for _ in range(20):
        await desk.tick()
    assert await store.redis.hgetall(kept) == {b"one": b"1", b"two": b"1", b"three": b"1"}
    assert (await store.load()).frozen == TODAY
