"""How fast recorded messages are read; a program, so that each way has a process of its own.

reading.py WAY SECONDS FOLDER ...   WAY is counter (our parser and counter), orjson or msgspec

Answers with the messages a second of CPU, as JSON. It imports only what the way needs: bare
decoding runs in the bench's environment, which has nothing of ours.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Read = Callable[[bytes], object]


def counter(folders: Sequence[Path]) -> Read:
    """As the ingester has it: a line to a post, the post to the counter.

    Every hashtag that is in the recordings is tracked, which is more work than usual.
    """
    from app.counter import Counter
    from app.settings import read
    from app.sources.replay import Replay

    tables = [(folder / "expected_counts.tsv").read_text() for folder in folders]
    tracked = (line.split("\t")[0] for table in tables for line in table.splitlines())
    replay, counted = Replay(read({})), Counter(frozenset(tracked))

    def one(line: bytes) -> None:
        if post := replay.read_line(line):
            counted.add(post)

    return one


def orjson(_: Sequence[Path]) -> Read:
    import orjson

    return orjson.loads


def msgspec(_: Sequence[Path]) -> Read:
    import msgspec

    return msgspec.json.Decoder().decode


WAYS = {"counter": counter, "orjson": orjson, "msgspec": msgspec}


def main(way: str, seconds: str, *names: str) -> None:
    folders = [Path(name) for name in names]
    texts = [(folder / "wire_reduced.jsonl").read_bytes() for folder in folders]
    lines = [line for text in texts for line in text.splitlines() if line]
    one, read = WAYS[way](folders), 0
    begun = time.process_time()
    while time.process_time() - begun < float(seconds):
        for line in lines:
            one(line)
        read += len(lines)
    spent = time.process_time() - begun
    sys.stdout.write(json.dumps({"messages": read, "seconds": spent}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
