"""Namespaces of its own for a run, so that whatever ends it leaves no process, mount or network link behind.

The run is the first process of a process namespace: when it ends, the kernel kills everything else in there, and
mounts and links go with the last process. Without root only processes are kept together, which takes a user namespace;
where the kernel grants neither, the run goes on as it is and says so.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rdrkd.process.die_with_parent import follow_parent

INSIDE = "RDRKD_FAULTS_SANDBOX"  # the folder for everything that a run writes; set for the run alone
TIED = "RDRKD_FAULTS_TIED"  # the run is to end with whoever has started it
_AS_ROOT = ("--mount", "--net")
_AS_USER = ("--user", "--map-current-user")
_PREPARE = (  # the named network namespaces are mounts as well: they belong to the run
    "ip link set lo up; mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns; "
)


def enter(arguments: Sequence[str]) -> int | None:
    """Run this program again in a sandbox and return its exit status; None: go on here."""
    if os.environ.get(TIED):
        follow_parent(signal.SIGKILL)
    if INSIDE in os.environ:
        return None
    command = possible()
    if command is None:
        print("no namespaces here: a run that is killed leaves its processes behind", file=sys.stderr)
        return None
    folder = Path(tempfile.mkdtemp(prefix="rdrkd-faults-"))
    folder.chmod(0o711)  # a server that root starts runs as another user
    environment = os.environ | {INSIDE: str(folder), "TMPDIR": str(folder)}
    run = [*command, sys.executable, "-m", "tests.faults", *arguments]
    try:
        # The kernel ends `unshare` with this process, and the run with `unshare`.
        process = subprocess.Popen(run, env=environment, preexec_fn=lambda: follow_parent(signal.SIGKILL))  # noqa: PLW1509
        try:
            return process.wait()
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def possible() -> list[str] | None:
    """Return what to put in front of a command to have it run in a sandbox; None: that cannot be had here."""
    if shutil.which("unshare") is None:
        return None
    root = os.geteuid() == 0
    kept = ["unshare", *(_AS_ROOT if root else _AS_USER), "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*kept, "sh", "-c", f'{_PREPARE if root else ""}exec "$@"', "sh"]
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if tried.returncode == 0 else None
