"""Versions, previews and the lenient check of datasets."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# What was uploaded under one name before is numbered in its order.
NUMBER = """
    UPDATE dataset SET version = (
        SELECT count(*) FROM dataset AS earlier
        WHERE earlier.name = dataset.name
        AND coalesce(earlier.owner, '') = coalesce(dataset.owner, '')
        AND earlier.id <= dataset.id
    ) WHERE name IS NOT NULL
"""
REMEMBER = """
    INSERT INTO dataset_name (id, owner, name, newest)
    SELECT 'dsn_' || substr(min(id), 4), owner, name, max(version) FROM dataset
    WHERE name IS NOT NULL GROUP BY owner, name
"""


def upgrade() -> None:
    op.add_column("dataset", sa.Column("version", sa.Integer(), nullable=True))
    op.add_column("dataset", sa.Column("same_content_as", sa.String(40), nullable=True))
    op.add_column("dataset", sa.Column("lenient", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("dataset", sa.Column("preview_key", sa.String(300), nullable=True))
    op.add_column("dataset", sa.Column("preview_sha256", sa.String(64), nullable=True))
    op.add_column("dataset", sa.Column("preview_size", sa.BigInteger(), nullable=True))
    op.add_column("resumable_upload", sa.Column("lenient", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "dataset_name",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(64), nullable=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("newest", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_name")),
    )
    op.create_index(op.f("ix_dataset_name_owner"), "dataset_name", ["owner"])
    op.create_index(op.f("ix_dataset_name_name"), "dataset_name", ["name"])
    op.execute(NUMBER)
    op.execute(REMEMBER)


def downgrade() -> None:
    op.drop_table("dataset_name")
    op.drop_column("resumable_upload", "lenient")
    for column in ("preview_size", "preview_sha256", "preview_key", "lenient", "same_content_as", "version"):
        op.drop_column("dataset", column)
