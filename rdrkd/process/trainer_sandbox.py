"""Confine a trainer, which works on untrusted files, by Landlock (Linux 5.13 and later).

Run as a program, it confines itself and executes the given command. Everything on this machine stays readable except
what is hidden (the service's data and secrets); single files in it can be made readable again. Only the process's own
folders, devices and the temporary folder are writable. The kernel also denies it access to other processes
(`/proc/<pid>/environ`, `mem`) and from version 6 on signals to them. It needs no privileges and can gain none.

It imports the standard library only, for a fast start: it runs before every trainer.
"""

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls, the same on every architecture
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
_PATH_BENEATH, _VERSION = 1, 1  # linux/landlock.h, as are the constants below
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_OF_FILES = {
    1: (1 << 13) - 1,
    2: (1 << 14) - 1,
    3: (1 << 15) - 1,
}  # version -> file access rights it can deny
_TRUNCATE = 1 << 14
_SCOPED = 3  # deny signals and abstract sockets to outside processes; from version 6 on
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_WRITABLE = ("/dev", "/proc", "/tmp", "/var/tmp", "/run/nvidia-persistenced", "/run/lock")  # noqa: S108 - by name


@dataclass(frozen=True)
class Confinement:
    """What is hidden from a command, the exceptions, and what it can write."""

    hidden: Sequence[str]  # files and folders
    readable: Sequence[str] = field(default_factory=list)  # files and folders in them
    writable: Sequence[str] = field(default_factory=list)  # folders, hidden or not

    def of(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs `command` confined; `command` itself where the kernel has no Landlock."""
        if not supported():
            return list(command)
        return [sys.executable, "-I", "-S", __file__, json.dumps(asdict(self)), *command]


def supported() -> int:
    """Return the version of the kernel's Landlock; 0: none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _system_call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)))


def confine(asked: Confinement) -> None:
    """Confine this process and its children, irrevocably.

    Raises:
        OSError: the kernel refuses.
    """
    version = supported()
    everything = _OF_FILES[min(version, max(_OF_FILES))]
    attributes = (ctypes.c_uint64 * 3)(everything, 0, _SCOPED if version >= 6 else 0)
    size = ctypes.c_size_t(24 if version >= 6 else 8)
    ruleset = _checked(_system_call(_CREATE_RULESET, attributes, size, ctypes.c_uint32(0)))
    hidden = [os.path.realpath(path) for path in asked.hidden]
    _allow(ruleset, "/", _READ_DIR)  # names: Python looks for modules in folders that may hold hidden ones
    _allow_outside(ruleset, "/", hidden, _READ)
    for path in asked.readable:
        _allow(ruleset, path, _READ)
    for path in _WRITABLE:
        _allow_outside(ruleset, path, hidden, everything)
    for path in asked.writable:
        _allow(ruleset, path, everything)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _checked(_system_call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
    os.close(ruleset)


def _allow_outside(ruleset: int, path: str, hidden: Iterable[str], rights: int) -> None:
    """Allow `rights` below a path except below hidden ones, by allowing each of their siblings."""
    path = os.path.realpath(path)
    if path in hidden or any(path.startswith(f"{other}/") for other in hidden):
        return
    if not any(other.startswith(f"{path.rstrip('/')}/") for other in hidden):
        _allow(ruleset, path, rights)
        return
    with contextlib.suppress(OSError):
        for entry in os.scandir(path):
            if not entry.is_symlink():  # the target of a link has rights of its own
                _allow_outside(ruleset, entry.path, hidden, rights)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # missing, or not accessible to this user
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - without pathlib, which takes as long as the rest
            rights &= _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
        beneath = rights.to_bytes(8, sys.byteorder) + target.to_bytes(4, sys.byteorder)  # a packed structure
        kind, flags = ctypes.c_int(_PATH_BENEATH), ctypes.c_uint32(0)
        _checked(_system_call(_ADD_RULE, ctypes.c_int(ruleset), kind, beneath, flags))
    finally:
        os.close(target)


def _system_call(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"cannot confine the process: {os.strerror(ctypes.get_errno())}")
    return result


if __name__ == "__main__":
    confine(Confinement(**json.loads(sys.argv[1])))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the worker's own command
