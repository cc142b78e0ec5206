"""Repair times that are too far in the future because the clock was set back.

Leases and retries of messages are set by the database server's clock. If it was an hour ahead for a while, the lease
of a worker lost in that time would last an hour longer, and so would the delay of a message.
"""

from sqlalchemy import Float, case, cast, update
from sqlalchemy.orm import Session

from api.access import idempotency
from api.db import after_seconds, moment, now
from api.jobs.upload_checks import UPLOADS
from api.tables.idempotency import IdempotencyKey
from api.tables.jobs import Job
from api.tables.ledger import Reservation
from api.tables.webhooks import Delivery, DeliveryStatus
from api.webhooks import delivery_rows

SLACK = 2  # times the longest regular lease or delay, since no clock is exact


def pull_back(session: Session, lease_seconds: float, retry_seconds: float) -> int:
    """Shorten leases and delays that end too late to the longest regular ones; return how many.

    A live holder of such a lease renews it as usual. Several reapers at once do no harm.
    """
    bounds = [(table.lease_until, lease_seconds) for table in (Job, *UPLOADS, Reservation)]
    bounds.append((Delivery.lease_until, delivery_rows.LEASE_SECONDS))
    bounds.append((IdempotencyKey.claimed_until, idempotency.CLAIM_SECONDS))
    found = 0
    for column, longest in bounds:
        late = column > moment(after_seconds(SLACK * longest))
        values = {column.key: after_seconds(longest)}
        found += _count(session, update(column.class_).where(late).values(values))
    pauses = {n: SLACK * delivery_rows.longest_pause(n, retry_seconds) for n in range(1, delivery_rows.MOST_ATTEMPTS)}
    latest = after_seconds(cast(case(pauses, value=Delivery.attempts, else_=SLACK * lease_seconds), Float))
    late_messages = update(Delivery).where(Delivery.status == DeliveryStatus.WAITING, Delivery.next_attempt_at > latest)
    return found + _count(session, late_messages.values(next_attempt_at=now()))


def _count(session: Session, statement: object) -> int:
    result = session.execute(statement, execution_options={"synchronize_session": False})  # type: ignore[call-overload]
    return int(result.rowcount)
