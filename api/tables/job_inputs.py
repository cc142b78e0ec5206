"""What a job waits for: its dataset, its models and the jobs whose weights it uses."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, null, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.util import AliasedClass

from api.db import now
from api.ownership import EVERYBODYS
from api.tables.datasets import Dataset
from api.tables.jobs import QUEUED, Artifact, Job, JobDependency
from api.tables.models import Model
from api.tables.states import HELD, TERMINAL, Status
from api.tables.uploads import UploadStatus
from rdrkd.reasons import Reason

WEIGHTS = "student.pt"  # the file that a job provides to dependent jobs
STATE = "state.pt"  # for resuming in another attempt only
NEWEST_FIRST = (Artifact.attempt.desc(), Artifact.epoch.desc(), Artifact.id.desc())  # of files of one name
_FIELDS = ("teacher", "student", "model")  # the spec's model references

_TABLES: dict[str, type[Dataset] | type[Model] | type[Job]] = {"ds_": Dataset, "mdl_": Model, "job_": Job}

Lock = Literal["delete", "change"]  # what the lock prevents
Blocked = tuple[Reason, str]  # why a job will never start, and a message that names the cause


@dataclass(frozen=True)
class State:
    """The state of a dataset, model or job that a job refers to."""

    status: str
    problems: Sequence[dict[str, Any]] = ()
    weights: bool = True  # whether a successful job provides weights
    filename: str | None = None  # of an upload

    @property
    def usable(self) -> bool:
        """Whether a dependent job can use it; once usable, it stays so."""
        return self.status == UploadStatus.READY or (self.status == Status.SUCCEEDED and self.weights)


def claimable(job: type[Job] | AliasedClass[Job]) -> ColumnElement[bool]:
    """Return the SQL condition that `job` waits only for a worker; must match the partial indexes' text."""
    return and_(job.status == QUEUED, ~job.waits)


def held(job: type[Job] | AliasedClass[Job]) -> ColumnElement[bool]:
    """Return the SQL condition that a worker holds `job`, by the lease, which has a small index, unlike the status."""
    return and_(job.lease_until.is_not(None), job.status.in_(HELD))


def in_turn(job: type[Job] | AliasedClass[Job]) -> tuple[Any, ...]:
    """Return the order in which workers take jobs: highest priority first, then the oldest."""
    return job.priority.desc(), job.queued_at, job.id


def overdue(job: type[Job] | AliasedClass[Job]) -> ColumnElement[bool]:
    """Return the SQL condition that the job's deadline has passed, by the server's clock."""
    return and_(job.deadline.is_not(None), job.deadline < now())


def references(spec: dict[str, Any]) -> dict[str, str]:
    """Return the ids that a job's spec refers to, by field.

    >>> references({"dataset": "ds_1", "teacher": {"job": "job_1"}, "student": {"architecture": "yolov8n"}})
    {'dataset': 'ds_1', 'teacher': 'job_1'}
    """
    found = {"dataset": str(spec["dataset"])}
    for field in _FIELDS:
        reference: dict[str, str] = spec.get(field) or {}
        if (id_ := reference.get("model") or reference.get("job")) is not None:
            found[field] = id_
    return found


def look_up(session: Session, ids: Iterable[str], lock: Lock | None = None) -> dict[str, State]:
    """Read the states of datasets, models and jobs, regardless of owner; deleted ones are missing.

    Args:
        session: the caller's transaction.
        ids: the ids to read.
        lock: keep others from deleting them, or from changing them at all, until the transaction ends. PostgreSQL only;
            on SQLite the transaction that has written is the only one that can write.
    """
    wanted, found = sorted(set(ids)), dict[str, State]()
    for prefix, table in _TABLES.items():
        if not (own := [id_ for id_ in wanted if id_.startswith(prefix)]):
            continue
        filename = null() if issubclass(table, Job) else table.filename
        query = select(table.id, table.status, table.problems, filename).where(table.id.in_(own)).order_by(table.id)
        if lock is not None:
            query = query.with_for_update(read=True, key_share=lock == "delete")
        found |= {
            id_: State(status, problems, filename=filename)
            for id_, status, problems, filename in session.execute(query, execution_options=EVERYBODYS)
        }
    succeeded = [id_ for id_, state in found.items() if state.status == Status.SUCCEEDED]
    if succeeded:
        hand_back = select(Artifact.job_id).where(Artifact.job_id.in_(succeeded), Artifact.name == WEIGHTS).distinct()
        without = set(succeeded) - set(session.scalars(hand_back))
        found |= {id_: replace(found[id_], weights=False) for id_ in without}
    return found


def rows_of(session: Session, specs: Iterable[dict[str, Any]]) -> list[Dataset | Model | Job]:
    """Read what specs refer to, regardless of owner, with a query per table.

    While the caller keeps the rows, `session.get` finds them without a query.
    """
    wanted = sorted({id_ for spec in specs for id_ in references(spec).values()})
    found: list[Dataset | Model | Job] = []
    for prefix, table in _TABLES.items():
        if own := [id_ for id_ in wanted if id_.startswith(prefix)]:
            found += session.scalars(select(table).where(table.id.in_(own)), execution_options=EVERYBODYS)
    return found


def is_ready(spec: dict[str, Any], found: Mapping[str, State]) -> bool:
    """Return whether everything that a job refers to can be used now."""
    return all((state := found.get(id_)) is not None and state.usable for id_ in references(spec).values())


def problems_of(spec: dict[str, Any], found: Mapping[str, State]) -> Iterator[tuple[str, Blocked]]:
    """Yield the references because of which a job with this spec can never start, each with the reason."""
    for where, id_ in references(spec).items():
        if (problem := _problem(where, id_, found.get(id_))) is not None:
            yield id_, problem


def blocked(session: Session, spec: dict[str, Any]) -> Blocked | None:
    """Return why a job with this spec can never start, or None while it can."""
    found = look_up(session, references(spec).values())
    return next((problem for _, problem in problems_of(spec, found)), None)


def unreadable(session: Session, spec: dict[str, Any]) -> str | None:
    """Return which of a spec's references the session's caller may not read, such as one that is no longer shared."""
    for where, id_ in references(spec).items():
        table = _TABLES[id_.partition("_")[0] + "_"]
        if session.scalar(select(table.id).where(table.id == id_)) is None:
            return f"{where}: expected one that is yours or shared with you, got {id_}"
    return None


def user_of(session: Session, id_: str, active: bool = False) -> str | None:
    """Return a job that refers to a dataset, model or job, regardless of owner; None if there is none.

    Args:
        session: the caller's transaction.
        id_: id of the dataset, model or job.
        active: ignore jobs that have ended.
    """
    named = select(JobDependency.job_id).where(JobDependency.on_id == id_)
    if active:
        named = named.join(Job, Job.id == JobDependency.job_id).where(Job.status.not_in(TERMINAL))
    return session.scalar(named.limit(1), execution_options=EVERYBODYS)


def _problem(field: str, id_: str, state: State | None) -> Blocked | None:
    if state is None:
        what = "a job" if id_.startswith("job_") else "an upload"
        return Reason.DEPENDENCY_FAILED, f"{field}: expected {what} that exists, but {id_} does not"
    match state.status:
        case UploadStatus.INVALID:
            reason = Reason.DATASET_INVALID if field == "dataset" else Reason.MODEL_INVALID
            details = "; ".join(str(problem.get("detail")) for problem in state.problems[:3])
            return reason, f"{field}: {id_} ({state.filename}) was checked and refused: {details}"
        case Status.FAILED | Status.CANCELLED:
            detail = f"its {field} was to come from {id_}, which ended as {state.status}"
            return Reason.DEPENDENCY_FAILED, detail
        case Status.SUCCEEDED if not state.weights:
            return Reason.DEPENDENCY_FAILED, f"its {field} was to come from {id_}, which hands back no weights"
    return None


def newest_weights(session: Session, job_id: str, name: str = WEIGHTS) -> Artifact | None:
    """Return the newest weights that a job has published: those of its last attempt's last checkpoint."""
    return session.scalars(
        select(Artifact).where(Artifact.job_id == job_id, Artifact.name == name).order_by(*NEWEST_FIRST).limit(1)
    ).one_or_none()


def waiting_for(session: Session, row_id: str, limit: int = 100) -> list[str]:
    """Return queued jobs that refer to a dataset, model or job, to send wake-ups when it becomes ready.

    At most `limit`: a woken worker takes whichever job is next, and sends further wake-ups.
    """
    # Not a join, for which PostgreSQL may read all queued jobs instead of these few.
    status = select(Job.status).where(Job.id == JobDependency.job_id).scalar_subquery()
    named = select(JobDependency.job_id).where(JobDependency.on_id == row_id, status == QUEUED)
    return list(session.scalars(named.order_by(JobDependency.job_id).limit(limit)))
