"""Serve the style sheet, scripts and vendored libraries from the package."""

import hashlib
from functools import cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
YEAR = "public, max-age=31536000, immutable"
FIRST = "theme.js"  # runs before anything is drawn
# What every page loads, as one file of each kind: a browser needs some milliseconds per file even if it has it cached.
# The console's own scripts follow the libraries, in any order: they begin with the page.
BUNDLES = {
    "bundle.css": ("vendor/uPlot.min.css", "console.css"),
    "bundle.js": ("vendor/htmx.min.js", "vendor/hx-ptag.min.js", "vendor/uPlot.iife.min.js"),
}


async def static(request: Request) -> Response:
    """Return a file of the console."""
    name = request.path_params["name"]
    content = _content(name)
    if content is None:
        return Response("expected a file of the console, got another name\n", 404, media_type="text/plain")
    # Pages request each file with its version, so that a new release is never mixed with old files.
    lasting = YEAR if request.query_params.get("v") == version(name) else "no-cache"
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
    if name in BUNDLES:
        own = sorted(file for file in known if name == "bundle.js" and file.endswith(".js") and "/" not in file)
        parts = [*BUNDLES[name], *(file for file in own if file != FIRST)]
        return b"\n".join(known[part].read_bytes() for part in parts)
    return known[name].read_bytes() if name in known else None
