"""Rows of uploads in pieces."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, String, false, text
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now
from api.ownership import Owned


class ResumableUpload(Owned, Base):
    """A file that a client has announced; its length so far is the file's own (`api.storage.partial_uploads`)."""

    __tablename__ = "resumable_upload"
    __table_args__ = (
        Index(
            "ix_resumable_upload_open",
            "owner",
            "expires_at",
            sqlite_where=text("created IS NULL"),
            postgresql_where=text("created IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # upl_<uuid7>
    kind: Mapped[str] = mapped_column(String(20))  # dataset | model
    filename: Mapped[str] = mapped_column(String(300))  # the client's name; never a path on this machine
    name: Mapped[str | None] = mapped_column(String(200))
    keep: Mapped[bool] = mapped_column(default=False, server_default=false())  # likewise, and so the next
    divide: Mapped[str | None] = mapped_column(String(200))
    lenient: Mapped[bool] = mapped_column(default=False, server_default=false())  # of a dataset
    length: Mapped[int] = mapped_column(BigInteger)  # bytes of the whole file
    sha256: Mapped[str | None] = mapped_column(String(64))  # expected by the client, if given
    created: Mapped[str | None] = mapped_column(String(40))  # id of the dataset or model that the file became
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # until then its whole length counts as stored
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
