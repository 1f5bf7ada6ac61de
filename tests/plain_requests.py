"""Requests for the event stream, as browsers, curl and proxies send them, and odd ones."""

from app.web.plain_request import LONGEST_HEAD

GET = b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n"
HANDED_ON = b"GET http://h/events HTTP/1.1\r\nHost: h\r\n\r\n"

BROWSERS: dict[str, bytes] = {
    "Chromium": b"""Host: localhost:8000
Connection: keep-alive
sec-ch-ua-platform: "Linux"
Cache-Control: no-cache
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36
Accept: text/event-stream
sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"
sec-ch-ua-mobile: ?0
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty
Referer: http://localhost:8000/?tags=science
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-US,en;q=0.9
Cookie: a=b; c="d e"; _ga=GA1.1.1
If-None-Match: "x"
""",
    "Firefox": b"""Host: [::1]:8000
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0
Accept: text/event-stream
Accept-Language: de,en-US;q=0.7,en;q=0.3
Accept-Encoding: gzip, deflate, br, zstd
DNT: 1
Sec-GPC: 1
Connection: keep-alive
Cookie: session=abc
Priority: u=4
Pragma: no-cache
Cache-Control: no-cache
""",
    "Safari": b"""Host: pulse.example
Accept: text/event-stream
Cache-Control: no-cache
Authorization: Basic eDp5
User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15
Accept-Language: en-GB,en;q=0.9
Accept-Encoding: gzip, deflate
Connection: keep-alive
""",
    "a link that is clicked": b"""Host: localhost
Upgrade-Insecure-Requests: 1
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8
""",
    "curl": b"Host: localhost:8000\nUser-Agent: curl/7.88.1\nAccept: */*\n",
    "aiohttp": b"Host: 127.0.0.1\nAccept: */*\nAccept-Encoding: gzip, deflate\nUser-Agent: Python/3.11 aiohttp/3.14\n",
    "nothing but a host": b"Host:\tunder_score.example  \n",
    "nginx, keep-alive": b"""Host: app
X-Real-IP: 203.0.113.7
X-Forwarded-For: 203.0.113.7
X-Forwarded-Proto: https
accept: text/event-stream
cookie: a=b
""",
    "nginx, HTTP/1.1": b"Host: app\nConnection: close\nAccept: */*\nX-Forwarded-For: 198.51.100.1, 203.0.113.7\n",
    "HAProxy": b"""host: pulse.example
user-agent: curl/8
accept: */*
x-forwarded-proto: https
x-forwarded-for: 203.0.113.7
x-forwarded-for: 203.0.113.8
forwarded: for=203.0.113.7;proto=https
""",
    "Caddy": b"""Host: pulse.example
User-Agent: curl/8
Accept: text/event-stream
X-Forwarded-For: 203.0.113.7
X-Forwarded-Host: pulse.example
X-Forwarded-Proto: https
Via: 2.0 Caddy
Accept-Encoding: gzip
""",
    "Apache": b"""Host: 127.0.0.1:8000
Accept: text/event-stream
X-Forwarded-For: 203.0.113.7
X-Forwarded-Host: pulse.example
X-Forwarded-Server: pulse.example
Connection: Keep-Alive
""",
}
"""The headers that they send, all of them."""

OTHERS = b"""A-IM: feed
Accept-Charset: utf-8
Accept-Datetime: Thu, 31 May 2007 20:35:00 GMT
Access-Control-Request-Headers: x
Access-Control-Request-Method: GET
Content-Encoding: gzip
Content-Language: de
Content-Type: application/x-www-form-urlencoded
Date: Tue, 15 Nov 1994 08:12:31 GMT
DPR: 2
Early-Data: 1
From: somebody@example.com
If-Match: *
If-Modified-Since: Sat, 29 Oct 2094 19:43:31 GMT
If-Range: "x"
If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT
Keep-Alive: timeout=1, max=1
Max-Forwards: 0
Origin: null
Origin: http://other.example
Prefer: respond-async
Proxy-Authorization: Basic eDp5
Proxy-Connection: close
Range: bytes=0-5
Save-Data: on
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Version: 13
Service-Worker: script
TE: trailers, deflate;q=0.5
Trailer: Host
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
Viewport-Width: 320
Warning: 199 - "x"
X-Forwarded-For: unknown
X-Forwarded-Host: <script>
X-Forwarded-Port: 99999
X-Forwarded-Prefix: /pulse
X-Forwarded-Proto: gopher
X-HTTP-Method-Override: DELETE
X-Original-URL: /metrics
X-Request-ID: 1
X-Requested-With: XMLHttpRequest
X-Rewrite-URL: /metrics
Zzz:
""".splitlines()
"""Headers that mean something elsewhere: the two doors take none of them differently."""

QUERIES = [
    b"", b"?", b"?tags=science", b"?tags=Football,science,%23SCIENCE", b"?tags=science&by=source",
    b"?history=60", b"?tags=science&history=900&new=", b"?history=0.5&x=y&history=7",
    b"?tags=science,football&new=football&last_event_id=1-1", b"?last_event_id=9999999999999-0",
    b"?last_event_id=garbage", b"?tags=&by=", b"?a=b?c/d;e:f@g!$'()*+,",
    # handed on: nobody knows the totals, or it is refused
    b"?tags=nobody_used_it", b"?tags=%E3%82%B5%E3%83%83%E3%82%AB%E3%83%BC", b"?tags=sci%ffence", b"?tags=a+b", b"?tags=%23", b"?tags=1", b"?tags=1&lang=de", b"?by=day", b"?history=nan", b"?history=inf", b"?history=-1", b"?history=901",
    b"?history=x", b"?tags=science&new=football", b"?new=%00", b"?tags=" + b",".join(b"a%d" % n for n in range(21)),
    b"?tags=" + b"a" * 101, b"?tags=" + b"%41" * 2000,
]  # fmt: skip
REFUSED = set(QUERIES[QUERIES.index(b"?tags=nobody_used_it") :])

ODD = [
    b"HEAD /events HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    b"get /events HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET  /events HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /events HTTP/1.1 \r\nHost: h\r\n\r\n",
    b"GET /events/ HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET //events HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /%65vents HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /eventsx HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /events#x HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /events?a=[] HTTP/1.1\r\nHost: h\r\n\r\n",
    b'GET /events?a="b" HTTP/1.1\r\nHost: h\r\n\r\n',
    b"GET /events?tags=\xff HTTP/1.1\r\nHost: h\r\n\r\n",
    HANDED_ON,
    b"GET /events HTTP/1.2\r\nHost: h\r\n\r\n",
    b"GET /events HTTP/2.0\r\nHost: h\r\n\r\n",
    b"GET /events\r\nHost: h\r\n\r\n",
    b"GET /events HTTP/1.1\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h/i\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: \r\n\r\n",
    b"GET /events HTTP/1.1\nHost: h\n\n",
    b"GET /events HTTP/1.1\r\nHost : h\r\n\r\n",
    b"GET /events HTTP/1.1\r\n Host: h\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nnothing\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nCookie: \xe4\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nCookie: a\0b\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nAccept: text/html\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nAccept: text/html\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream;q=0\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nLast-Event-ID: 1-1\r\nlast-event-id: 2-1\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nConnection: close, x\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    b"GET /events HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /events HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: h\r\nCookie: " + b"x" * LONGEST_HEAD + b"\r\n\r\n",
    b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /static/nothing HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\r\n" + GET,
]  # fmt: skip


def heads() -> list[tuple[bytes, bool]]:
    """Requests, and whether a viewer by the door is to come of each."""
    good = [(b"GET /events%b HTTP/1.1\r\nHost: h\r\n\r\n" % q, q not in REFUSED) for q in QUERIES]
    for lines in BROWSERS.values():
        head = lines.replace(b"\n", b"\r\n") + b"\r\n"
        good += [(b"GET /events?tags=science HTTP/1.1\r\n" + head, True)]
        good += [(b"GET /events HTTP/1.1\r\nLast-Event-ID: 1-1\r\n" + head, True)]
        # HTTP/1.0 keeps no connection
        good += [
            (b"GET /events HTTP/1.0\r\n" + head, b"eep-" not in head.partition(b"onnection:")[2])
        ]
    good += [(b"GET /events?tags=1 HTTP/1.1\r\nHost: h\r\nAccept-Language: ar\r\n\r\n", False)]
    good += [(GET[:-2] + line + b"\r\n\r\n", True) for line in OTHERS]
    return [*good, *((request, False) for request in ODD)]
