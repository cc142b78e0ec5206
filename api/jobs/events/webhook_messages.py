"""Webhook messages, written in the transaction in which a job ends, whichever process ends it.

Each transition of a job calls `api.jobs.events.service.moved`, which records the ends here. Just before the commit they
become messages to the webhooks that exist at that moment. So an end and its messages are committed together, and a
retry or a deletion right after the end does not withdraw a message.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, event, func, or_, select
from sqlalchemy.orm import Session

from api.db import new_id
from api.ownership import EVERYBODYS
from api.tables.jobs import COMPARE, WITH_WEIGHTS, Job
from api.tables.states import TERMINAL, Status
from api.tables.studies import Study, StudyMember
from api.tables.webhooks import Delivery, Webhook

AT_ONCE = 500  # ids per statement


class Event(StrEnum):
    """The events that a webhook can receive."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    STUDY_FINISHED = "study.finished"


TEST = "webhook.test"  # on request only


@dataclass(frozen=True)
class Ended:
    """The end of a job, copied at that moment: the row may change a second later."""

    id: str
    kind: str
    status: Status
    reason: str | None
    owner: str | None
    at: datetime


@dataclass(frozen=True)
class Message:
    """The body of a message: only ids and links; a receiver that needs more queries the service."""

    event: str
    subject: str  # id of its object; messages with the same subject are sent in order
    owner: str | None
    at: datetime
    data: dict[str, Any]

    @property
    def body(self) -> str:
        """The message as JSON, as signed and sent."""
        return json.dumps(
            {"type": self.event, "timestamp": self.at.isoformat(timespec="microseconds"), "data": self.data}
        )


def ended(session: Session, end: Ended) -> None:
    """Record that a job has ended; its messages are written when the transaction commits."""
    session.info.setdefault("ended", []).append(end)


@event.listens_for(Session, "before_commit")
def _write_messages(session: Session) -> None:
    ends: list[Ended] = session.info.pop("ended", [])
    if not ends:
        return
    session.flush()
    of_jobs = [_of_job(end) for end in ends if end.kind != COMPARE]  # reports have no messages of their own
    messages = [*of_jobs, *_of_studies(session, [end.id for end in ends])]
    hooks = _listening(session, {message.owner for message in messages})
    for message in messages:
        _deliver(session, message, (hook for hook, events in hooks[message.owner] if message.event in events))
    session.flush()


def test(session: Session, hook: Webhook, at: datetime) -> Delivery:
    """Queue a test message, without content, for one webhook."""
    data = {"id": hook.id, "object": "webhook", "links": {"self": f"/v1/webhooks/{hook.id}"}}
    [row] = _deliver(session, Message(TEST, hook.id, hook.owner, at, data), [hook.id])
    session.flush()
    return row


def _listening(session: Session, owners: set[str | None]) -> dict[str | None, list[tuple[str, list[str]]]]:
    """Return the enabled webhooks of these owners; none of them can be deleted until this transaction ends."""
    named = [owner for owner in owners if owner is not None]
    mine: ColumnElement[bool] = Webhook.owner.in_(named)
    if None in owners:
        mine = or_(mine, Webhook.owner.is_(None))
    # Locked, because a webhook that is deleted meanwhile would make the job's end fail on PostgreSQL.
    rows = select(Webhook.owner, Webhook.id, Webhook.events).where(mine, Webhook.disabled_at.is_(None))
    found: dict[str | None, list[tuple[str, list[str]]]] = defaultdict(list)
    locked = rows.order_by(Webhook.id).with_for_update(read=True, key_share=True)
    for owner, hook_id, events in session.execute(locked, execution_options=EVERYBODYS):
        found[owner].append((hook_id, events))
    return found


def _deliver(session: Session, message: Message, hooks: Iterable[str]) -> list[Delivery]:
    about = {"owner": message.owner, "event": message.event, "subject": message.subject, "body": message.body}
    rows = [Delivery(id=new_id("msg"), webhook_id=hook, **about) for hook in hooks]
    session.add_all(rows)
    return rows


def _of_job(end: Ended) -> Message:
    base = f"/v1/jobs/{end.id}"
    links = {"self": base, "artifacts": f"{base}/artifacts"}
    if end.kind in WITH_WEIGHTS:
        links["weights"] = f"{base}/weights"
    data = {
        "id": end.id, "object": "job", "kind": end.kind, "status": end.status, "reason": end.reason, "links": links,
    }  # fmt: skip
    return Message(f"job.{end.status}", end.id, end.owner, end.at, data)


def _of_studies(session: Session, jobs: Sequence[str]) -> list[Message]:
    """Return messages of the studies whose last job ends in this transaction."""
    studies: set[str] = set()
    for start in range(0, len(jobs), AT_ONCE):
        some = jobs[start : start + AT_ONCE]
        for of_jobs in (
            select(StudyMember.study_id).where(StudyMember.job_id.in_(some)),
            select(Study.id).where(Study.teacher_job.in_(some)),
        ):
            studies.update(session.scalars(of_jobs, execution_options=EVERYBODYS))
    messages = [_of_study(session, study_id) for study_id in sorted(studies)]
    return [message for message in messages if message is not None]


def _of_study(session: Session, study_id: str) -> Message | None:
    if session.get_bind().dialect.name == "postgresql":
        # Without this lock, two transactions that end the last two jobs would each see the other's job still running.
        # All transactions take it after their row locks and in the order of ids, so that there is no deadlock.
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(study_id, 0))))
    study = select(Study.owner, Study.teacher_job).where(Study.id == study_id)
    owner, teacher = session.execute(study, execution_options=EVERYBODYS).one()
    members = select(StudyMember.job_id).where(StudyMember.study_id == study_id)
    of_study = select(Job.status, Job.finished_at).where(or_(Job.id.in_(members), Job.id == teacher))
    rows = session.execute(of_study, execution_options=EVERYBODYS).all()
    counts = Counter(Status(status) for status, _ in rows)
    if set(counts) - TERMINAL:
        return None
    status = next(status for status in (Status.FAILED, Status.CANCELLED, Status.SUCCEEDED) if counts[status])
    base = f"/v1/studies/{study_id}"
    links = {"self": base, "report": f"{base}/report"}
    data = {"id": study_id, "object": "study", "status": status, "jobs": counts, "links": links}
    at = max(finished_at for _, finished_at in rows if finished_at is not None)
    return Message(Event.STUDY_FINISHED, study_id, owner, at, data)
