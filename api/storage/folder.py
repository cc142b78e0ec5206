"""The store as a local folder, shared by service and workers: files are hashed, synced and renamed into place."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, BinaryIO

from api.storage.durable import make_folder, sync_folder
from api.storage.interface import Reader
from api.storage.keys import checked, upload_key
from api.storage.spool import ABANDONED_SECONDS, Incoming, Spool, pour
from api.storage.stored import CHUNK, Listed, StorageUnreachable, Stored

INCOMING = "incoming"


class FolderStorage:
    """A folder of files under keys; safe for several processes at once on one file system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._spool = Spool(root / INCOMING)

    def incoming(self) -> AbstractContextManager[Incoming]:
        """See `Storage`."""
        return self._spool.incoming(self._place)

    def incoming_path(self, name: str) -> Path:
        """See `Storage`."""
        return self._spool.path(name)

    def free(self) -> int:
        """See `Storage`."""
        return self._spool.free()

    def put(self, stream: BinaryIO, suffix: str) -> Stored:
        """See `Storage`."""
        with self.incoming() as incoming:
            pour(stream, incoming)
            return incoming.keep(suffix)

    def put_file(self, path: Path, key: str) -> Stored:
        """See `Storage`."""
        with path.open("rb") as stream, self.incoming() as incoming:
            pour(stream, incoming)
            return incoming.keep_as(key)

    def adopt(self, path: Path, sha256: str, suffix: str) -> Stored:
        """See `Storage`; links the file instead of copying it."""
        key = upload_key(sha256, suffix)
        target = self.path(key)
        with path.open("rb") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        make_folder(target.parent)
        try:
            os.link(path, target)
        except FileExistsError:
            return Stored(key, sha256, size, new=False)
        sync_folder(target.parent)
        return Stored(key, sha256, size, new=True)

    def path(self, key: str) -> Path:
        """Return the path of a key on this machine, whether or not the file exists.

        Raises:
            ValueError: the key leaves the store.
        """
        return self.root / checked(key)

    def open(self, key: str) -> BufferedReader:
        """Open a stored file for reading."""
        return self.path(key).open("rb")

    def exists(self, key: str) -> bool:
        """See `Storage`."""
        return self.path(key).is_file()

    def verify(self, key: str, sha256: str) -> bool:
        """See `Storage`."""
        try:
            with self.open(key) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
        except FileNotFoundError:
            return False

    def fetch(self, key: str, sha256: str, folder: Path) -> Path | None:
        """See `Storage`; the file is already on this machine."""
        return self.path(key) if self.verify(key, sha256) else None

    def copy_to(self, key: str, sha256: str, target: Path) -> bool:
        """See `Storage`."""
        digest = hashlib.sha256()
        try:
            with self.open(key) as stream, target.open("wb") as file:
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
        except FileNotFoundError:
            return False
        if digest.hexdigest() == sha256:
            return True
        target.unlink()
        return False

    def local(self, key: str) -> Path | None:
        """See `Storage`."""
        return self.path(key)

    def presigned(self, key: str, media_type: str, disposition: str) -> str | None:
        """See `Storage`; a folder has no URLs."""
        return None

    def reader(self, key: str) -> AbstractAsyncContextManager[Reader]:
        """See `Storage`; files are always on this machine."""
        raise AssertionError(f"{key} is on this machine")

    def delete(self, key: str) -> None:
        """See `Storage`; also removes folders that become empty."""
        path = self.path(key)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # a worker may not have noticed yet and still write to it
        else:
            path.unlink(missing_ok=True)
        for folder in list(path.relative_to(self.root).parents)[:-2]:  # keep those of uploads and jobs
            try:
                (self.root / folder).rmdir()
            except OSError:  # not empty, or already removed
                break

    def stored(self) -> Iterator[Listed]:
        """See `Storage`."""
        for folder, folders, names in os.walk(self.root):
            within = Path(folder).relative_to(self.root)
            if within == Path():
                folders[:] = [name for name in folders if name != INCOMING]
            for name in names:
                with suppress(FileNotFoundError):  # removed in the meantime
                    age = time.time() - (self.root / within / name).stat().st_mtime
                    yield Listed(str(within / name), age)

    def sweep(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        """See `Storage`."""
        return self._spool.sweep(older_than_seconds)

    def check(self) -> None:
        """See `Storage`; a missing folder will be created."""
        place = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        if not os.access(place, os.W_OK | os.X_OK):
            raise StorageUnreachable("expected a writable folder, got one that is not")

    def _place(self, file: IO[bytes], key: str, sha256: str) -> bool:
        target = self.path(key)
        os.fsync(file.fileno())
        make_folder(target.parent)
        new = not target.exists()
        Path(file.name).replace(target)
        sync_folder(target.parent)
        return new
