"""What a store returns about its files, and the errors that it raises."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from api.errors import StorageFull

CHUNK = 2**20


class StorageUnreachable(OSError):
    """The store does not respond or rejects the credentials, so its content is unknown."""


@contextmanager
def full_disk_reported(detail: str) -> Iterator[None]:
    """Turn the operating system's errors for a full disk into `StorageFull`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull(detail) from error
        raise


@dataclass(frozen=True)
class Stored:
    """A file of the store: its key, the hex sha256 of its content, its size in bytes."""

    key: str
    sha256: str
    size: int
    new: bool  # whether the key was unused before


@dataclass(frozen=True)
class Listed:
    """A file that the store holds."""

    key: str
    age_seconds: float  # since its content was written
