"""Bounded caches of reproducible files: the least recently used entry is evicted first, never one in use.

A process that uses an entry holds a shared lock on the file `.<name>.lock` beside it; the kernel releases the lock
when the process ends. Eviction needs an exclusive lock. The lock file's modification time is that of the last use.
"""

import fcntl
import json
import os
import shutil
import tempfile
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rdrkd.errors import DiskFullError

_BOUND = ".bound.json"
_PARTIAL = ".coming-"  # a folder in which an entry is being made: `.coming-<name>~<random>`
_REMOVED = ".going-"  # an entry that is being removed
_ABANDONED_SECONDS = 86_400.0
_STEP = 2**24  # bytes: space freed beyond what is needed, so that not every write evicts


@dataclass(frozen=True)
class Bound:
    """The size limit of a cache, stored in its folder so that every process that fills it applies it.

    Attributes:
        most_bytes: total size of all entries; None: as much as the disk has left besides them.
        least_free: bytes of the disk to keep free, as long as there are entries to evict.
    """

    most_bytes: int | None = None
    least_free: int = 0

    def write(self, folder: Path) -> None:
        """Store this bound in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{_BOUND}.{os.getpid()}"
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")
        file.replace(folder / _BOUND)

    @classmethod
    def of(cls, folder: Path) -> "Bound | None":
        """Read the bound of a folder; None if it has none, such as a user's own folder."""
        try:
            return cls(**json.loads((folder / _BOUND).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None


@dataclass(frozen=True)
class Entry:
    """A file or folder in a cache; `size` is its disk usage, bytes."""

    path: Path
    used_at: float
    size: int


class Hold:
    """A shared lock on an entry, held until `close`, garbage collection or the end of the process."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.close: Callable[[], object] = lambda: None
        if descriptor is not None:
            self.close = weakref.finalize(self, os.close, descriptor)


def hold(folder: Path, name: str) -> Hold:
    """Lock an entry that exists or is about to be made; in a read-only folder nothing is ever evicted."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock_of(folder / name)
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return Hold()
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _is(descriptor, lock):  # else it was evicted in the meantime
            os.utime(descriptor)
            return Hold(descriptor)
        os.close(descriptor)


def forget(path: Path) -> None:
    """Remove the lock file of an entry that does not exist, after making it has failed."""
    with _exclusive(path):
        pass


@contextmanager
def making(path: Path) -> Iterator[Path]:
    """Yield a temporary folder in which the holder of an entry makes it and renames it to `path`; remove leftovers."""
    partial = Path(tempfile.mkdtemp(prefix=f"{_PARTIAL}{path.name}~", dir=path.parent))
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def entries(folder: Path) -> list[Entry]:
    """List the entries of a cache, least recently used first."""
    found = []
    for path in names(folder):
        with suppress(FileNotFoundError):  # evicted in the meantime
            found.append(Entry(path, _used_at(path), _size(path)))
    return sorted(found, key=lambda entry: entry.used_at)


def evict(path: Path) -> bool:
    """Evict an entry unless it is in use; return whether it is gone."""
    with _exclusive(path) as locked:
        if not locked:
            return False
        gone = path.with_name(f"{_REMOVED}{uuid.uuid4().hex}")
        with suppress(FileNotFoundError):
            path.rename(gone)
    _remove(gone)
    return True


def shrink(folder: Path, bound: Bound) -> int:
    """Evict least recently used entries until the bound holds; return the bytes freed."""
    sweep(folder)
    found = entries(folder)
    total, freed = sum(entry.size for entry in found), 0
    free = _free(folder)
    most = bound.most_bytes if bound.most_bytes is not None else (free + total) // 2
    for entry in found:
        if total - freed <= most and free + freed >= bound.least_free:
            break
        if evict(entry.path):
            freed += entry.size
    return freed


def measure(folder: Path, bound: Bound) -> dict[str, int]:
    """Return the size of a cache, of its unused entries and of what exceeds its bound, bytes."""
    found = entries(folder)
    total = sum(entry.size for entry in found)
    idle = sum(entry.size for entry in found if not in_use(entry.path))
    excess = 0
    if found:
        free = _free(folder)
        most = bound.most_bytes if bound.most_bytes is not None else (free + total) // 2
        excess = max(0, total - most, min(idle, bound.least_free - free))
    return {"entries": len(found), "bytes": total, "evictable_bytes": idle, "excess_bytes": excess}


def in_use(path: Path) -> bool:
    """Return whether any process uses an entry."""
    with _exclusive(path) as locked:
        return not locked


def room_for(folder: Path) -> Callable[[int], None]:
    """Return a function that frees space for a number of bytes, or raises `DiskFullError`."""
    bound = Bound.of(folder)

    def make(size: int) -> None:
        if bound is None or _free(folder) >= bound.least_free + size:
            return
        shrink(folder, Bound(bound.most_bytes, bound.least_free + size + _STEP))
        if _free(folder) < bound.least_free + size:
            raise DiskFullError(f"expected {bound.least_free} bytes of the disk to stay free, got fewer")

    return make


def sweep(folder: Path) -> None:
    """Remove the leftovers of killed processes: partly made and partly removed entries."""
    for path in folder.glob(f"{_REMOVED}*"):
        _remove(path)
    for path in folder.glob(f"{_PARTIAL}*"):
        name = path.name.removeprefix(_PARTIAL).rpartition("~")[0]
        with _exclusive(folder / name) as locked:
            if locked:
                _remove(path)
    for path in folder.glob(".unpacking-*"):  # an earlier version's name
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                _remove(path)


@contextmanager
def _exclusive(path: Path) -> Iterator[bool]:
    """Try to lock an entry exclusively; yield whether that succeeded."""
    lock = _lock_of(path)
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = _is(descriptor, lock)
        except OSError:
            locked = False
        yield locked
        if locked and not path.exists() and _is(descriptor, lock):  # no other process can hold it
            lock.unlink()
    finally:
        os.close(descriptor)


def names(folder: Path) -> list[Path]:
    """List the entries of a cache, in no order."""
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except FileNotFoundError:
        return []


def _used_at(path: Path) -> float:
    try:
        return _lock_of(path).stat().st_mtime
    except FileNotFoundError:  # made by an earlier version, or never used
        return path.stat().st_mtime


def _size(path: Path) -> int:
    """Return the size of a file, or the disk blocks that a folder's files take: many are smaller than a block."""
    if not path.is_dir():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(folder) / name).lstat().st_blocks * 512
    return total


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
