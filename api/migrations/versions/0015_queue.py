"""What a job waits for, as rows and a flag, and indexes whose order is that of the queries of the queue."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ROWS = 1000  # of one statement
GPU_FORMATS = ("engine",)
FREE = {"sqlite_where": "status = 'queued' AND waits = 0", "postgresql_where": "status = 'queued' AND NOT waits"}
CPU = {
    "sqlite_where": f"{FREE['sqlite_where']} AND gpu = 0",
    "postgresql_where": f"{FREE['postgresql_where']} AND NOT gpu",
}
IN_TURN = (sa.text("priority DESC"), "queued_at", "id")

job = sa.table(
    "job", sa.column("id", sa.String), sa.column("status", sa.String), sa.column("spec", sa.JSON),
    sa.column("waits", sa.Boolean), sa.column("gpu", sa.Boolean),
)  # fmt: skip
dependency = sa.table(
    "job_dependency", sa.column("job_id", sa.String), sa.column("on_id", sa.String), sa.column("open", sa.Boolean)
)
change = sa.table(
    "dependency_change", sa.column("id", sa.String), sa.column("on_id", sa.String), sa.column("after", sa.String)
)


def upgrade() -> None:
    for name in ("waits", "gpu"):
        op.add_column("job", sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "job_dependency",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("on_id", sa.String(40), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_dependency_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "on_id", name=op.f("pk_job_dependency")),
    )
    op.create_table(
        "dependency_change",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("on_id", sa.String(40), nullable=False),
        sa.Column("after", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dependency_change")),
    )
    _fill()
    op.create_index("ix_job_dependency_on_id", "job_dependency", ["on_id", "job_id"])
    _partial("ix_job_dependency_open", "job_dependency", ["on_id", "job_id"], "open = 1", "open")

    for name in ("ix_job_claim", "ix_job_status", "ix_job_owner"):
        op.drop_index(name, "job")
    op.create_index("ix_job_owner_id", "job", ["owner", "id"])
    op.create_index("ix_job_status_id", "job", ["status", "id"])
    op.create_index("ix_job_owner_status_id", "job", ["owner", "status", "id"])
    _partial("ix_job_continues", "job", ["continues"], "continues IS NOT NULL")
    _partial("ix_job_lease", "job", ["lease_until"], "lease_until IS NOT NULL")
    free, cpu = tuple(FREE.values()), tuple(CPU.values())
    limited = "status IN ('queued', 'paused') AND deadline IS NOT NULL"
    _partial("ix_job_claim", "job", IN_TURN, *free)
    _partial("ix_job_claim_cpu", "job", IN_TURN, *cpu)
    _partial("ix_job_claim_owner", "job", ("owner", *IN_TURN), *free)
    _partial("ix_job_silent", "job", ("rung_at", "queued_at"), *free)
    _partial("ix_job_queue", "job", IN_TURN, "status = 'queued'")
    _partial("ix_job_oldest", "job", ["queued_at"], "status = 'queued'")
    _partial("ix_job_deadline", "job", ["deadline"], limited)
    _partial("ix_job_report", "job", ["id"], "kind = 'compare'")


def downgrade() -> None:
    for name in ("owner_id", "status_id", "owner_status_id", "continues", "lease", "claim", "claim_cpu", "claim_owner",
                 "silent", "queue", "oldest", "deadline", "report"):  # fmt: skip
        op.drop_index(f"ix_job_{name}", "job")
    op.drop_table("dependency_change")
    op.drop_table("job_dependency")
    for name in ("gpu", "waits"):
        op.drop_column("job", name)
    op.create_index("ix_job_claim", "job", ["status", "priority", "queued_at"])
    for name in ("status", "owner"):
        op.create_index(op.f(f"ix_job_{name}"), "job", [name])


def _partial(name: str, table: str, columns: Any, sqlite: str, postgresql: str | None = None) -> None:
    op.create_index(
        name, table, list(columns), sqlite_where=sa.text(sqlite), postgresql_where=sa.text(postgresql or sqlite)
    )


def _fill() -> None:
    """Note what each job refers to; a queued one whose references cannot all be used waits, and is looked at again."""
    connection = op.get_bind()
    waited_for: set[str] = set()
    for rows in _jobs(connection):
        named = {row.id: _named(row) for row in rows}
        queued = [row.id for row in rows if row.status == "queued"]
        usable = _usable(connection, sorted({on_id for job_id in queued for on_id in named[job_id]}))
        waits = {job_id for job_id in queued if not usable.issuperset(named[job_id])}
        noted = [{"job_id": id_, "on_id": on_id, "open": id_ in waits} for id_, ids in named.items() for on_id in ids]
        if noted:
            connection.execute(sa.insert(dependency), noted)
        for_gpus = {row.id for row in rows if (row.spec.get("export") or {}).get("format") in GPU_FORMATS}
        for column, ids in (("waits", waits), ("gpu", for_gpus)):
            if ids:
                connection.execute(sa.update(job).where(job.c.id.in_(ids)).values({column: True}))
        waited_for |= {on_id for job_id in waits for on_id in named[job_id]} - usable
    for number, on_id in enumerate(sorted(waited_for)):
        connection.execute(sa.insert(change).values(id=f"chg_{number:032x}", on_id=on_id, after=""))


def _usable(connection: sa.Connection, ids: list[str]) -> set[str]:
    """Choose the uploads that are ready and the jobs that have handed back weights."""
    found: set[str] = set()
    for table in ("dataset", "model"):
        upload = sa.table(table, sa.column("id", sa.String), sa.column("status", sa.String))
        ready = sa.select(upload.c.id).where(upload.c.id.in_(ids), upload.c.status == "ready")
        found |= set(connection.scalars(ready))
    artifact = sa.table("artifact", sa.column("job_id", sa.String), sa.column("name", sa.String))
    weights = sa.exists().where(artifact.c.job_id == job.c.id, artifact.c.name == "student.pt")
    return found | set(
        connection.scalars(sa.select(job.c.id).where(job.c.id.in_(ids), job.c.status == "succeeded", weights))
    )


def _jobs(connection: sa.Connection) -> Iterator[Any]:
    after = ""
    columns = (job.c.id, job.c.status, job.c.spec)
    while rows := connection.execute(sa.select(*columns).where(job.c.id > after).order_by(job.c.id).limit(ROWS)).all():
        yield rows
        after = rows[-1].id


def _named(row: Any) -> list[str]:
    references = [row.spec.get(field) or {} for field in ("teacher", "student", "model")]
    ids = [row.spec.get("dataset"), *(reference.get("model") or reference.get("job") for reference in references)]
    return sorted({id_ for id_ in ids if id_ and len(id_) <= 40})
