"""Versions, lineage, files and aliases of models."""

import hashlib

import sqlalchemy as sa
from alembic import op

from api.db import UtcDateTime, now

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model", sa.Column("version", sa.Integer(), nullable=True))
    op.add_column("model", sa.Column("lineage", sa.JSON(), nullable=True))
    op.create_table(
        "model_file",
        sa.Column("model_id", sa.String(40), nullable=False),
        sa.Column("format", sa.String(20), nullable=False),
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model.id"], name=op.f("fk_model_file_model_id_model"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model_id", "format", name=op.f("pk_model_file")),
    )
    op.create_table(
        "model_series",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(64), nullable=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("versions", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_series")),
    )
    op.create_index(op.f("ix_model_series_owner"), "model_series", ["owner"])
    op.create_table(
        "model_alias",
        sa.Column("series_id", sa.String(40), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=True),
        sa.Column("model_id", sa.String(40), nullable=False),
        sa.Column("moved_at", UtcDateTime(), server_default=now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_id"], ["model_series.id"], name=op.f("fk_model_alias_series_id_model_series"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_model_alias_model_id_model")),
        sa.PrimaryKeyConstraint("series_id", "alias", name=op.f("pk_model_alias")),
    )
    op.create_index(op.f("ix_model_alias_model_id"), "model_alias", ["model_id"])
    op.create_index(op.f("ix_model_alias_owner"), "model_alias", ["owner"])
    _number_what_is_there()


def downgrade() -> None:
    op.drop_table("model_alias")
    op.drop_table("model_series")
    op.drop_table("model_file")
    op.drop_column("model", "lineage")
    op.drop_column("model", "version")


def _number_what_is_there() -> None:
    """Assign version numbers to the named models, oldest first."""
    model = sa.table("model", *map(sa.column, ("id", "owner", "name", "version")))
    series = sa.table("model_series", *map(sa.column, ("id", "owner", "name", "versions")))
    connection = op.get_bind()
    named = sa.select(model.c.id, model.c.owner, model.c.name).where(model.c.name.is_not(None)).order_by(model.c.id)
    versions: dict[tuple[str | None, str], int] = {}
    for id_, owner, name in connection.execute(named).all():
        versions[owner, name] = versions.get((owner, name), 0) + 1
        connection.execute(model.update().where(model.c.id == id_).values(version=versions[owner, name]))
    for (owner, name), newest in versions.items():
        values = {"id": _series_id(owner, name), "owner": owner, "name": name, "versions": newest}
        connection.execute(series.insert().values(values))


def _series_id(owner: str | None, name: str) -> str:
    return "ser_" + hashlib.sha256(f"{owner or ''}\0{name}".encode()).hexdigest()[:32]
