"""The conditional moves, on both databases."""

import threading
import time
from typing import Any

import pytest
from sqlalchemy import update

from api.db import after_seconds, new_id, now
from api.jobs import expiry, lifecycle
from api.jobs.checkpoint_retention import Retention
from api.jobs.claims import Held
from api.jobs.lifecycle import Ending, Published
from api.tables import job_inputs
from api.tables.datasets import Dataset
from api.tables.jobs import Artifact, Job, JobEpoch, JobWarning
from api.tables.leases import Fenced, Wish
from api.tables.models import Model
from api.tables.states import Status
from api.tables.uploads import UploadStatus
from rdrkd.events import Epoch, Progress
from rdrkd.reasons import Reason
from tests.worker.conftest import Rows
from worker import checkpoint_transfer
from worker.workplace import Workplace


def claimed(rows: Rows) -> Held:
    held = rows.claim()
    assert held is not None
    return held


def move(place: Workplace, function: Any, *arguments: Any) -> Any:
    with place.database.transaction() as session:
        return function(session, *arguments)


def lose(place: Workplace) -> None:
    """Let every lease run out."""
    with place.database.transaction() as session:
        session.execute(update(Job).values(lease_until=after_seconds(-1)))


def test_highest_priority_first_then_the_oldest(rows: Rows) -> None:
    jobs = [rows.job(priority=priority) for priority in (0, 5, 5, -1)]
    order = [claimed(rows).id for _ in jobs]
    assert order == [jobs[1], jobs[2], jobs[0], jobs[3]]
    assert rows.claim() is None


def test_each_job_is_claimed_once_by_workers_at_the_same_time(place: Workplace, rows: Rows) -> None:
    jobs = [rows.job() for _ in range(12)]
    claims: list[str] = []

    def worker() -> None:
        while held := rows.claim():
            claims.append(held.id)

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # With SKIP LOCKED a worker may leave early while another holds the last row; nobody gets a row twice.
    assert len(claims) == len(set(claims))
    assert sorted(claims) == sorted(jobs)


def test_a_claim_waits_for_uploads_and_jobs(place: Workplace, rows: Rows) -> None:
    dataset = rows.upload(b"d", UploadStatus.CHECKING)
    model = rows.upload(b"m", UploadStatus.CHECKING, Model)
    teacher = rows.job(priority=-10)
    student = rows.job(
        spec={"kind": "distill", "dataset": dataset, "teacher": {"job": teacher}, "student": {"model": model}}
    )
    with place.database.transaction() as session:
        assert job_inputs.waiting_for(session, dataset) == [student]
    held = claimed(rows)
    assert held.id == teacher  # the other one has the higher priority, and waits
    assert rows.claim() is None
    with place.database.transaction() as session:
        session.execute(update(Dataset).values(status=UploadStatus.READY))
        session.execute(update(Model).values(status=UploadStatus.READY))
    assert rows.claim() is None
    move(place, lifecycle.publish, held, [Published(1, "student.pt", "jobs/x", "0" * 64, 3)])
    assert rows.claim() is None  # weights are there, but not the last
    move(place, lifecycle.finish, held, Ending(Status.SUCCEEDED))
    assert claimed(rows).id == student


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("dataset", Reason.DATASET_INVALID),
        ("model", Reason.MODEL_INVALID),
        ("job", Reason.DEPENDENCY_FAILED),
        ("gone", Reason.DEPENDENCY_FAILED),
        ("empty", Reason.DEPENDENCY_FAILED),
    ],
)
def test_a_job_whose_dependency_fails_fails_and_names_it(
    place: Workplace, rows: Rows, broken: str, reason: Reason
) -> None:
    match broken:
        case "dataset":
            culprit = rows.upload(b"d", UploadStatus.INVALID)
            spec = {"dataset": culprit}
        case "model":
            culprit = rows.upload(b"m", UploadStatus.INVALID, Model)
            spec = {"model": {"model": culprit}}
        case "job":
            culprit = rows.job()
            move(place, lifecycle.request_cancel, culprit)
            spec = {"model": {"job": culprit}}
        case "gone":
            culprit = new_id("mdl")
            spec = {"model": {"model": culprit}}
        case "empty":
            culprit = rows.job()
            move(place, lifecycle.finish, claimed(rows), Ending(Status.SUCCEEDED))
            spec = {"model": {"job": culprit}}
    first = rows.job(spec=spec)
    second = rows.job(spec={"model": {"job": first}})  # waits for the one that fails
    unconcerned = rows.job()
    assert sorted(move(place, expiry.fail_blocked)) == sorted([first, second])
    job = rows.get(first)
    assert (job.status, job.reason) == (Status.FAILED, reason)
    assert culprit in job.message
    assert rows.get(second).reason == Reason.DEPENDENCY_FAILED
    assert claimed(rows).id == unconcerned


def test_every_write_of_a_fenced_attempt_is_refused(place: Workplace, rows: Rows) -> None:
    rows.job()
    late = claimed(rows)
    lose(place)
    assert move(place, expiry.expire, 5) == [late.id]
    for again in (False, True):  # queued, then held by another
        if again:
            assert claimed(rows).attempt == 2
        epoch = Epoch(epoch=1, epochs=2, losses={}, lr=0.1, seconds=1)
        for function, arguments in [
            (lifecycle.renew, (60,)),
            (lifecycle.renew, (None,)),
            (lifecycle.record_running, ()),
            (lifecycle.record_resolved, ({},)),
            (lifecycle.record_epoch, (epoch,)),
            (lifecycle.record_warning, ("code", "message")),
            (lifecycle.publish, ([Published(1, "state.pt", "jobs/x", "0" * 64, 3)],)),
            (lifecycle.prune, (Retention(last=1),)),
            (lifecycle.finish, (Ending(Status.SUCCEEDED),)),
            (lifecycle.requeue, ()),
            (lifecycle.abandon, ()),
        ]:
            with pytest.raises(Fenced):
                move(place, function, late, *arguments)
    with place.database.transaction() as session:
        assert session.query(Artifact).count() == 0
        assert session.query(JobEpoch).count() == 0
        assert session.query(JobWarning).count() == 0
    assert rows.get(late.id).status == Status.STARTING


def test_checkpoints_of_an_attempt_that_had_to_start_anew_are_the_newest(place: Workplace, rows: Rows) -> None:
    job_id = rows.job()
    first = claimed(rows)
    for epoch in (9, 10):
        move(place, lifecycle.publish, first, [Published(epoch, "state.pt", f"jobs/1-{epoch}", "0" * 64, 3)])
    lose(place)
    assert move(place, expiry.expire, 5) == [job_id]
    second = claimed(rows)
    move(place, lifecycle.publish, second, [Published(1, "state.pt", "jobs/2-1", "0" * 64, 3)])
    assert move(place, lifecycle.prune, second, Retention(last=2)) == ["jobs/1-9"]
    with place.database.transaction() as session:
        kept = [(files[0].attempt, files[0].epoch) for files in checkpoint_transfer.all_of(session, job_id)]
    assert kept == [(2, 1), (1, 10)]


def test_a_terminal_job_never_changes(place: Workplace, rows: Rows) -> None:
    job_id = rows.job()
    held = claimed(rows)
    move(place, lifecycle.finish, held, Ending(Status.SUCCEEDED, result={"a": 1}))
    version = rows.get(job_id).version
    with pytest.raises(Fenced):
        move(place, lifecycle.finish, held, Ending(Status.FAILED, Reason.INTERNAL))
    assert move(place, lifecycle.request_cancel, job_id) == Status.SUCCEEDED
    lose(place)
    assert move(place, expiry.expire, 5) == []
    assert (rows.get(job_id).status, rows.get(job_id).version) == (Status.SUCCEEDED, version)


def test_renewing_moves_the_lease_by_the_servers_clock_and_reads_the_owners_wish(place: Workplace, rows: Rows) -> None:
    job_id = rows.job()
    held = claimed(rows)
    before = rows.get(job_id)
    assert move(place, lifecycle.renew, held, 100.5) is None
    after = rows.get(job_id)
    assert 98 < (after.lease_until - before.lease_until).total_seconds() < 110
    assert after.version == before.version  # a renewal is no news
    progress = Progress(phase="training", completed=3, total=9, epoch=1, epochs=2)
    move(place, lifecycle.renew, held, None, progress)
    assert rows.get(job_id).progress["completed"] == 3
    assert rows.get(job_id).phase == "training"
    assert rows.get(job_id).version == before.version + 1
    assert move(place, lifecycle.request_cancel, job_id) == Status.CANCELLING
    assert move(place, lifecycle.renew, held, 60) is Wish.CANCEL
    assert move(place, lifecycle.renew, held, None) is Wish.CANCEL


def test_cancel(place: Workplace, rows: Rows) -> None:
    job_id = rows.job()
    assert move(place, lifecycle.request_cancel, job_id) == Status.CANCELLED
    assert move(place, lifecycle.request_cancel, job_id) == Status.CANCELLED
    assert rows.get(job_id).reason == Reason.USER_CANCELLED
    assert rows.get(job_id).finished_at is not None
    assert rows.claim() is None
    assert move(place, lifecycle.request_cancel, new_id("job")) is None


def test_a_cancelling_job_whose_worker_is_lost_or_drained_is_cancelled(place: Workplace, rows: Rows) -> None:
    lost, drained = rows.job(), rows.job()
    first, second = claimed(rows), claimed(rows)
    for job_id in (lost, drained):
        move(place, lifecycle.request_cancel, job_id)
    assert move(place, lifecycle.requeue, second) == Status.CANCELLED
    lose(place)
    assert move(place, expiry.expire, 5) == []
    assert first.id == lost
    for job_id in (lost, drained):
        assert (rows.get(job_id).status, rows.get(job_id).reason) == (Status.CANCELLED, Reason.USER_CANCELLED)


def test_a_job_that_kills_its_workers_ends(place: Workplace, rows: Rows) -> None:
    job_id = rows.job()
    for lost in (1, 2):
        claimed(rows)
        lose(place)
        assert move(place, expiry.expire, 2) == [job_id]
        assert rows.get(job_id).lost_workers == lost
    claimed(rows)
    lose(place)
    assert move(place, expiry.expire, 2) == []
    job = rows.get(job_id)
    assert (job.status, job.reason, job.attempt) == (Status.FAILED, Reason.WORKER_LOST, 3)
    assert job.finished_at is not None


def test_a_lease_that_holds_is_left_alone(place: Workplace, rows: Rows) -> None:
    rows.job()
    held = claimed(rows)
    assert move(place, expiry.expire, 5) == []
    assert rows.get(held.id).status == Status.STARTING


def test_bells_are_due_for_rows_that_can_start_and_were_not_heard(place: Workplace, rows: Rows) -> None:
    job_id = rows.job()
    rows.job(spec={"dataset": rows.upload(b"x", UploadStatus.CHECKING)})  # cannot start
    assert move(place, expiry.due_bells, 60) == []
    time.sleep(0.05)
    assert move(place, expiry.due_bells, 0.01) == [job_id]
    move(place, expiry.mark_rung, job_id)
    assert move(place, expiry.due_bells, 60) == []
    with place.database.transaction() as session:
        session.execute(update(Job).values(rung_at=now(), lease_until=None))
    claimed(rows)
    time.sleep(0.05)
    assert move(place, expiry.due_bells, 0.01) == []


def test_publishing_twice_is_publishing_once(place: Workplace, rows: Rows) -> None:
    job_id = rows.job()
    held = claimed(rows)
    for _ in range(2):  # as after a commit whose answer was lost
        assert move(place, lifecycle.publish, held, [Published(1, "state.pt", "jobs/x", "0" * 64, 3)]) == []
    assert rows.artifacts(job_id) == [(1, 1, "state.pt")]


def test_publishing_names_the_files_that_it_replaces(place: Workplace, rows: Rows) -> None:
    job_id = rows.job()
    held = claimed(rows)
    move(place, lifecycle.publish, held, [Published(e, "student.pt", f"jobs/{e}", "0" * 64, 3) for e in (1, 2)])
    assert move(place, lifecycle.publish, held, [Published(2, "student.pt", "jobs/new", "1" * 64, 3)]) == ["jobs/2"]
    assert rows.artifacts(job_id) == [(1, 1, "student.pt"), (1, 2, "student.pt")]
