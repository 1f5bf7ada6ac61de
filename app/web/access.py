"""Hypercorn's own logs, in ours; and a line for each request, for who wants it.

`accesslog = "-"` in hypercorn.toml writes that line where all else is written. In none of them is a
query, which is whatever a stranger put there, nor that of the page that led here.
"""

import logging
from collections.abc import Mapping
from typing import Any

from hypercorn.config import Config
from hypercorn.logging import Logger

from app.logs import CONTROL


class AccessLogger(Logger):
    """Hypercorn's log without queries and without line ends in a path, which is unquoted."""

    def atoms(self, request: Any, response: Any, request_time: float) -> Mapping[str, str]:
        headers = [
            (name, value.partition(b"?")[0] if name.lower() == b"referer" else value)
            for name, value in request["headers"]
        ]
        path = request["path"].translate(CONTROL)
        told: Any = {**request, "path": path, "query_string": b"", "headers": headers}
        return super().atoms(told, response, request_time)


def log_as_we_do(config: Config, chosen: Mapping[str, object]) -> None:
    """Have Hypercorn write where we do, unless its file names another place.

    chosen: what hypercorn.toml says. Without a level there, Hypercorn's announcements of its
    sockets, by their numbers, are left out. Raises ValueError for a level that is none, and OSError
    for a file that cannot be written.
    """
    config.logger_class = AccessLogger
    if config.errorlog == "-":
        config.errorlog = logging.getLogger("hypercorn.error")
        config.errorlog.setLevel(config.loglevel.upper() if "loglevel" in chosen else "WARNING")
    if config.accesslog == "-":
        config.accesslog = logging.getLogger("hypercorn.access")
        config.accesslog.setLevel("INFO")
    config.log  # noqa: B018 - opens its files
