"""Posts in, ticks out: one process, or one part of it, writes all totals.

    counter.py          posts to increments
    seen.py             what was counted already of a source that goes back
    spellings.py        how most posts write a hashtag
    ledger.py           increments and stored values to absolute values
    day_keys.py         the keys by which authors are hashed
    people.py           how many people used a hashtag on a day
    counted_minutes.py  in which minutes a source was counted
    rollup.py           what is kept longer when an hour is over
    freezing.py         what is kept of people for longer
    forgetting.py       which hashtags are forgotten
    popular.py          the most used of the last day
    recent_uses.py      who used which hashtags in the last ten minutes
    board.py            what is rising, and most used, in them
    posts.py            where the posts of the last ten minutes are
    co_occurrence.py    which come in the same posts
    alerts.py           which are unusual for long
    webhook.py          alerts on their way to ALERT_URL
    present.py          all of that, every few seconds
    metrics.py          what Prometheus is told
    clock.py            Redis's clock
    writer.py           one commit, from all of the above
    commits.py          what was tried, and what Redis has of it
    lease.py            which ingester is the writer
    ingester.py         the loop

Each imports only from those above it.
"""
