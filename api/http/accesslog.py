"""Log one line per request after its response, and assign the request id that all its log lines carry."""

import logging
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import log_setup
from api.caller import Caller

log = logging.getLogger("api.accesslog")  # the name that operators filter by


class AccessLog:
    """The outermost middleware: every other one sees a request with an id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Assign the request its id, pass it on, and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = log_setup.request_id_of(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.monotonic(), None  # none: the client disconnected before a response

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
        route = f"/v1{route}"  # FastAPI reports a route without the outer router's prefix
    about = {
        "route": route,
        "key": caller.key if caller else None,
        "job_id": scope.get("path_params", {}).get("job_id"),
    }
    return {name: value for name, value in about.items() if value is not None}
