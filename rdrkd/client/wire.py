"""Helpers for the HTTP library, shared by both forms of the client."""

from collections.abc import Mapping
from typing import Any

import httpx2

from rdrkd.client.effects import Ask

Spec = Mapping[str, Any]
TIMEOUT = httpx2.Timeout(60.0, connect=10.0)


def is_local(url: str) -> bool:
    """Return whether a service is on this machine, so that the environment's proxies must not be used.

    >>> is_local("http://127.0.0.1:8000"), is_local("https://rdrkd.example.org")
    (True, False)
    """
    return httpx2.URL(url).host in ("127.0.0.1", "::1", "localhost")


def headers_of(wish: Ask) -> dict[str, str]:
    """Return a request's headers, with the length of a piece; downloads are requested without compression."""
    headers = dict(wish.headers)
    if wish.piece is not None:
        headers["Content-Length"] = str(wish.piece.length - wish.piece.offset)
    if wish.sink is not None:
        headers["Accept-Encoding"] = "identity"
    return headers
