"""Folders of this machine and prefixes of buckets that become datasets: looked at here, copied by a worker."""

from dataclasses import dataclass
from typing import Self

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.concurrency import run_in_threadpool

from api.http.dependencies import at_database, reading, settings_of, storage_of
from api.uploads.datasets.reading import DIVIDE, KEEP, LENIENT, Divide, Words, check_keep
from api.uploads.datasets.sources import Source, open_source
from api.uploads.ledger.service import check_room
from rdrkd.spec import Name
from rdrkd.spec.forms import form


class _Import(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name | None = Field(None, description="display name")
    lenient: bool = Field(False, description=LENIENT)
    keep: bool = Field(False, description=KEEP)
    divide: Divide = Field(None, description=DIVIDE)

    @model_validator(mode="after")
    def _keep_is_lenient(self) -> Self:
        check_keep(self.lenient, self.keep)
        return self

    @property
    def words(self) -> Words:
        """Return how the dataset is to be read."""
        return Words(self.lenient, self.keep, self.divide)


class FolderRequest(_Import):
    """A dataset to import from a folder."""

    folder: str = Field(
        min_length=1,
        max_length=1000,
        description="NAME/PATH: name of an allowed folder, and the path in it",
        examples=["surveys/2026-05/hit-uav"],
    )


class BucketRequest(_Import):
    """A dataset to import from a bucket: a prefix, or an archive."""

    url: str = Field(
        min_length=6,
        max_length=1100,
        pattern=form("^s3://", "a location that begins with s3://"),
        description="an allowed location or below: a prefix of objects, or an archive (.zip, .tar, ...)",
        examples=["s3://surveys/2026-05/hit-uav"],
    )


@dataclass(frozen=True)
class Asked:
    """What is to be copied, after a look at it."""

    where: str
    source: Source
    name: str | None
    words: Words


async def _look(request: Request, where: str, asked: _Import) -> Asked:
    source = await run_in_threadpool(open_source, settings_of(request), where, patient=False)

    def check() -> None:
        with reading(request)() as session:
            check_room(session, storage_of(request), settings_of(request).min_free_bytes, more=source.size)

    await at_database(request, check, write=False)
    return Asked(where, source, (asked.name or "").strip() or None, asked.words)


async def look_at_folder(request: Request, asked: FolderRequest) -> Asked:
    """Look at a folder (see `open_source`); StorageFull: there is no room for it."""
    return await _look(request, asked.folder, asked)


async def look_at_bucket(request: Request, asked: BucketRequest) -> Asked:
    """Look at what lies in a bucket; likewise."""
    return await _look(request, asked.url, asked)
