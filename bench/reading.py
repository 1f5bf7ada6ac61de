"""How long recorded messages take: our parsers and counter, and bare decoders, in turns.

python -m bench.reading SECONDS ELSEWHERE FOLDER ...

ELSEWHERE is where packages are that only the bench has.
A decoder gets the same bytes as we, and as Mastodon's messages have JSON in their JSON, that
too. Answers, as JSON, for each network and way with the messages and the seconds of CPU.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from app.ingest.counter import Counter, Cut
from app.messages import Post
from app.sources import bluesky, mastodon, x

Read = Callable[[Sequence[bytes]], object]
PARSERS: Mapping[str, Callable[[bytes], Post | None]] = {
    "x": x.SOURCE.parse,
    "bsky": bluesky.SOURCE.parse,
    "mastodon": mastodon.SOURCE.parse,
}
"""By how the recordings' folders begin."""


def ours(
    parse: Callable[[bytes], Post | None], counter: Counter
) -> Callable[[Sequence[bytes]], Cut]:
    """As the ingester has it: a message to a post, the post to the counter, and a cut; every
    hashtag is counted."""

    def read(lines: Sequence[bytes]) -> Cut:
        for line in lines:
            if post := parse(line):
                counter.add(post, True, False)
        cut = counter.cut()
        counter.take_spellings()
        counter.take_authored()
        return cut

    return read


def bare(loads: Callable[[Any], Any], network: str) -> Read:
    def read(lines: Sequence[bytes]) -> None:
        for line in lines:
            loads(line)

    def read_inner(lines: Sequence[bytes]) -> None:
        for line in lines:
            loads(loads(line)["payload"])

    return read_inner if network == "mastodon" else read


def decoders() -> dict[str, Callable[[Any], Any]]:
    """Those that are installed."""
    found: dict[str, Callable[[Any], Any]] = {}
    for name in ("msgspec", "orjson"):
        try:
            module = import_module(name)
        except ImportError:
            continue
        found[name] = module.loads if name == "orjson" else module.json.Decoder().decode
    return found


def ways(network: str, counter: Counter) -> dict[str, Read]:
    read = {name: bare(loads, network) for name, loads in decoders().items()}
    return {"ours": ours(PARSERS[network], counter), **read}


def recorded(folders: Sequence[Path]) -> dict[str, list[bytes]]:
    """The messages of each network."""
    return {
        network: [
            line
            for folder in folders
            if folder.name.startswith(network)
            for line in (folder / "wire_reduced.jsonl").read_bytes().splitlines()
        ]
        for network in PARSERS
    }


def measured(seconds: float, folders: Sequence[Path], counter: Counter) -> Any:
    """Each way reads all messages of a network, then the next one does, again and again."""
    lines = recorded(folders)
    turns = {network: ways(network, counter) for network in lines}
    spent = {network: dict.fromkeys(turns[network], 0.0) for network in lines}
    passes, end = 0, time.process_time() + seconds
    while not passes or time.process_time() < end:
        passes += 1
        for network, reads in turns.items():
            for way, read in reads.items():
                spent[network][way] += seconds_for(read, lines[network])
    return {
        network: {way: [passes * len(lines[network]), spent[network][way]] for way in reads}
        for network, reads in turns.items()
    }


def seconds_for(read: Read, lines: Sequence[bytes]) -> float:
    begun = time.process_time()
    read(lines)
    return time.process_time() - begun


def main(seconds: str, elsewhere: str, *names: str) -> None:
    sys.path.append(elsewhere)
    folders = [Path(name) for name in names]
    told = measured(float(seconds), folders, Counter(frozenset()))
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
