"""Malformed requests of every kind, the same for the same chance."""

import random
import struct
from collections.abc import Callable, Iterator

import h2.config
import h2.connection
import h2.errors

HOST = b"Host: localhost\r\n"
PATHS = (b"/", b"/embed", b"/events", b"/api/counts", b"/api/history", b"/api/hashtags?q=s", b"/healthz",
         b"/readyz", b"/static/page.js", b"/static/smoothie.js", b"/nothing")  # fmt: skip
METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH")
ODD = (b"", b"\0", b"\r", b"\n", b" ", b"\t", b":", b"\xff", b"\xc3\x28", b"%", b"%00", b"%zz", b"-1", b"0x10",
       b"9" * 400, b"1e9", b"nan", b"*", b"..", b"[", b"{}", b"\x1b[31m", "＃ｓ".encode(), b"a" * 5000)  # fmt: skip

Attempt = list[bytes]
"""The pieces of what is sent, one after the other."""


def noise(luck: random.Random, most: int = 400) -> bytes:
    return luck.randbytes(luck.randint(1, most))


def target(luck: random.Random) -> bytes:
    """A path that is there, with a query, in one of the ways to write it."""
    path = luck.choice(PATHS)
    query = b"&".join(luck.choice(QUERIES)(luck) for _ in range(luck.choice((0, 0, 1, 3))))
    way = luck.choice(
        (b"", b"", b"", b"http://localhost", b"http://[", b"//", b"http:", b"%2f", b"/.")
    )
    return way + path + (b"?" + query if query else b"")


QUERIES: tuple[Callable[[random.Random], bytes], ...] = (
    lambda luck: b"tags=" + luck.choice(ODD).replace(b" ", b"+").replace(b"\n", b"%0a"),
    lambda luck: b"tags=" + b",".join(b"t%d" % n for n in range(luck.choice((5, 20, 21, 5000)))),
    lambda luck: b"tags=" + b"".join(b"%%%02x" % byte for byte in noise(luck, 2000)),
    lambda luck: b"range=" + luck.choice((b"15m", b"30d", b"7d", b"1y", b"%00", b"")),
    lambda luck: b"history=" + luck.choice((b"900", b"-0", b"1e400", b"nan", b"inf", b"9" * 5000, b"0x1")),
    lambda luck: b"last_event_id=" + luck.choice((b"0-0", b"9" * 30 + b"-0", b"%00", b"-", b"1-1-1")),
    lambda luck: luck.choice((b"by=", b"new=", b"q=", b"format=", b"=", b"&&&&")) + luck.choice((b"source", b"csv", b"%f0%28%8c", b"a" * 9000)),
)  # fmt: skip


def request(luck: random.Random, *headers: bytes, method: bytes = b"", body: bytes = b"") -> bytes:
    line = b"%s %s HTTP/1.%d\r\n" % (
        method or luck.choice(METHODS),
        target(luck),
        luck.choice((1, 1, 1, 0)),
    )
    return line + HOST + b"".join(each + b"\r\n" for each in headers) + b"\r\n" + body


def odd_line(luck: random.Random) -> Attempt:
    """A method, a target or a version that is none."""
    words = [luck.choice(METHODS), target(luck), luck.choice((b"HTTP/1.1", b"HTTP/1.0"))]
    words[luck.randrange(3)] = luck.choice(
        (*ODD, noise(luck), b"get", b"HTTP/0.9", b"HTTP/9.9", b"HTTP/1.1 HTTP/1.1", b"?x", b"*", b"/?" + b"x" * 60_000)
    )  # fmt: skip
    return [luck.choice((b" ", b" ", b"  ", b"\t")).join(words) + b"\r\n" + HOST + b"\r\n"]


def odd_target(luck: random.Random) -> Attempt:
    return [request(luck, method=b"GET")]


def odd_headers(luck: random.Random) -> Attempt:
    """No names, two hosts, two lengths, folded lines, a thousand of them, one of 70 KB."""
    name = luck.choice((
        b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"Accept", b"Accept-Encoding",
        b"If-None-Match", b"Last-Event-ID", b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"Cookie",
        b"Range", b"Content-Type", b"Upgrade", b"TE", b"Trailer", b"Forwarded", b"Authorization", luck.choice(ODD),
    ))  # fmt: skip
    value = luck.choice((
        *ODD, noise(luck), b"chunked", b"gzip, chunked", b"chunked, chunked", b"close, keep-alive, upgrade", b"h2c",
        b"100-continue", b"text/event-stream;q=x", b"*/*;q=0", b"127.0.0.1," * 7000, b"::ffff:1.2.3.4", b"W/\"", b"bytes=0-",
    ))  # fmt: skip
    line = name + luck.choice((b": ", b":", b" : ", b"", b"\r\n ")) + value
    return [request(luck, *[line] * luck.choice((1, 1, 2, 1000)), method=b"GET")]


def odd_body(luck: random.Random) -> Attempt:
    """Chunks that are none, lengths that lie, both at once, and a body where none belongs."""
    chunk = luck.choice((
        b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhel", b"zz\r\nhello\r\n", b"-5\r\nhello\r\n", b"F" * 30 + b"\r\n",
        b"5;" + b"x" * 70_000, b"0\r\nTrailer: \0\r\n\r\n", b"5\r\nhello0\r\n\r\n", noise(luck), b"",
    ))  # fmt: skip
    length = luck.choice(
        (b"5", b"1000000000", b"99999999999999999999", b"-1", b"+5", b"5, 5", b"5, 6", b"0x5", b"")
    )
    headers = [b"Transfer-Encoding: chunked", b"Content-Length: " + length]
    luck.shuffle(headers)
    return [
        request(luck, *headers[: luck.choice((1, 1, 2))]),
        chunk,
        *[b"x" * 1000] * luck.choice((0, 1, 300)),
    ]


def pipelined(luck: random.Random) -> Attempt:
    """Many requests at once, streams among them, with garbage behind."""
    several = [
        request(luck, method=luck.choice(METHODS[:2])) for _ in range(luck.choice((2, 10, 50)))
    ]
    return [b"".join(several) + luck.choice((b"", noise(luck)))]


def slow(luck: random.Random) -> Attempt:
    """A byte at a time, or half of it."""
    whole = luck.choice((odd_line, odd_headers, odd_target))(luck)[0][:80]
    return [whole[n : n + 1] for n in range(luck.randint(1, len(whole)))]


def half(luck: random.Random) -> Attempt:
    whole = b"".join(luck.choice((odd_body, odd_headers, pipelined))(luck))
    return [whole[: luck.randrange(len(whole))]]


def nothing(luck: random.Random) -> Attempt:
    return []


def garbage(luck: random.Random) -> Attempt:
    """Bytes that are no HTTP: of chance, of TLS, of other protocols, of line ends alone."""
    tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + luck.randbytes(500)
    others = (
        b"SSH-2.0-x\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\r\n" * 5000,
        b"\n\n\n",
        b"\0" * 9000,
        b"\r" * 100,
    )
    return [luck.choice((tls, noise(luck, 9000), *others))]


def upgrade(luck: random.Random) -> Attempt:
    """To a websocket, or to HTTP/2, right, wrong and half right."""
    key, settings = (
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"HTTP2-Settings: AAMAAABkAAQAAP__",
    )
    lines = [
        b"Connection: Upgrade, HTTP2-Settings", luck.choice((b"Upgrade: websocket", b"Upgrade: h2c")),
        luck.choice((key, b"Sec-WebSocket-Key: " + luck.choice(ODD[4:9]), settings)),
        luck.choice((settings, b"HTTP2-Settings: !!!!", b"HTTP2-Settings: AAAA", b"Sec-WebSocket-Version: 13")),
        luck.choice((b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: x", b"Sec-WebSocket-Protocol: \xff")),
    ]  # fmt: skip
    lines = [line for line in lines if luck.random() < 0.9]
    return [request(luck, *lines, method=b"GET"), luck.choice((b"", noise(luck), *frames(luck)))]


def http2(luck: random.Random) -> Attempt:
    """The preface and frames: right, shuffled, doubled, cut, with bytes that are others."""
    return list(frames(luck))


def frames(luck: random.Random) -> Iterator[bytes]:
    client = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
    client.initiate_connection()
    pieces = [client.data_to_send()]
    for stream in range(1, 2 * luck.choice((1, 3, 30)), 2):
        head = [
            (b":method", luck.choice(METHODS)),
            (b":path", luck.choice((target(luck), *ODD[:20]))),
            (b":scheme", b"http"),
        ]
        head += [(b":authority", b"localhost"), (b"x-forwarded-for", luck.choice(ODD[:20]))]
        luck.shuffle(head)
        client.send_headers(
            stream, head[: luck.choice((5, 5, 5, 3))], end_stream=luck.random() < 0.7
        )
        if luck.random() < 0.2:
            client.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        pieces.append(client.data_to_send())
    if luck.random() < 0.5:
        odd_frame = (
            struct.pack(">I", luck.choice((0, 8, 1 << 14, (1 << 24) - 1)))[1:]
            + luck.randbytes(6)
            + noise(luck)
        )
        pieces.insert(luck.randint(1, len(pieces)), odd_frame)
    if luck.random() < 0.3:
        tail = pieces[1:]
        luck.shuffle(tail)
        pieces[1:] = tail
    if luck.random() < 0.3:
        at = luck.randrange(len(pieces))
        place = luck.randrange(len(pieces[at]))
        pieces[at] = pieces[at][:place] + luck.randbytes(1) + pieces[at][place + 1 :]
    yield from pieces


KINDS: tuple[Callable[[random.Random], Attempt], ...] = (
    odd_line, odd_target, odd_headers, odd_body, pipelined, slow, half, nothing, garbage, upgrade, http2,
)  # fmt: skip
