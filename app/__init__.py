"""hashtag pulse: live lines of how often hashtags are used.

The way of the data, and the file for each step of it, in the order of reading:

    network       ingest process               Redis              web process      browser
    x ────────┐  sources/* ─▶ counter ─▶ ingest                   feed ─▶ web      feed.js
    bluesky ──┼─▶   Post                   │   totals, cursors      │    (sse)       │
    mastodon ─┤                            └─▶ log (stream) ───────▶│      └──▶ chart, table.js
    demo, replay                       Tick    ticks (channel)     Tick  /events   page.js

    hashtags.py   which strings are hashtags, and when two are the same one
    messages.py   the two things that travel, Post and Tick
    settings.py   what may be chosen from outside
    retry.py      how long to wait before trying again
    stop.py       when a process is to end, and its parts
    client.py     how long to wait for Redis, and how much to take of it
    store.py      the Redis schema, and commit.lua, the one script that changes totals (before it
                  fields.lua and slots.lua: totals by minute and hour)
    sources/      posts from each network
    counter.py    counts hashtags
    pace.py       how long ticks last
    keeper.py     keeps a Redis server running beside us
    embedded.py   a private Redis when none is given
    lease.py      which ingester is the writer
    ingest.py     sources into counter, counter into store, once a tick
    sse.py        a server-sent event as bytes
    selection.py  each recent tick as bytes, for viewers that chose the same hashtags
    late.py       posts that were counted late, in the ticks of their own time
    feed.py       one subscription and one log of recent ticks for all open pages
    viewer.py     what one open page is sent, from its first byte to its last
    express.py    ticks straight to a connection, past the server's layers
    history.py    totals of the past
    page.py       the page and its files
    web.py        the event stream and the JSON
    server.py     Hypercorn, on sockets of our own
    workers.py    several web processes on one port
    check.py      what to see before going live
    record.py     recordings to replay
    __main__.py   builds the parts; owns logging and the order of the end

Each imports only from those above it.
"""

from app.web import create_app

__all__ = ["create_app"]
