"""A cache of a bucket's objects on this machine, by content."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from rdrkd.bounded_cache import Bound, forget, hold, making, shrink

Fetch = Callable[[Path], bool]  # writes the file; returns whether it is complete


class Cache:
    """A folder of files named by their content; safe for several processes at once."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self.most_bytes = folder, most_bytes

    def lay(self, sha256: str, suffix: str, target: Path, fetch: Fetch) -> bool:
        """Link the file with this content at `target`, where it remains when the cache evicts it.

        Args:
            sha256: the hex hash of its content; a damaged copy is fetched again.
            suffix: such as `.zip`.
            target: a path that does not exist yet.
            fetch: fetches and verifies the file; returns False if it is not available.
        """
        kept = self.folder / f"{sha256}{suffix}"
        held = hold(self.folder, kept.name)
        try:
            if not _is(kept, sha256) and not self._fill(kept, fetch):
                return False
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                os.link(kept, target)
            except OSError:  # another file system
                shutil.copyfile(kept, target)
        finally:
            held.close()
            if not kept.exists():
                forget(kept)
        return True

    def _fill(self, kept: Path, fetch: Fetch) -> bool:
        with making(kept) as folder:
            if not fetch(folder / kept.name):
                return False
            (folder / kept.name).replace(kept)
        shrink(self.folder, Bound(self.most_bytes))
        return True


def _is(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False
