"""The two Celery tasks: wake the claim loop. The id in the message is only a hint."""

from celery import Task

from api import log_setup
from api.wake_ups import INSPECT, REQUEST, TRAIN
from worker.app import app, place


@app.task(name=f"worker.ring_{TRAIN}", bind=True)  # type: ignore[untyped-decorator]
def ring_train(self: Task, job_id: str) -> None:
    """Wake the claim loop: a job can start."""
    _ring(self, job_id)


@app.task(name=f"worker.ring_{INSPECT}", bind=True)  # type: ignore[untyped-decorator]
def ring_inspect(self: Task, upload_id: str) -> None:
    """Wake the claim loop: there is an upload to check or a dataset to copy."""
    _ring(self, upload_id)


def _ring(task: Task, row_id: str) -> None:
    with log_setup.about(request_id=task.request.get(REQUEST)):
        place.wakeups.receive(str(row_id)[:100])
