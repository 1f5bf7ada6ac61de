"""hashtag pulse: live lines of how often hashtags are used.

The way of the data, and the place of each step of it, in the order of reading:

    network        ingest                      store (Redis)        web                 browser
    x ────────┐  source ─▶ counter ─▶ ledger   totals, hours, days  feed ─▶ fan-out     feed.js
    bluesky ──┼─▶  Post               │        log (stream) ──────▶  │        │         series.js
    mastodon ─┤                       └─▶ Tick ticks (channel)      Tick   viewer ─▶    chart.js
    demo, replay                                                    /api   /events      page.js

    sentences.py  what is told to people, in their language
    hashtags.py   which strings are hashtags, and when two are the same one
    urls.py       URLs of other servers
    settings.py   what may be chosen from outside
    messages.py   what travels: Post and Tick, and what is neither
    texts.py      what strangers wrote, made fit to be shown
    unusual.py    how unlikely a count is
    logs.py       what the log looks like
    retry.py      how long to wait before trying again
    pace.py       how long ticks last
    process.py    the end of a process
    systemd.py    what systemd is told of it
    metrics.py    what Prometheus is told
    store/        all of Redis
    sources/      posts from each network
    ingest/       posts in, ticks out
    web/          ticks to every open page, and the past
    commands/     what an owner runs beside it
    __main__.py   builds the parts; owns logging and the order of the end

Each imports only from those above it; inside a folder, its `__init__.py` names the files in
the same way. docs/walk.md follows one post from the network to a pixel.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quart import Quart

VERSION = "0.1.0"


def create_app() -> "Quart":
    """What `hypercorn 'app:create_app()'` calls. The web is loaded only where it is wanted."""
    from app.web.app import create_app as create

    return create()
