"""The Celery application of a worker, which is a doorbell and nothing more.

A message is taken off the queue for good as soon as it is read (`no_ack`) and only wakes the worker's own thread
(`worker.slot`). So nothing that happens to the broker or to Celery's consumer can keep a worker from claiming rows:
there is no acknowledgement to fail, no prefetched message to hold a slot, and no job to be delivered again.
"""

from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_shutting_down
from kombu.entity import Queue

from api.queue import INSPECT, TRAIN, transport_options
from api.settings import Settings
from worker import transports
from worker.workplace import Workplace

settings = Settings()
place = Workplace.open(settings)

transports.use()
app = Celery("worker", broker=settings.broker_url, include=["worker.tasks"])
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,  # and no result backend: results are rows
    task_queues=[Queue(name, no_ack=True) for name in (TRAIN, INSPECT)],  # type: ignore[no-untyped-call]
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,  # cancel and liveness go through the database
    # Cancels nothing, since no task here is acknowledged late; without it Celery warns of tasks that cannot be.
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # a broker that is away for a night is no reason to end
    broker_transport_options=transport_options(settings.broker_url),
)


@setup_logging.connect  # type: ignore[untyped-decorator]
def keep_the_journal(**_signal: Any) -> None:
    """Keep Celery from configuring logging, which `worker.__main__` has set up."""


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def drain(**_signal: Any) -> None:
    """On SIGTERM: the running trainer is asked to stop and its job goes back to the queue."""
    place.draining.set()
    place.bell.wake()
