"""Folders of this machine that the operator lets datasets be taken from: found by name, and packed into the store.

A client says `<name of an allowed folder>/<path in it>`. Whatever leads out of the allowed folder is refused: names,
links, also those that somebody changes meanwhile. What is stored is a tar of the files that a dataset needs, the same
bytes for the same content.
"""

import os
import re
import stat
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from api.errors import ApiError, PathNotAllowed, TooLarge, Unavailable, UnknownReference, Unprocessable
from api.storage import Incoming
from rdrkd.errors import Problem
from rdrkd.suffixes import is_kept

WHERE = "/folder"
_PART = re.compile(r"[^/\\\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Folder:
    """A folder below one that is allowed; both paths are real ones, without links."""

    path: Path
    allowed: Path


def find(allowed: Sequence[Path], asked: str) -> Folder:
    """Find the folder that a client asks for.

    Raises:
        PathNotAllowed: it is in none of the allowed ones.
        UnknownReference: there is no such folder.
    """
    first, *others = asked.strip("/").split("/")
    if any(part in ("", ".", "..") or not _PART.fullmatch(part) for part in (first, *others)) or asked.startswith("/"):
        raise _refused(PathNotAllowed, f"expected NAME/PATH with plain names, got {asked[:80]!r}")
    root = next((folder for folder in allowed if folder.name == first), None)
    if root is None:
        names = ", ".join(folder.name for folder in allowed) or "none at all"
        raise _refused(
            PathNotAllowed, f"expected one of the folders that the operator allows ({names}), got {first[:80]!r}"
        )
    real = root.resolve()
    path = real.joinpath(*others).resolve()
    if not path.is_relative_to(real):
        raise _refused(PathNotAllowed, "expected a folder that leads nowhere else, got a link out of the allowed one")
    if not path.is_dir():
        raise _refused(UnknownReference, f"expected a folder, got nothing there: {asked[:80]!r}")
    return Folder(path, real)


def files_of(folder: Folder) -> list[Path]:
    """List the files that a dataset needs, sorted; hidden ones and others are passed over.

    Raises:
        PathNotAllowed: a link leads out of the allowed folder, or to another folder.
        UnknownReference: there are none.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder.path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            _no_link(Path(place, name), folder)
        found += [Path(place, name) for name in sorted(names) if is_kept(name)]
    if not found:
        raise _refused(UnknownReference, "expected a folder with images and labels, got none there")
    for path in found:
        if not path.resolve().is_relative_to(folder.allowed):
            raise _leads_out(path, folder)
    return sorted(found)


def pack(folder: Folder, files: Sequence[Path], incoming: Incoming, most: int) -> None:
    """Write a tar of the files to the store.

    Raises:
        PathNotAllowed: a file has become a link that leads out.
        TooLarge: they have more than `most` bytes.
        Unavailable: a file changed while it was read.
    """
    with tarfile.open(fileobj=cast(IO[bytes], _Bounded(incoming, most)), mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in files:
            with _opened(path, folder) as file:
                info = tarfile.TarInfo(path.relative_to(folder.path).as_posix())  # neither times nor owners
                info.size, info.mode = os.fstat(file.fileno()).st_size, 0o644
                try:
                    tar.addfile(info, file)
                except OSError as error:
                    if error.errno is not None:  # the disk's
                        raise
                    raise Unavailable("expected a folder that stays as it is, got a file that was cut short") from error


class _Bounded:
    """The store's file, as far as an upload may go."""

    def __init__(self, incoming: Incoming, most: int) -> None:
        self._incoming, self._most = incoming, most

    def write(self, chunk: bytes) -> int:
        if self._incoming.size + len(chunk) > self._most:
            raise TooLarge(f"expected files of at most {self._most} bytes, got more")
        self._incoming.write(chunk)
        return len(chunk)


@contextmanager
def _opened(path: Path, folder: Folder) -> Iterator[IO[bytes]]:
    """Open a file and look where it really lies: between the look at its name and here somebody may have moved it."""
    try:
        descriptor = os.open(path.resolve(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Unavailable("expected a folder that stays as it is, got a file that cannot be read") from error
    with open(descriptor, "rb") as file:  # noqa: PTH123 - by its descriptor
        real = Path(f"/proc/self/fd/{descriptor}")
        if real.exists() and not real.resolve().is_relative_to(folder.allowed):
            raise _leads_out(path, folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _refused(PathNotAllowed, f"expected regular files, got another: {path.relative_to(folder.path)}")
        yield file


def _no_link(path: Path, folder: Folder) -> None:
    if path.is_symlink():
        shown = path.relative_to(folder.path)
        raise _refused(PathNotAllowed, f"expected no links to folders, got one at {shown}")


def _leads_out(path: Path, folder: Folder) -> ApiError:
    return _refused(
        PathNotAllowed, f"expected no link out of the allowed folder, got one at {path.relative_to(folder.path)}"
    )


def _refused(kind: type[Unprocessable], detail: str) -> ApiError:
    return kind.at(Problem(WHERE, detail))
