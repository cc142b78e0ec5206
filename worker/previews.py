"""Store the images that the inspection of a dataset draws.

The inspection has read an untrusted file, so its output is checked to be images.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from api.db import Database
from api.jobs.upload_checks import Check
from api.storage import Storage, Stored, deletions
from api.tables.datasets import Dataset
from api.uploads.datasets.album import Album, Index

log = logging.getLogger(__name__)

NAME = "preview.jpg"
ALBUM, PICTURES, DESCRIBED = "album", "album.jpgs", "album.json"  # the folder, and the names of `rdrkd.data.album`
MOST_BYTES = 4 << 20
MOST_OF_ALBUM, MOST_OF_INDEX = 2**25, 2**23
_JPEG = b"\xff\xd8\xff"


def options(check: Check, folder: Path) -> Sequence[str | Path]:
    """Return the inspection's options that apply to datasets only."""
    if check.table is not Dataset:
        return []
    return ["--preview", folder / NAME, "--album", folder / ALBUM, *check.words.options]


def keep(storage: Storage, check: Check, file: Path) -> Stored | None:
    """Store the preview, if there is one."""
    if not _is_plain(file, MOST_BYTES):
        return None
    with file.open("rb") as stream:
        if stream.read(len(_JPEG)) != _JPEG:
            return None
    return storage.put_file(file, _key(check))


def keep_album(storage: Storage, check: Check, folder: Path) -> Album | None:
    """Store the album, if there is one with a valid index whose pictures all begin like a JPEG."""
    pictures, described = folder / PICTURES, folder / DESCRIBED
    if not _is_plain(pictures, MOST_OF_ALBUM) or not _is_plain(described, MOST_OF_INDEX):
        return None
    try:
        index = Index.model_validate_json(described.read_bytes())
    except ValidationError:
        log.warning("ignored the images for browsing of %s: their index is invalid", check.id)
        return None
    offsets = index.offsets()
    if not index.images or offsets[-1] != pictures.stat().st_size:
        return None
    with pictures.open("rb") as stream:
        for offset in offsets[:-1]:
            stream.seek(offset)
            if stream.read(len(_JPEG)) != _JPEG:
                return None
    return Album(storage.put_file(pictures, _key(check, "album")), index)


def _is_plain(file: Path, most: int) -> bool:
    return file.is_file() and not file.is_symlink() and file.stat().st_size <= most


def drop(database: Database, storage: Storage, check: Check) -> None:
    """Remove the preview of an attempt that ended too late, unless its row refers to it."""
    if check.table is Dataset:
        for suffix in ("jpg", "album"):
            deletions.drop_unnamed(database, storage, _key(check, suffix))


def _key(check: Check, suffix: str = "jpg") -> str:
    return f"previews/{check.id}/attempt-{check.attempt}.{suffix}"
