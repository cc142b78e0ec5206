"""Files of resumable uploads: received bytes are kept until the file is complete or abandoned.

The file itself is the source of truth: its size is the offset of the next piece, whatever happened to the process that
wrote the last one. The store's sweep removes an abandoned file some time after its last byte.
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
    """A growing file in the store's folder for incoming files, named by its upload's id."""

    def __init__(self, storage: Storage, upload_id: str) -> None:
        self._storage = storage
        self.path: Path = storage.incoming_path(upload_id)

    def create(self) -> None:
        """Create an empty file.

        Raises:
            OSError: the disk is full or unwritable.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(exist_ok=False)

    def size(self) -> int | None:
        """Return the number of received bytes; None if the file does not exist."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return None

    def last_byte_at(self) -> float:
        """Return the time of the last byte, seconds since the epoch; the current time if the file does not exist."""
        try:
            return self.path.stat().st_mtime
        except FileNotFoundError:
            return time.time()

    @contextmanager
    def appending(self) -> Iterator[IO[bytes]]:
        """Open the file for appending, for one writer at a time on all hosts that share the folder.

        Raises:
            Busy: another request is writing.
            FileNotFoundError: the file does not exist.
        """
        with self.path.open("r+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy from None
            file.seek(0, os.SEEK_END)
            yield file

    def sha256(self) -> str:
        """Return the hex sha256 of the received bytes, with constant memory."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def keep(self, sha256: str, suffix: str) -> Stored:
        """Store the complete file under its key; it also stays here until `remove`, so that nothing is lost."""
        return self._storage.adopt(self.path, sha256, suffix)

    def remove(self) -> None:
        """Delete the file; a missing one is not an error."""
        self.path.unlink(missing_ok=True)
