"""What the owner's control does to attempts: where the next one begins, on both databases."""

from collections.abc import Callable

import pytest
from sqlalchemy import update

from api.db import after_seconds
from api.jobs import lifecycle
from api.jobs.control import service as control
from api.jobs.control.transitions import Pause
from api.reaper import Reaper
from api.tables.jobs import Job
from api.tables.states import Status
from tests.worker.conftest import TRAINER, Rows, Running, until
from worker import supervisor
from worker.workplace import Workplace

Start = Callable[[], Running]


def work(place: Workplace, rows: Rows) -> None:
    held = rows.claim()
    assert held is not None
    supervisor.run(place, held, TRAINER)


def do_next(place: Workplace, rows: Rows, job_id: str, **labels: str) -> None:
    """Let the trainer behave from here on as these labels say."""
    with place.database.transaction() as session:
        job = session.get_one(Job, job_id)
        job.spec = {**job.spec, "labels": labels}


@pytest.mark.slow
@pytest.mark.parametrize(("scratch", "note"), [(False, "resumed after 2"), (True, "from scratch")])
def test_a_retry_begins_where_it_was_told_to(place: Workplace, rows: Rows, scratch: bool, note: str) -> None:
    job_id = rows.job(epochs=3, crash="2")
    work(place, rows)
    assert rows.get(job_id).status == Status.FAILED
    with place.database.transaction() as session:
        control.retry(session, job_id, scratch)
    do_next(place, rows, job_id)

    work(place, rows)

    job = rows.get(job_id)
    assert (job.status, job.attempt, job.result["note"]) == (Status.SUCCEEDED, 2, note)
    assert {attempt for attempt, _, name in rows.artifacts(job_id) if name == "student.pt"} >= {2}


@pytest.mark.slow
def test_a_retry_from_scratch_that_is_interrupted_goes_on_from_its_own_checkpoints(
    place: Workplace, rows: Rows
) -> None:
    job_id = rows.job(epochs=4, crash="3")
    work(place, rows)
    with place.database.transaction() as session:
        control.retry(session, job_id, scratch=True)
    do_next(place, rows, job_id, crash="1")
    work(place, rows)
    with place.database.transaction() as session:
        control.retry(session, job_id, scratch=False)
    do_next(place, rows, job_id)

    work(place, rows)

    assert rows.get(job_id).result["note"] == "resumed after 1"  # not after 3, which the first attempt had reached


def test_a_damaged_checkpoint_is_passed_over(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=3, crash="2")
    work(place, rows)
    newest = place.storage.path(f"jobs/{job_id}/attempt-1/epoch-2/state.pt")
    newest.write_bytes(b"torn")
    with place.database.transaction() as session:
        control.retry(session, job_id, scratch=False)
    do_next(place, rows, job_id)

    work(place, rows)

    assert rows.get(job_id).result["note"] == "resumed after 1"


def test_a_job_that_goes_on_from_another_forgets_it_when_it_begins_anew(place: Workplace, rows: Rows) -> None:
    first = rows.job(epochs=3, crash="2")
    work(place, rows)
    second = rows.job(epochs=3, crash="3")
    with place.database.transaction() as session:
        session.get_one(Job, second).continues = first
    work(place, rows)
    assert (1, 2, "state.pt") not in rows.artifacts(second)  # it began after the other's second epoch
    with place.database.transaction() as session:
        control.retry(session, second, scratch=True)
    do_next(place, rows, second)

    work(place, rows)

    assert rows.get(second).result["note"] == "from scratch"


def ask(place: Workplace, job_id: str, how: Pause) -> None:
    with place.database.transaction() as session:
        assert control.pause(session, job_id, how).status == Status.PAUSING


def resumed(place: Workplace, rows: Rows, job_id: str) -> str:
    """Resume a job, let it run to its end, and give what its trainer noted."""
    with place.database.transaction() as session:
        control.resume(session, job_id)
    work(place, rows)
    job = rows.get(job_id)
    assert (job.status, job.attempt, job.lost_workers) == (Status.SUCCEEDED, 2, 0)
    return str(job.result["note"])


@pytest.mark.slow
def test_a_pause_keeps_the_epoch(place: Workplace, rows: Rows, start: Start) -> None:
    job_id = rows.job(epochs=9, seconds="0.6")
    running = start()
    asked_in = until(lambda: (rows.get(job_id).progress or {}).get("epoch"))

    ask(place, job_id, "save")
    running.join()

    job = rows.get(job_id)
    assert (job.status, job.lease_until, job.reason, job.finished_at) == (Status.PAUSED, None, None, None)
    kept = max(epoch for _, epoch, _ in rows.artifacts(job_id))
    assert kept >= asked_in
    do_next(place, rows, job_id)
    assert resumed(place, rows, job_id) == f"resumed after {kept}"


@pytest.mark.slow
def test_a_pause_now_loses_the_epoch(place: Workplace, rows: Rows, start: Start) -> None:
    job_id = rows.job(epochs=9, seconds="1.5")
    running = start()
    until(lambda: rows.artifacts(job_id))

    ask(place, job_id, "latest")
    running.join()

    assert rows.get(job_id).status == Status.PAUSED
    kept = max(epoch for _, epoch, _ in rows.artifacts(job_id))
    assert rows.get(job_id).progress["epoch"] == kept + 1  # and that one is lost
    do_next(place, rows, job_id)
    assert resumed(place, rows, job_id) == f"resumed after {kept}"


def test_a_pause_before_the_first_checkpoint_begins_anew(place: Workplace, rows: Rows, start: Start) -> None:
    job_id = rows.job(epochs=2, seconds="5")
    running = start()
    until(lambda: rows.get(job_id).status == Status.RUNNING)

    ask(place, job_id, "latest")
    running.join()

    do_next(place, rows, job_id)
    assert resumed(place, rows, job_id) == "from scratch"


def test_an_epoch_that_takes_too_long_is_given_up_on_request(place: Workplace, rows: Rows, start: Start) -> None:
    job_id = rows.job(epochs=4, seconds="60")
    running = start()
    until(lambda: rows.get(job_id).status == Status.RUNNING)

    ask(place, job_id, "save")
    ask(place, job_id, "latest")
    running.join()

    assert rows.get(job_id).status == Status.PAUSED


def test_a_cancel_outruns_a_pause(place: Workplace, rows: Rows, start: Start) -> None:
    job_id = rows.job(epochs=4, seconds="60")
    running = start()
    until(lambda: rows.get(job_id).status == Status.RUNNING)
    ask(place, job_id, "save")

    with place.database.transaction() as session:
        lifecycle.request_cancel(session, job_id)
    running.join()

    assert (rows.get(job_id).status, rows.get(job_id).reason) == (Status.CANCELLED, "user_cancelled")


def test_a_drained_worker_leaves_a_pausing_job_paused(place: Workplace, rows: Rows, start: Start) -> None:
    job_id = rows.job(epochs=4, seconds="60")
    running = start()
    until(lambda: rows.get(job_id).status == Status.RUNNING)
    ask(place, job_id, "save")

    place.draining.set()
    running.join()

    assert rows.get(job_id).status == Status.PAUSED


def test_a_deadline_that_passes_ends_a_running_job_and_keeps_its_checkpoints(
    place: Workplace, rows: Rows, start: Start
) -> None:
    job_id = rows.job(epochs=90, seconds="0.5")
    running = start()
    until(lambda: rows.artifacts(job_id))

    with place.database.transaction() as session:
        session.execute(update(Job).values(deadline=after_seconds(0.2)))
    running.join()

    job = rows.get(job_id)
    assert (job.status, job.reason) == (Status.FAILED, "deadline_exceeded")
    assert "deadline" in job.message
    assert rows.artifacts(job_id)


def test_the_reaper_fails_what_waited_too_long(place: Workplace, rows: Rows) -> None:
    job_id = rows.job()
    with place.database.transaction() as session:
        session.execute(update(Job).values(deadline=after_seconds(-1)))
    reaper = Reaper(place.settings)

    reaper.round()

    assert (rows.get(job_id).status, rows.get(job_id).reason) == (Status.FAILED, "deadline_exceeded")
    reaper.database.engine.dispose()
