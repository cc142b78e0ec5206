"""The spool: a local folder in which incoming files are written and hashed until they are stored under their keys."""

import fcntl
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from api.storage.durable import make_folder
from api.storage.keys import checked, upload_key
from api.storage.stored import CHUNK, Stored

ABANDONED_SECONDS = 86_400.0  # without new bytes, after which an incoming file is deleted
WRITTEN = "writing-"  # prefix of the name of a file that is written in one go, by a process that holds a lock on it
_BEGINS_SECONDS = 1.0  # at most, between creating such a file and locking it
Place = Callable[[IO[bytes], str, str], bool]  # (file, key, sha256): store it; return whether the key was unused


class Incoming:
    """An incoming file: bytes are hashed and written under a temporary name until `keep` stores them under a key."""

    def __init__(self, file: IO[bytes], place: Place) -> None:
        self._file, self._place = file, place
        self.name = Path(file.name).name  # in the folder for incoming files
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Write the next bytes."""
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def keep(self, suffix: str) -> Stored:
        """Store the file under its content's key, `uploads/<sha256><suffix>`."""
        return self.keep_as(upload_key(self._hash.hexdigest(), suffix))

    def keep_as(self, key: str) -> Stored:
        """Store the file under this key, replacing an existing one."""
        sha256 = self._hash.hexdigest()
        self._file.flush()
        return Stored(key, sha256, self.size, self._place(self._file, checked(key), sha256))


class Spool:
    """The folder; safe for several processes at once on one file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def incoming(self, place: Place) -> Iterator[Incoming]:
        """Open a file for writing; nothing is left behind unless it is kept."""
        make_folder(self.folder)
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=WRITTEN, delete=False) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)  # held while this process lives; `sweep` tests it
                yield Incoming(file, place)
            finally:
                Path(file.name).unlink(missing_ok=True)  # no effect once it has moved to its key

    def path(self, name: str) -> Path:
        """Return the path at which a resumable upload grows."""
        return self.folder / checked(name)

    def free(self) -> int:
        """Return the free bytes on the disk of the folder."""
        place = next(folder for folder in (self.folder, *self.folder.parents) if folder.exists())
        return shutil.disk_usage(place).free

    def sweep(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        """Delete files of killed processes and resumable uploads without new bytes for long; return how many."""
        removed = 0
        for path in self.folder.glob("*"):
            with suppress(FileNotFoundError):  # meanwhile kept, or swept by another process
                silent = time.time() - path.stat().st_mtime
                if silent > older_than_seconds or (silent > _BEGINS_SECONDS and _left(path)):
                    path.unlink()
                    removed += 1
        return removed


def _left(path: Path) -> bool:
    """Return whether a file was being written in one go by a process that has since exited."""
    if not path.name.startswith(WRITTEN):
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def pour(stream: BinaryIO, incoming: Incoming) -> None:
    """Write all of a stream."""
    while chunk := stream.read(CHUNK):
        incoming.write(chunk)
