"""A line a request, when its answer is over; and the id under which everything that it does is logged."""

import logging
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import log_setup
from api.caller import Caller

log = logging.getLogger("api.accesslog")  # the name that operators filter by


class AccessLog:
    """The outermost middleware: the request has its id before anything looks at it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Assign the request its id, pass it on, and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = log_setup.request_id_of(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.monotonic(), None  # none: the client was gone before there was an answer

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with log_setup.about(request_id=request_id):
            try:
                await self._app(scope, receive, send_noted)
            finally:
                line = {"method": scope["method"], "status": status, **_about(scope)}
                log.info("request", extra=line | {"duration_ms": round(1000 * (time.monotonic() - started), 1)})


def _about(scope: Scope) -> dict[str, Any]:
    """Return the resource of the request: the path as a template, never a query; the key by its id."""
    caller: Caller | None = scope["state"].get("caller")
    route: str | None = getattr(scope.get("route"), "path", None)
    if route is not None and scope["path"].startswith("/v1/"):
        route = f"/v1{route}"  # FastAPI tells a route without the prefix of the router that holds its router
    about = {
        "route": route,
        "key": caller.key if caller else None,
        "job_id": scope.get("path_params", {}).get("job_id"),
    }
    return {name: value for name, value in about.items() if value is not None}
