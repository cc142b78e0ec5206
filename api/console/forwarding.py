"""Forward the browser's downloads and uploads to the service, with the reader's key."""

import re

from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from api.console.service import Service
from api.console.session import Sessions
from api.console.visit import Visit, endpoint

PREFIX = "/through"
_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
READ = re.compile(
    rf"/v1/(jobs/{_NAME}/(weights|metrics|logs|artifacts/{_NAME})|(models/{_NAME}/weights)|(datasets/{_NAME}/(preview|images/[0-9]+))"
    rf"|(studies/{_NAME}/report)|(uploads/{_NAME})|source)"
)
WRITTEN = re.compile(rf"/v1/uploads(/{_NAME})?")


async def forward(visit: Visit) -> Response | ASGIApp:
    """Forward a request for a file, if it is one of those to which pages link."""
    path, method = "/" + visit.request.path_params["path"], visit.request.method
    allowed = READ if method in ("GET", "HEAD") else WRITTEN
    if not allowed.fullmatch(path) and not (method == "HEAD" and WRITTEN.fullmatch(path)):
        return visit.problem(404, "Nothing is here", f"expected a file of the service, got {path}")
    return visit.service.forward(visit.request, path, visit.session.key)


def forwarding(service: Service, sessions: Sessions) -> list[Route]:
    """Return the route for all files."""
    answer = endpoint(forward, service, sessions, forms=False)
    return [Route(PREFIX + "/{path:path}", answer, methods=["GET", "HEAD", "POST", "PATCH", "DELETE"])]
