"""Metrics of the service, read from the database at each scrape, so that every API process reports the same values.

No function commits.
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric, SummaryMetricFamily
from sqlalchemy import func, literal_column, select
from sqlalchemy.orm import Session

from api.access import quotas
from api.db import now, seconds_between
from api.jobs.workers import service as workers
from api.tables import tallies
from api.tables.attempts import JobAttempt
from api.tables.job_inputs import held
from api.tables.jobs import Job
from api.tables.states import TERMINAL, Status
from api.tables.tallies import Tally
from api.wake_ups import INSPECT, TRAIN


def figures(session: Session, free_bytes: int, unwritten_bytes: int, version: str) -> Iterator[Metric]:
    """Yield every metric, each for the whole service, regardless of owners.

    Args:
        session: the caller's transaction, which sees the rows of all owners.
        free_bytes: free space of the file store.
        unwritten_bytes: the part of it that is reserved and not written yet.
        version: version of this software.
    """
    info = GaugeMetricFamily("rdrkd_build_info", "What runs here.", labels=["version"])
    info.add_metric([version], 1)
    yield info
    yield from _jobs(session)
    yield from _leases(session)
    yield from _attempts(session)
    yield from _storage(session, free_bytes, unwritten_bytes)


def _jobs(session: Session) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("rdrkd_jobs", "Jobs by status.", labels=["status"])
    age = GaugeMetricFamily(
        "rdrkd_oldest_job_age_seconds", "Since the oldest job of a status was queued.", labels=["status"]
    )
    since = seconds_between(func.min(Job.queued_at), now())
    by_status = select(Job.status, since).where(held(Job)).group_by(Job.status)
    oldest: dict[str, float | None] = dict(iter(session.execute(by_status)))
    for waiting in (Status.QUEUED, Status.PAUSED):  # any number of jobs: the first entry of an index
        oldest[waiting] = session.scalar(select(since).where(Job.status == literal_column(f"'{waiting}'")))
    for status, count in workers.counts(session).items():
        jobs.add_metric([status], count)
        if status not in TERMINAL:
            age.add_metric([status], oldest.get(status) or 0.0)
    yield jobs
    yield age
    took = SummaryMetricFamily("rdrkd_job_duration_seconds", "From start to end.", labels=["kind", "status"])
    for name, (number, microseconds) in tallies.totals(session, Tally.what.startswith(tallies.TOOK)).items():
        took.add_metric(name.removeprefix(tallies.TOOK).split("/"), number, microseconds / 1e6)
    yield took


def _leases(session: Session) -> Iterator[Metric]:
    first = select(func.min(seconds_between(now(), Job.lease_until))).where(held(Job))
    left = GaugeMetricFamily("rdrkd_lease_left_seconds", "Of the lease that ends first; none is held: no sample.")
    if (seconds := session.scalar(first)) is not None:
        left.add_metric([], float(seconds))
    yield left
    alive = GaugeMetricFamily("rdrkd_workers", "Workers by queue that are alive.", labels=["queue"])
    for queue in (TRAIN, INSPECT):
        alive.add_metric([queue], workers.alive(session, queue))
    yield alive


def _attempts(session: Session) -> Iterator[Metric]:
    attempts = SummaryMetricFamily(
        "rdrkd_attempt_seconds", "Time that workers have spent on jobs, by how it ended.", labels=["outcome"]
    )
    for name, (number, microseconds) in tallies.totals(session, Tally.what.startswith(tallies.ATTEMPT)).items():
        attempts.add_metric([name.removeprefix(tallies.ATTEMPT)], number, microseconds / 1e6)
    spent = func.sum(seconds_between(JobAttempt.started_at, now()))
    number, seconds = session.execute(select(func.count(), spent).where(JobAttempt.ended_at.is_(None))).one()
    if number:
        attempts.add_metric(["going_on"], number, float(seconds))
    yield attempts


def _storage(session: Session, free_bytes: int, unwritten_bytes: int) -> Iterator[Metric]:
    stored = GaugeMetricFamily("rdrkd_stored_bytes", "Bytes that rows count, by what they are.", labels=["what"])
    used = quotas.used_by_all(session).values()
    for what in quotas.COUNTED:
        stored.add_metric([what], sum(each[what] for each in used))
    yield stored
    unwritten = GaugeMetricFamily("rdrkd_unwritten_bytes", "Reserved in the file store, and not written yet.")
    unwritten.add_metric([], unwritten_bytes)
    yield unwritten
    free = GaugeMetricFamily("rdrkd_storage_free_bytes", "Room that is left in the file store.")
    free.add_metric([], free_bytes)
    yield free
