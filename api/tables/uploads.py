"""Common columns of datasets and models: an upload is stored first, then checked by a worker."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ColumnElement, String, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from api.db import UtcDateTime, now
from api.ownership import Owned
from api.tables.leases import Leased
from api.tables.shares import EVERYONE, Share
from rdrkd.suffixes import ARCHIVES

SUFFIXES = {"dataset": ARCHIVES, "model": (".pt", ".safetensors")}  # accepted suffixes by kind of upload
_STORED_AS = {".tar.gz": ".tgz"}  # storage keys have a single suffix


def suffix_of(filename: str, suffixes: Iterable[str]) -> str | None:
    """Return the suffix of a file's name in its stored form; None if it is not accepted.

    >>> suffix_of("a.TAR.gz", SUFFIXES["dataset"]), suffix_of("a.pt", SUFFIXES["dataset"]), suffix_of(".zip", [".zip"])
    ('.tgz', None, None)
    """
    lower = filename.lower()
    found = next((suffix for suffix in suffixes if lower.endswith(suffix) and len(lower) > len(suffix)), None)
    return _STORED_AS.get(found, found) if found is not None else None


class UploadStatus(StrEnum):
    """Status of an upload."""

    CHECKING = "checking"  # stored; not inspected yet
    READY = "ready"  # inspected and usable
    INVALID = "invalid"  # inspected and refused; `problems` tells why


class Upload(Leased, Owned):
    """Columns of an uploaded file's row, besides `key` (its storage key) and `sha256`."""

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # <prefix>_<uuid7>: sorts by time
    name: Mapped[str | None] = mapped_column(String(200))
    filename: Mapped[str] = mapped_column(String(300))  # the client's name; never a path on this machine
    status: Mapped[UploadStatus] = mapped_column(String(20), default=UploadStatus.CHECKING, index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    problems: Mapped[list[Any]] = mapped_column(JSON, default=list)  # [{where, detail}] when invalid
    report: Mapped[dict[str, Any] | None]  # the inspection's report
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @classmethod
    def readable_by(cls, owner: Any) -> ColumnElement[bool]:
        """Return the condition for the rows that an owner may read: their own, and those shared with them."""
        shared = select(Share.thing_id).where(or_(Share.reader == owner, Share.reader == EVERYONE))
        return or_(cls.owner == owner, cls.id.in_(shared))
