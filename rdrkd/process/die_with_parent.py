"""No orphans: a trainer dies with the worker that started it, even when that one is killed without a word."""

import ctypes
import os
import signal
import sys

PARENT_VARIABLE = "RDRKD_PARENT"  # process id of the worker; set by it in the trainer's environment
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one named by `RDRKD_PARENT` ends; without the variable do nothing.

    The kernel watches the *thread* that started this process, so the worker starts it from one that lives as long.
    Elsewhere than on Linux nothing watches, and the worker's own clean-up has to do.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if not parent or not sys.platform.startswith("linux"):
        return
    follow_parent(signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)


def follow_parent(signum: signal.Signals) -> None:
    """Have the kernel send `signum` to this process when its parent ends (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
