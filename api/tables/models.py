"""Rows of models: the models, the names that their versions share, and the aliases that move between these."""

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

    key: Mapped[str] = mapped_column(String(300))  # where in the storage
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    version: Mapped[int | None]  # of its owner's models of this name, 1, 2, ...; none without a name
    lineage: Mapped[dict[str, Any] | None]  # of a registered student: the job, the dataset, the teacher, the spec
    files: Mapped[list["ModelFile"]] = relationship(lazy="selectin", passive_deletes="all", order_by="ModelFile.format")
    aliases: Mapped[list["ModelAlias"]] = relationship(
        lazy="selectin", passive_deletes="all", order_by="ModelAlias.alias"
    )


class ModelFile(Base):
    """The model in the other format than it was uploaded in, as the worker that checked it has written it."""

    __tablename__ = "model_file"

    model_id: Mapped[str] = mapped_column(ForeignKey("model.id", ondelete="CASCADE"), primary_key=True)
    format: Mapped[str] = mapped_column(String(20), primary_key=True)  # pt, safetensors
    key: Mapped[str] = mapped_column(String(300))  # where in the storage
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)


class ModelSeries(Owned, Base):
    """A name of an owner's models, and how many versions have had it: a number is given once."""

    __tablename__ = "model_series"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # ser_<hash of owner and name>: `series_id`
    name: Mapped[str] = mapped_column(String(200))
    versions: Mapped[int] = mapped_column(default=0)


class ModelAlias(Owned, Base):
    """A name for one version, such as `production`, that is moved to another."""

    __tablename__ = "model_alias"

    series_id: Mapped[str] = mapped_column(ForeignKey("model_series.id", ondelete="CASCADE"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("model.id"), index=True)
    moved_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
