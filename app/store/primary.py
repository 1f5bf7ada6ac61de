"""Where the primary is, of a Redis that moves: Sentinels tell it, or the nodes of a cluster.

`redis+sentinel://host:26379,host:26379/name` names some Sentinels and what they call the primary;
`redis+cluster://host:6379,host:6379` some nodes of a cluster. All are asked before a connection is
opened, and of their answers the newest is believed: each has a number (its configuration epoch) by
which they agree among each other, so one that is cut off from the others misleads nobody.
https://redis.io/docs/latest/develop/reference/sentinel-clients/ and
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, ConnectionError, RedisError

from app.store import keys
from app.store.refusals import explained, readable, tls_refusal
from app.urls import each_host

Address = tuple[str, int]
"""Host and port."""
ASK_SECONDS = 1.0
"""Who has not answered by then knows nothing."""
MOST_ASKED = 20
"""Sentinels, or nodes of a cluster, that are asked at once."""
OF_SENTINELS = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True)
class Claim:
    """What a Sentinel, or a node of a cluster, says of where the primary is."""

    epoch: int
    """The higher one is the newer one."""
    primary: Address
    """Who has our keys, and takes writes."""
    others: Sequence[Address] = ()
    """Who else may be asked from now on."""


class Primary:
    """Where the primary is, as it was last told.

    open_url: makes a client that asks one of them.
    """

    def __init__(self, url: str, open_url: Callable[[str], Redis]) -> None:
        parts = urlsplit(url)
        self.scheme, _, self.kind = parts.scheme.partition("+")
        self.name, _, database = parts.path.strip("/").partition("/")
        self.name = unquote(self.name)
        user, at, _ = parts.netloc.rpartition("@")
        self.user = user + at
        query = dict(parse_qsl(parts.query))
        own = [query.pop(name, "") for name in OF_SENTINELS]
        if self.kind == "sentinel":
            self.user = ":".join(quote(part, safe="") for part in own) + "@" if any(own) else ""
        usual = 26379 if self.kind == "sentinel" else 6379
        self.named = [address_of(each, usual) for each in each_host(url)]
        self.first = f"{self.scheme}://{user}{at}{url_host(*self.named[0])}/{database}"
        """A URL of a single server with all that a connection needs but its address."""
        if query:
            self.first += f"?{urlencode(query)}"
        self.open_url = open_url
        self.others: Sequence[Address] = ()
        """Who may be asked besides, as we were told."""
        self.found: Address | None = None
        """Where it was last; None until somebody told."""

    async def find(self) -> Address:
        """Where it is now. Raises ConnectionError where nobody knows, and nobody ever did."""
        asked = list(dict.fromkeys([*self.named, *self.others]))[:MOST_ASKED]
        answers = await asyncio.gather(*map(self.ask, asked))
        if claims := [each for each in answers if isinstance(each, Claim)]:
            newest = max(claims, key=lambda each: each.epoch)
            self.found, self.others = newest.primary, newest.others
        elif self.found is None:
            who = "node of its cluster says where our keys are"
            if self.kind == "sentinel":
                who = f"Sentinel says where {self.name} is"
            raise ConnectionError(f"no {who}: {answers[0]}")
        return self.found

    async def ask(self, address: Address) -> Claim | str:
        """What this one says; as a text, why it says nothing."""
        redis = self.open_url(f"{self.scheme}://{self.user}{url_host(*address)}")
        try:
            async with asyncio.timeout(ASK_SECONDS):
                if self.kind == "sentinel":
                    return await ask_sentinel(redis, self.name)
                nodes: Any = await redis.execute_command("CLUSTER NODES")  # type: ignore[no-untyped-call]
                return cluster_claim(nodes, address[0], by_name=self.scheme == "rediss")
        except (RedisError, OSError, TimeoutError) as error:
            told = readable(error).rstrip(".") if str(error) else "it does not answer"
            return self.why_not(error) or told
        finally:
            await redis.aclose()

    def why_not(self, error: Exception) -> str:
        """What one that refused would have liked; "" where that is not known."""
        if self.kind == "sentinel" and isinstance(error, AuthenticationError):
            return "it asks for a password, or for another one (?sentinel_password=… in REDIS_URL)"
        return tls_refusal(error) if self.kind == "sentinel" else explained(error)

    def doubt(self) -> None:
        """It is not there any more."""
        self.found = None


async def ask_sentinel(redis: Redis, name: str) -> Claim:
    """What a Sentinel says. In the midst of a failover its SENTINEL MASTER has the old address."""
    ask: Any = redis.execute_command
    about = await ask("SENTINEL MASTER", name)
    found = await ask("SENTINEL GET-MASTER-ADDR-BY-NAME", name)
    if found is None:
        raise RedisError("it has forgotten it")
    host, port = found
    return Claim(int(about["config-epoch"]), (host.decode(), int(port)))


def cluster_claim(nodes: Mapping[str, Mapping[str, Any]], asked: str, by_name: bool) -> Claim:
    """What the nodes of a cluster, as redis-py reads CLUSTER NODES, say of the slot of our keys.

    asked: the host that said so, which may not know its own address. by_name: whether hosts are
    wanted by their names, for TLS. Raises RedisError where nobody has the slot.
    """
    slot, owner, at = key_slot(keys.PREFIX.encode()), None, ("", 0)
    addresses = {}
    for text, node in nodes.items():
        host, _, port = text.rpartition(":")
        addresses[text] = (by_name and node["hostname"]) or host or asked, int(port)
        if any(int(span[0]) <= slot <= int(span[-1]) for span in node["slots"]):
            owner, at = node, addresses[text]
    if owner is None:
        raise RedisError("nobody has the slot of our keys")
    others = [addresses[t] for t, n in nodes.items() if n["master_id"] == owner["node_id"]]
    return Claim(int(owner["epoch"]), at, (at, *others))


def address_of(url: str, usual: int) -> Address:
    """The host and the port of a URL of one server; usual: the port where it names none."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or usual


def url_host(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
