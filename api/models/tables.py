"""Rows of uploaded models."""

from api.db import Base
from api.uploads import Upload


class Model(Upload, Base):
    """An uploaded model: `checking` until a worker has inspected it, then `ready` or `invalid`."""

    __tablename__ = "model"
