"""Unpack an uploaded zip: nothing outside its folder, nothing beyond the limits, nothing left behind on a refusal.

The zip's own headers are never trusted for sizes: bytes are counted as they stream out of the decompressor.
"""

import itertools
import os
import re
import shutil
import stat
import struct
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rdrkd.data.images import IMAGE_SUFFIXES
from rdrkd.errors import DatasetError, Problem
from rdrkd.files import file_sha256, full_disk_named

KEPT_SUFFIXES = IMAGE_SUFFIXES | {".txt", ".yaml", ".yml", ".json"}
_NESTED = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"}
_METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
_CHUNK = 1 << 20
_ENCRYPTED = 0x1
_PARTIAL = ".unpacking-"
_ABANDONED_SECONDS = 86_400


@dataclass(frozen=True)
class Limits:
    """What an archive may hold at most; bytes are those after unpacking."""

    entries: int = 200_000
    total_bytes: int = 32 << 30
    file_bytes: int = 512 << 20
    ratio: float = 100.0  # unpacked / packed bytes, of each file and of the whole archive
    ratio_floor: int = 4 << 20  # below this many unpacked bytes the ratio says nothing
    depth: int = 8  # path components
    path_bytes: int = 400
    problems: int = 100


@dataclass(frozen=True)
class Unpacked:
    """An archive that lies unpacked in `folder`; `skipped` counts the entries that were not needed, by suffix."""

    folder: Path
    sha256: str
    skipped: dict[str, int]


def unpack(
    archive: Path, cache: Path, limits: Limits | None = None, accept: Callable[[Path], object] | None = None
) -> Unpacked:
    """Unpack a zip to `cache/<sha256>/` by way of a temporary folder; an archive that is there already is not touched.

    Args:
        archive: the zip.
        cache: the folder of unpacked archives; made if missing. Several processes may share it.
        limits: what the archive may hold.
        accept: looks at the unpacked folder before it gets its final name, and raises to refuse it.

    Raises:
        DatasetError: the archive is refused; nothing of it stays on disk.
        DiskFullError: no room to unpack it.
    """
    limits = limits or Limits()
    sha256 = file_sha256(archive)
    final = cache / sha256
    with full_disk_named("the unpacked archive"), _as_zip(archive) as opened:
        kept, skipped = _select(opened, limits)
        if not final.exists():
            cache.mkdir(parents=True, exist_ok=True)
            _fill(final, opened, kept, limits, archive.stat().st_size, accept)
    return Unpacked(final, sha256, dict(sorted(skipped.items())))


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what zipfile raises over damaged bytes into a DatasetError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError) as error:
        raise DatasetError(f"expected a readable zip archive, got: {error}") from error


def _as_zip(archive: Path) -> zipfile.ZipFile:
    with _readable():
        return zipfile.ZipFile(archive)


def _fill(
    final: Path,
    opened: zipfile.ZipFile,
    kept: Sequence[zipfile.ZipInfo],
    limits: Limits,
    packed_bytes: int,
    accept: Callable[[Path], object] | None,
) -> None:
    _sweep(final.parent)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=final.parent))
    try:
        with _readable():
            _extract(opened, kept, partial, limits, packed_bytes)
        if accept is not None:
            accept(partial)
        os.sync()  # or a power cut could leave empty files under the final name, and nobody would look again
        try:
            partial.rename(final)
        except OSError:
            if not final.is_dir():  # otherwise another process was faster with the same bytes
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sweep(cache: Path) -> None:
    """Remove what processes left that were killed while they unpacked."""
    for partial in cache.glob(f"{_PARTIAL}*"):
        with suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(partial, ignore_errors=True)


def _select(opened: zipfile.ZipFile, limits: Limits) -> tuple[list[zipfile.ZipInfo], Counter[str]]:
    """Check every entry's name and kind, and pick the ones to unpack."""
    entries = opened.infolist()
    if len(entries) > limits.entries:
        raise DatasetError(f"expected at most {limits.entries} archive entries, got {len(entries)}")
    problems = [Problem(ascii(e.orig_filename), fault) for e in entries if (fault := _fault(e, limits))]
    problems += _duplicates(entries) + _overlaps(entries)
    if problems:
        first = problems[0]
        raise DatasetError(
            f"the archive holds {len(problems)} entries that are refused; {first.where}: {first.detail}",
            problems[: limits.problems],
        )
    kept, skipped = [], Counter[str]()
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if entry.is_dir():
            continue
        # A Mac adds a `._name` twin to every file, with the same suffix but other content.
        if path.suffix.lower() in KEPT_SUFFIXES and not any(p.startswith(".") or p == "__MACOSX" for p in path.parts):
            kept.append(entry)
        else:
            skipped[path.suffix.lower() or path.name] += 1
    return kept, skipped


def _fault(entry: zipfile.ZipInfo, limits: Limits) -> str | None:
    """Say what is wrong with an entry, by its name and flags alone."""
    name, kind = entry.orig_filename, stat.S_IFMT(entry.external_attr >> 16)
    parts = name.removesuffix("/").split("/")
    if "\\" in name or re.match(r"[A-Za-z]:", name):
        return "expected forward slashes and no drive letter"
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return "expected a relative path that stays within the archive"
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "expected a name without control characters"
    if len(name.encode("utf-8", "surrogatepass")) > limits.path_bytes or any(len(p.encode()) > 255 for p in parts):
        return f"expected a path of at most {limits.path_bytes} bytes"
    if len(parts) > limits.depth:
        return f"expected at most {limits.depth} nested folders, got {len(parts)}"
    # Only Unix archives carry a file type; 0 means that none was written down.
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "expected a regular file or a folder, got a link, a device or the like"
    if entry.header_offset < 0:
        return "expected packed bytes within the archive"
    if entry.flag_bits & _ENCRYPTED:
        return "expected no encryption"
    if entry.compress_type not in _METHODS:
        return f"expected one of the methods {sorted(_METHODS.values())}, got method {entry.compress_type}"
    if PurePosixPath(name).suffix.lower() in _NESTED:
        return "expected no archive within the archive"
    return None


def _duplicates(entries: Sequence[zipfile.ZipInfo]) -> list[Problem]:
    """Refuse two entries whose names are the same, also on a disk that knows no upper case."""
    names = Counter(entry.filename.rstrip("/").casefold() for entry in entries)
    return [Problem(ascii(name), f"expected each name once, got it {n} times") for name, n in names.items() if n > 1]


def _overlaps(entries: Sequence[zipfile.ZipInfo]) -> list[Problem]:
    """Refuse entries that share packed bytes: the trick of bombs whose ratio stays small on every single entry."""
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    return [
        Problem(ascii(here.orig_filename), "expected packed bytes of its own, got some that another entry also uses")
        for here, following in itertools.pairwise(ordered)
        if here.header_offset + here.compress_size > following.header_offset
    ]


def _extract(
    opened: zipfile.ZipFile, kept: Sequence[zipfile.ZipInfo], folder: Path, limits: Limits, packed_bytes: int
) -> None:
    total = 0
    for entry in kept:
        target = folder.joinpath(*PurePosixPath(entry.filename).parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with opened.open(entry) as source, target.open("xb") as sink:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                total += len(chunk)
                _guard(entry.filename, written, entry.compress_size, limits.file_bytes, limits)
                _guard("the archive", total, packed_bytes, limits.total_bytes, limits)
                sink.write(chunk)


def _guard(where: str, unpacked: int, packed: int, most: int, limits: Limits) -> None:
    if unpacked > most:
        detail = f"expected at most {most} bytes unpacked, got more"
    elif unpacked > limits.ratio_floor and unpacked > limits.ratio * max(packed, 1):
        detail = f"expected at most {limits.ratio:g} times the packed size, got more"
    else:
        return
    raise DatasetError(f"{where}: {detail}", [Problem(where, detail)])
