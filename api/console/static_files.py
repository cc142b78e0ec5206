"""Serve the style sheet, scripts and vendored libraries from the package."""

import hashlib
from functools import cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
DAY = "public, max-age=86400"


async def static(request: Request) -> Response:
    """Return a file of the console."""
    name = request.path_params["name"]
    content = _content(name)
    if content is None:
        return Response("expected a file of the console, got another name\n", 404, media_type="text/plain")
    # Pages request each file with its version, so that a new release is never mixed with old files.
    lasting = DAY if request.query_params.get("v") == version(name) else "no-cache"
    return Response(content, media_type=MEDIA_TYPES[name.rpartition(".")[2]], headers={"Cache-Control": lasting})


@cache
def version(name: str) -> str:
    """Return a hash that distinguishes a file's content."""
    return hashlib.sha256(_content(name) or b"").hexdigest()[:12]


@cache
def _content(name: str) -> bytes | None:
    known = {
        f"{folder}{file.name}": file
        for folder in ("", "vendor/")
        for file in resources.files("api.console").joinpath(f"static/{folder}").iterdir()
        if file.name.rpartition(".")[2] in MEDIA_TYPES
    }
    return known[name].read_bytes() if name in known else None
