"""Wake-up messages ("doorbell"): a Celery message contains only a task's name and an id; the row is authoritative.

Its header carries the id of the sending request, for the log.

No caller waits for the broker. A separate thread sends the messages, through a bounded queue, and every call to the
broker has a timeout. A dropped message only causes a short delay, since workers also poll for rows.
"""

import contextvars
import logging
import queue
import threading
from collections import Counter
from functools import partial
from typing import Any

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError

from api import log_setup
from api.call_timeout import Deadline

log = logging.getLogger(__name__)

REQUEST = "rdrkd_request_id"  # header of a message; absent if the reaper or a worker sent it
TRAIN, INSPECT = "train", "inspect"  # queue names; each queue has one task, `worker.ring_<queue>`
MOST_WAITING = 256  # messages waiting for the broker; further ones are dropped
SOCKET_SECONDS = 2.0  # for the broker to accept a connection, to answer a command, or to release its lock
ANSWER_SECONDS = 1.5  # longest wait for the broker's state; shorter than the timeout of a /readyz probe
Ring = tuple[contextvars.Context, str, str]  # trace and log context, queue, id


def transport_options(broker_url: str) -> dict[str, Any]:
    """Return kombu's options that put a time limit on every call to this broker."""
    if broker_url.startswith("redis"):
        timeouts = {"socket_timeout": SOCKET_SECONDS, "socket_connect_timeout": SOCKET_SECONDS}
        return timeouts | {"visibility_timeout": 86_400, "socket_keepalive": True, "health_check_interval": 5}
    if broker_url.startswith("sqla+sqlite"):
        return {"connect_args": {"timeout": SOCKET_SECONDS}}
    return {}


class Doorbell:
    """Send wake-up messages for committed rows."""

    def __init__(self, broker_url: str) -> None:
        self._celery = Celery("rdrkd", broker=broker_url)
        self._celery.conf.update(
            task_ignore_result=True,
            task_serializer="json",
            accept_content=["json"],
            broker_connection_timeout=SOCKET_SECONDS,
            broker_transport_options=transport_options(broker_url) | {"max_retries": 1, "interval_start": 0},
        )
        self._rings: queue.Queue[Ring] = queue.Queue(MOST_WAITING)
        self._on_the_way: Counter[str] = Counter()  # messages by queue that the broker does not have yet
        self._ringing: threading.Thread | None = None
        self._lock = threading.Lock()
        self._reachable = Deadline(self._answers, ANSWER_SECONDS)
        self._counts = {name: Deadline(partial(self._count, name), ANSWER_SECONDS) for name in (TRAIN, INSPECT)}

    def ring(self, queue_name: str, row_id: str) -> bool:
        """Enqueue a message for the sending thread; return False if too many are waiting and it is dropped."""
        with self._lock:
            if self._ringing is None:
                self._ringing = threading.Thread(target=self._send_all, name="doorbell", daemon=True)
                self._ringing.start()
            try:
                self._rings.put_nowait((contextvars.copy_context(), queue_name, row_id))
            except queue.Full:
                log.warning("the broker is slow; dropping the wake-up message for %s", row_id)
                return False
            self._on_the_way[queue_name] += 1
        return True

    def send(self, queue_name: str, row_id: str) -> bool:
        """Send a message now and wait for the broker; return False if it does not respond in time."""
        try:
            task, headers = f"worker.ring_{queue_name}", {REQUEST: log_setup.current_request()}
            self._celery.send_task(task, args=[row_id], queue=queue_name, retry=False, headers=headers)
        except (OperationalError, OSError) as error:
            log.warning("the broker rejected the wake-up message for %s: %s", row_id, error)
            return False
        return True

    def pending(self, queue_name: str) -> int:
        """Count the messages that no worker has received yet, including those that are waiting for the broker.

        A broker that does not respond in time counts as full, so that no more are sent.
        """
        count = self._counts[queue_name]()
        return MOST_WAITING if count is None else count + self._on_the_way[queue_name]

    def reachable(self) -> bool:
        """Return whether the broker responds in time."""
        return self._reachable() or False

    def _send_all(self) -> None:
        while True:
            context, queue_name, row_id = self._rings.get()
            try:
                context.run(self.send, queue_name, row_id)
            except Exception:  # transports raise anything; try the next message
                log.exception("failed to send the wake-up message for %s", row_id)
            finally:
                with self._lock:
                    self._on_the_way[queue_name] -= 1

    def _count(self, queue_name: str) -> int:
        try:
            with self._celery.connection_for_write() as connection:
                return int(connection.default_channel.queue_declare(queue_name, passive=True).message_count)
        except (ChannelError, OperationalError, OSError):  # ChannelError: the queue does not exist yet
            return 0

    def _answers(self) -> bool:
        try:
            with self._celery.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=SOCKET_SECONDS)
                connection.default_channel.queue_declare(TRAIN)  # a database as broker connects no earlier
        except Exception:  # transports raise anything; all of it means no response
            log.warning("the broker does not respond", exc_info=True)
            return False
        return True
