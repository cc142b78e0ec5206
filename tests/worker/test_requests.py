"""Whoever works on a job says for which request, however long ago that was and whoever rang."""

import json
from pathlib import Path

import pytest
from sqlalchemy import update

from api.tables.jobs import Job
from api.tables.states import TERMINAL
from tests.worker.conftest import Rows, until
from tests.worker.processes import workers_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.slow
def test_worker_and_trainer_carry_the_request_that_submitted_the_job(rows: Rows, tmp_path: Path) -> None:
    traceparent = f"00-{TRACE}-{PARENT}-01"
    mine, nobodys = rows.job(epochs=1, environment="yes"), rows.job(epochs=1, environment="yes")
    with rows.place.database.transaction() as session:
        session.execute(update(Job).where(Job.id == mine).values(request_id="mine", traceparent=traceparent))

    with workers_of(rows, tmp_path) as workers:
        workers.start(RDRKD_LOG_FORMAT="json")
        until(lambda: all(rows.get(id_).status in TERMINAL for id_ in (mine, nobodys)), 120)

    lines = [json.loads(line) for line in workers.said().splitlines() if line.startswith("{")]
    about = [line for line in lines if line.get("job_id") == mine]
    assert about
    assert {(line["request_id"], line["trace_id"]) for line in about} == {("mine", TRACE)}
    assert not [
        line for line in lines if line.get("job_id") == nobodys and ("request_id" in line or "trace_id" in line)
    ]
    environment = rows.get(mine).resolved_spec["environment"]
    assert (environment["RDRKD_REQUEST_ID"], environment["TRACEPARENT"]) == ("mine", traceparent)
    assert not {"RDRKD_REQUEST_ID", "TRACEPARENT"} & set(rows.get(nobodys).resolved_spec["environment"])
