"""Folders of what can be made again: bounded, and what was not used for longest goes first, never what is in use.

Whoever uses an entry holds a shared lock on a file beside it, `.<name>.lock`, for as long as its process lives; the
kernel ends it with the process, however that ends. Whoever lets an entry go needs the lock for itself. The lock's age
is that of the last use.
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
_COMING = ".coming-"  # a folder in which an entry is made: `.coming-<name>~<random>`
_GOING = ".going-"  # an entry that is being removed
_ABANDONED_SECONDS = 86_400.0
_STEP = 2**24  # bytes: room that is made at least, where there is too little


@dataclass(frozen=True)
class Bound:
    """How large a cache may be; it lies in the folder, so that whoever fills it knows.

    Attributes:
        most_bytes: of all entries; None: as much as is left free beside them.
        least_free: bytes of the disk that stay free, as long as there is something to let go.
    """

    most_bytes: int | None = None
    least_free: int = 0

    def write(self, folder: Path) -> None:
        """Let it be the bound of a folder."""
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
    """A file or folder of a cache; `size` is what it takes of the disk, bytes."""

    path: Path
    used_at: float
    size: int


class Hold:
    """An entry in use, until `close`, until nothing refers to this any more, or until the process ends."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.close: Callable[[], object] = lambda: None
        if descriptor is not None:
            self.close = weakref.finalize(self, os.close, descriptor)


def hold(folder: Path, name: str) -> Hold:
    """Use an entry, which is there or is about to be made; in a folder that cannot be written nothing is let go."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock_of(folder / name)
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return Hold()
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _is(descriptor, lock):  # else it was let go just before
            os.utime(descriptor)
            return Hold(descriptor)
        os.close(descriptor)


def forget(path: Path) -> None:
    """Remove the lock of an entry that is not there, after its making has failed."""
    with _alone(path):
        pass


@contextmanager
def coming(path: Path) -> Iterator[Path]:
    """Make a folder in which an entry grows that the caller holds and renames to `path`; what is left is removed."""
    partial = Path(tempfile.mkdtemp(prefix=f"{_COMING}{path.name}~", dir=path.parent))
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def entries(folder: Path) -> list[Entry]:
    """List what a cache holds, by last use, oldest first."""
    found = []
    for path in names(folder):
        with suppress(FileNotFoundError):  # let go in the meantime
            found.append(Entry(path, _used_at(path), _size(path)))
    return sorted(found, key=lambda entry: entry.used_at)


def evict(path: Path) -> bool:
    """Let an entry go unless somebody uses it; say whether it is gone."""
    with _alone(path) as alone:
        if not alone:
            return False
        gone = path.with_name(f"{_GOING}{uuid.uuid4().hex}")
        with suppress(FileNotFoundError):
            path.rename(gone)
    _remove(gone)
    return True


def shrink(folder: Path, bound: Bound) -> int:
    """Let entries go that were not used for longest until the bound is kept; give how many bytes that has freed."""
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
    """Return what a cache holds, what of it nobody uses, and what is beyond its bound, bytes."""
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
    """Return whether somebody uses an entry."""
    with _alone(path) as alone:
        return not alone


def room_for(folder: Path) -> Callable[[int], None]:
    """Return a function that makes room for so many more bytes; it raises `DiskFullError` where nothing helps."""
    bound = Bound.of(folder)

    def make(size: int) -> None:
        if bound is None or _free(folder) >= bound.least_free + size:
            return
        shrink(folder, Bound(bound.most_bytes, bound.least_free + size + _STEP))
        if _free(folder) < bound.least_free + size:
            raise DiskFullError(f"expected {bound.least_free} bytes of the disk to stay free, got fewer")

    return make


def sweep(folder: Path) -> None:
    """Remove what killed processes have left: entries that were being made or removed."""
    for path in folder.glob(f"{_GOING}*"):
        _remove(path)
    for path in folder.glob(f"{_COMING}*"):
        name = path.name.removeprefix(_COMING).rpartition("~")[0]
        with _alone(folder / name) as alone:
            if alone:
                _remove(path)
    for path in folder.glob(".unpacking-*"):  # as an earlier version called them
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                _remove(path)


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Take an entry's lock if nobody has it."""
    lock = _lock_of(path)
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = _is(descriptor, lock)
        except OSError:
            alone = False
        yield alone
        if alone and not path.exists() and _is(descriptor, lock):  # ours: nobody can have it
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
    except FileNotFoundError:  # of an earlier version, or never used
        return path.stat().st_mtime


def _size(path: Path) -> int:
    """Measure a file, or what the files of a folder take of the disk: many are smaller than a block."""
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
