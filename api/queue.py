"""The doorbell: a Celery message is a task's name and an id, nothing more. The row is the truth.

Beside them goes the id of the request that rings, for the log.
"""

import logging

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError

from api import journal

log = logging.getLogger(__name__)

REQUEST = "rdrkd_request_id"  # header of a message; none: the reaper or a worker rang
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
            task, headers = f"worker.ring_{queue}", {REQUEST: journal.current_request()}
            self._celery.send_task(task, args=[row_id], queue=queue, retry=False, headers=headers)
        except (OperationalError, OSError) as error:
            log.warning("the broker did not take the ring for %s: %s", row_id, error)
            return False
        return True

    def pending(self, queue: str) -> int:
        """Count the rings on `queue` that no worker has heard yet; 0 when the broker does not answer."""
        try:
            with self._celery.connection_for_write() as connection:
                return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
        except (ChannelError, OperationalError, OSError):  # ChannelError: nobody has ever rung here
            return 0

    def reachable(self) -> bool:
        """Say whether the broker answers."""
        try:
            with self._celery.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=2)
                connection.default_channel.queue_declare(TRAIN)  # a database as broker connects no earlier
        except Exception:  # whatever a transport raises, it is no answer
            log.warning("the broker does not answer", exc_info=True)
            return False
        return True
