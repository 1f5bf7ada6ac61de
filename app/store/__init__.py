"""All of Redis, and nothing else of the app.

    keys.py          every key: its name, type, life and form
    refusals.py      what Redis refuses, and what is missing
    primary.py       where the primary is, of a Redis that moves
    connection.py    a connection that gives up soon, and what it raises
    state.py         what a commit leaves, and what it writes
    scripts.py       what scripts are given, and what they answer
    store.py         reading, the atomic commit (commit.lua, spend.lua), the subscription
    posts.py         where the posts of the last ten minutes are (posts.lua)
    alerts.py        which hashtags are unusual, and the last alerts
    usual.py         what is usual of a hashtag at an hour
    slots.py         a field of an hour or a day, not taken apart
    spans.py         stretches of time
    source_log.py    what the sources did in the past
    past.py          hours and days of the past
    lines.py         the lines of an export
    exporting.py     all that is kept, while others count
    importing.py     an export, into a Redis that has nothing yet
    redis_server.py  keeps a Redis server running beside us
    embedded.py      a private Redis when none is given

Each imports only from those above it.
"""
