"""The process around a run: events on stdout, stop signals, exit statuses. No torch here.

Only `conclude` turns the end of a run into an event and an exit status; the library raises.
"""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from rdrkd.errors import RdrkdError, StopRequested
from rdrkd.events import EXIT_DONE, EXIT_FAILED, EXIT_INTERNAL, EXIT_STOPPED, Done, Failed, Stopped
from rdrkd.process import environment
from rdrkd.process.die_with_parent import die_with_parent
from rdrkd.reasons import Reason
from rdrkd.reporter import JsonLines, Reporter


class Stoppable(Reporter, Protocol):
    """A reporter that a signal can stop."""

    stop: bool


def events_stream() -> TextIO:
    """Reserve stdout for event lines: redirect everything else that is printed, by C code too, to stderr."""
    sys.stdout.flush()
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stream


def conclude(work: Callable[[Reporter], dict[str, Any]], reporter: Stoppable) -> int:
    """Run `work`, report how it ended as one event, and return the exit status."""
    environment.apply()
    die_with_parent()
    _stop_on_signals(reporter)
    try:
        reporter.emit(Done(result=work(reporter)))
        return EXIT_DONE
    except StopRequested:
        reporter.emit(Stopped())
        return EXIT_STOPPED
    except RdrkdError as error:
        if isinstance(reporter, JsonLines):  # stderr is then a log; a person gets the message only
            traceback.print_exception(error)
        reporter.emit(failure_of(error))
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001  - the process's outermost handler: reported with its traceback
        explained = is_of_a_file(error) and not isinstance(reporter, JsonLines)
        if not explained:
            traceback.print_exception(error)
        reporter.emit(failure_of(error))
        return EXIT_FAILED if explained else EXIT_INTERNAL


def is_of_a_file(error: BaseException) -> bool:
    """Return whether the operating system refused a file, so that its name and the reason explain the error."""
    return isinstance(error, OSError) and error.filename is not None and error.strerror is not None


def failure_of(error: BaseException) -> Failed:
    """Return the failure event for an error; one from outside the library by its file, or its class and line."""
    if isinstance(error, RdrkdError):
        problems = [{"where": problem.where, "detail": problem.detail} for problem in error.problems]
        return Failed(reason=error.reason, message=error.headline, problems=problems)
    if isinstance(error, OSError) and is_of_a_file(error):
        names = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        files = " and ".join(map(os.fsdecode, names))
        return Failed(reason=reason_of(error), message=f"expected access to {files}, got: {error.strerror}")
    return Failed(reason=reason_of(error), message=f"{type(error).__name__}: {_first_line(error)}")


def reason_of(error: BaseException) -> Reason:
    """Classify an exception from outside the library.

    >>> reason_of(MemoryError()).value, reason_of(OSError(28, "No space left on device")).value
    ('oom_host', 'disk_full')
    >>> reason_of(KeyError("x")).value
    'internal'
    """
    if isinstance(error, RdrkdError):
        return error.reason
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return Reason.OOM_CUDA
    # torch's allocator for host memory raises a plain RuntimeError; its file writer hides the errno in the text.
    text = str(error)
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in text or _errno(error) == errno.ENOMEM:
        return Reason.OOM_HOST
    if _errno(error) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in text:
        return Reason.DISK_FULL
    return Reason.INTERNAL


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else "no message"


def _stop_on_signals(reporter: Stoppable) -> None:
    """Make SIGTERM and SIGINT request a stop at the next batch; a second signal ends the process at once."""

    def ask(number: int, _frame: object) -> None:
        reporter.stop = True
        if number == signal.SIGINT and not isinstance(reporter, JsonLines):  # a person, who waits
            os.write(2, b"\nstopping after this step; the same command resumes; Ctrl-C again stops at once\n")
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
