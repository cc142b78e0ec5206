"""The Celery application of a worker: `celery -A worker.app worker -P threads -c 1 -Q train`.

Celery is a doorbell. What it is good at is used: waiting for a message, one at a time. What it does badly with work
that takes hours (redelivery, revoking, results, liveness) is left to the lease.
"""

from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_shutting_down

from api.settings import Settings
from worker.workplace import Workplace

settings = Settings()
place = Workplace.open(settings)

app = Celery("worker", broker=settings.broker_url, include=["worker.tasks"])
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,  # and no result backend: results are rows
    task_acks_late=True,  # with a prefetch of 1: no message is parked behind a running job
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,  # cancel and liveness go through the database
    worker_cancel_long_running_tasks_on_connection_loss=False,  # the lease decides
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # a broker that is away for a night is no reason to end
)
if settings.broker_url.startswith("redis"):
    app.conf.broker_transport_options = {
        "visibility_timeout": 86_400,
        "socket_keepalive": True,
        "health_check_interval": 25,
    }


@setup_logging.connect  # type: ignore[untyped-decorator]
def keep_the_journal(**_signal: Any) -> None:
    """Have Celery leave logging alone, as it does once anything listens here: `worker.__main__` has set it up."""


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def drain(**_signal: Any) -> None:
    """On SIGTERM: the running trainer is asked to stop and its job goes back to the queue."""
    place.draining.set()
