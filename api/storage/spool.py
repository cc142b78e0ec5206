"""Files on their way into the store: a local folder, in which they grow and are hashed until they get their keys."""

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

ABANDONED_SECONDS = 86_400.0  # after which a file on its way in that nobody adds to is removed
WRITTEN = "writing-"  # prefix of the name of a file that is written in one go, by a process that holds a lock on it
_BEGINS_SECONDS = 1.0  # between making such a file and locking it
Place = Callable[[IO[bytes], str, str], bool]  # (file, key, sha256): bring it to its key; whether nothing was there


class Incoming:
    """A file on its way in: bytes are hashed and written to a temporary name until `keep` gives them a key."""

    def __init__(self, file: IO[bytes], place: Place) -> None:
        self._file, self._place = file, place
        self.name = Path(file.name).name  # in the folder for incoming files
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def keep(self, suffix: str) -> Stored:
        """Name the file by its content, `uploads/<sha256><suffix>`."""
        return self.keep_as(upload_key(self._hash.hexdigest(), suffix))

    def keep_as(self, key: str) -> Stored:
        """Bring the file to its key, over what may be there."""
        sha256 = self._hash.hexdigest()
        self._file.flush()
        return Stored(key, sha256, self.size, self._place(self._file, checked(key), sha256))


class Spool:
    """The folder; safe for several processes at once on one file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def incoming(self, place: Place) -> Iterator[Incoming]:
        """Open a file to write; unless it is kept, nothing of it is left behind."""
        make_folder(self.folder)
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=WRITTEN, delete=False) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)  # for as long as this process lives: `sweep` looks for it
                yield Incoming(file, place)
            finally:
                Path(file.name).unlink(missing_ok=True)  # no effect once it has moved to its key

    def path(self, name: str) -> Path:
        """Return where a file that arrives in pieces grows."""
        return self.folder / checked(name)

    def free(self) -> int:
        """Return how many bytes are free where the folder lies, or is to lie."""
        place = next(folder for folder in (self.folder, *self.folder.parents) if folder.exists())
        return shutil.disk_usage(place).free

    def sweep(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        """Remove what killed processes left, and what arrives in pieces and has not grown for long; give how many."""
        removed = 0
        for path in self.folder.glob("*"):
            with suppress(FileNotFoundError):  # kept, or swept by somebody else, in the meantime
                silent = time.time() - path.stat().st_mtime
                if silent > older_than_seconds or (silent > _BEGINS_SECONDS and _left(path)):
                    path.unlink()
                    removed += 1
        return removed


def _left(path: Path) -> bool:
    """Return whether a file was being written in one go by a process that is gone."""
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
