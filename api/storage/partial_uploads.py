"""Files that arrive in pieces, over several requests: what has come stays until the file is complete or abandoned.

The file itself is the truth: its size is the offset at which the next piece begins, whatever happened to the process
that wrote the last one. An abandoned file goes with the sweep of the store, some time after its last byte.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from api.storage import Storage, Stored


class Busy(Exception):
    """Another request is writing to the file."""


class Partial:
    """A file that grows in the store's folder for incoming files, under the id of its upload."""

    def __init__(self, storage: Storage, upload_id: str) -> None:
        self._storage = storage
        self.path: Path = storage.incoming_path(upload_id)

    def create(self) -> None:
        """Begin with nothing.

        Raises:
            OSError: the disk is full or unwritable.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(exist_ok=False)

    def size(self) -> int | None:
        """Return how many bytes have come; None where the file is gone."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return None

    def last_byte_at(self) -> float:
        """Return when the last byte came, seconds since the epoch; now, where the file is gone."""
        try:
            return self.path.stat().st_mtime
        except FileNotFoundError:
            return time.time()

    @contextmanager
    def appending(self) -> Iterator[IO[bytes]]:
        """Open the file to append to it, for one writer at a time on all hosts that share the folder.

        Raises:
            Busy: somebody else writes.
            FileNotFoundError: the file is gone.
        """
        with self.path.open("r+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy from None
            file.seek(0, os.SEEK_END)
            yield file

    def sha256(self) -> str:
        """Return the hex sha256 of what has come; memory stays flat."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def keep(self, sha256: str, suffix: str) -> Stored:
        """Give the complete file its key in the store; until `remove` it stays here, too, so that nothing is lost."""
        return self._storage.adopt(self.path, sha256, suffix)

    def remove(self) -> None:
        """Forget the file; a missing one is fine."""
        self.path.unlink(missing_ok=True)
