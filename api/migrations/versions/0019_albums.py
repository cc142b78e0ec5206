"""Images of datasets to leaf through."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dataset", sa.Column("album_key", sa.String(300), nullable=True))
    op.add_column("dataset", sa.Column("album_size", sa.BigInteger(), nullable=True))
    op.add_column("dataset", sa.Column("album", sa.JSON(), nullable=True))


def downgrade() -> None:
    for column in ("album", "album_size", "album_key"):
        op.drop_column("dataset", column)
