"""Whose request it is.

Of IPv4 all of an address tells visitors apart, of IPv6 the first 64 bits, which is what one
customer is given. Behind a proxy the address is what the proxy says in X-Forwarded-For. One that
does not say it shows all visitors as one: then it is not known whose request it is.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

HOPS, LONGEST_HOP = 16, 64
"""So many entries of X-Forwarded-For are looked at, from the right, of so many bytes."""
ADDRESS, TAKEN = "hashtag_pulse.address", "hashtag_pulse.taken"
"""What is said of a request in its ASGI scope: whose it is, and that its connection was taken from
the server, so that its end is none of the request's."""

Address = bytes
"""4 bytes of IPv4, 8 of IPv6."""
IP = IPv4Address | IPv6Address
Networks = Iterable[IPv4Network | IPv6Network]


def address_of(scope: Any, trusted: Networks) -> Address | None:
    """Whose request an ASGI scope is; none where that is not known."""
    client = scope.get("client")
    lines = [value for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    return whose(client[0] if client else "", b",".join(lines), trusted)


def whose(peer: str, forwarded: bytes, trusted: Networks) -> Address | None:
    """Whose request it is, by who sent it and by its X-Forwarded-For.

    Who comes by a Unix socket has no address, and is such a proxy.
    """
    address = read_address(peer)
    if not address or is_in(address, trusted):
        address = forwarded_for(forwarded, trusted) if forwarded else None
    return address.packed[:8] if address else None


def forwarded_for(line: bytes, trusted: Networks) -> IP | None:
    """The first from the right that is no proxy of ours: what stands left of it, it may have
    written itself."""
    for entry in reversed(line.rsplit(b",", HOPS)[-HOPS:]):
        if len(entry) > LONGEST_HOP:
            return None
        address = read_address(entry.decode("latin-1").strip())
        if not address or not is_in(address, trusted):
            return address
    return None


def read_address(text: str) -> IP | None:
    """An address, which may have a port: 1.2.3.4:567, [2001:db8::1]:567."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def in_words(address: Address | None) -> str:
    if address is None:
        return "of an address that is not known"
    if len(address) == 4:
        return f"of {IPv4Address(address)}"
    return f"of {IPv6Address(address.ljust(16, bytes(1)))}/64"


def is_in(address: IP, networks: Networks) -> bool:
    return any(address in network for network in networks)
