"""The interface of a file store."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from api.storage.spool import Incoming
from api.storage.stored import Listed, Stored


class Reader(Protocol):
    """A stored file with random access for reading."""

    async def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; empty at the end."""

    async def seek(self, offset: int) -> int:
        """Seek to a byte offset."""


class Storage(Protocol):
    """A store. A file appears under its key complete and hashed, or not at all; safe for many processes at once.

    Every method raises `StorageUnreachable` if the store does not respond, and ValueError for an invalid key.
    """

    def incoming(self) -> AbstractContextManager[Incoming]:
        """Open a file for writing; nothing is left behind unless it is kept.

        Raises:
            OSError: the disk is full (ENOSPC, EDQUOT) or unwritable.
        """

    def incoming_path(self, name: str) -> Path:
        """Return the path at which a resumable upload grows; `sweep` removes it after a long time without new bytes."""

    def free(self) -> int:
        """Return the free bytes on the disk of incoming files."""

    def put(self, stream: BinaryIO, suffix: str) -> Stored:
        """Store a stream under the hash of its content, with constant memory."""

    def put_file(self, path: Path, key: str) -> Stored:
        """Copy a file into the store under `key`, replacing an existing one, with constant memory."""

    def adopt(self, path: Path, sha256: str, suffix: str) -> Stored:
        """Store a complete resumable upload under its key; it also remains at its path.

        Args:
            path: the file, of `incoming_path`.
            sha256: the hex hash of its content, which the caller has computed.
            suffix: such as `.zip`.
        """

    def exists(self, key: str) -> bool:
        """Return whether a file exists."""

    def verify(self, key: str, sha256: str) -> bool:
        """Return whether the file exists and its content has this hash."""

    def fetch(self, key: str, sha256: str, folder: Path) -> Path | None:
        """Return a local file with the content of a stored one, for reading; None if it is missing or damaged.

        Args:
            key: of the stored file.
            sha256: the hex hash that its content must have.
            folder: where to put it unless the store is on this machine; clearing the folder releases it.
        """

    def copy_to(self, key: str, sha256: str, target: Path) -> bool:
        """Copy a stored file to `target`; return False, without creating it, if the file is missing or damaged."""

    def local(self, key: str) -> Path | None:
        """Return the local path of a file; None if it is not on this machine."""

    def presigned(self, key: str, media_type: str, disposition: str) -> str | None:
        """Return a presigned URL at which anybody can fetch the file for a short time; None if there is none."""

    def reader(self, key: str) -> AbstractAsyncContextManager[Reader]:
        """Open a file that is not on this machine."""

    def delete(self, key: str) -> None:
        """Delete a stored file, or all files below a key; a missing one is not an error."""

    def stored(self) -> Iterator[Listed]:
        """Yield all files of the store, in no particular order."""

    def sweep(self, older_than_seconds: float = ...) -> int:
        """Delete incomplete files that killed processes left behind; return how many."""

    def check(self) -> None:
        """Check, within seconds, that the store can be used."""
