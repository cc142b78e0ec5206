"""Check an upload: run `python -m rdrkd inspect` as a restricted process and store its report in the row."""

import contextlib
import errno
import json
import logging
import os
import resource
import signal
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.jobs import upload_checks
from api.jobs.upload_checks import Check, Problems
from api.storage import StorageUnreachable, Stored, deletions
from api.tables.leases import Fenced
from api.tables.models import Model
from api.tables.uploads import UploadStatus
from rdrkd.process import environment
from worker import check_limits, previews, run_folders
from worker.disk_space import MOST_FULL_DISKS, shortage
from worker.end_reasons import DISK_FULL
from worker.lease import Lease, Order
from worker.process import RDRKD, Child, last_words
from worker.workplace import Workplace

log = logging.getLogger(__name__)

CONVERTED = "converted"  # folder in the run folder
CONVERSIONS = {".pt": ("student.safetensors",), ".safetensors": ("student.pt",)}
MAX_REPORT = 2**24  # bytes of the report
MAX_LINES = 1000  # lines of output; the report is the first one
MOST_KILLS = 3  # killed checks of one upload, after which the file is assumed to be the cause
CPU_GRACE = 5  # seconds between SIGXCPU and SIGKILL, so that a SIGKILL never means the CPU limit
SIGNALS = {
    signal.SIGXCPU: "used up its processor time",
    signal.SIGXFSZ: "wrote a file beyond the limit",
    signal.SIGKILL: "was killed, probably for using too much memory",
}


def run(place: Workplace, check: Check, command: Sequence[str] = RDRKD) -> None:
    """Check a claimed upload until it is ready, invalid, returned to the queue, or fenced."""
    folder = place.folder(check.id, check.attempt)
    written: Stored | None = None
    try:
        with Lease(
            place,
            lambda session, seconds: upload_checks.renew(session, check, seconds),
            check_limits.seconds(place.settings, check.size),
        ) as lease:
            try:
                run_folders.prepare(folder)
                report, problems = _inspect(place, check, lease, command)
                written = _written(place, check, folder / CONVERTED) if report is not None and not problems else None
            except StorageUnreachable as error:
                log.error("returned the check of %s to the queue: %s", check.id, error)
                lease.order = lease.order or Order.OUTAGE
            except OSError as error:
                if error.errno not in DISK_FULL:
                    raise
                report, problems = None, _problem(f"the disk was full, the last time in attempt {check.attempt}")
                _give_back(check, lease, MOST_FULL_DISKS, "the disk is full")
            lease.close()
            if lease.order in (Order.DRAIN, Order.OUTAGE):
                lease.write(lambda session: upload_checks.give_back(session, check))
            else:
                status = _settle(place, check, lease, report, problems, written)
                log.info("%s is %s", check.id, status)
                _remove_unwanted(place, check)
    except Fenced:
        log.warning("the check of %s is fenced: another worker holds it, or it has ended", check.id)
        if written is not None:
            deletions.drop_unnamed(place.database, place.storage, written.key)
        _remove_unwanted(place, check)  # this worker may have rejected it without receiving the commit's answer
    except StorageUnreachable as error:
        log.error("no response from the storage; leaving the check of %s to the reaper: %s", check.id, error)
    except DBAPIError as error:
        log.error("no response from the database; leaving the check of %s to the reaper: %s", check.id, error.orig)
    finally:
        run_folders.clear(folder)


def _give_back(check: Check, lease: Lease, attempts: int, reason: str) -> None:
    """Return a check to the queue; the last attempt is not returned, because its file may be the cause."""
    if check.attempt < attempts:
        log.error("returned the check of %s to the queue: %s", check.id, reason)
        lease.order = lease.order or Order.OUTAGE


def _settle(
    place: Workplace,
    check: Check,
    lease: Lease,
    report: dict[str, Any] | None,
    problems: Problems,
    written: Stored | None = None,
) -> UploadStatus:
    folder = place.folder(check.id, check.attempt)
    preview = previews.keep(place.storage, check, folder / previews.NAME) if not problems else None
    album = previews.keep_album(place.storage, check, folder / previews.ALBUM) if preview is not None else None

    def settle(session: Session) -> UploadStatus:
        status = upload_checks.settle(session, check, report, problems, preview=preview, album=album, written=written)
        if written is not None:
            deletions.hold(session, place.storage, written.key)  # the same content may be about to be deleted
        return status

    try:
        return lease.write(settle)
    except BaseException:
        previews.drop(place.database, place.storage, check)
        raise


def _remove_unwanted(place: Workplace, check: Check) -> None:
    """Remove an untrusted file that only rejected rows refer to."""
    try:
        deletions.drop_refused(
            place.database, place.storage, check.key, lambda session: upload_checks.wanted(session, check)
        )
    except (StorageUnreachable, DBAPIError) as error:
        log.warning("cannot remove the rejected file of %s: %s", check.id, error)


def _inspect(
    place: Workplace, check: Check, lease: Lease, command: Sequence[str]
) -> tuple[dict[str, Any] | None, Problems]:
    """Run the inspection; return its report and the problems that it found, or how the inspection itself failed."""
    folder = place.folder(check.id, check.attempt)
    path = place.storage.fetch(check.key, check.sha256, run_folders.inputs(folder))
    if path is None:
        return None, _problem("the stored file is missing or damaged; upload it again")
    options = ["--convert", folder / CONVERTED] if check.table is Model else previews.options(check, folder)
    named = f"--name={check.filename}"  # one argument: a name may begin with a dash
    line: list[str | Path] = [*command, "inspect", path, "--cache", place.cache, named, *options, "--json"]
    bounds = check_limits.of(place.settings, check.size)
    env = {environment.LIMITS: json.dumps(bounds)}
    child = Child(line, folder, folder / run_folders.LOG, env, hidden=place.hidden, writable=[place.cache])
    try:
        _restrict(child.pid, **bounds)
        lease.child = child
        output, *_ = *islice(child.lines(MAX_REPORT), MAX_LINES), b""  # the report is the first line
        status = child.wait()
    finally:
        child.kill()
    if status == -signal.SIGKILL and lease.order is None:
        _give_back(check, lease, MOST_KILLS, "it was killed from outside")
    report, problems = _judge(output, status, lease.order, last_words(folder / run_folders.LOG))
    if report is None and lease.order is None and shortage(place) is not None:
        raise OSError(errno.ENOSPC, "the check broke while the disk was full")
    return report, problems


def _written(place: Workplace, check: Check, folder: Path) -> Stored | None:
    """Store the model in the other format, which the check has written; return None if it has not."""
    for name in CONVERSIONS.get(PurePosixPath(check.key).suffix, ()):
        path = folder / name
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                return place.storage.put(stream, path.suffix)
    return None


def _restrict(pid: int, memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """Also limit a child that opens an untrusted file from outside, since it may fail to limit itself (Linux)."""
    if not hasattr(resource, "prlimit"):
        return
    bounds = {
        resource.RLIMIT_DATA: (memory_bytes, memory_bytes),
        resource.RLIMIT_CPU: (cpu_seconds, cpu_seconds + CPU_GRACE),
        resource.RLIMIT_FSIZE: (file_bytes, file_bytes),
        resource.RLIMIT_CORE: (0, 0),
    }
    with contextlib.suppress(ProcessLookupError):  # it has already exited
        for name, limit in bounds.items():
            resource.prlimit(pid, name, limit)


def _judge(output: bytes, status: int, order: Order | None, words: str) -> tuple[dict[str, Any] | None, Problems]:
    if order is Order.TIMEOUT:
        return None, _problem("the check took too long and was stopped")
    try:
        report = json.loads(output)
        ok, problems = report["ok"], [_readable(problem) for problem in report["problems"]]
    except (ValueError, TypeError, KeyError):
        how = SIGNALS.get(signal.Signals(-status)) if status < 0 else None
        return None, _problem(f"the check {how or f'broke (exit status {status})'}; its last lines: {words}")
    if report.get("disk_full"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if not ok and not problems:
        problems = _problem("the check refused the file without saying why")
    return report, [] if ok else problems


def _readable(problem: dict[str, Any]) -> dict[str, str]:
    return {"where": str(problem["where"])[:500], "detail": str(problem["detail"])[:2000]}


def _problem(detail: str) -> Problems:
    return [{"where": "", "detail": detail}]
