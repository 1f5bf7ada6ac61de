"""What can be asked here, for machines: an OpenAPI description, by hand in openapi.json.

Its form is version 3.1.0 of https://spec.openapis.org/oas/v3.1.0.html.
"""

import gzip
import json
from pathlib import Path

from quart import Quart, Response

from app import VERSION
from app.web.bodies import Body, respond_with

FILE = Path(__file__).with_name("openapi.json")


def add_description(app: Quart) -> None:
    told = json.loads(FILE.read_bytes())
    told["info"]["version"] = VERSION
    plain = json.dumps(told, ensure_ascii=False).encode() + b"\n"
    body = Body("application/json; charset=utf-8", plain, gzip.compress(plain, 9, mtime=0))

    @app.get("/api")
    async def description() -> Response:
        return respond_with(body, "public, max-age=300")
