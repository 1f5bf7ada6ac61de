"""Alerts of tracked hashtags on their way to ALERT_URL.

Each is sent until somebody answers that it came (2xx), one after the other, so it may come twice:
its id tells. What cannot be delivered for a day is given up.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from app.ingest.alerts import AlertMaker, is_given_up
from app.retry import Backoff
from app.sources import public_reason
from app.store.alerts import Alert

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

SECONDS = 10.0
"""So long one delivery may take."""
LONGEST_WAIT = 300.0
"""Seconds between two tries, at most."""
SIGNATURE = "X-Hashtag-Pulse-Signature"
"""The header: `sha256=` and the HMAC-SHA256 of the body with ALERT_SECRET, in hexadecimal digits
(RFC 2104)."""


@dataclass
class Webhook:
    """Where alerts are delivered; none where the address is empty."""

    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    """With which each is signed; not, where it is empty."""

    async def run(self, alerts: AlertMaker, now: Callable[[], int]) -> None:
        """Deliver until cancelled; now tells milliseconds since 1970."""
        import aiohttp  # some MB, which is for those who have an address

        backoff, trouble = Backoff(first=1.0, longest=LONGEST_WAIT), ""
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        cookies = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=cookies) as session:
            while True:
                alert = await alerts.next_due()
                if is_given_up(alert, now()):
                    log.warning("an alert is given up: ALERT_URL took it not within a day")
                    alerts.settle(alert)
                elif why := await self.refused(session, alert):
                    if why != trouble:
                        log.warning("ALERT_URL: %s; alerts wait", why)
                    trouble = why
                    await asyncio.sleep(backoff.next())
                else:
                    trouble = ""
                    backoff.reset()
                    alerts.settle(alert)

    async def refused(self, session: "aiohttp.ClientSession", alert: Alert) -> str:
        """Send it once: why it did not come, without a word of the address; "" when it did."""
        body = msgspec.json.encode(alert)
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if self.secret:
            headers[SIGNATURE] = signature(self.secret, body)
        import aiohttp

        try:
            # where it redirects to is nobody's address that the owner chose
            async with session.post(
                self.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                came = 200 <= response.status < 300
                return "" if came else f"it answered {response.status}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return public_reason(error)


def signature(secret: str, body: bytes) -> str:
    return f"sha256={hmac.new(secret.encode(), body, 'sha256').hexdigest()}"
