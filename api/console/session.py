"""Who is signed in: an encrypted cookie that no script can read and no other site's page can make a browser send.

It holds the reader's API key and the token that every form repeats. Nothing is kept on the server, so that a restarted
process, or another one that shares the encryption keys, knows the reader as well.
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

SECONDS = 30 * 24 * 3600  # after which a reader signs in anew
_PURPOSE = "console-session:"  # the keys encrypt other things, too
_SEALED = "gAAAA"  # what a Fernet token begins with: nothing else is ever opened


class Sealer(Protocol):
    """What encrypts."""

    def seal(self, secret: str) -> str:
        """Encrypt a text."""

    def open(self, sealed: Sequence[str]) -> list[str]:
        """Decrypt the texts that its keys fit."""


class Ephemeral:
    """Encrypts with a key of this process: after a restart readers sign in anew."""

    def __init__(self) -> None:
        self._key = Fernet(Fernet.generate_key())

    def seal(self, secret: str) -> str:
        """Encrypt a text."""
        return self._key.encrypt(secret.encode()).decode()

    def open(self, sealed: Sequence[str]) -> list[str]:
        """Decrypt the texts that this process has encrypted."""
        opened: list[str] = []
        for text in sealed:
            with suppress(InvalidToken):
                opened.append(self._key.decrypt(text).decode())
        return opened


@dataclass(frozen=True)
class Session:
    """A reader: their key, if they have signed in, and the token of their forms."""

    key: str | None
    csrf: str

    @classmethod
    def new(cls, key: str | None = None) -> "Session":
        """Begin a session."""
        return cls(key, secrets.token_urlsafe(24))

    def approves(self, given: str) -> bool:
        """Return whether a form comes from a page of this session."""
        return hmac.compare_digest(given.encode(), self.csrf.encode())


class Sessions:
    """Reads and writes the cookie."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def of(self, request: Request) -> Session | None:
        """Return the request's session, if it has one that is whole and young enough."""
        sealed = request.cookies.get(_name(request), "")
        opened = self._sealer.open([sealed]) if sealed.startswith(_SEALED) else []
        if not opened or not opened[0].startswith(_PURPOSE):
            return None
        content = json.loads(opened[0].removeprefix(_PURPOSE))
        return Session(content["key"], content["csrf"]) if time.time() - content["at"] < SECONDS else None

    def write(self, request: Request, response: Response, session: Session) -> None:
        """Set the cookie."""
        content = {"key": session.key, "csrf": session.csrf, "at": int(time.time())}
        sealed = self._sealer.seal(_PURPOSE + json.dumps(content))
        response.set_cookie(
            _name(request), sealed, max_age=SECONDS, httponly=True, samesite="strict", secure=_is_https(request)
        )

    def remove(self, request: Request, response: Response) -> None:
        """Remove the cookie."""
        response.delete_cookie(_name(request), httponly=True, samesite="strict", secure=_is_https(request))


def _name(request: Request) -> str:
    """Return the cookie's name: with the port, since browsers share cookies between the ports of a host."""
    return "__Host-rdrkd" if _is_https(request) else f"rdrkd-{request.url.port or 80}"


def _is_https(request: Request) -> bool:
    return request.url.scheme == "https"
