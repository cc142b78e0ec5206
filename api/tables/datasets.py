"""Rows of uploaded datasets."""

from typing import Any

from sqlalchemy import BigInteger, String, false
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base
from api.ownership import Owned
from api.tables.uploads import Upload


class Dataset(Upload, Base):
    """An uploaded dataset: `checking` until a worker has inspected it, then `ready` or `invalid`.

    What is uploaded under one name are versions of it, numbered from 1; none of them ever changes.
    """

    __tablename__ = "dataset"

    source: Mapped[str | None] = mapped_column(String(1100))  # folder or bucket that it is taken from; null: uploaded
    key: Mapped[str | None] = mapped_column(String(300))  # where in the storage; null: still to be copied from there
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    version: Mapped[int | None]  # of its name; null: it has none
    same_content_as: Mapped[str | None] = mapped_column(String(40))  # id of an earlier version, as it was uploaded
    keep: Mapped[bool] = mapped_column(default=False, server_default=false())  # images that lose a box, if lenient
    divide: Mapped[str | None] = mapped_column(String(200))  # how to divide what has no split (`rdrkd.spec.splitting`)
    lenient: Mapped[bool] = mapped_column(default=False, server_default=false())  # leave out what is at fault
    preview_key: Mapped[str | None] = mapped_column(String(300))  # where in the storage
    preview_sha256: Mapped[str | None] = mapped_column(String(64))
    preview_size: Mapped[int | None] = mapped_column(BigInteger)  # bytes of preview and album together
    album_key: Mapped[str | None] = mapped_column(String(300))  # where the pictures lie that are leafed through
    album_size: Mapped[int | None] = mapped_column(BigInteger)  # bytes of them
    album: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)  # their index (`api.uploads.datasets.album`)


class DatasetName(Owned, Base):
    """A name that an owner's datasets have: its newest number is never given again, also when that version is gone."""

    __tablename__ = "dataset_name"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # dsn_<uuid7>
    name: Mapped[str] = mapped_column(String(200), index=True)
    newest: Mapped[int]
