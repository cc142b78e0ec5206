"""The doorbell: a Celery message is a task's name and an id, nothing more. The row is the truth."""

import logging

from celery import Celery
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)

TRAIN, INSPECT = "train", "inspect"  # queue names; each queue has one task, `worker.ring_<queue>`


class Doorbell:
    """Rings for rows that were committed."""

    def __init__(self, broker_url: str) -> None:
        self._celery = Celery("rdrkd", broker=broker_url)
        self._celery.conf.update(
            task_ignore_result=True,
            task_serializer="json",
            accept_content=["json"],
            broker_connection_timeout=2,
            broker_transport_options={"visibility_timeout": 86_400} if broker_url.startswith("redis") else {},
        )

    def ring(self, queue: str, row_id: str) -> bool:
        """Say on `queue` that there is work; False when the broker does not answer (the reaper rings again)."""
        try:
            self._celery.send_task(f"worker.ring_{queue}", args=[row_id], queue=queue, retry=False)
        except (OperationalError, OSError) as error:
            log.warning("the broker did not take the ring for %s: %s", row_id, error)
            return False
        return True
