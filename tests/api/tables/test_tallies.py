"""Totals are what the rows add up to, whatever is written, and whenever they are summed up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Select, case, func, literal, select, update
from sqlalchemy.orm import Session

from api.db import seconds_between
from api.tables import tallies
from api.tables.attempts import JobAttempt
from api.tables.datasets import Dataset
from api.tables.jobs import Artifact, Job
from api.tables.models import Model, ModelFile
from api.tables.states import Status
from api.tables.tallies import Tally
from tests.api.conftest import Service

Rows = dict[tuple[str | None, str], tuple[int, float]]


def counted(session: Session) -> Rows:
    """Count every row, which the totals are there to spare."""
    found: Rows = {}
    for query in _queries():
        for what, owner, number, total in session.execute(query):
            found[owner, what] = (number, total or 0)
    return found


def _queries() -> Iterator[Select[tuple[str, str | None, int, float]]]:
    none = literal(None)
    took = 1e6 * func.sum(seconds_between(Job.started_at, Job.finished_at))
    lasted = 1e6 * func.sum(seconds_between(JobAttempt.started_at, JobAttempt.ended_at))
    number = func.count()
    free = (Job.status == Status.QUEUED, ~Job.waits)
    yield select("job/" + Job.status, Job.owner, number, 0 * number).group_by(Job.status, Job.owner)
    yield select(literal("free"), Job.owner, number, 0 * number).where(*free).group_by(Job.owner)
    ended = (Job.started_at.is_not(None), Job.finished_at.is_not(None))
    of_kind = select("took/" + Job.kind + "/" + Job.status, Job.owner, number, took).where(*ended)
    yield of_kind.group_by(Job.kind, Job.status, Job.owner)
    attempt = select("attempt/" + JobAttempt.outcome, none, number, lasted).where(JobAttempt.ended_at.is_not(None))
    yield attempt.group_by(JobAttempt.outcome)
    for table in (Dataset, Model):
        stored = select(literal(f"{table.__tablename__}s"), table.owner, number, func.sum(table.size))
        yield stored.where(table.status != "invalid").group_by(table.owner)
    preview = select(literal("previews"), Dataset.owner, number, func.sum(Dataset.preview_size))
    yield preview.where(Dataset.preview_size.is_not(None)).group_by(Dataset.owner)
    yield (
        select(literal("model_files"), Model.owner, number, func.sum(ModelFile.size))
        .join(Model, Model.id == ModelFile.model_id)
        .group_by(Model.owner)
    )
    yield (
        select(literal("artifacts"), Job.owner, number, func.sum(Artifact.size))
        .join(Job, Job.id == Artifact.job_id)
        .group_by(Job.owner)
    )


def agree(service: Service) -> None:
    with service.database.transaction() as session:
        expected = counted(session)
        found = {key: (total.number, total.total) for key, total in tallies.by_owner(session).items() if total.number}
    assert found.keys() == expected.keys()
    for key, (number, total) in expected.items():
        assert found[key][0] == number, key
        assert abs(found[key][1] - float(total)) < 1000, key  # microseconds of durations that are rounded


def settle(service: Service) -> int:
    with service.database.transaction() as session:
        return tallies.settle(session)


def loose(service: Service) -> int:
    with service.database.transaction() as session:
        return session.scalar(select(func.count()).where(~Tally.settled)) or 0


@pytest.mark.slow
def test_totals_are_what_the_rows_add_up_to(operated: Service, tmp_path: Path) -> None:
    service = operated
    agree(service)
    jobs = {}
    for owner in (None, "alice", "bob"):
        if owner is not None:
            service.client.headers.update(service.key(owner, "submit"))
        invalid = service.upload()
        service.settle("no image")
        service.client.post("/v1/models", files={"file": ("a.pt", b"weights")}).raise_for_status()
        service.settle()
        for status in Status:
            jobs[owner, status] = service.job(status)
        held = service.bring(service.job(), Status.RUNNING)
        service.publish(held, 1, b"weights", tmp_path)
        service.end(held, Status.SUCCEEDED)
        agree(service)
        assert settle(service) > 0
        agree(service)

        # Rows go, and what goes with them.
        for path in (f"/v1/jobs/{held.id}", f"/v1/datasets/{invalid}", f"/v1/jobs/{jobs[owner, Status.FAILED]}"):
            service.client.delete(path).raise_for_status()
        service.client.post(f"/v1/jobs/{jobs[owner, Status.CANCELLED]}/retry").raise_for_status()
        agree(service)
    with service.database.transaction() as session:  # many at once, and some that only seem to change
        session.execute(update(Dataset).values(preview_size=7, preview_key="k"))
        session.execute(update(Job).values(waits=case((Job.waits, False), else_=True)))
        session.execute(update(JobAttempt).values(outcome=JobAttempt.outcome))
        models = session.scalars(select(Model.id)).all()
        session.add_all(ModelFile(model_id=id_, format="onnx", key=id_, sha256="", size=9) for id_ in models)
    agree(service)
    with service.database.transaction() as session:
        for row in session.scalars(select(Model)):
            session.delete(row)
    agree(service)

    assert settle(service) > 0
    assert (loose(service), settle(service)) == (0, 0)
    agree(service)


def test_what_is_rolled_back_counts_for_nothing(each_service: Service) -> None:
    job_id = each_service.job()
    of_queued = (Tally.what == "job/queued",)
    with each_service.database.engine.connect() as connection, Session(connection) as session:
        session.execute(update(Job).where(Job.id == job_id).values(status=Status.FAILED))
        assert tallies.totals(session, *of_queued) == {}
        session.rollback()
    with each_service.database.transaction() as session:
        assert tallies.totals(session, *of_queued)["job/queued"].number == 1
