"""The guard of every request: authentication, host and origin checks, limits, and the headers of every response.

It runs before a byte of the body is read. If there is a token or an API key, every /v1 call must carry one. Otherwise
the service answers only this machine, whatever address it listens on.
"""

import asyncio
import hmac
import ipaddress
import logging
from contextlib import AbstractAsyncContextManager, ExitStack, nullcontext
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import log_setup
from api.access import keys
from api.caller import LOOPBACK, READING, TOKEN, Caller, needed
from api.errors import (
    ApiError,
    CrossSite,
    HostNotAllowed,
    InsufficientScope,
    InternalError,
    LoopbackOnly,
    Unauthorized,
    Unavailable,
)
from api.http import bounds, key_lookup
from api.http.admission import Admission
from api.http.key_lookup import Lookup
from api.http.key_recheck import SECONDS, standing
from api.http.ongoing import Ongoing
from api.http.rates import Rates
from api.http.responses import problem_response
from api.http.slow_bodies import Paced
from api.settings import Settings

log = logging.getLogger(__name__)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
MAX_BODY_BYTES = 2**20  # of a body that is no upload
MAX_BODY_VALUES = 5_000  # of such a body, counted by its commas: each is parsed and checked on the event loop
NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"


def is_loopback(host: str) -> bool:
    """Return whether an address or host name is this machine's own.

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
    """The middleware around the app; only the access log is outside it, so every response gets its headers."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        token: str | None,
        local_token: str | None,
        keys: Lookup,
        uploads: tuple[str, ...],
        admission: Admission,
    ) -> None:
        self._app, self._token, self._keys, self._uploads = app, token, keys, uploads
        self._local_token = local_token
        self._admission, self._ongoing = admission, Ongoing()
        self._settings, self._rates = settings, Rates(settings)
        self._hosts = {host.lower() for host in settings.allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request, pass it on, and turn unexpected errors into a problem document without internals."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["state"]["request_id"]
        started = streams = False

        async def send_dressed(message: Message) -> None:
            nonlocal started, streams
            if message["type"] == "http.response.start":
                started = True
                streams = Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream")
                _dress(MutableHeaders(raw=message["headers"]), request_id)
            await send(message)

        with ExitStack() as stack:
            try:
                if caller := await self._check(scope):
                    stack.enter_context(log_setup.about(key=caller.key))
                    stack.enter_context(self._ongoing.of(caller.owner))
                paced = Paced(receive, self._settings)
                limited = paced if _is_one_of(scope["path"], self._uploads) else _limited(paced)
                async with self._as_long_as_valid(scope, caller):
                    await self._app(scope, limited, send_dressed)
            except ClientDisconnect:
                log.info("the client disconnected")
            except asyncio.CancelledError:  # the server stops after its grace period; it would respond 500
                if started:
                    raise
                leaving = Unavailable("expected a request that ends before this process stops, got one that did not")
                await problem_response(leaving, request_id)(scope, receive, send_dressed)
            except ApiError as error:
                if not started:
                    await problem_response(error, request_id)(scope, receive, send_dressed)
                    return
                log.info("the response was cut off: %s", error)
                if streams:  # end a stream regularly; cut other responses, else they would look complete
                    await send({"type": "http.response.body", "body": b""})
            except Exception:
                log.exception("the request failed")
                if started:
                    raise  # the response has started: the server cuts the connection
                internal = InternalError("an error of ours; the service's log has it under this request's id")
                await problem_response(internal, request_id)(scope, receive, send_dressed)

    def _as_long_as_valid(self, scope: Scope, caller: Caller | None) -> AbstractAsyncContextManager[None]:
        """Return a context in which a response ends when its caller's key becomes invalid."""
        if caller is None or caller is LOOPBACK or caller is TOKEN:
            return nullcontext()
        token = Headers(scope=scope)["authorization"].partition(" ")[2].strip()
        return standing(lambda: self._keys.caller(token, at_most=SECONDS))

    async def _check(self, scope: Scope) -> Caller | None:
        """Check the request; return its caller, or None if that does not matter.

        Refused requests of unknown callers are counted by address, as refusing also costs time.
        """
        try:
            caller = await self._known(scope)
        except Unavailable:
            raise
        except ApiError:
            await self._rates.check_stranger((scope.get("client") or ("nowhere",))[0])
            raise
        if caller is not None and caller is not LOOPBACK:
            await self._rates.check(caller, scope["method"], scope["path"])
            _check_scope(caller, scope["method"], scope["path"])
        if caller is not None:  # refuse early, before routing, parsing and validation
            self._admission.check(write=scope["method"] not in READING)
        return caller

    async def _known(self, scope: Scope) -> Caller | None:
        """Identify the caller; None for public addresses.

        Raises:
            ApiError: the request is refused.
        """
        bounds.check(scope)
        headers = Headers(scope=scope)
        under_v1 = scope["path"] == "/v1" or scope["path"].startswith("/v1/")
        # Probes must not depend on the database, whose state they may report.
        closed = self._token is not None or (await self._any_key(headers) if under_v1 else self._keys.has_any)
        # Behind a token or keys a rebound DNS name gains nothing, so any is fine unless the operator lists some.
        if not closed or self._hosts:
            self._check_host(headers)
        if scope["method"] not in READING:
            _check_origin(headers)
        if not closed:
            _check_local(scope)
            scope["state"]["caller"] = LOOPBACK
        elif under_v1:
            scope["state"]["caller"] = await self._caller(headers.get("authorization", ""), scope.get("client"))
        found: Caller | None = scope["state"].get("caller")
        return found

    async def _any_key(self, headers: Headers) -> bool:
        """Return whether callers need a key; for a caller with a key, a cached "no" is not trusted."""
        _, _, given = headers.get("authorization", "").partition(" ")
        return await self._keys.any_key(0.0 if keys.parts(given.strip()) is not None else key_lookup.SECONDS)

    def _check_host(self, headers: Headers) -> None:
        host = _host_name(headers.get("host", ""))
        if not (is_loopback(host) or host in self._hosts):
            raise HostNotAllowed(f"expected a Host of this service, got {host!r}; RDRKD_ALLOWED_HOSTS can allow it")

    async def _caller(self, authorization: str, client: tuple[str, int] | None) -> Caller:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("expected the header Authorization: Bearer <API key or token>, got none")
        given = given.strip()
        # latin-1: the bytes as they were sent
        if self._token is not None and hmac.compare_digest(given.encode("latin-1"), self._token.encode()):
            return TOKEN
        local = self._local_token if client is None or is_loopback(client[0]) else None
        if local is not None and hmac.compare_digest(given.encode("latin-1"), local.encode()):
            return TOKEN
        return await self._keys.caller(given)


def _check_scope(caller: Caller, method: str, path: str) -> None:
    scope = needed(method, path)
    if not caller.scope.holds(scope):
        raise InsufficientScope(f"expected a key with the scope {scope}, got one with the scope {caller.scope}")


def _check_origin(headers: Headers) -> None:
    """Refuse requests that another site's page makes a browser send, which need no token on this machine."""
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
        raise LoopbackOnly("expected a caller on this machine; to serve others, set RDRKD_TOKEN or create API keys")


def _is_one_of(path: str, addresses: tuple[str, ...]) -> bool:
    """Return whether a path is one of the addresses, or below one that ends with a slash.

    >>> [_is_one_of(path, ("/v1/models", "/v1/uploads/")) for path in ("/v1/models", "/v1/models/x", "/v1/uploads/x")]
    [True, False, True]
    """
    return any(path.startswith(one) if one.endswith("/") else path == one for one in addresses)


def _limited(receive: Receive) -> Receive:
    """Stop reading a body beyond the limit, by one of FastAPI's own errors: it hides others while it reads."""
    size = values = 0

    async def limited() -> Message:
        nonlocal size, values
        message = await receive()
        body = message.get("body", b"")
        size, values = size + len(body), values + body.count(b",")
        if size > MAX_BODY_BYTES or values > MAX_BODY_VALUES:
            raise HTTPException(413)
        return message

    return limited


def _host_name(host: str) -> str:
    """Remove the port from a Host header.

    >>> _host_name("localhost:8000"), _host_name("[::1]:8000"), _host_name("[")
    ('localhost', '::1', '')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _dress(headers: MutableHeaders, request_id: str) -> None:
    headers["X-Request-ID"] = request_id
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", NO_CONTENT)
