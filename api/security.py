"""The guard in front of every request: who may speak, to which host, and what every answer carries.

It runs before a byte of the body is read. With a token, every /v1 call must carry it. Without one the service
answers this machine only, whatever address it was made to listen on.
"""

import hmac
import ipaddress
import logging
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ApiError, CrossSite, HostNotAllowed, InternalError, LoopbackOnly, Unauthorized
from api.responses import problem_response
from api.settings import Settings

log = logging.getLogger(__name__)

PAGES = ("/docs", "/redoc")  # they load their script from elsewhere; everything else is data
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
}
MAX_BODY_BYTES = 2**20  # of a body that is no upload
NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"


def is_loopback(host: str) -> bool:
    """Say whether an address or host name is this machine's own.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "::ffff:127.0.0.1", "0.0.0.0", "example.org")]
    [True, True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


class Guard:
    """The middleware around the app; the outermost one, so that no answer leaves without its headers."""

    def __init__(self, app: ASGIApp, settings: Settings, token: str | None, uploads: tuple[str, ...]) -> None:
        self._app, self._token, self._uploads = app, token, uploads
        self._hosts = {host.lower() for host in settings.allowed_hosts}
        # Behind a token a rebound DNS name gains nothing, so any name is fine unless the operator lists some.
        self._check_host = token is None or bool(self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request, pass it on, and turn what nobody foresaw into a problem without internals."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _dress(MutableHeaders(raw=message["headers"]), scope["path"], request_id)
            await send(message)

        try:
            self._check(scope)
            limited = receive if scope["path"].startswith(self._uploads) else _limited(receive)
            await self._app(scope, limited, send_dressed)
        except ClientDisconnect:
            log.info("request %s: the client hung up", request_id)
        except ApiError as error:
            await problem_response(error, request_id)(scope, receive, send_dressed)
        except Exception:
            log.exception("request %s failed", request_id)
            if started:
                raise  # too late for an answer: the server cuts the connection
            internal = InternalError("an error of ours; the service's log has it under this request's id")
            await problem_response(internal, request_id)(scope, receive, send_dressed)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = _host_name(headers.get("host", ""))
        if self._check_host and not (is_loopback(host) or host in self._hosts):
            raise HostNotAllowed(f"expected a Host of this service, got {host!r}: RDRKD_ALLOWED_HOSTS may list it")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            _check_origin(headers)
        if self._token is None:
            _check_local(scope)
        elif scope["path"] == "/v1" or scope["path"].startswith("/v1/"):
            self._check_token(headers.get("authorization", ""))

    def _check_token(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        assert self._token is not None
        given = token.strip().encode("latin-1")  # the bytes as they were sent
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token.encode()):
            raise Unauthorized("expected the header Authorization: Bearer <token> with this service's token")


def _check_origin(headers: Headers) -> None:
    """Refuse what a browser sends for another site's page: it needs no token on this machine."""
    origin = headers.get("origin")
    if origin is not None and _place(origin) != headers.get("host", "").lower():
        raise CrossSite(f"expected a request from this service's own pages or from a program, got one from {origin!r}")


def _place(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # no URL at all
        return None


def _check_local(scope: Scope) -> None:
    client = scope.get("client")
    if client is not None and not is_loopback(client[0]):
        raise LoopbackOnly("expected a caller on this machine; set RDRKD_TOKEN to serve others")


def _limited(receive: Receive) -> Receive:
    """Stop reading a body beyond the limit; FastAPI lets no other error than its own through while it reads."""
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise HTTPException(413)
        return message

    return limited


def _host_name(host: str) -> str:
    """Take the port off a Host header.

    >>> _host_name("localhost:8000"), _host_name("[::1]:8000"), _host_name("[")
    ('localhost', '::1', '')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _dress(headers: MutableHeaders, path: str, request_id: str) -> None:
    headers["X-Request-ID"] = request_id
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if not path.startswith(PAGES):
        headers.setdefault("Content-Security-Policy", NO_CONTENT)
