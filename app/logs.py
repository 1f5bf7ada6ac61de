"""What the log looks like: a line for people, or an object of JSON for machines, an event each.

A record may have `about`, a dictionary of what it says part by part: in JSON its members stand
beside the message. For people the message has it all, and each of its lines is one of the log's.
"""

import logging
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import NoReturn

from app.messages import dumps
from app.texts import TURNS

log = logging.getLogger("app")

LINE = "%(asctime)s %(levelname).1s %(name)s: %(message)s"
UNFIT = (*range(32), *range(127, 160), 0x2028, 0x2029, *map(ord, TURNS))
"""What would end a line, or do something to a terminal or to the order of what is read."""
CONTROL = {n: f"\\x{n:02x}" for n in UNFIT}
IN_JSON = {n: f"\\u{n:04x}" for n in UNFIT}
"""How that is written; JSON itself escapes those below 32 alone."""


class ForPeople(logging.Formatter):
    """A line for each event, whatever strangers wrote into it; a traceback follows it."""

    def format(self, record: logging.LogRecord) -> str:
        lines = record.getMessage().splitlines() if hasattr(record, "about") else []
        parts = [logging.makeLogRecord({**vars(record), "msg": n, "args": ()}) for n in lines]
        return "\n".join(map(super().format, parts or [record]))

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = record.message.translate(CONTROL)
        return super().formatMessage(record)


class AsJson(logging.Formatter):
    """`time` (UTC), `level`, `logger`, `message`, what the record is about, and `error`, the
    traceback of one."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return dumps(told).translate(IN_JSON)


def begin_logging(form: str = "text") -> None:
    """Write the log to standard error in this form, "text" or "json"; in JSON also what Python
    itself says there: warnings, and the traceback with which a process ends."""
    is_json = form.strip().lower() == "json"
    handler = logging.StreamHandler()
    handler.setFormatter(AsJson() if is_json else ForPeople(LINE))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(is_json)
    sys.excepthook = log_the_end if is_json else sys.__excepthook__
    logging.getLogger("tweepy").setLevel(logging.CRITICAL)  # its errors are ours to explain


def refuse(sentence: str) -> NoReturn:
    """End the process with status 1 and a sentence, in the log's form."""
    if sys.excepthook is log_the_end:
        log.error("%s", sentence)
        sys.exit(1)
    sys.exit(f"hashtag pulse: {sentence}")


def log_the_end(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    log.critical("the process ends", exc_info=(kind, error, trace))
