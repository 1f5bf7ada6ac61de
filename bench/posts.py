"""A recording of made-up posts at an exact rate, for the real ingester to replay."""

import json
from datetime import UTC, datetime
from pathlib import Path

HASHTAGS = ("science", "football")


def recording(file: Path, posts_a_second: int, seconds: int) -> Path:
    """Posts of X in its wire form, each with one of two hashtags."""
    with file.open("w") as opened:
        for number in range(posts_a_second * seconds):
            tag = HASHTAGS[number % 2]
            written = datetime.fromtimestamp(1.7e9 + number / posts_a_second, UTC)
            post = {
                "id": str(number + 1),
                "text": f"#{tag}",
                "created_at": written.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "entities": {"hashtags": [{"start": 0, "end": len(tag) + 1, "tag": tag}]},
            }
            opened.write(json.dumps({"data": post}) + "\n")
    return file
