"""Rows of models, of the names that versions share, and of the aliases that point to a version."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from api.db import Base, UtcDateTime, now
from api.ownership import Owned
from api.tables.uploads import Upload


class Model(Upload, Base):
    """A model: `checking` until a worker has inspected it, then `ready` or `invalid`."""

    __tablename__ = "model"

    key: Mapped[str] = mapped_column(String(300))  # storage key
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    version: Mapped[int | None]  # within its owner's name, 1, 2, ...; none without a name
    lineage: Mapped[dict[str, Any] | None]  # of a registered student: the job, the dataset, the teacher, the spec
    files: Mapped[list["ModelFile"]] = relationship(lazy="selectin", passive_deletes="all", order_by="ModelFile.format")
    aliases: Mapped[list["ModelAlias"]] = relationship(
        lazy="selectin", passive_deletes="all", order_by="ModelAlias.alias"
    )


class ModelFile(Base):
    """A model's file in the other format, written by the worker that checked it."""

    __tablename__ = "model_file"

    model_id: Mapped[str] = mapped_column(ForeignKey("model.id", ondelete="CASCADE"), primary_key=True)
    format: Mapped[str] = mapped_column(String(20), primary_key=True)  # pt, safetensors
    key: Mapped[str] = mapped_column(String(300))  # storage key
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)


class ModelSeries(Owned, Base):
    """A name of an owner's models, with its newest version number, which is never reused."""

    __tablename__ = "model_series"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # ser_<hash of owner and name>: `series_id`
    name: Mapped[str] = mapped_column(String(200))
    versions: Mapped[int] = mapped_column(default=0)


class ModelAlias(Owned, Base):
    """A name for one version, such as `production`, that can be moved to another."""

    __tablename__ = "model_alias"

    series_id: Mapped[str] = mapped_column(ForeignKey("model_series.id", ondelete="CASCADE"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("model.id"), index=True)
    moved_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
