"""Hide a service process's secrets from other processes of the same user: its environment, memory and files.

`/proc/<pid>/environ` shows the environment that a process was started with to every process of the same user, and a
trainer, which works on untrusted files, is one of them. So a child of `rdrkd up` gets its secrets through an unnamed
file, a process that was started with secrets blanks them, and the kernel is asked to deny access to its memory.
"""

import contextlib
import ctypes
import json
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

HANDED_OVER = "RDRKD_ENVIRONMENT_FD"  # number of the file that holds the secret part of a child's environment
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|KEY|CREDENTIAL|AUTH|HEADERS|URL|DSN|PROXY|ENDPOINT")
_PLACES = ("_FILE", "_DIR", "_PATH", "_FD")  # a variable that names a secret's location is not secret
_ENV_START = 47  # fields of /proc/self/stat after the command's name: addresses of the first environment
_PR_SET_DUMPABLE = 4  # linux/prctl.h


def seal() -> None:
    """Protect this process from others of the same user; every process of the service calls this first.

    From here on, the files it creates are private to its user, its secrets are no longer in `/proc/<pid>/environ`, and
    only root can read its memory and open files.
    """
    os.umask(0o077)
    _receive()
    _blank()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def hand_over(environment: Mapping[str, str]) -> tuple[dict[str, str], int]:
    """Split a child's environment: public variables, and a file descriptor (for `pass_fds`) with the secret ones."""
    rest = {name: value for name, value in environment.items() if is_secret(name, value)}
    file = os.memfd_create("environment") if hasattr(os, "memfd_create") else _unnamed()
    os.write(file, json.dumps(rest).encode())
    clean = {name: value for name, value in environment.items() if name not in rest}
    return clean | {HANDED_OVER: str(file)}, file


def is_secret(name: str, value: str) -> bool:
    """Return whether a variable may hold a secret; in doubt, True.

    >>> [is_secret(name, "x") for name in ("RDRKD_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "RDRKD_DATABASE_URL")]
    [True, True, True, True]
    >>> [is_secret(name, "x") for name in ("PATH", "RDRKD_DATA_DIR", "RDRKD_TOKEN_FILE", "PYTHONPATH")]
    [False, False, False, False]
    >>> is_secret("ANYTHING", "redis://:password@host/0")
    True
    """
    named = _SECRET.search(name.upper()) is not None and not name.upper().endswith(_PLACES)
    return named or re.search(r"://[^/@\s]*:[^/@\s]+@", value) is not None


def own_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter, or restrict an existing one and the files in it.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # another user's: we cannot change it
        for path in (folder, *folder.iterdir()):
            _close(path)


def _close(path: Path) -> None:
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & 0o077:
            path.chmod(stat.S_IMODE(mode) & 0o700)


def _receive() -> None:
    """Read the secret part of the environment, as written by `hand_over`."""
    number = os.environ.pop(HANDED_OVER, None)
    if number is None:
        return
    file = int(number)
    # By position: a child that is started again reads the same open file.
    os.environ.update(json.loads(os.pread(file, os.fstat(file).st_size, 0)))
    os.close(file)


def _blank() -> None:
    """Overwrite the secrets in this process's initial environment block; `os.environ` keeps them."""
    if sys.platform != "linux":
        return
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[_ENV_START]), int(fields[_ENV_START + 1])
    for entry in ctypes.string_at(start, end - start).split(b"\0"):
        name, _, value = entry.partition(b"=")
        if is_secret(os.fsdecode(name), os.fsdecode(value)):
            if (kept := os.environ.get(os.fsdecode(name))) is not None:
                os.environ[os.fsdecode(name)] = kept  # the C library's copy moves to the heap
            ctypes.memset(start + len(name) + 1, 0, len(value))
        start += len(entry) + 1


def _unnamed() -> int:
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
