"""The design of 2014: a greenlet and a Redis subscription for each viewer, a frame for each post.

design_2014.py PORT REDIS_URL
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from typing import Any  # noqa: E402

import redis  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

posts = redis.Redis.from_url(sys.argv[2], max_connections=20_000)


def viewer(
    _: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], Any]
) -> Iterator[bytes]:
    start("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")])
    subscription = posts.pubsub(ignore_subscribe_messages=True)
    subscription.subscribe("posts")
    for post in subscription.listen():
        yield post["data"]


WSGIServer(("127.0.0.1", int(sys.argv[1])), viewer, backlog=2048, log=None).serve_forever()
