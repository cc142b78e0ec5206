"""No orphans: a trainer dies with the worker that started it, even when the worker is killed by SIGKILL."""

import ctypes
import os
import signal
import sys

PARENT_VARIABLE = "RDRKD_PARENT"  # process id of the worker; set by it in the trainer's environment
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Have the kernel kill this process when the process `RDRKD_PARENT` ends; without the variable do nothing.

    The kernel watches the *thread* that started this process, so the worker must start it from a thread that lives as
    long as itself. Other systems than Linux have no such watch; there, only the worker's own clean-up ends trainers.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if not parent or not sys.platform.startswith("linux"):
        return
    follow_parent(signal.SIGKILL)
    if os.getppid() != int(parent):  # the parent died before the call above
        os.kill(os.getpid(), signal.SIGKILL)


def follow_parent(signum: signal.Signals) -> None:
    """Have the kernel send `signum` to this process when its parent ends (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
