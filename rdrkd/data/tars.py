"""Unpack a tar, plain or gzipped, in one pass, counting every decompressed byte, including headers."""

import gzip
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from rdrkd.data.limits import Limits, duplicates, name_fault, refuse, skipped_as
from rdrkd.errors import DatasetError, Problem
from rdrkd.suffixes import is_kept

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_MARK, _MARK_AT = b"ustar", 257


class _Counted:
    """A stream that refuses to decompress more than an archive of its size may unpack to; it keeps its last block."""

    def __init__(self, stream: IO[bytes], packed_bytes: int, limits: Limits) -> None:
        self._stream, self._packed, self._limits = stream, packed_bytes, limits
        self.total = 0
        self.tail = b""  # the last block

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes."""
        chunk = self._stream.read(min(size, _CHUNK) if size >= 0 else _CHUNK)
        self.total += len(chunk)
        self.tail = (self.tail + chunk)[-tarfile.BLOCKSIZE :]
        self._limits.guard("the archive", self.total, self._packed, self._limits.total_bytes)
        return chunk


def is_tar(head: bytes) -> bool:
    """Return whether a file with this beginning is a tar, plain or gzipped; plain pre-POSIX tars have no signature."""
    return head.startswith(_GZIP) or head[_MARK_AT : _MARK_AT + len(_MARK)] == _MARK


def extract(archive: Path, folder: Path, limits: Limits) -> Counter[str]:
    """Unpack a tar into an empty folder; return the number of skipped entries by suffix.

    Raises:
        DatasetError: it is refused; the caller must remove what has been written.
    """
    with archive.open("rb") as file, _readable():
        zipped = file.read(2) == _GZIP
        file.seek(0)
        stream: IO[bytes] = gzip.GzipFile(fileobj=file) if zipped else file  # type: ignore[assignment]
        counted = _Counted(stream, archive.stat().st_size, limits)
        with tarfile.open(fileobj=counted, mode="r|") as opened:  # type: ignore[call-overload]
            skipped = _extract(opened, folder, limits, archive.stat().st_size)
        _to_its_end(counted)
    return skipped


@contextmanager
def _readable() -> Iterator[None]:
    """Turn errors of tarfile and gzip about damaged bytes into a DatasetError."""
    try:
        yield
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OverflowError, ValueError) as error:
        raise DatasetError(f"expected a readable tar archive, plain or gzipped, got: {error}") from error


def _extract(opened: tarfile.TarFile, folder: Path, limits: Limits, packed_bytes: int) -> Counter[str]:
    """Unpack the needed entries; after the first faulty entry, only check the others."""
    names: list[str] = []
    problems: list[Problem] = []
    skipped = Counter[str]()
    for member in opened:
        name = member.name.removeprefix("./")  # as `tar -C folder .` writes it
        # Before tarfile reads the next header: it would skip to its position, even beyond the end.
        limits.guard(ascii(name[: limits.path_bytes]), member.size, packed_bytes, limits.total_bytes)
        if name == "." and member.isdir():
            continue
        names.append(name)
        limits.guard_number(len(names))
        opened.members = []  # type: ignore[attr-defined]  # or each header would stay in memory to the end
        if (fault := _fault(member, name, limits)) is not None:
            problems.append(Problem(ascii(member.name), fault))
        elif member.isfile() and not is_kept(name):
            skipped[skipped_as(name)] += 1
        elif member.isfile() and not problems:
            _write(opened, member, folder.joinpath(*PurePosixPath(name).parts), limits)
    refuse(problems + duplicates(names), limits)
    return skipped


def _fault(member: tarfile.TarInfo, name: str, limits: Limits) -> str | None:
    if (fault := name_fault(name, limits)) is not None:
        return fault
    if not (member.isfile() or member.isdir()):
        return "expected a regular file or a folder, got a link, a device or the like"
    if member.issparse():
        return "expected a file that is stored whole, got one with holes"
    return None


def _write(opened: tarfile.TarFile, member: tarfile.TarInfo, target: Path, limits: Limits) -> None:
    limits.guard(member.name, member.size, member.size, limits.file_bytes)  # in a tar, the declared size is exact
    source = opened.extractfile(member)
    assert source is not None, "a regular file has content"
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        detail = "expected each name once, got it again"
        raise DatasetError(f"{member.name!a}: {detail}", [Problem(ascii(member.name), detail)])
    with target.open("xb") as sink:
        while chunk := source.read(_CHUNK):
            limits.room(len(chunk))
            sink.write(chunk)


def _to_its_end(counted: _Counted) -> None:
    """Read the end of the archive: zeros, and a gzip's checksum. A truncated archive has neither.

    Raises:
        DatasetError: something else follows, or nothing.
    """
    ended = not any(counted.tail) and len(counted.tail) == tarfile.BLOCKSIZE
    rest = False
    while chunk := counted.read():
        rest = rest or any(chunk)
    if not ended or rest:
        came = "more after it" if rest else "none: was it cut short?"
        raise DatasetError(f"expected a tar archive with its end mark, got {came}")
