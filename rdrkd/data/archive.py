"""Unpack an uploaded archive: nothing outside its folder, nothing beyond the limits, nothing left on a refusal."""

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

RECORD = (
    ".rdrkd.json"  # in the unpacked folder, what we noted of it; no archive can bring one: hidden files are skipped
)
_ZIP = b"PK"

Accept = Callable[[Path], dict[str, Any] | None]


@dataclass(frozen=True)
class Unpacked:
    """An archive that lies unpacked in `folder`.

    `skipped` counts the entries that were not needed, by suffix; `notes` are what `accept` gave when it was unpacked.
    Nobody lets the folder go for as long as `hold` is kept.
    """

    folder: Path
    sha256: str
    skipped: dict[str, int]
    notes: dict[str, Any]
    hold: Hold = field(default_factory=Hold, compare=False, repr=False)


def unpack(
    archive: Path, cache: Path, limits: Limits | None = None, accept: Accept | None = None, variant: str = ""
) -> Unpacked:
    """Unpack to `cache/<sha256><variant>/` by way of a temporary folder; what is there already is not touched.

    Args:
        archive: a zip, or a tar, plain or gzipped.
        cache: the folder of unpacked archives; made if missing. Several processes may share it.
        limits: what the archive may hold.
        accept: looks at the unpacked folder before it gets its final name, may change it, and raises to refuse it;
            what it gives, JSON values, is kept.
        variant: tells folders of one archive apart that different `accept`s have made.

    Raises:
        DatasetError: the archive is refused; nothing of it stays on disk.
        DiskFullError: no room to unpack it.
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
        os.sync()  # or a power cut could leave empty files under the final name, and nobody would look again
        try:
            partial.rename(final)
        except OSError:
            if not final.is_dir():  # otherwise another process was faster with the same bytes
                raise


def _reader(archive: Path) -> ModuleType:
    """Return the module that unpacks an archive, by its content: names are often wrong.

    Raises:
        DatasetError: it is no archive that is read here; the message says what it is instead.
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
    """Read what was noted of an unpacked folder; of one that an earlier version has made there is nothing."""
    file = folder / RECORD
    if not file.is_file():
        return {"skipped": {}, "notes": {}}
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record
