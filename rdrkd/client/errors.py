"""The client's errors.

ClientError
|-- Refused       the service answered with a problem; programs should branch on `code`
|-- Unreachable   the service did not answer, several times in a row
|-- UploadBroken  an upload was interrupted; resume it at `address`
|-- Damaged       the received bytes differ from the service's file
`-- NotEnded      the timeout expired before the job ended
"""

from collections.abc import Mapping
from typing import Any

from rdrkd.errors import Problem, RdrkdError


class ClientError(RdrkdError):
    """Base class of the client's errors."""


class Refused(ClientError):
    """The service answered with a problem document (RFC 9457)."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status, self.document = status, document
        self.code = str(document.get("code", "unknown"))
        problems = [
            Problem(str(e.get("pointer") or e.get("parameter") or ""), str(e.get("detail", "")))
            for e in document.get("errors", [])
        ]
        self.title = str(document.get("title") or f"the service answered with HTTP status {status}")
        super().__init__(str(document.get("detail") or self.title), problems)

    @property
    def headline(self) -> str:
        """The title; with the detail, unless a list of problems follows, which the detail would repeat."""
        return self.title if self.problems or str(self) == self.title else f"{self.title}: {self}"


class Unreachable(ClientError):
    """The service did not answer."""


class UploadBroken(ClientError):
    """An upload was interrupted; the service keeps the received bytes for a day."""

    def __init__(self, message: str, address: str) -> None:
        super().__init__(f"{message}; resume it with resume={address!r}")
        self.address = address


class Damaged(ClientError):
    """The received bytes have a different hash than the service's file."""


class NotEnded(ClientError):
    """The timeout expired before the job ended; the job continues."""
