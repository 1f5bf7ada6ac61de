"""Posts from a Mastodon server: from its stream with a token, else from its timelines.

In the order of reading:

    wire.py       how a server says things: events, ids, waits
    timelines.py  the timelines of hashtags, asked for in turn
    source.py     the source, which reads the stream or the timelines, or both
"""

from app.sources.mastodon.source import Mastodon

SOURCE = Mastodon
