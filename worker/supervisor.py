"""Run one attempt of a job: prepare its run folder, start the trainer, store its events and files, end the job."""

import json
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import Session

from api import log_setup, tracing
from api.jobs import checkpoint_retention, lifecycle
from api.jobs.checkpoint_retention import Retention
from api.jobs.claims import Held
from api.jobs.lifecycle import Ending
from api.storage import StorageUnreachable, deletions
from api.tables.leases import Fenced, Wish
from api.tables.states import Status
from rdrkd.events import EXIT_STOPPED, Checkpoint, Done, Epoch, Event, Failed, Progress, Resolved, Warn, at_fault, parse
from rdrkd.files import write_json
from rdrkd.paths import without_paths
from rdrkd.reasons import Reason
from rdrkd.run_folder.names import CALLED
from worker import checkpoint_transfer, end_reasons, inputs, report_inputs, run_folders
from worker.disk_space import give_back_or_end, shortage
from worker.lease import Lease, Order, is_outage
from worker.logs import Shipping
from worker.process import RDRKD, Child, last_words
from worker.workplace import Workplace

log = logging.getLogger(__name__)

SPEC = "job.json"  # as submitted; the run writes the resolved spec beside it
Move = Callable[[Session], object]
Events = queue.SimpleQueue[Event | Ending | None]  # Ending: an event was invalid; None: end of output
MAX_EVENTS = 10_000  # events that may wait for the database


def run(place: Workplace, held: Held, command: Sequence[str] = RDRKD) -> None:
    """Work on a claimed job until it has ended, was returned to the queue, or is fenced.

    Call this from a thread that lives as long as the attempt: the kernel kills the trainer with it.
    """
    folder = place.folder(held.id, held.attempt)
    attempt = Attempt(place, held, folder, command)
    try:
        attempt.run()
    except Fenced:
        log.warning("%s attempt %d is fenced: another attempt holds it, or it has ended", held.id, held.attempt)
    except DBAPIError as error:
        log.error("%s attempt %d: no response from the database; leaving it to the reaper: %s", *_who(held), error.orig)
    finally:
        run_folders.clear(folder)


class Attempt:
    """The state of one attempt while it runs."""

    def __init__(self, place: Workplace, held: Held, folder: Path, command: Sequence[str]) -> None:
        self.place, self.held, self.folder, self.command = place, held, folder, command
        self.log = folder / run_folders.LOG
        self.retention = Retention.of(place.settings)
        self.progress: Progress | None = None  # the newest one that has not been written yet
        self.outcome: Done | Failed | None = None  # the trainer's last event
        self.fault: Ending | None = None  # a failure of the worker itself
        self.unreachable: StorageUnreachable | None = None  # no checkpoint can be stored
        self.epoch = 0  # the newest checkpoint's
        self.notes: list[str] = []  # files to delete once the job has succeeded
        self.sha256: dict[str, str] = {}  # hashes of the newest checkpoint's files, by name

    def run(self) -> None:
        """Run the attempt from start to end."""
        with Lease(self.place, self._renew, self.held.timeout_seconds) as self.lease:
            try:
                last_move = self._work()
            except Fenced:
                raise
            except DBAPIError as error:
                if is_outage(error):
                    raise
                log.exception("%s attempt %d: the database rejected a write", *_who(self.held))
                last_move = self._finish(end_reasons.worker_failure(error))
            except StorageUnreachable as error:
                last_move = self._without_storage(error)
            except inputs.InputDamaged as error:
                last_move = self._finish(Ending(Status.FAILED, error.reason, str(error)))
            except Exception as error:
                log.exception("%s attempt %d: the worker failed", *_who(self.held))
                last_move = self._finish(end_reasons.worker_failure(error))
            finally:
                self._kill()
            self.lease.close()
            if self.progress is not None:
                self.lease.write(lambda session: self._renew(session, None))
            self.lease.write(last_move)
        self._follow_notes()

    def _renew(self, session: Session, lease_seconds: float | None) -> Wish | None:
        progress = self.progress
        wish = lifecycle.renew(session, self.held, lease_seconds, progress)
        if self.progress is progress:
            self.progress = None  # written; a newer one waits for the next heartbeat
        return wish

    def _work(self) -> Move:
        """Run the trainer; return the transition that ends this attempt."""
        options = self._prepare()
        if self.lease.order is not None:
            return self._stopped(self.lease.order)
        job = [self.held.kind, self.folder / SPEC, "--run-dir", self.folder]
        command = [*self.command, *map(str, job), *options, "--cache", str(self.place.cache), "--events"]
        hidden, writable = self.place.hidden, [self.place.cache]
        on_behalf = {"RDRKD_REQUEST_ID": self.held.request_id, "TRACEPARENT": tracing.current()}
        env = {name: value for name, value in on_behalf.items() if value is not None}
        self.lease.child = Child(command, self.folder, self.log, env, hidden=hidden, writable=writable)
        with Shipping(self.log, self._keep_log, self.place.settings.heartbeat_seconds):
            self._follow(self.lease.child)
            status = self.lease.child.wait()
        return self._judge(status)

    def _prepare(self) -> list[str]:
        run_folders.prepare(self.folder)
        (self.folder / SPEC).write_text(json.dumps(self.held.spec, indent=2))
        needed = self.lease.write(lambda session: inputs.locate(session, self.held.spec))
        write_json(self.folder / CALLED, inputs.names_of(needed))
        options = inputs.arguments(self.place.storage, needed, run_folders.inputs(self.folder))
        options += inputs.official(self.held.spec, self.place.settings)
        if self.held.kind == report_inputs.COMPARE:
            self.lease.write(
                lambda session: report_inputs.lay_out(session, self.place.storage, self.held.spec, self.folder)
            )
        held = self.held
        earlier = self.lease.write(
            lambda session: checkpoint_transfer.all_of(session, held.id, held.continues, held.scratch_after)
        )
        self.epoch = checkpoint_transfer.restore(self.place.storage, earlier, self.folder) or 0
        return options

    def _follow(self, child: Child) -> None:
        """Handle the trainer's events until it closes its output."""
        events: Events = queue.SimpleQueue()
        read = log_setup.carrying(self._read)
        threading.Thread(target=read, args=(child, events), name="events", daemon=True).start()
        started = False
        while (event := events.get()) is not None:
            if not started:
                started = True
                self.lease.write(lambda session: lifecycle.record_running(session, self.held))
            self._take(event, child)

    def _read(self, child: Child, events: "Events") -> None:
        """Drain the trainer's pipe even if the database is slow; of progress events, only the newest counts."""
        try:
            for line in child.lines():
                self._sort(line, events, child)
        finally:
            events.put(None)

    def _sort(self, line: bytes, events: "Events", child: Child) -> None:
        try:
            event = parse(line.replace(rb"\u0000", rb"\ufffd"))  # PostgreSQL cannot store NUL
        except ValidationError as error:
            fault = at_fault(error)
            if fault is None or fault[0] == "progress":  # progress is only displayed, so an invalid one is ignored
                log.warning("%s attempt %d: ignored a line that is not an event: %.200r", *_who(self.held), line)
            else:
                events.put(end_reasons.invalid_event(*fault))
            return
        if isinstance(event, Progress):
            self.progress = event
        elif events.qsize() < MAX_EVENTS:
            events.put(event)
        else:
            child.kill()  # no working run writes this many events, and they would fill this process's memory

    def _take(self, event: Event | Ending, child: Child) -> None:
        """Store an event; one that the database rejects is the trainer's fault and ends the job."""
        if isinstance(event, Ending):
            self._blame(event, child)
            return
        try:
            self._record(event, child)
        except (StatementError, OverflowError) as error:
            if isinstance(error, DBAPIError) and is_outage(error):
                raise
            log.exception("%s attempt %d: cannot store an event", *_who(self.held))
            self._blame(
                end_reasons.invalid_event(event.event, f"the database rejected it ({type(error).__name__})"), child
            )

    def _blame(self, ending: Ending, child: Child) -> None:
        self.fault = self.fault or ending
        child.kill()

    def _record(self, event: Event, child: Child) -> None:
        held = self.held
        match event:
            case Resolved():
                self.lease.write(lambda session: lifecycle.record_resolved(session, held, event.resolved_spec))
            case Epoch():
                self.lease.write(lambda session: lifecycle.record_epoch(session, held, event))
            case Checkpoint():
                self._keep(event, child)
            case Warn():
                self._warn(event)
            case Done() | Failed():
                self.outcome = event

    def _keep_log(self, text: str) -> None:
        self.lease.write(lambda session: lifecycle.record_log(session, self.held, text))

    def _warn(self, event: Warn) -> None:
        held, code, message = self.held, event.code, without_paths(event.message)
        log.warning("%s attempt %d: %.100s: %.500s", *_who(held), code, message)
        self.lease.write(lambda session: lifecycle.record_warning(session, held, code, message, event.epoch))

    def _keep(self, event: Checkpoint, child: Child) -> None:
        """Publish a checkpoint; if that fails, stop the trainer rather than train for hours without checkpoints."""
        if self.fault is not None or self.unreachable is not None:
            return
        try:
            files = checkpoint_transfer.store(self.place.storage, self.held, self.folder, event)
        except StorageUnreachable as error:
            self.unreachable = error
            child.kill()
            return
        except FileNotFoundError:  # the run keeps only the newest few, and this worker was slow
            log.warning("%s attempt %d: the checkpoint of epoch %d no longer exists", *_who(self.held), event.epoch)
            return
        except (OSError, ValueError) as error:
            log.exception("%s attempt %d: cannot store the checkpoint of epoch %d", *_who(self.held), event.epoch)
            self._blame(end_reasons.worker_failure(error), child)
            return
        self._publish(files, event)
        self.epoch, self.sha256 = event.epoch, {file.name: file.sha256 for file in files}
        self._discard(self.lease.write(lambda session: lifecycle.prune(session, self.held, self.retention)))
        self.lease.checkpointed()

    def _publish(self, files: list[lifecycle.Published], checkpoint: Checkpoint | None = None) -> None:
        try:
            replaced = self.lease.write(lambda session: lifecycle.publish(session, self.held, files, checkpoint))
        except Fenced:  # an earlier try may have been committed without an answer
            for file in files:
                deletions.drop_unnamed(self.place.database, self.place.storage, file.key)
            raise
        self._discard(replaced)

    def _follow_notes(self) -> None:
        try:
            deletions.follow_all(self.place.database, self.place.storage, self.notes)
        except (StorageUnreachable, DBAPIError) as error:  # the reaper deletes the rest
            log.warning("%s attempt %d: cannot remove resume states: %s", *_who(self.held), error)

    def _discard(self, keys: list[str]) -> None:
        try:
            for key in keys:
                self.place.storage.delete(key)
        except StorageUnreachable as error:  # the reaper removes files that no row refers to
            log.warning("%s attempt %d: cannot remove files that are no longer needed: %s", *_who(self.held), error)

    def _judge(self, status: int) -> Move:
        """Return the transition that ends the attempt, given the trainer's events, the orders and the exit status."""
        order, outcome = self.lease.order, self.outcome
        if order is Order.FENCED:
            raise Fenced
        if self.fault is not None:
            return self._finish(self.fault)
        if self.unreachable is not None:
            return self._without_storage(self.unreachable)
        if isinstance(outcome, Done):
            self._publish(self._final())
            return partial(self._succeed, move=self._finish(Ending(Status.SUCCEEDED, result=outcome.result)))
        if order is not None:
            return self._stopped(order)
        if isinstance(outcome, Failed):
            message = without_paths(outcome.message)
            self._leave()
            return self._finish(Ending(Status.FAILED, outcome.reason, message, outcome.problems))
        if status == EXIT_STOPPED:  # during a shutdown, the trainer may be signalled before the worker
            drained = self.place.draining.wait(self.place.settings.cancel_poll_seconds)
            return self._stopped(Order.DRAIN) if drained else partial(lifecycle.abandon, held=self.held)
        self._leave()
        return self._finish(end_reasons.unreported_exit(status, last_words(self.log)))

    def _stopped(self, order: Order) -> Move:
        if order is Order.FENCED:
            raise Fenced
        if order in end_reasons.ORDERED:
            self._leave()
            return self._finish(end_reasons.ORDERED[order])
        log.info("returned %s attempt %d to the queue (%s)", *_who(self.held), order)
        return partial(lifecycle.requeue, held=self.held, why=order.value)

    def _without_storage(self, error: StorageUnreachable) -> Move:
        """Return the job to the queue: an outage is not its owner's fault, and it resumes from its last checkpoint."""
        log.error("returned %s attempt %d to the queue: %s", *_who(self.held), error)
        return partial(lifecycle.requeue, held=self.held, why=Order.OUTAGE.value)

    def _finish(self, ending: Ending) -> Move:
        lacking = None
        if ending.reason is Reason.INTERNAL:
            lacking = shortage(self.place) or ("the database's was full" if self.lease.met_full_disk else None)
        if lacking is not None:
            ending = end_reasons.disk_full(ending, lacking)
        log.info("%s attempt %d: %s %s", *_who(self.held), ending.status, ending.reason or "")
        if ending.reason is Reason.DISK_FULL:
            return partial(give_back_or_end, held=self.held, ending=ending)
        return partial(lifecycle.finish, held=self.held, ending=ending)

    def _succeed(self, session: Session, move: Move) -> None:
        """End a job that has succeeded, and delete its resume states."""
        move(session)
        self.notes = deletions.note(session, checkpoint_retention.prune(session, self.held.id, self.retention))

    def _leave(self) -> None:
        """Publish the metrics and report of a job that failed or was cancelled; errors do not change how it ends."""
        try:
            stored = checkpoint_transfer.store_early(
                self.place.storage, self.held, self.folder, self.epoch, self.sha256
            )
        except (OSError, ValueError) as error:
            log.warning("%s attempt %d: cannot store the files of the failed run: %s", *_who(self.held), error)
            return
        if stored:
            self._publish(stored)

    def _final(self) -> list[lifecycle.Published]:
        return checkpoint_transfer.store_final(self.place.storage, self.held, self.folder, self.epoch, self.sha256)

    def _kill(self) -> None:
        if self.lease.child is not None:
            self.lease.child.kill()
            self.lease.child.wait()


def _who(held: Held) -> tuple[str, int]:
    return held.id, held.attempt
