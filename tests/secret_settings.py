"""Settings that hold a secret wherever one can stand, found by trying, and a look for it."""

import base64
from dataclasses import Field, fields
from typing import Any
from urllib.parse import quote

from app.settings import Settings

USER, SECRET = "u5er0c2b", "pa55w0rd7f3a"
IN_HEADERS = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
PLAIN, SAFE = ("redis", "http", "ws", "unix"), ("rediss", "https", "wss")
SHOWN = {
    "hashtags", "blocked_hashtags", "data_folder", "bind", "replay_file", "people_key_file",
    "redis_ca", "redis_cert", "redis_key", "public_url", "metrics_bind",
}  # fmt: skip
"""Settings that take any text, or nearly, and are shown on purpose."""


def accepts(item: Field[Any], text: str) -> bool:
    try:
        item.metadata["parse"](text)
    except ValueError:
        return False
    return True


def with_secret(item: Field[Any], host: str = "127.0.0.1", port: int = 1, tls: bool = False) -> str:
    """A value of this setting with the secret wherever one can stand; "" where none can."""
    place = f"//{USER}:{SECRET}@{host}:{port}/?token={SECRET}"
    addresses = (f"{scheme}:{place}" for scheme in ((*SAFE, *PLAIN) if tls else (*PLAIN, *SAFE)))
    return next((text for text in (*addresses, SECRET) if accepts(item, text)), "")


HOLDERS = [item for item in fields(Settings) if item.name not in SHOWN and with_secret(item)]
"""Every setting that is a secret, or may hold one inside a URL: found by trying."""


def secret_settings(host: str, port: int, tls: bool = False) -> dict[str, str]:
    """All of them but Redis's, with the secret, and leading to this server."""
    return {
        item.name.upper(): with_secret(item, host, port, tls)
        for item in HOLDERS
        if item.name != "redis_url"
    }


def has_secret(text: str) -> bool:
    """In whichever way it is written, or whose it is."""
    return any(form in text for form in (SECRET, USER, IN_HEADERS, quote(IN_HEADERS)))
