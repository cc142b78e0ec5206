"""The file store: a local folder of keys. A file appears under its key whole, hashed and synced, or not at all.

Uploads are named by their content (`uploads/<sha256>.zip`): the same content twice is one file, and the name says
nothing that a stranger chose. What an attempt publishes lies under `jobs/<job>/attempt-<n>/epoch-<k>/<name>`.
"""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, BinaryIO

from api.errors import StorageFull

CHUNK = 2**20
ABANDONED_SECONDS = 86_400.0  # after which a file on its way in that nobody adds to is removed
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_SUFFIX = re.compile(r"\.[a-z0-9]+")


@contextmanager
def full_disk_told(detail: str) -> Iterator[None]:
    """Turn the operating system's ways to say that the disk is full into `StorageFull`."""
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
    new: bool  # nothing lay under the key before


class Incoming:
    """A file on its way in: bytes are hashed and written to a temporary name until `keep` gives them a key."""

    def __init__(self, root: Path, file: IO[bytes]) -> None:
        self._root, self._file = root, file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def keep(self, suffix: str) -> Stored:
        """Name the file by its content, `uploads/<sha256><suffix>`."""
        return self.keep_as(_upload_key(self._hash.hexdigest(), suffix))

    def keep_as(self, key: str) -> Stored:
        """Sync the file and move it to its key, over what may be there."""
        target = _inside(self._root, key)
        self._file.flush()
        os.fsync(self._file.fileno())
        _make_folder(target.parent)
        new = not target.exists()
        Path(self._file.name).replace(target)
        _sync_folder(target.parent)
        return Stored(key, self._hash.hexdigest(), self.size, new)


class Storage:
    """A folder of files under keys; safe for several processes at once on one file system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"

    @contextmanager
    def incoming(self) -> Iterator[Incoming]:
        """Open a file to write; unless it is kept, nothing of it is left behind.

        Raises:
            OSError: the disk is full (ENOSPC, EDQUOT) or unwritable.
        """
        _make_folder(self._incoming)
        with tempfile.NamedTemporaryFile(dir=self._incoming, delete=False) as file:
            try:
                yield Incoming(self.root, file)
            finally:
                Path(file.name).unlink(missing_ok=True)  # no effect once it has moved to its key

    def free(self) -> int:
        """Give how many bytes are free where the store lies, or is to lie."""
        place = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        return shutil.disk_usage(place).free

    def put(self, stream: BinaryIO, suffix: str) -> Stored:
        """Store a stream under the hash of its content; memory stays flat."""
        with self.incoming() as incoming:
            _pour(stream, incoming)
            return incoming.keep(suffix)

    def put_file(self, path: Path, key: str) -> Stored:
        """Copy a file into the store under `key`."""
        with path.open("rb") as stream, self.incoming() as incoming:
            _pour(stream, incoming)
            return incoming.keep_as(key)

    def incoming_path(self, name: str) -> Path:
        """Say where a file that arrives in pieces grows; `sweep` removes it once nobody has added to it for long."""
        return _inside(self._incoming, name)

    def adopt(self, path: Path, sha256: str, suffix: str) -> Stored:
        """Give a complete file of the store's file system its key as well, by a second link: no byte is copied.

        Args:
            path: the file; it stays.
            sha256: the hex hash of its content, which the caller has computed.
            suffix: as of `Incoming.keep`.
        """
        key = _upload_key(sha256, suffix)
        target = _inside(self.root, key)
        with path.open("rb") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        _make_folder(target.parent)
        try:
            os.link(path, target)
        except FileExistsError:
            return Stored(key, sha256, size, new=False)
        _sync_folder(target.parent)
        return Stored(key, sha256, size, new=True)

    def path(self, key: str) -> Path:
        """Say where a key lies on this machine, whether or not the file is there.

        Raises:
            ValueError: the key leaves the store.
        """
        return _inside(self.root, key)

    def open(self, key: str) -> BufferedReader:
        """Open a stored file for reading."""
        return self.path(key).open("rb")

    def delete(self, key: str) -> None:
        """Remove a stored file or a folder of them, and the folders that it leaves empty; a missing one is fine."""
        path = self.path(key)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # a worker that does not know yet may still write into it
        else:
            path.unlink(missing_ok=True)
        for folder in list(path.relative_to(self.root).parents)[:-2]:  # those of uploads and jobs stay
            try:
                (self.root / folder).rmdir()
            except OSError:  # not empty, or gone already
                break

    def verify(self, key: str, sha256: str) -> bool:
        """Say whether the file is there and its content has this hash."""
        try:
            with self.open(key) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
        except FileNotFoundError:
            return False

    def sweep(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        """Remove what killed processes left of files on their way in; give how many."""
        removed = 0
        for path in self._incoming.glob("*"):
            with suppress(FileNotFoundError):  # kept, or swept by somebody else, in the meantime
                if path.stat().st_mtime < time.time() - older_than_seconds:
                    path.unlink()
                    removed += 1
        return removed


def _upload_key(sha256: str, suffix: str) -> str:
    if not _SUFFIX.fullmatch(suffix):
        raise ValueError(f"expected a suffix such as .zip, got {suffix!r}")
    return f"uploads/{sha256}{suffix}"


def _pour(stream: BinaryIO, incoming: Incoming) -> None:
    while chunk := stream.read(CHUNK):
        incoming.write(chunk)


def _inside(root: Path, key: str) -> Path:
    """Place a key under the root; no part of a key starts with a dot, so `..` cannot occur."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"expected a key of plain names joined by /, got {key!r}")
    return root / key


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, each entry synced: a rename into it must survive a power cut."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
