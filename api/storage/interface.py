"""What a file store does, whatever it is made of."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from api.storage.spool import Incoming
from api.storage.stored import Listed, Stored


class Reader(Protocol):
    """A stored file that is read from any place."""

    async def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""

    async def seek(self, offset: int) -> int:
        """Go to a byte."""


class Storage(Protocol):
    """A store. A file appears under its key whole and hashed, or not at all; safe for many processes at once.

    Every method raises `StorageUnreachable` where the store does not answer, and ValueError for what is no key.
    """

    def incoming(self) -> AbstractContextManager[Incoming]:
        """Open a file to write; unless it is kept, nothing of it is left behind.

        Raises:
            OSError: the disk is full (ENOSPC, EDQUOT) or unwritable.
        """

    def incoming_path(self, name: str) -> Path:
        """Return where a file that arrives in pieces grows; `sweep` removes it once nobody has added to it for long."""

    def free(self) -> int:
        """Return how many bytes are free where files arrive."""

    def put(self, stream: BinaryIO, suffix: str) -> Stored:
        """Store a stream under the hash of its content; memory stays flat."""

    def put_file(self, path: Path, key: str) -> Stored:
        """Copy a file into the store under `key`, over what may be there; memory stays flat."""

    def adopt(self, path: Path, sha256: str, suffix: str) -> Stored:
        """Give a complete file that arrived in pieces its key; it stays where it is, too.

        Args:
            path: the file, of `incoming_path`.
            sha256: the hex hash of its content, which the caller has computed.
            suffix: such as `.zip`.
        """

    def exists(self, key: str) -> bool:
        """Return whether a file is there."""

    def verify(self, key: str, sha256: str) -> bool:
        """Return whether the file is there and its content has this hash."""

    def fetch(self, key: str, sha256: str, folder: Path) -> Path | None:
        """Return a file of this machine with the content of a stored one, for reading; None: missing or damaged.

        Args:
            key: of the stored file.
            sha256: the hex hash that its content must have.
            folder: where it is laid unless the store is on this machine; whoever clears the folder lets it go.
        """

    def copy_to(self, key: str, sha256: str, target: Path) -> bool:
        """Copy a stored file to `target`; False: it is missing or damaged, and then nothing is at `target`."""

    def local(self, key: str) -> Path | None:
        """Return where a file lies that is on this machine; None: it is elsewhere."""

    def presigned(self, key: str, media_type: str, disposition: str) -> str | None:
        """Return an address at which anybody can fetch the file for a short while; None: there is none."""

    def reader(self, key: str) -> AbstractAsyncContextManager[Reader]:
        """Open a file that is elsewhere."""

    def delete(self, key: str) -> None:
        """Remove a stored file, or all that lies below a key; a missing one is fine."""

    def stored(self) -> Iterator[Listed]:
        """Go through all files of the store, in no order."""

    def sweep(self, older_than_seconds: float = ...) -> int:
        """Remove what killed processes left of files on their way in; give how many."""

    def check(self) -> None:
        """Make sure, within seconds, that the store can be used."""
