"""What can go wrong between a client and the service.

ClientError
|-- Refused       the service answered with a problem; `code` is what programs switch on
|-- Unreachable   it did not answer, several times in a row
|-- UploadBroken  an upload broke off; `address` is where it can go on
|-- Damaged       what came is not what the service has
`-- NotEnded      the wait was over before the job was
"""

from collections.abc import Mapping
from typing import Any

from rdrkd.errors import Problem, RdrkdError


class ClientError(RdrkdError):
    """The root."""


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
        """The title; with the detail where no list of problems follows, which the detail would repeat."""
        return self.title if self.problems or str(self) == self.title else f"{self.title}: {self}"


class Unreachable(ClientError):
    """The service did not answer."""


class UploadBroken(ClientError):
    """An upload broke off; what has come stays with the service for a day."""

    def __init__(self, message: str, address: str) -> None:
        super().__init__(f"{message}; resume it with resume={address!r}")
        self.address = address


class Damaged(ClientError):
    """The bytes that came have another hash than the service's file."""


class NotEnded(ClientError):
    """The timeout expired before the job ended; the job continues."""
