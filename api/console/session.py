"""Sessions: an encrypted cookie that scripts cannot read and that browsers do not send for other sites' pages.

It contains the reader's API key, the CSRF token that every form repeats, and for one page a secret that was just
created. Nothing is stored on the server, so that a session remains valid in a restarted process, and in others that
share the encryption keys.
"""

import hmac
import json
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from cryptography.fernet import Fernet, InvalidToken
from starlette.requests import Request
from starlette.responses import Response

SECONDS = 30 * 24 * 3600  # lifetime, after which the reader must sign in again
_PURPOSE = "console-session:"  # prefix, because the keys also encrypt other data
_SEALED = "gAAAA"  # prefix of Fernet tokens: nothing else is decrypted


class Sealer(Protocol):
    """Encrypts and decrypts texts."""

    def seal(self, secret: str) -> str:
        """Encrypt a text."""

    def open(self, sealed: Sequence[str]) -> list[str]:
        """Decrypt the texts for which it has a key."""


class Ephemeral:
    """Encrypt with a key of this process: after a restart, readers must sign in again."""

    def __init__(self) -> None:
        self._key = Fernet(Fernet.generate_key())

    def seal(self, secret: str) -> str:
        """Encrypt a text."""
        return self._key.encrypt(secret.encode()).decode()

    def open(self, sealed: Sequence[str]) -> list[str]:
        """Decrypt the texts that were encrypted by this process."""
        opened: list[str] = []
        for text in sealed:
            with suppress(InvalidToken):
                opened.append(self._key.decrypt(text).decode())
        return opened


@dataclass(frozen=True)
class Session:
    """A reader's session: the key, if they have signed in, and the CSRF token of their forms.

    A secret that was just created, and is shown only once, waits in it for the page that follows its form.
    """

    key: str | None
    csrf: str
    secret: str | None = None

    @classmethod
    def new(cls, key: str | None = None) -> "Session":
        """Begin a session."""
        return cls(key, secrets.token_urlsafe(24))

    def approves(self, given: str) -> bool:
        """Return whether a form's token is this session's."""
        return hmac.compare_digest(given.encode(), self.csrf.encode())


class Sessions:
    """Read and write the cookie."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def of(self, request: Request) -> Session | None:
        """Return the request's session, if it has a valid one that has not expired."""
        sealed = request.cookies.get(_name(request), "")
        opened = self._sealer.open([sealed]) if sealed.startswith(_SEALED) else []
        if not opened or not opened[0].startswith(_PURPOSE):
            return None
        content = json.loads(opened[0].removeprefix(_PURPOSE))
        known = Session(content["key"], content["csrf"], content.get("secret"))
        return known if time.time() - content["at"] < SECONDS else None

    def write(self, request: Request, response: Response, session: Session) -> None:
        """Set the cookie."""
        content = {"key": session.key, "csrf": session.csrf, "at": int(time.time())}
        content |= {"secret": session.secret} if session.secret else {}
        sealed = self._sealer.seal(_PURPOSE + json.dumps(content))
        response.set_cookie(
            _name(request), sealed, max_age=SECONDS, httponly=True, samesite="strict", secure=_is_https(request)
        )

    def remove(self, request: Request, response: Response) -> None:
        """Remove the cookie."""
        response.delete_cookie(_name(request), httponly=True, samesite="strict", secure=_is_https(request))


def _name(request: Request) -> str:
    """Return the cookie's name, which contains the port, since browsers share cookies between the ports of a host."""
    return "__Host-rdrkd" if _is_https(request) else f"rdrkd-{request.url.port or 80}"


def _is_https(request: Request) -> bool:
    return request.url.scheme == "https"
