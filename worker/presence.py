"""Worker heartbeat: the worker's own row, renewed even while it is idle."""

import logging

from sqlalchemy.exc import DBAPIError

from api.jobs.workers import service
from api.jobs.workers.service import Presence
from rdrkd import __version__
from worker.background import Background
from worker.devices import cpus
from worker.workplace import Workplace

log = logging.getLogger(__name__)


class Beating(Background):
    """As a context manager: keep the worker's row while the block runs, and renew it at every heartbeat.

    Errors of the database do not interrupt the work, since jobs have their own leases.
    """

    def __init__(self, place: Workplace, queue: str) -> None:
        super().__init__("presence")
        self._place = place
        self._presence = Presence(place.name, queue, __version__, cpus(), list(place.devices))

    def end(self) -> None:
        """Ask the thread to remove the worker's row and to end."""
        super().end()
        self._place.condition.changed.set()

    def _run(self) -> None:
        move = service.join
        while not self.ended.is_set():
            try:
                with self._place.database.transaction() as session:
                    self._presence.complaint = self._place.condition.complaint
                    move(session, self._presence, self._place.settings.lease_seconds)
                move = service.beat
            except DBAPIError as failed:
                log.warning("cannot send a heartbeat: %s", failed.orig)
            self._place.condition.changed.wait(self._place.settings.heartbeat_seconds)
            self._place.condition.changed.clear()
        try:
            with self._place.database.transaction() as session:
                service.leave(session, self._place.name)
        except DBAPIError as failed:
            log.warning("cannot remove this worker from the list: %s", failed.orig)
