"""The console's access to the service: in its own process, or over the network.

`client` fetches the data of pages. `forward` forwards a whole request, so that uploads and downloads of any size are
streamed in both directions without being held in memory.
"""

import sys
from importlib.util import find_spec
from typing import Protocol

import httpx2
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from rdrkd.client import AsyncClient

if find_spec("sniffio") is None:
    # The in-process transport tries to import it at every request, to detect trio. A page makes a dozen requests, and
    # searching sys.path for the missing module took 2 ms of each. With this entry, the import fails at once.
    sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]

# Headers of one connection, or of the console itself, which are not forwarded.
_OURS = {b"authorization", b"connection", b"cookie", b"host", b"origin", b"te", b"transfer-encoding", b"x-csrf-token"}
_HOP = {"connection", "content-encoding", "content-length", "keep-alive", "server", "date", "transfer-encoding"}


class Service(Protocol):
    """Access to the service."""

    docs: str  # address of the API's interactive documentation

    def client(self, request: Request, key: str | None) -> AsyncClient:
        """Return a client that acts with this key for the sender of the request."""

    def forward(self, request: Request, path: str, key: str | None) -> "ASGIApp | Response":
        """Return an application or response that answers the request with the service's response at `path`."""


class InProcess:
    """Access to the application that contains the console."""

    docs = "/docs"

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def client(self, request: Request, key: str | None) -> AsyncClient:
        """Return a client whose requests have the address and the request id of the reader's request."""
        came_from = (request.client.host, request.client.port) if request.client else ("127.0.0.1", 0)
        transport = httpx2.ASGITransport(self._app, raise_app_exceptions=False, client=came_from)
        request_id = {"X-Request-ID": getattr(request.state, "request_id", "")}
        return AsyncClient(_base(request), key, transport, {k: v for k, v in request_id.items() if v}, patient=False)

    def forward(self, request: Request, path: str, key: str | None) -> ASGIApp:
        """Return the application itself, called with another path."""

        async def forwarded(scope: Scope, receive: Receive, send: Send) -> None:
            kept = {name: scope[name] for name in _KEPT if name in scope}
            headers = [*_handed_on(scope["headers"], drop=_OURS - {b"host", b"origin"}), *_bearer(key)]
            asked = kept | {"path": path, "raw_path": path.encode(), "root_path": "", "headers": headers, "state": {}}
            await self._app(asked, receive, send)

        return forwarded


class Remote:
    """Access to a remote service.

    Args:
        url: its base URL.
        token: an API key for readers who have not signed in with their own.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url, self._token = url, token
        self.docs = f"{url}/docs"
        self._transport = httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=50))

    def client(self, request: Request, key: str | None) -> AsyncClient:
        """Return a client that uses the connections shared by all pages."""
        return AsyncClient(self.url, key or self._token, self._transport, patient=False)

    def forward(self, request: Request, path: str, key: str | None) -> ASGIApp:
        """Return an application that streams the request and its response through."""

        async def forwarded(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                answer = await self._ask(request, path, key or self._token)
            except httpx2.TransportError:
                await PlainTextResponse("the service does not answer\n", 503)(scope, receive, send)
                return
            headers = {name: value for name, value in answer.headers.items() if name not in _HOP}
            if "content-length" in answer.headers and "content-encoding" not in answer.headers:
                headers["content-length"] = answer.headers["content-length"]
            streamed = StreamingResponse(
                answer.aiter_bytes(), answer.status_code, headers, background=BackgroundTask(answer.aclose)
            )
            await streamed(scope, receive, send)

        return forwarded

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _ask(self, request: Request, path: str, key: str | None) -> httpx2.Response:
        headers = [*_handed_on(request.headers.raw, drop=_OURS), *_bearer(key), (b"accept-encoding", b"identity")]
        url = httpx2.URL(self.url).copy_with(path=path, query=request.url.query.encode() or None)
        has_body = request.method not in ("GET", "HEAD")
        asked = httpx2.Request(request.method, url, headers=headers, content=request.stream() if has_body else None)
        sender = httpx2.AsyncClient(transport=self._transport, timeout=60.0, trust_env=False)
        return await sender.send(asked, stream=True)


_KEPT = ("type", "asgi", "http_version", "method", "scheme", "server", "client", "query_string", "extensions")


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers.get('host') or '127.0.0.1'}"


def _handed_on(headers: "list[tuple[bytes, bytes]]", drop: "set[bytes]") -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in drop]


def _bearer(key: str | None) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {key}".encode("latin-1", "replace"))] if key else []
