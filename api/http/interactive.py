"""Pages for browsers: a start page, and the API's interactive documentation.

Swagger UI comes from a wheel (`fastapi-swagger`): nothing is loaded from elsewhere, so the pages work offline, and
their content policy allows scripts of this service only.
"""

from functools import cache
from importlib import resources

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from api.errors import NotFound
from rdrkd import __version__

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
START = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#docs", deepLinking: true, persistAuthorization: false, validatorUrl: null,
});
"""
DOCS = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>RDR-KD API</title>
<link rel="icon" href="docs/favicon-32x32.png"><link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body><div id="docs"></div>
<script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body>
</html>
"""
HOME = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>RDR-KD</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem }}
:root {{ color-scheme: light dark }}</style>
</head>
<body>
<h1>RDR-KD {__version__}</h1>
<p>This service distils a large drone detector into a small one: upload a dataset and a teacher, submit a job, download
the student.</p>
<ul>
<li><a href="docs">The API, to read and to try</a></li>
<li><a href="openapi.json">The OpenAPI document</a>, for client generators</li>
<li><a href="readyz">Readiness</a></li>
<li><a href="v1/version">Version, licence and source</a></li>
</ul>
<p>From a terminal: <code>rdrkd jobs list --url URL</code></p>
</body>
</html>
"""

docs = APIRouter(include_in_schema=False)
home = APIRouter(include_in_schema=False)  # used if the console is off


@home.get("/")
async def start() -> HTMLResponse:
    """Return the page that says what runs here."""
    return _page(HOME)


@docs.get("/docs")
async def interactive() -> HTMLResponse:
    """Return the interactive documentation."""
    return _page(DOCS)


@docs.get("/docs/{name}")
async def asset(name: str) -> Response:
    """Return a file of the interactive documentation.

    Raises:
        NotFound: there is none of this name.
    """
    if name == "start.js":
        return Response(START, media_type="text/javascript")
    if name not in ASSETS:
        raise NotFound(f"expected one of {', '.join(ASSETS)}, got {name}")
    return Response(_content(name), media_type=ASSETS[name], headers={"Cache-Control": "public, max-age=86400"})


def _page(text: str) -> HTMLResponse:
    return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})


@cache
def _content(name: str) -> bytes:
    return resources.files("fastapi_swagger").joinpath("resources", name).read_bytes()
