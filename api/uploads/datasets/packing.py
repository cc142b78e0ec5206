"""Pack loose files into the store as a tar, with the same bytes for the same content."""

import re
import tarfile
from collections.abc import Iterable
from typing import IO, Protocol, cast

from api.errors import ApiError, TooLarge, Unprocessable, UnusableReference
from rdrkd.errors import Problem

SUFFIX = ".tar"
_PART = re.compile(r"[^/\\\x00-\x1f\x7f]+")


class Sink(Protocol):
    """An incoming file of the store."""

    @property
    def size(self) -> int:
        """Return the bytes so far."""

    def write(self, chunk: bytes) -> None:
        """Write the next bytes."""


class Bounded:
    """A sink with a size limit."""

    def __init__(self, sink: Sink, most: int) -> None:
        self._sink, self._most = sink, most

    def write(self, chunk: bytes) -> int:
        """Write the next bytes.

        Raises:
            TooLarge: the limit is exceeded.
        """
        if self._sink.size + len(chunk) > self._most:
            raise TooLarge(f"expected files of at most {self._most} bytes, got more")
        self._sink.write(chunk)
        return len(chunk)


def new_tar(sink: Sink, most: int) -> tarfile.TarFile:
    """Open a tar, completed at the end of its context; it raises TooLarge beyond `most` bytes."""
    return tarfile.open(fileobj=cast(IO[bytes], Bounded(sink, most)), mode="w|", format=tarfile.PAX_FORMAT)


def add(tar: tarfile.TarFile, name: str, size: int, file: IO[bytes]) -> None:
    """Add a file to a tar, without times and owners.

    Raises:
        UnusableReference: it is shorter than declared.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    try:
        tar.addfile(info, file)
    except OSError as error:
        if error.errno is not None:  # an error of the disk
            raise
        raise UnusableReference("expected a source that does not change, but a file has become shorter") from error


def are_plain(parts: Iterable[str]) -> bool:
    r"""Return whether a name's parts stay below its folder.

    >>> are_plain(["a", "b.jpg"]), are_plain(["..", "b"]), are_plain(["a", "", "b"]), are_plain(["a\\b"])
    (True, False, False, False)
    """
    return all(part not in ("", ".", "..") and _PART.fullmatch(part) for part in parts)


def refused(kind: type[Unprocessable], where: str, detail: str) -> ApiError:
    """Return the error for an invalid field of a request."""
    return kind.at(Problem(where, detail))
