"""Copies of a bucket's files on this machine, by content: what is needed again is not fetched again."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from api.storage.spool import ABANDONED_SECONDS

Fetch = Callable[[Path], bool]  # writes the file; whether it came whole


class Cache:
    """A folder of files named by their content; safe for several processes at once."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self.most_bytes = folder, most_bytes

    def lay(self, sha256: str, suffix: str, target: Path, fetch: Fetch) -> bool:
        """Lay the file with this content at `target`, a link of its own: it stays there when the cache lets it go.

        Args:
            sha256: the hex hash of its content; a copy that has another by now is fetched anew.
            suffix: such as `.zip`.
            target: where nothing lies yet.
            fetch: brings it, verified; False from it: it cannot be had.
        """
        kept = self.folder / f"{sha256}{suffix}"
        if not _is(kept, sha256) and not self._fill(kept, fetch):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        os.utime(kept)
        try:
            os.link(kept, target)
        except OSError:  # another file system
            shutil.copyfile(kept, target)
        return True

    def _fill(self, kept: Path, fetch: Fetch) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".") as folder:
            coming = Path(folder) / kept.name
            if not fetch(coming):
                return False
            coming.replace(kept)
        self._shrink(kept)
        return True

    def _shrink(self, newest: Path) -> None:
        """Let the files go that were not needed for longest, until the rest is small enough; and what was abandoned."""
        files = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # another process shrinks it, too
                seen = path.stat()
                if path.is_file():
                    files.append((seen.st_mtime, seen.st_size, path))
                elif seen.st_mtime < time.time() - ABANDONED_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
        size = sum(size for _, size, _ in files)
        for _, freed, path in sorted(files):
            if size <= self.most_bytes:
                break
            if path != newest:
                path.unlink(missing_ok=True)
                size -= freed


def _is(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False
