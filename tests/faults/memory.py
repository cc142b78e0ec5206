"""A trainer that meets the end of its memory: a control group of its own, whose bound the kernel enforces by killing.

The trainer is asked by SIGUSR1 to take memory (`tests.faults.trainer`), as one that loads too much does. It takes root.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BYTES = 2**26
_ROOT = Path("/sys/fs/cgroup")
_FORMS = (  # of the first and the second version: where, and what the bound is called
    (_ROOT / "memory", "memory.limit_in_bytes"),
    (_ROOT, "memory.max"),
)


def possible() -> bool:
    """Return whether a control group with a bound can be made here."""
    try:
        with _group(BYTES):
            return True
    except OSError:
        return False


@contextmanager
def used_up(pid: int) -> Iterator[None]:
    """Bound the memory of a process and have it ask for more."""
    with _group(BYTES) as group:
        (group / "cgroup.procs").write_text(str(pid))
        os.kill(pid, signal.SIGUSR1)
        yield


@contextmanager
def _group(most: int) -> Iterator[Path]:
    root, bound = next((form for form in _FORMS if (form[0] / "cgroup.procs").exists()), _FORMS[-1])
    group = root / f"rdrkd-faults-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    try:
        (group / bound).write_text(str(most))
        yield group
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a group once those in it have ended; one that is still there then goes back to all others."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (group.parent / "cgroup.procs").write_text(pid)
        time.sleep(0.05)
