"""Store the preview image that the inspection of a dataset draws."""

from collections.abc import Sequence
from pathlib import Path

from api.db import Database
from api.jobs.upload_checks import Check
from api.storage import Storage, Stored, deletions
from api.tables.datasets import Dataset

NAME = "preview.jpg"
MOST_BYTES = 4 << 20
_JPEG = b"\xff\xd8\xff"


def options(check: Check, folder: Path) -> Sequence[str | Path]:
    """Return the inspection's options that apply to datasets only."""
    if check.table is not Dataset:
        return []
    return ["--preview", folder / NAME, *check.words.options]


def keep(storage: Storage, check: Check, file: Path) -> Stored | None:
    """Store the preview if it is an image; the inspection read an untrusted file, so its output is not trusted."""
    if not file.is_file() or file.is_symlink() or file.stat().st_size > MOST_BYTES:
        return None
    with file.open("rb") as stream:
        if stream.read(len(_JPEG)) != _JPEG:
            return None
    return storage.put_file(file, _key(check))


def drop(database: Database, storage: Storage, check: Check) -> None:
    """Remove the preview of an attempt that ended too late, unless its row refers to it."""
    if check.table is Dataset:
        deletions.drop_unnamed(database, storage, _key(check))


def _key(check: Check) -> str:
    return f"previews/{check.id}/attempt-{check.attempt}.jpg"
