"""Rows of uploaded datasets."""

from typing import Any

from sqlalchemy import BigInteger, String, false
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base
from api.ownership import Owned
from api.tables.uploads import Upload


class Dataset(Upload, Base):
    """An uploaded dataset: `checking` until a worker has inspected it, then `ready` or `invalid`.

    Uploads under one name are its versions, numbered from 1; they never change.
    """

    __tablename__ = "dataset"

    source: Mapped[str | None] = mapped_column(String(1100))  # folder or bucket it is imported from; null: uploaded
    key: Mapped[str | None] = mapped_column(String(300))  # storage key; null: not copied from the source yet
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    version: Mapped[int | None]  # of its name; null: no name
    same_content_as: Mapped[str | None] = mapped_column(String(40))  # id of an earlier version, as it was uploaded
    keep: Mapped[bool] = mapped_column(default=False, server_default=false())  # images that lose a box, if lenient
    divide: Mapped[str | None] = mapped_column(String(200))  # how to divide it without splits (`rdrkd.spec.splitting`)
    lenient: Mapped[bool] = mapped_column(default=False, server_default=false())  # leave out faulty items
    preview_key: Mapped[str | None] = mapped_column(String(300))  # storage key
    preview_sha256: Mapped[str | None] = mapped_column(String(64))
    preview_size: Mapped[int | None] = mapped_column(BigInteger)  # bytes of preview and album together
    album_key: Mapped[str | None] = mapped_column(String(300))  # storage key of the images for browsing
    album_size: Mapped[int | None] = mapped_column(BigInteger)  # bytes of them
    album: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)  # their index (`api.uploads.datasets.album`)


class DatasetName(Owned, Base):
    """A name of an owner's datasets, with its newest version number, which is never reused, even after deletion."""

    __tablename__ = "dataset_name"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # dsn_<uuid7>
    name: Mapped[str] = mapped_column(String(200), index=True)
    newest: Mapped[int]
