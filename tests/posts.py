"""A recording made for a test: posts of X that all have #science, and how to ask for the totals."""

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from servers import App

AUTHORS = 90
"""Of a recording."""


def post(number: int) -> str:
    """One line of the stream; a thousand posts make a second."""
    at = f"2024-01-01T00:{number // 60000:02}:{number // 1000 % 60:02}.{number % 1000:03}Z"
    tags = {"hashtags": [{"start": 0, "end": 8, "tag": "science"}]}
    told = {"id": str(number + 1), "text": "#science", "created_at": at, "entities": tags}
    author = str(number % AUTHORS)
    return json.dumps({"data": {**told, "author_id": author}}) + "\n"


def replaying(file: Path, posts: int, speed: str) -> dict[str, Any]:
    """Write so many posts; the settings that replay them."""
    file.write_text("".join(post(n) for n in range(posts)))
    return {"SOURCES": "replay", "REPLAY_FILE": file, "REPLAY_SPEED": speed, "TICK_SECONDS": "0.1"}


def answer(app: App, path: str) -> tuple[int, dict[str, Any]]:
    """The status and the JSON at this path."""
    try:
        with urlopen(f"{app.url}{path}", timeout=10) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def counted(app: App) -> int:
    """The total of #science; 0 while there is none."""
    status, told = answer(app, "/api/counts?tags=science")
    return int(told["counts"]["science"]) if status == 200 else 0
