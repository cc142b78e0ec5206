"""Rows of uploaded datasets."""

from api.db import Base
from api.uploads import Upload


class Dataset(Upload, Base):
    """An uploaded dataset: `checking` until a worker has inspected it, then `ready` or `invalid`."""

    __tablename__ = "dataset"
