"""Evict unpacked datasets on this machine (`rdrkd.bounded_cache`) that are no longer needed."""

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.db import Database
from api.ownership import EVERYBODYS
from api.settings import Settings
from api.tables.datasets import Dataset
from api.tables.uploads import UploadStatus
from rdrkd import bounded_cache
from rdrkd.bounded_cache import Bound


def bound_of(settings: Settings) -> Bound:
    """Return the bound of the cache of unpacked datasets."""
    return Bound(settings.dataset_cache_bytes, settings.min_free_bytes)


def unneeded(session: Session, hashes: Iterable[str]) -> set[str]:
    """Return the hashes that belong to no owner's valid dataset; invalid datasets are never unpacked again."""
    asked = set(hashes)
    known = select(Dataset.sha256).where(Dataset.sha256.in_(asked), Dataset.status != UploadStatus.INVALID)
    return asked - set(session.scalars(known, execution_options=EVERYBODYS))


def remove(cache: Path, hashes: Iterable[str]) -> None:
    """Remove the unpacked folders of these hashes, except those that a run uses, which a later sweep removes."""
    gone = set(hashes)
    for entry in bounded_cache.names(cache):
        if _sha256_of(entry) in gone:
            bounded_cache.evict(entry)


def sweep(database: Database, cache: Path) -> None:
    """Remove unpacked folders that no dataset needs."""
    hashes = {_sha256_of(path) for path in bounded_cache.names(cache)}
    if hashes:
        with database.transaction() as session:
            gone = unneeded(session, hashes)
        remove(cache, gone)


def _sha256_of(path: Path) -> str:
    """Return the archive's hash from a folder's name, which may end with the reading options."""
    return path.name.partition(".")[0]
