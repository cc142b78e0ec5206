"""The reaper, `python -m api.reaper`: repairs what crashes, lost messages and full disks leave behind.

It re-queues rows with expired leases and fails jobs whose dependencies failed, which needs only the database. Tasks
that need other services have their own threads, so that no outage delays the reaping of leases: repeating lost wake-ups
(the broker), sweeping and completing uploads (the file store), and sending webhooks (`api.webhooks.sender`).

Every transition is a conditional UPDATE, so several reapers at once do no harm. After its start, and after every failed
round, it ignores leases for one lease period, since an outage of the database also keeps workers from renewing.
"""

import argparse
import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Engine, bindparam, create_engine, text

from api import clock, log_setup
from api.access import audit, idempotency
from api.db import Database
from api.jobs import checkpoint_retention, expiry, unblocking, upload_checks
from api.jobs.checkpoint_retention import Retention
from api.jobs.workers import service as workers
from api.settings import Settings
from api.storage import StorageUnreachable, deletions, open_storage, unreferenced
from api.studies import service as studies
from api.tables import tallies
from api.uploads.datasets import unpacked
from api.uploads.ledger import service as ledger
from api.uploads.resumable import completion
from api.uploads.resumable import service as resumable
from api.uploads.resumable.completion import LEFT_SECONDS
from api.wake_ups import INSPECT, MOST_WAITING, TRAIN, Doorbell, transport_options
from api.webhooks import delivery_rows
from api.webhooks.sender import Sender
from rdrkd import bounded_cache
from rdrkd.process.secret_hiding import own_folder, seal

log = logging.getLogger("api.reaper")  # `__name__` is `__main__` here

SWEEP_SECONDS = 3600.0
GONE_SECONDS = 86_400.0  # how long a lost worker stays listed
RUN_OUT_SECONDS = 3600.0  # how long an expired reservation is kept for inspection
DELIVERED_SECONDS = 86_400.0  # how long a delivered message is kept in SQL brokers


class Reaper:
    """One reaper; `round` is one pass over the tasks that need only the database."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        own_folder(settings.data_dir)
        self.database = Database(settings.database_url, kept=1)
        self.storage = open_storage(settings)
        self.doorbell = Doorbell(settings.broker_url)
        self._broker = _sql_broker(settings.broker_url)
        self._patient_until = time.monotonic() + settings.lease_seconds
        self._clock_at = 0.0  # monotonic time of the next check

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        seconds = self.settings.reaper_seconds
        moves = (
            ("bells", self.ring, seconds),
            ("sweeps", self.sweep, SWEEP_SECONDS),
            ("completions", self.complete, LEFT_SECONDS),
        )
        for name, move, every in moves:
            # Daemons: an exiting process must not wait for broker or store.
            threading.Thread(target=_repeat, args=(move, every, stop), name=name, daemon=True).start()
        while not stop.is_set():
            try:
                self.round()
            except Exception:
                log.exception("a sweep failed; retrying")
                self._patient_until = time.monotonic() + self.settings.lease_seconds
            stop.wait(seconds)

    def round(self) -> None:
        """Re-queue lost jobs and fail overdue ones, once."""
        if time.monotonic() >= self._clock_at:
            self._clock_at = time.monotonic() + self.settings.lease_seconds
            self.pull_back()
        if time.monotonic() >= self._patient_until:
            self.expire()
        for job_id in expiry.fail_all_overdue(self.database):
            log.warning("%s failed: its deadline has passed", job_id)
        for job_id in unblocking.catch_up(self.database):
            log.warning("%s failed: something that it waits for can never become available", job_id)
        self.report()
        self.settle()

    def settle(self) -> None:
        """Merge the recorded differences into the totals."""
        with self.database.transaction() as session:
            tallies.settle(session)

    def expire(self) -> None:
        """Take rows back from workers that stopped renewing their leases."""
        with self.database.transaction() as session:
            for job_id in expiry.expire(session, self.settings.max_lost_workers):
                log.warning("%s lost its worker and was re-queued", job_id)
            upload_checks.expire(session, self.settings.max_lost_workers)

    def pull_back(self) -> None:
        """Shorten leases and delays that were set while the clock was ahead."""
        with self.database.transaction() as session:
            late = clock.pull_back(session, self.settings.lease_seconds, self.settings.webhooks_retry_seconds)
        if late:
            log.warning("shortened %d leases and delays because the clock was set back", late)

    def report(self) -> None:
        """Queue the reports of finished studies; `ring` sends their wake-up messages."""
        with self.database.transaction() as session:
            for job_id in studies.draw_finished(session):
                log.info("queued %s to draw the report of a study that has ended", job_id)

    def ring(self) -> None:
        """Send messages for rows that still wait, minus those already pending, so that the broker is not flooded."""
        after = self.settings.ring_again_seconds
        with self.database.transaction() as session:
            jobs, uploads = expiry.due_bells(session, after), upload_checks.due_bells(session, after)
        # Query the broker only if there is something to send, so that an idle service leaves it alone.
        if not (jobs or uploads) or not self.doorbell.reachable():
            return
        jobs = jobs[self.doorbell.pending(TRAIN) : MOST_WAITING]
        uploads = uploads[self.doorbell.pending(INSPECT) : MOST_WAITING]
        with self.database.transaction() as session:
            for job_id in jobs:
                expiry.mark_rung(session, job_id)
            for table, upload_id in uploads:
                upload_checks.mark_rung(session, table, upload_id)
        for job_id in jobs:
            self.doorbell.ring(TRAIN, job_id)
        for _, upload_id in uploads:
            self.doorbell.ring(INSPECT, upload_id)

    def complete(self) -> None:
        """Complete resumable uploads that have all their bytes, but whose process died before completing them."""
        for upload_id in completion.complete_all(self.database, self.doorbell, self.storage):
            log.info("completed %s, whose process had died after its last byte", upload_id)

    def sweep(self) -> None:
        """Delete abandoned files and expired rows: idempotency keys, messages, lost workers, deliveries, audit."""
        with self.database.transaction() as session:
            keys, notes = idempotency.sweep(session), deletions.waiting(session)
        try:
            deletions.follow_all(self.database, self.storage, notes)
        except StorageUnreachable as error:  # the other records remain
            log.warning("cannot delete files yet; retrying later: %s", error)
        files = self.storage.sweep()
        self.collect()
        unpacked.sweep(self.database, self.settings.cache_dir)
        if self.settings.cache_dir.is_dir():
            bounded_cache.shrink(self.settings.cache_dir, unpacked.bound_of(self.settings))
        with self.database.transaction() as session:
            resumable.forget(session, self.storage)
            ledger.forget(session, RUN_OUT_SECONDS)
            gone = workers.forget(session, GONE_SECONDS)
            delivery_rows.purge(session, self.settings.webhooks_keep_days)
            audit.purge(session, self.settings.audit_keep_days)
        messages = purge(self._broker, DELIVERED_SECONDS) if self._broker is not None else 0
        log.info(
            "swept %d abandoned files, %d keys, %d delivered messages, %d lost workers",
            files + len(notes), keys, messages, gone,
        )  # fmt: skip

    def collect(self) -> None:
        """Delete checkpoints of ended jobs that the policy does not keep, and files that no row refers to."""
        policy = Retention.of(self.settings)
        with self.database.transaction() as session:
            jobs = checkpoint_retention.ended_with_more(session, policy)
        try:
            for job_id in jobs:
                with self.database.transaction() as session:
                    notes = deletions.note(session, checkpoint_retention.prune_ended(session, job_id, policy))
                deletions.follow_all(self.database, self.storage, notes)
            unreferenced.collect(self.database, self.storage, self.settings.orphans_keep_hours * 3600)
        except StorageUnreachable as error:
            log.warning("cannot remove unreferenced files yet; retrying later: %s", error)


def _repeat(move: Callable[[], None], seconds: float, stop: threading.Event) -> None:
    """Call a function at once and then every so many seconds, despite exceptions, until `stop` is set."""
    while not stop.is_set():
        try:
            move()
        except Exception:
            log.exception("%s failed; retrying", move.__name__)
        stop.wait(seconds)


def _sql_broker(broker_url: str) -> Engine | None:
    if not broker_url.startswith("sqla+"):
        return None
    options = {name: value for name, value in transport_options(broker_url).items() if name == "connect_args"}
    return create_engine(broker_url.removeprefix("sqla+"), hide_parameters=True, **options)


def purge(broker: Engine, older_than_seconds: float) -> int:
    """Delete delivered messages from kombu's SQL tables, which kombu never does; return how many."""
    # kombu writes the local time, without a zone, when it delivers.
    before = datetime.now() - timedelta(seconds=older_than_seconds)  # noqa: DTZ005
    delivered = text("DELETE FROM kombu_message WHERE visible = :no AND timestamp < :before")
    typed = delivered.bindparams(bindparam("no", False), bindparam("before", before))
    with broker.begin() as connection:
        if not connection.dialect.has_table(connection, "kombu_message"):
            return 0
        return connection.execute(typed).rowcount


def main() -> None:
    """Run a reaper until SIGTERM or SIGINT."""
    argparse.ArgumentParser(prog="python -m api.reaper", description=__doc__).parse_args()
    seal()
    settings = Settings()
    log_setup.set_up(settings)
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    reaper = Reaper(settings)
    senders = Sender(settings).start(stop)
    reaper.run(stop)
    for sender in senders:
        sender.join(settings.stop_grace_seconds)  # another sender repeats unfinished attempts


if __name__ == "__main__":
    main()
