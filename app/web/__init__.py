"""What browsers and `curl` are served.

In the order of reading; each file imports only from those above it:

    sse.py              a server-sent event as bytes
    gaps.py             when nothing, or not everything, was counted
    line.py             the totals of one hashtag in 15 minutes, late posts where they belong
    ticks.py            the ticks of 15 minutes, and the lines of what changed in them
    watched.py          a hashtag that somebody watches, as text
    series.py           the totals of a hashtag in 15 minutes as JSON, written once
    turns.py            what takes long, a part at a time
    shared.py           what is longer than a tick: made once, bounded in sum
    board.py            what is rising, and most used, as the ingester wrote it
    alerts.py           which hashtags are unusual, as the ingester wrote it
    extras.py           what a viewer may choose beside the totals
    fanout.py           the viewers of the same hashtags: a tick as bytes, once
    watching.py         which hashtags are watched, and by whom
    totals.py           totals of hashtags that are in no recent tick, read from Redis
    freshness.py        how fresh the ticks are, and what is said while none comes
    feed.py             one subscription and one log of recent ticks for all open pages
    address.py          whose request it is
    viewer.py           what one open page is sent, from its first byte to its last
    taken.py            the viewers whose connection is ours: one epoll for all
    takeover.py         a viewer's connection, taken from Hypercorn
    languages.py        in which language a page and a refusal speak
    answers.py          JSON, a refusal in one sentence, the hashtags of a query
    events.py           the event stream
    bodies.py           bodies of answers: compressed once, some kept for who asks the same
    history.py          the past of a hashtag, as an answer
    usual_band.py       what is usual, around the line of the past
    about.py            all that is known of one hashtag
    api.py              counts, history, completion of hashtags, health
    recent_posts.py     where the posts of the last ten minutes are
    bluesky_posts.py    what Bluesky shows of posts to everybody
    posts.py            the posts behind a line
    openapi.py          what can be asked here, for machines
    page.py             the page and its files
    badge.py            the last minutes of a hashtag as a small picture
    embeds.py           frames for other sites, and how they learn of them
    hypercorn_fixes.py  Hypercorn's connections, without its faults
    limits.py           who is let in
    metrics.py          what Prometheus is told
    worker_metrics.py   the same of several processes
    app.py              the Quart app
    access.py           Hypercorn's logs, and a line for each request
    server.py           Hypercorn, on sockets of our own
    plain_request.py    which requests need no server to be read
    frontdoor.py        new connections, before Hypercorn has them
    serving.py          all of it, until told to stop
    workers.py          several web processes on one port
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder `app`."""
ROOT = PACKAGE if (PACKAGE / "templates").is_dir() else PACKAGE.parent
"""The folder that has `static/`, `templates/` and `hypercorn.toml`; in a wheel, `app` itself."""
