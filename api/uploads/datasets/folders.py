"""Import datasets from local folders that the operator allows: find them by name, and pack them into the store.

A client names `<name of an allowed folder>/<path in it>`. Names and links that lead out of the allowed folder are
refused, even if they are changed meanwhile. The files that a dataset needs are stored as a tar, with the same bytes for
the same content.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from api.errors import ApiError, PathNotAllowed, TooLarge, UnknownReference, Unprocessable, UnusableReference
from api.settings import Settings
from api.uploads.datasets import packing
from rdrkd.suffixes import is_kept

WHERE = "/folder"


@dataclass(frozen=True)
class Folder:
    """A folder within an allowed one; both paths are resolved."""

    path: Path
    allowed: Path


class FolderSource:
    """An inspected folder (see `Source`)."""

    suffix = packing.SUFFIX

    def __init__(self, folder: Folder, files: Sequence[Path]) -> None:
        self.folder, self.files = folder, files
        self.filename = f"{folder.path.name}{packing.SUFFIX}"
        self.size = sum(_size(path, folder) for path in files)

    def copy(self, sink: packing.Sink, most: int) -> None:
        """See `Source`."""
        with packing.new_tar(sink, most) as tar:
            for path in self.files:
                with _opened(path, self.folder) as file:
                    name = path.relative_to(self.folder.path).as_posix()
                    packing.add(tar, name, os.fstat(file.fileno()).st_size, file)


def look(settings: Settings, asked: str) -> FolderSource:
    """Inspect the requested folder (see `open_source`)."""
    folder = find(settings.dataset_folders, asked)
    source = FolderSource(folder, files_of(folder))
    if source.size > settings.max_dataset_bytes:
        raise TooLarge(f"expected files of at most {settings.max_dataset_bytes} bytes, got {source.size}")
    return source


def find(allowed: Sequence[Path], asked: str) -> Folder:
    """Find the requested folder.

    Raises:
        PathNotAllowed: it is not within an allowed folder.
        UnknownReference: there is no such folder.
    """
    first, *others = asked.strip("/").split("/")
    if asked.startswith("/") or not packing.are_plain((first, *others)):
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
    """List the files that a dataset needs, sorted; skip hidden and other ones.

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
        if not _real(path, folder).is_relative_to(folder.allowed):
            raise _leads_out(path, folder)
    return sorted(found)


def _real(path: Path, folder: Folder) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # a link that leads to itself
        raise _nothing(path, folder) from error


def _size(path: Path, folder: Folder) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise _nothing(path, folder) from error


def _nothing(path: Path, folder: Folder) -> ApiError:
    shown = path.relative_to(folder.path)
    return _refused(UnknownReference, f"expected files that are there, got a link to nothing at {shown}")


@contextmanager
def _opened(path: Path, folder: Folder) -> Iterator[IO[bytes]]:
    """Open a file and check its resolved path: it may have been replaced since its name was checked."""
    try:
        descriptor = os.open(path.resolve(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        shown = path.relative_to(folder.path)
        raise _refused(UnusableReference, f"expected files that can be read, got another: {shown}") from error
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
    return packing.refused(kind, WHERE, detail)
