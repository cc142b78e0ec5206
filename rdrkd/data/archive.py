"""Unpack an uploaded archive: write nothing outside its folder or beyond the limits, leave nothing if it is refused."""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from rdrkd.bounded_cache import Bound, Hold, forget, hold, making, room_for, shrink, sweep
from rdrkd.data import tars, zips
from rdrkd.data.limits import Limits
from rdrkd.errors import DatasetError
from rdrkd.file_signatures import head_of, packed_as, placeholder
from rdrkd.files import file_sha256, full_disk_named
from rdrkd.suffixes import ARCHIVES

RECORD = ".rdrkd.json"  # our notes in the unpacked folder; no archive can contain it: hidden files are skipped
_ZIP = b"PK"

Accept = Callable[[Path], dict[str, Any] | None]


@dataclass(frozen=True)
class Unpacked:
    """An archive that is unpacked in `folder`.

    `skipped` counts the entries that were not needed, by suffix; `notes` are what `accept` returned when it was
    unpacked. The folder is not evicted while `hold` exists.
    """

    folder: Path
    sha256: str
    skipped: dict[str, int]
    notes: dict[str, Any]
    hold: Hold = field(default_factory=Hold, compare=False, repr=False)


def unpack(
    archive: Path, cache: Path, limits: Limits | None = None, accept: Accept | None = None, variant: str = ""
) -> Unpacked:
    """Unpack to `cache/<sha256><variant>/` through a temporary folder; an existing one is reused unchanged.

    Args:
        archive: a zip, or a tar, plain or gzipped.
        cache: the folder of unpacked archives; made if missing. Several processes may share it.
        limits: what the archive may hold.
        accept: checks the unpacked folder before it gets its final name; may change it, and raises to refuse it. The
            JSON values that it returns are stored.
        variant: distinguishes folders of one archive made by different `accept`s.

    Raises:
        DatasetError: the archive is refused; nothing of it stays on disk.
        DiskFullError: no space to unpack it.
    """
    sha256 = file_sha256(archive)
    final = cache / f"{sha256}{variant}"
    with full_disk_named("the unpacked archive"):
        kept = hold(cache, final.name)
        if not final.exists():
            try:
                _fill(final, archive, replace(limits or Limits(), room=room_for(cache)), accept)
            except BaseException:
                kept.close()
                forget(final)
                raise
            if (bound := Bound.of(cache)) is not None:
                shrink(cache, bound)
        record = _record(final)
    return Unpacked(final, sha256, record["skipped"], record["notes"], kept)


def _fill(final: Path, archive: Path, limits: Limits, accept: Accept | None) -> None:
    sweep(final.parent)
    with making(final) as partial:
        try:
            skipped = _reader(archive).extract(archive, partial, limits)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise DatasetError("expected no entry that is a file here and a folder there, got one") from error
        notes = accept(partial) if accept is not None else None
        record = {"skipped": dict(sorted(skipped.items())), "notes": notes or {}}
        (partial / RECORD).write_text(json.dumps(record), encoding="utf-8")
        os.sync()  # else a power cut could leave empty files under the final name, which nothing checks again
        try:
            partial.rename(final)
        except OSError:
            if not final.is_dir():  # else another process has unpacked the same bytes first
                raise


def _reader(archive: Path) -> ModuleType:
    """Return the module that unpacks an archive, by its content, as names are often wrong.

    Raises:
        DatasetError: it is not a supported archive; the message tells what it is instead.
    """
    head = head_of(archive)
    if (instead := placeholder(head)) is None:
        if (kind := packed_as(head)) is not None:
            instead = f"{kind} data; unpack it, and pack the folder as .zip or .tar.gz"
        elif head.startswith(_ZIP) and not zipfile.is_zipfile(archive):
            instead = "the beginning of a zip archive without its end; copy or download it again"
    if instead is not None:
        raise DatasetError(f"expected an archive ({', '.join(ARCHIVES)}), got {instead}")
    if head.startswith(_ZIP):
        return zips
    return tars if tars.is_tar(head) or archive.suffix.lower() != ".zip" else zips


def _record(folder: Path) -> dict[str, Any]:
    """Read the notes on an unpacked folder; empty for one made by an earlier version."""
    file = folder / RECORD
    if not file.is_file():
        return {"skipped": {}, "notes": {}}
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record
