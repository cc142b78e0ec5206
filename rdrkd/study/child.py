"""One run of a study in its own process: start it, read its events, and end it when its time is up."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rdrkd.errors import RdrkdError
from rdrkd.events import EXIT_STOPPED, Event, Failed, parse
from rdrkd.files import write_json
from rdrkd.process.die_with_parent import PARENT_VARIABLE
from rdrkd.reporter import Reporter
from rdrkd.run_folder.names import MEMBER, RESULT

_LOOK = 0.2  # seconds between checks for a stop request


class MemberFailed(RdrkdError):
    """A member of a study ended with an error."""


def run_child(
    spec: dict[str, Any],
    folder: Path,
    options: Sequence[str],
    reporter: Reporter,
    stopping: Callable[[], bool],
    grace: float,
) -> dict[str, Any] | None:
    """Run or resume a job spec in its folder; return its result, or None if it was stopped.

    Args:
        spec: the job spec.
        folder: its run folder; `log.txt` in it gets what the process prints.
        options: further command-line options.
        reporter: receives the events.
        stopping: polled five times a second; returns whether the run should stop at its next batch.
        grace: seconds from a stop request until the process and its children are killed; the newest checkpoint is kept.

    Raises:
        MemberFailed: the run failed; its `reason` is the run's.
    """
    finished = folder / RESULT
    if finished.is_file():
        return _read(finished)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / MEMBER
    write_json(file, spec)
    command = [sys.executable, "-m", "rdrkd", spec["kind"], str(file), "--run-dir", str(folder), *options, "--events"]
    with (folder / "log.txt").open("ab") as log:
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL,
            env={**os.environ, PARENT_VARIABLE: str(os.getpid())}, start_new_session=True,
        )  # fmt: skip
    threading.Thread(target=_watch, args=(child, stopping, grace), daemon=True).start()
    failed = None
    for event in _events(child):
        reporter.emit(event)
        failed = event if isinstance(event, Failed) else failed
    status = child.wait()
    if finished.is_file():
        return _read(finished)
    if status == EXIT_STOPPED or stopping():
        return None
    error = MemberFailed(
        failed.message if failed else f"the process ended with status {status}; see {folder.name}/log.txt"
    )
    if failed is not None:
        error.reason = failed.reason
    raise error


def _watch(child: "subprocess.Popen[bytes]", stopping: Callable[[], bool], grace: float) -> None:
    """Ask a process to stop on request, and kill its whole session if it does not."""
    while child.poll() is None:
        if stopping():
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(grace)
                return
            os.killpg(child.pid, signal.SIGKILL)  # it leads its session: this includes its data loaders
            return
        time.sleep(_LOOK)


def _events(child: "subprocess.Popen[bytes]") -> Iterator[Event]:
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            with contextlib.suppress(ValidationError):  # a line printed by some library
                yield parse(line)


def _read(result: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(result.read_text()))
    except ValueError as error:
        raise MemberFailed(f"expected JSON in {result.parent.name}/{result.name}, got: {error}") from error
