"""Totals of jobs, attempts and bytes, kept by triggers; what studies refer to, and that a member of one has ended.

Each row of a table adds to some totals. Triggers write that as differences, so that two transactions never wait for
each other's totals; the reaper sums them up (`api.tables.tallies`).
"""

# ruff: noqa: S608 - statements are made of this file's own words
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TOOK = {
    "sqlite": "CAST(round((julianday({r}.{end}) - julianday({r}.{start})) * 86400000000.0) AS INTEGER)",
    "postgresql": "CAST(round(extract(epoch FROM {r}.{end} - {r}.{start}) * 1000000) AS bigint)",
}
# By table: the columns whose change matters, and what a row adds to (name of the total, condition, owner, amount).
# Owners and kinds never change.
OWN = "{r}.owner"
PARENTS = {"artifact": ("job", "job_id"), "model_file": ("model", "model_id")}  # their rows go with their parent's
ADDS = {
    "job": (
        ("status", "waits", "started_at", "finished_at"),
        [
            ("'job/' || {r}.status", "1 = 1", OWN, "0"),
            ("'free'", "{r}.status = 'queued' AND NOT {r}.waits", OWN, "0"),
            (
                "'took/' || {r}.kind || '/' || {r}.status",
                "{r}.started_at IS NOT NULL AND {r}.finished_at IS NOT NULL",
                OWN,
                "TOOK started_at finished_at",
            ),
        ],
    ),
    "job_attempt": (
        ("outcome", "started_at", "ended_at"),
        [
            (
                "'attempt/' || coalesce({r}.outcome, 'unknown')",
                "{r}.ended_at IS NOT NULL",
                "CAST(NULL AS varchar)",
                "TOOK started_at ended_at",
            )
        ],
    ),
    "dataset": (
        ("status", "size", "preview_size"),
        [
            ("'datasets'", "{r}.status <> 'invalid'", OWN, "{r}.size"),
            ("'previews'", "{r}.preview_size IS NOT NULL", OWN, "{r}.preview_size"),
        ],
    ),
    "model": (("status", "size"), [("'models'", "{r}.status <> 'invalid'", OWN, "{r}.size")]),
    "model_file": (("size",), [("'model_files'", "1 = 1", "PARENT", "{r}.size")]),
    "artifact": (("size",), [("'artifacts'", "1 = 1", "PARENT", "{r}.size")]),
}
REFERENCES = ("dataset", "student.model", "student.job", "teacher.model.model", "teacher.model.job")  # of a study
QUEUED = "status = 'queued'"
IN_TURN = (sa.text("priority DESC"), "queued_at", "id")


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "tally",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("what", sa.String(80), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tally")),
    )
    op.create_index(op.f("ix_tally_owner"), "tally", ["owner"])
    _partial("ix_tally_loose", "tally", ["id"], "settled = 0", "NOT settled")
    for table in ADDS:
        for statement in _triggers(table, sqlite):
            op.execute(sa.text(statement))
        for statement in _sums(table, sqlite):
            op.execute(sa.text(statement))

    op.add_column("job", sa.Column("study", sa.String(40), nullable=True))
    op.execute(sa.text(f"UPDATE job SET study = {_at('study', sqlite)} WHERE kind = 'compare'"))
    op.create_table(
        "study_end",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("study_id", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study_end")),
    )
    op.execute(sa.text("INSERT INTO study_end (id, study_id) SELECT id, id FROM study"))

    op.create_table(
        "study_reference",
        sa.Column("study_id", sa.String(40), nullable=False),
        sa.Column("on_id", sa.String(40), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_study_reference_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", "on_id", name=op.f("pk_study_reference")),
    )
    named = " UNION ".join(f"SELECT id, {_at(path, sqlite)} AS on_id FROM study" for path in REFERENCES)
    op.execute(
        sa.text(
            "INSERT INTO study_reference (study_id, on_id)"
            f" SELECT id, on_id FROM ({named}) AS named WHERE on_id IS NOT NULL AND length(on_id) <= 40"
        )
    )
    op.create_index("ix_study_reference_on_id", "study_reference", ["on_id", "study_id"])

    _partial("ix_job_study", "job", ["study"], "study IS NOT NULL")
    _partial("ix_job_paused", "job", ["queued_at"], "status = 'paused'")
    _partial("ix_job_oldest_owner", "job", ["owner", "queued_at"], QUEUED)
    _partial("ix_job_queue_owner", "job", ["owner", *IN_TURN], QUEUED)
    op.create_index(op.f("ix_study_teacher_job"), "study", ["teacher_job"])
    _partial("ix_job_attempt_going_on", "job_attempt", ["started_at"], "ended_at IS NULL")
    _partial("ix_resumable_upload_open", "resumable_upload", ["owner", "expires_at"], "created IS NULL")


def downgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.drop_index("ix_resumable_upload_open", "resumable_upload")
    op.drop_index("ix_job_attempt_going_on", "job_attempt")
    op.drop_index("ix_study_teacher_job", "study")
    for name in ("study", "paused", "oldest_owner", "queue_owner"):
        op.drop_index(f"ix_job_{name}", "job")
    for table in ADDS:
        for name, *_ in _moments(table):
            op.execute(sa.text(f"DROP TRIGGER {name}" + ("" if sqlite else f" ON {table}")))
            if not sqlite:
                op.execute(sa.text(f"DROP FUNCTION {name}()"))
    op.drop_table("tally")
    op.drop_table("study_end")
    op.drop_table("study_reference")
    op.drop_column("job", "study")


def _at(path: str, sqlite: bool) -> str:
    return f"json_extract(spec, '$.{path}')" if sqlite else f"spec #>> '{{{path.replace('.', ',')}}}'"


def _partial(name: str, table: str, columns: Sequence[Any], sqlite: str, postgresql: str | None = None) -> None:
    on_sqlite, on_postgres = sa.text(sqlite), sa.text(postgresql or sqlite)
    op.create_index(name, table, list(columns), sqlite_where=on_sqlite, postgresql_where=on_postgres)


def _moments(table: str) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Yield the triggers of a table: its name, when it fires, and the row and sign of each difference."""
    columns = ", ".join(ADDS[table][0])
    yield f"tally_{table}_insert", "AFTER INSERT", [("NEW", "")]
    yield f"tally_{table}_update", f"AFTER UPDATE OF {columns}", [("OLD", "-"), ("NEW", "")]
    # Before, while rows that are to go with this one are there.
    yield f"tally_{table}_delete", "BEFORE DELETE", [("OLD", "-")]


def _triggers(table: str, sqlite: bool) -> Iterator[str]:
    for name, when, rows in _moments(table):
        body = "; ".join(_difference(table, row, sign, each, sqlite) for row, sign in rows for each in ADDS[table][1])
        if "DELETE" in when:
            body += "".join(f"; {_of_children(child, table)}" for child in PARENTS if PARENTS[child][0] == table)
        changed = "IS NOT" if sqlite else "IS DISTINCT FROM"
        different = " OR ".join(f"OLD.{column} {changed} NEW.{column}" for column in ADDS[table][0])
        condition = f" WHEN ({different})" if "UPDATE" in when else ""
        if sqlite:
            yield f"CREATE TRIGGER {name} {when} ON {table}{condition} BEGIN {body}; END"
            continue
        back = "OLD" if "DELETE" in when else "NEW"
        yield f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN {back}; END $$"
        yield f"CREATE TRIGGER {name} {when} ON {table} FOR EACH ROW{condition} EXECUTE FUNCTION {name}()"


def _difference(table: str, row: str, sign: str, adds: tuple[str, str, str, str], sqlite: bool) -> str:
    what, condition, owner, amount = _filled(table, row, adds, sqlite)
    if table in PARENTS and sign:  # else the parent itself is being deleted, and has counted it
        parent, key = PARENTS[table]
        condition += f" AND EXISTS (SELECT 1 FROM {parent} WHERE id = {row}.{key})"
    return (
        "INSERT INTO tally (what, owner, number, total, settled)"
        f" SELECT {what}, {owner}, {sign}1, {sign}({amount}), false WHERE {condition}"
    )


def _of_children(child: str, parent: str) -> str:
    [(what, _, _, _)] = ADDS[child][1]
    return (
        "INSERT INTO tally (what, owner, number, total, settled)"
        f" SELECT {what}, OLD.owner, -count(*), -sum(size), false"
        f" FROM {child} WHERE {PARENTS[child][1]} = OLD.id HAVING count(*) > 0"
    )


def _sums(table: str, sqlite: bool) -> Iterator[str]:
    """Yield what sums up the rows that are there."""
    for each in ADDS[table][1]:
        what, condition, owner, amount = _filled(table, "r", each, sqlite)
        yield (
            "INSERT INTO tally (what, owner, number, total, settled)"
            f" SELECT {what}, {owner}, count(*), sum({amount}), true FROM {table} AS r WHERE {condition} GROUP BY 1, 2"
        )


def _filled(table: str, row: str, adds: tuple[str, str, str, str], sqlite: bool) -> list[str]:
    what, condition, owner, amount = adds
    if owner == "PARENT":
        parent, key = PARENTS[table]
        owner = f"(SELECT owner FROM {parent} WHERE id = {row}.{key})"
    if amount.startswith("TOOK"):
        _, start, end = amount.split()
        amount = TOOK["sqlite" if sqlite else "postgresql"].format(r=row, start=start, end=end)
    return [each.replace("{r}", row) for each in (what, condition, owner, amount)]
