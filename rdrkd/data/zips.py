"""Unpack a zip. The sizes in its headers are never trusted: decompressed bytes are counted."""

import itertools
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from rdrkd.data.limits import Limits, duplicates, name_fault, refuse, skipped_as
from rdrkd.errors import DatasetError, Problem
from rdrkd.suffixes import is_kept

_METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
_CHUNK = 1 << 20
_ENCRYPTED, _UTF8 = 0x1, 0x800  # bits of an entry's flags


def extract(archive: Path, folder: Path, limits: Limits) -> Counter[str]:
    """Unpack a zip into an empty folder; return the number of skipped entries by suffix.

    Raises:
        DatasetError: it is refused; the caller must remove what has been written.
    """
    with _readable(), zipfile.ZipFile(archive) as opened:
        kept, skipped = _select(opened, limits)
        _extract(opened, kept, folder, limits, archive.stat().st_size)
    return skipped


@contextmanager
def _readable() -> Iterator[None]:
    """Turn errors of zipfile about damaged bytes into a DatasetError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError) as error:
        raise DatasetError(f"expected a readable zip archive, got: {error}") from error


def _select(opened: zipfile.ZipFile, limits: Limits) -> tuple[list[zipfile.ZipInfo], Counter[str]]:
    """Check every entry's name and kind, and select the entries to unpack."""
    entries = opened.infolist()
    limits.guard_number(len(entries))
    if any(entry.filename.endswith("/data.pkl") for entry in entries):
        raise DatasetError(_no_dataset(Path(opened.filename or "")))
    for entry in entries:
        _decode_name(entry)
    problems = [Problem(ascii(_whole_name(e)), fault) for e in entries if (fault := _fault(e, limits))]
    refuse(problems + duplicates(entry.filename for entry in entries) + _overlaps(entries), limits)
    files = [entry for entry in entries if not entry.is_dir()]
    skipped = Counter(skipped_as(entry.filename) for entry in files if not is_kept(entry.filename))
    return [entry for entry in files if is_kept(entry.filename)], skipped


def _no_dataset(weights: Path) -> str:
    """Return why a model's checkpoint is refused: its name may say what it is."""
    if weights.suffix.lower() in (".pt", ".pth"):
        return f"{weights.name} is a weights file, not a dataset"
    return "expected a dataset, got a model's checkpoint (.pt) under another name; upload it as a model"


def _decode_name(entry: zipfile.ZipInfo) -> None:
    """Decode a name without the UTF-8 flag as UTF-8 if valid, as Macs write it, else as code page 437 (ZIP's default).

    `orig_filename`, which `zipfile` compares with the entry's local header, is not changed.
    """
    if _whole_name(entry) != entry.orig_filename:
        entry.filename = _whole_name(entry).partition("\0")[0]


def _whole_name(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name, including what follows a NUL."""
    if entry.flag_bits & _UTF8:
        return entry.orig_filename
    try:
        return entry.orig_filename.encode("cp437").decode()
    except UnicodeError:
        return entry.orig_filename


def _fault(entry: zipfile.ZipInfo, limits: Limits) -> str | None:
    """Return an entry's fault, judging by its name and flags, or None."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if (fault := name_fault(_whole_name(entry), limits)) is not None:
        return fault
    # Only Unix archives store a file type; 0 means none.
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "expected a regular file or a folder, got a link, a device or the like"
    if entry.header_offset < 0:
        return "expected packed bytes within the archive"
    if entry.flag_bits & _ENCRYPTED:
        return "expected no encryption"
    if entry.compress_type not in _METHODS:
        return f"expected one of the methods {sorted(_METHODS.values())}, got method {entry.compress_type}"
    return None


def _overlaps(entries: Sequence[zipfile.ZipInfo]) -> list[Problem]:
    """Return problems for entries that share packed bytes, as in zip bombs whose entries each have a small ratio."""
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
                limits.guard(entry.filename, written, entry.compress_size, limits.file_bytes)
                limits.guard("the archive", total, packed_bytes, limits.total_bytes)
                limits.room(len(chunk))
                sink.write(chunk)
