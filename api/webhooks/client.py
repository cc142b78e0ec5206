"""Send one message to one receiver: signed, to a checked address, with a time limit, without redirects."""

import asyncio
import logging
import os
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpcore2
from standardwebhooks import Webhook as Signer

from api.webhooks.addresses import AddressRefused, check_form, resolve
from api.webhooks.resolver import Resolver
from rdrkd import __version__

log = logging.getLogger(__name__)

SECONDS = 10.0  # in total, from resolving the name to the response's status
RETRIED = (408, 429)  # and 5xx: the receiver may recover
UNSIGNED = "no secret of this webhook can be decrypted: bring the encryption key back, or rotate the secret"
GONE = 410  # the receiver wants no more messages


@dataclass(frozen=True)
class Answer:
    """The outcome of an attempt."""

    status_code: int | None  # None: there was no response
    error: str | None = None
    again: bool = False  # whether to retry

    @property
    def taken(self) -> bool:
        """Return whether the receiver has accepted the message."""
        return self.status_code is not None and 200 <= self.status_code < 300


@dataclass(frozen=True)
class Client:
    """Send messages; the operator decides which URLs are allowed."""

    http: bool  # allow URLs without TLS
    private: bool  # allow addresses of private networks and of this machine
    resolver: Resolver
    seconds: float = SECONDS

    async def send(self, url: str, message_id: str, body: str, secrets: Sequence[str]) -> Answer:
        """Send a message. Only the status of the response is read.

        Args:
            url: URL of the receiver.
            message_id: id of the message, the same at each attempt.
            body: JSON.
            secrets: keys, for each of which the message gets a signature.
        """
        if not secrets:
            return Answer(None, UNSIGNED, again=True)
        headers = {"Content-Type": "application/json", "User-Agent": f"rdrkd/{__version__}"}
        try:
            headers |= signed(message_id, body, secrets)
            check_form(url, self.http)  # the settings may have changed since it was created
            async with asyncio.timeout(self.seconds):
                status = await self._post(url, headers, body.encode())
        except AddressRefused as error:
            return Answer(None, str(error)[:300])
        except (httpcore2.TimeoutException, TimeoutError) as error:
            return Answer(None, str(error)[:300] or f"no answer within {self.seconds:g} seconds", again=True)
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            return Answer(None, _reason(error)[:300], again=True)
        except Exception:  # without an outcome, the message would be claimed again and again
            log.exception("%s could not be sent", message_id)
            return Answer(None, "the service failed to send it", again=True)
        return Answer(status, again=status in RETRIED or status >= 500)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        context = ssl.create_default_context() if url.startswith("https") else None
        backend = _Checked(self.resolver, self.private, self.seconds)
        async with (
            httpcore2.AsyncConnectionPool(ssl_context=context, network_backend=backend) as pool,
            pool.stream("POST", url, headers=list(headers.items()), content=body) as response,
        ):
            return response.status


def signed(message_id: str, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of Standard Webhooks, with a signature for each secret, so that secrets can be rotated."""
    moment = datetime.now(UTC)
    signatures = [Signer(secret).sign(msg_id=message_id, timestamp=moment, data=body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _reason(error: BaseException) -> str:
    """Return a short reason why the connection failed, without any data that came over it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"no TLS: {cause.reason or 'the handshake failed'}"
        if isinstance(cause, OSError) and cause.errno:
            return f"no connection: {os.strerror(cause.errno)}"  # asyncio's own message contains the address
        cause = cause.__cause__ or cause.__context__
    return "the connection broke off, or the answer was no HTTP"


class _Checked(httpcore2.AsyncNetworkBackend):
    """Connect to a checked address: a name is resolved only once, so that it cannot change between check and use."""

    def __init__(self, resolver: Resolver, private: bool, seconds: float) -> None:
        self._resolver, self._private, self._seconds = resolver, private, seconds
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await resolve(self._resolver, host, self._private, self._seconds)
        for address in addresses[:-1]:
            try:  # may fail, for example for an IPv6 address on a host without IPv6
                return await self._backend.connect_tcp(address, port, self._seconds / len(addresses))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._backend.connect_tcp(addresses[-1], port)
