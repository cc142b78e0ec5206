"""One transaction per request; wake-up messages are sent after its commit, and no response waits for the broker."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from api import ownership
from api.access.quotas import NONE, Quotas, bind
from api.caller import Caller
from api.db import Database
from api.wake_ups import Doorbell

log = logging.getLogger(__name__)


def act_for(session: Session, caller: Caller, quotas: Quotas, with_shared: bool = False) -> None:
    """Bind a session to its caller and the quotas; `with_shared`: it also reads what other owners share."""
    ownership.bind(session, caller, with_shared)
    bind(session, quotas)


class UnitOfWork:
    """A session, with callbacks for its commit and its rollback."""

    def __init__(self, session: Session, database: Database) -> None:
        self.session, self.database = session, database
        self._rings: list[tuple[str, str]] = []
        self._then: list[Callable[[], None]] = []
        self._undo: list[Callable[[], None]] = []

    def ring(self, queue: str, row_id: str) -> None:
        """Send a wake-up message for the row on `queue` after the commit."""
        self._rings.append((queue, row_id))

    def then(self, action: Callable[[], None]) -> None:
        """Run this after the commit; if it fails, the reaper does it later."""
        self._then.append(action)

    def undo(self, action: Callable[[], None]) -> None:
        """Run this if the transaction is rolled back.

        Not if the response to its COMMIT is lost: the rows may exist. Then the reaper checks the rows, and removes
        or keeps the leftovers.
        """
        self._undo.append(action)

    @classmethod
    @contextmanager
    def of(
        cls,
        database: Database,
        doorbell: Doorbell,
        caller: Caller,
        quotas: Quotas = NONE,
        write: bool = True,
        with_shared: bool = False,
    ) -> Iterator["UnitOfWork"]:
        """Act for a caller within quotas: commit at the end and send wake-ups; on any error roll back and undo.

        Without `write` the session only reads (`Database.reading`). `with_shared`: it also finds what others share.
        """
        work: UnitOfWork | None = None
        is_decided = True  # whether an exception means that nothing was committed
        try:
            with database.transaction(write) if write else database.reading() as session:
                act_for(session, caller, quotas, with_shared)
                work = cls(session, database)
                yield work
                session.flush()
                is_decided = False
        except BaseException:
            for action in work._undo if work and is_decided else ():
                action()
            raise
        for queue, row_id in work._rings:
            try:
                doorbell.ring(queue, row_id)
            except Exception:  # the row is committed; if the broker fails, the reaper sends another message
                log.exception("failed to send the wake-up message for %s", row_id)
        for action in work._then:
            try:
                action()
            except Exception:  # likewise
                log.exception("a callback after the commit failed")
