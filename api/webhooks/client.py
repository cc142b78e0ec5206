"""One message to one receiver: signed, to an address that was checked, within a time, without redirects."""

import logging
import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpcore2
from standardwebhooks import Webhook as Signer

from api.webhooks.addresses import AddressRefused, check_form, resolve
from rdrkd import __version__

log = logging.getLogger(__name__)

SECONDS = 10.0  # from the connection to the answer's status, all in all
RETRIED = (408, 429)  # and 5xx: the receiver may be well again later
GONE = 410  # the receiver wants no more of it


@dataclass(frozen=True)
class Answer:
    """What came of an attempt."""

    status_code: int | None  # none: there was no answer
    error: str | None = None
    again: bool = False  # it may succeed later

    @property
    def taken(self) -> bool:
        """Say whether the receiver has taken the message."""
        return self.status_code is not None and 200 <= self.status_code < 300


def send(
    url: str,
    message_id: str,
    body: str,
    secrets: Sequence[str],
    http: bool,
    private: bool,
    seconds: float = SECONDS,
) -> Answer:
    """Send a message. Of the answer only the status is read.

    Args:
        url: of the receiver.
        message_id: the same at each attempt.
        body: JSON.
        secrets: each gives a signature.
        http: allow it without TLS.
        private: allow addresses of private networks and of this machine.
        seconds: from the connection to the answer's status, all in all.
    """
    headers = {"Content-Type": "application/json", "User-Agent": f"rdrkd/{__version__}"}
    try:
        headers |= signed(message_id, body, secrets)
        check_form(url, http)  # the operator may have changed their mind since it was made
        status = _post(url, headers, body.encode(), private, seconds)
    except AddressRefused as error:
        return Answer(None, str(error)[:300])
    except (httpcore2.TimeoutException, TimeoutError):
        return Answer(None, f"no answer within {seconds:g} seconds", again=True)
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
        return Answer(None, _reason(error)[:300], again=True)
    except Exception:  # without an answer the message would be claimed again and again
        log.exception("%s could not be sent", message_id)
        return Answer(None, "the service failed to send it", again=True)
    return Answer(status, again=status in RETRIED or status >= 500)


def signed(message_id: str, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """Give the headers of the Standard Webhooks form: a signature by each secret, so that they can be rotated."""
    moment = datetime.now(UTC)
    signatures = [Signer(secret).sign(msg_id=message_id, timestamp=moment, data=body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _post(url: str, headers: Mapping[str, str], body: bytes, private: bool, seconds: float) -> int:
    backend = _Checked(private, time.monotonic() + seconds)
    context = ssl.create_default_context()
    timeouts = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds)}
    with (
        httpcore2.ConnectionPool(ssl_context=context, network_backend=backend) as pool,
        pool.stream("POST", url, headers=list(headers.items()), content=body, extensions=timeouts) as response,
    ):
        return response.status


def _reason(error: BaseException) -> str:
    """Say in a few words why there is no connection; nothing of what came over it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"no TLS: {cause.reason or 'the handshake failed'}"
        if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, socket.gaierror):
            return f"no connection: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return "the connection broke off, or the answer was no HTTP"


class _Checked(httpcore2.NetworkBackend):
    """Connects to the address that was checked: a name is resolved once, so that it cannot lead elsewhere next time."""

    def __init__(self, private: bool, deadline: float) -> None:
        self._private, self._deadline = private, deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        address = resolve(host, port, self._private)
        stream = httpcore2.SyncBackend().connect_tcp(address, port, _left(self._deadline))
        return _Timed(stream, self._deadline)


class _Timed(httpcore2.NetworkStream):
    """A connection with an end: a receiver that drips single bytes is not waited for any longer than another."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline)), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
