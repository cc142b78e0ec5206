"""Atomic file writes, and an error of its own for a full disk."""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rdrkd.errors import DiskFullError, FolderError
from rdrkd.run_folder.names import CALLED, CHECKPOINTS, MEMBER, RESOLVED, STUDY

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCK = ".lock"
# Files by which a folder of ours is known: its lock, which a copy may lack, and others that have names of our own.
_MARKS = {_LOCK, RESOLVED, CALLED, MEMBER, STUDY}


@contextmanager
def full_disk_named(what: str) -> Iterator[None]:
    """Raise `DiskFullError` for each of the operating system's errors that mean a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(f"expected room to write {what}, got: {os.strerror(error.errno)}") from error


def write_synced(path: Path, content: bytes | memoryview) -> None:
    """Write a file and sync it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file under another name, sync it, and rename it into place.

    Raises:
        DiskFullError: no space; nothing is left behind and an earlier file is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with full_disk_named(path.name):
            write_synced(temporary, content)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object to a JSON file, atomically.

    Raises:
        DiskFullError: as `write_atomically` does.
    """
    write_atomically(path, json.dumps(content, indent=2).encode())


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def claim(folder: Path, what: str = "run folder") -> Path:
    """Make a folder and mark it as ours, so that it may be written to; return the file that marks it.

    Raises:
        FolderError: it cannot be written, or it holds files that this program has not written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir()}
        foreign = sorted(name for name in there - {CHECKPOINTS} if not name.startswith("."))
        if foreign and not there & _MARKS:
            raise FolderError(
                f"expected a new or empty {what}, or an earlier run's, got {folder}, which holds other files, "
                f"such as {foreign[0]}: choose another, such as {folder / 'run'}"
            )
        (folder / _LOCK).open("a").close()
    except OSError as error:
        raise FolderError(
            f"expected a {what} that can be written, got {folder}: {error.strerror}: choose another"
        ) from error
    return folder / _LOCK


@contextmanager
def held(folder: Path, what: str = "run folder") -> Iterator[None]:
    """Make a folder and lock it for this process, until the end of the context or of the process.

    Raises:
        FolderError: it cannot be written, holds other files than ours, or another process holds it.
    """
    with claim(folder, what).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel releases it with this process
        except BlockingIOError as error:
            raise FolderError(
                f"expected a {what} that no other process writes to, got {folder.name}: wait for it, or choose another"
            ) from error
        yield


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files under a folder, following links but not loops of links; skip hidden files and folders."""
    yield from _below(folder, frozenset())


def _below(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    if (real := os.path.realpath(folder)) in above:
        return
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _below(path, above | {real})
        elif path.is_file():
            yield path


def file_sha256(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
