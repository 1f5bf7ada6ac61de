"""Adding a network is one new file: the rest of the app finds out by itself."""

import re
import shutil
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path

import pytest
from network import Counting, settings
from servers import ROOT, App, eventually, get, viewing

import app.sources
from app import settings as module
from app.commands.record import network
from app.settings import SettingsError, read
from app.sources import check_sources, classes, pick
from app.sources.replay import Replay

[TOY] = re.findall(r"^```python\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)
"""A whole network, as whoever adds one reads it."""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The one new file, as if it lay in app/sources/."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(app.sources, "__path__", [*app.sources.__path__, str(tmp_path)])
    everything = (*module.SOURCE_NAMES, "toy")
    monkeypatch.setattr(module, "SOURCE_NAMES", everything)
    monkeypatch.setattr(app.sources, "SOURCE_NAMES", everything)
    yield
    sys.modules.pop("app.sources.toy", None)


@pytest.mark.usefixtures("toy")
async def test_its_posts_are_counted(counting: Counting) -> None:
    """SOURCES may name it, what it needs is asked for, and it comes like all others."""
    assert "toy" in [network.name for network in classes()]
    chosen = read({"SOURCES": "toy", "MASTODON_URL": "http://h"})
    check_sources(chosen)
    with pytest.raises(SettingsError, match=r"^MASTODON_URL is not set: .* has 'toy'\.$"):
        check_sources(read({"SOURCES": "toy"}))
    async with counting.of(pick("toy", chosen)):
        await counting.reach({"science": 2, "football": 1})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A copy of the project with that file more, and what it makes of the network."""
    folder = tmp_path_factory.mktemp("toy") / "project"
    for name in ("app", "static", "templates"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "hypercorn.toml", folder)
    (folder / "app" / "sources" / "toy.py").write_text(TOY)
    chosen = {"SOURCES": "toy", "MASTODON_URL": "http://h", "PYTHONPATH": str(folder)}
    with App(folder, HASHTAGS="science", **chosen) as started:
        yield started.started()
        assert started.stop() == 0, started.output


async def test_one_file_leads_from_the_network_to_its_viewers(running: App) -> None:
    """Every hashtag of it is told to who asks, tracked or not, with the network's name."""
    url = f"{running.url}/api/counts?tags=science,football&by=source"
    wanted = {"science": {"toy": 2}, "football": {"toy": 1}}

    async def counted() -> bool:
        return bool((await get(url))[1].get("counts") == wanted)

    await eventually(counted, f"all is counted: {running.output}")
    async with viewing(f"{running.url}/events?tags=football") as events:
        async for event in events:
            if event.name == "counts":
                assert event.data["counts"] == {"football": 1}
                assert event.data["sources"] == {"toy": "live"}
                break


@pytest.mark.usefixtures("toy")
async def test_it_can_be_recorded_and_replayed(counting: Counting, tmp_path: Path) -> None:
    """A recording may have other networks' messages beside its own."""
    assert network("toy") == "toy"
    file = tmp_path / "recording"
    x = '{"data":{"id":"1","entities":{"hashtags":[{"tag":"other"}]}}}'
    file.write_text(f"toy 1 Science\n{x}\ntoy 2 science Football\n")
    async with counting.of(Replay(settings([], replay_file=str(file), replay_speed="0"))):
        await counting.reach({"science": 2, "football": 1, "other": 1})


def test_without_the_file_there_is_no_such_network() -> None:
    """What the tests above show is not true anyway."""
    with pytest.raises(SettingsError):
        read({"SOURCES": "toy"})
    with pytest.raises(ArgumentTypeError):
        network("toy")
