"""The Celery application of a worker, which only receives wake-up messages.

A message is removed from the queue as soon as it is read (`no_ack`), and only wakes the thread that claims rows
(`worker.claim_loop`). No failure of the broker or of Celery's consumer can therefore keep a worker from claiming rows:
there is no acknowledgement to fail, no prefetched message to block the consumer, and no job to be redelivered.
"""

from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_shutting_down
from kombu.entity import Queue

from api.settings import Settings
from api.wake_ups import INSPECT, TRAIN, transport_options
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
    # Cancels nothing, since no task is acknowledged late; without it, Celery warns about tasks that cannot exist here.
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # an outage of the broker must not end the worker
    broker_transport_options=transport_options(settings.broker_url),
)


@setup_logging.connect  # type: ignore[untyped-decorator]
def keep_the_journal(**_signal: Any) -> None:
    """Keep Celery from configuring logging, which `worker.__main__` has set up."""


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def drain(**_signal: Any) -> None:
    """On SIGTERM, ask the running trainer to stop, so that its job returns to the queue."""
    place.draining.set()
    place.wakeups.wake()
