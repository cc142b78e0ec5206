"""Run a child process for a row: own session and group, clean environment, bounded output, no orphans."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import rdrkd
from rdrkd.process import environment
from rdrkd.process.die_with_parent import PARENT_VARIABLE
from rdrkd.process.trainer_sandbox import Confinement
from worker.logs import readable

RDRKD = (sys.executable, "-P", "-m", "rdrkd")  # -P: never import from the run folder, which holds untrusted files
INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
MAX_LINE = 2**24  # bytes of one line of output; longer ones are dropped
MAX_LOG = 2**23  # bytes of a log file; the current and the previous one are kept


def clean_environment(home: Path) -> dict[str, str]:
    """Return a child's environment: safe settings, without the worker's URLs, tokens and credentials."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return (
        inherited
        | environment.defaults(home / "tmp")
        | {
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "PYTHONPATH": str(Path(rdrkd.__file__).parent.parent),
            "PYTHONUNBUFFERED": "1",
            PARENT_VARIABLE: str(os.getpid()),
        }
    )


class Child:
    """A running child. Start it from a thread that outlives it: the kernel kills it when that thread ends."""

    def __init__(
        self,
        command: Sequence[str | Path],
        home: Path,
        log: Path,
        env: Mapping[str, str] | None = None,
        hidden: Sequence[Path] = (),
        writable: Sequence[Path] = (),
    ) -> None:
        """Start a command, confined where the kernel can.

        Args:
            command: the command line; hidden files that it names are made readable.
            home: its working folder, which is writable.
            log: file for its stderr.
            env: variables in addition to those of `clean_environment`.
            hidden: files and folders that it cannot read.
            writable: further folders in which it may write.
        """
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        log.touch()
        for folder in writable:  # a folder that does not exist at the start cannot be granted
            folder.mkdir(parents=True, exist_ok=True)
        words = [str(part) for part in command]
        named = [word for word in words if word.startswith("/") and Path(word).is_file()]
        confinement = Confinement([*map(str, hidden)], named, [str(home), *map(str, writable)])
        self._process = subprocess.Popen(
            confinement.of(words) if hidden else words,
            cwd=home,
            env=clean_environment(home) | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdout: IO[bytes] = self._process.stdout
        self.log = log
        self._asked_to_stop: float | None = None  # monotonic seconds
        self._logger = threading.Thread(target=_copy_capped, args=(self._process.stderr, log), daemon=True)
        self._logger.start()
        self._undertaker = threading.Thread(target=self._bury, daemon=True)
        self._undertaker.start()

    @property
    def pid(self) -> int:
        """Process id, also of the group and the session."""
        return self._process.pid

    def lines(self, longest: int = MAX_LINE) -> Iterator[bytes]:
        """Yield each line of standard output as it arrives; drop lines over `longest` bytes."""
        dropping = False
        with self._stdout:
            while line := self._stdout.readline(longest):
                whole = line.endswith(b"\n")
                if whole and not dropping:
                    yield line
                dropping = not whole

    def stop(self, grace_seconds: float) -> None:
        """Ask the child to stop; call this repeatedly: after the grace period, the whole process group is killed."""
        if self._asked_to_stop is None:
            self._asked_to_stop = time.monotonic()
            # Signal the child only: if its data loaders died first, that would look like a failure.
            if self._process.returncode is None:
                os.kill(self.pid, signal.SIGTERM)
        elif time.monotonic() > self._asked_to_stop + grace_seconds:
            self.kill()

    def kill(self) -> None:
        """Kill the child and everything in its group, now."""
        if self._process.returncode is None:
            _kill_group(self.pid)

    def wait(self) -> int:
        """Wait until the child and its group have exited and the log is complete; return the exit status."""
        self._undertaker.join()
        self._logger.join(timeout=5)
        return self._process.wait()

    def _bury(self) -> None:
        """Kill what the child left behind, after it has exited and before its process id can be reused.

        Nothing else may reap the child (`Popen.poll` and `send_signal` would).
        """
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        _kill_group(self.pid)
        self._process.wait()


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # no process is left (EPERM on macOS)
        os.killpg(group, signal.SIGKILL)


def _copy_capped(stream: IO[bytes], log: Path) -> None:
    """Copy a stream to a file; rotate a full file to `<log>.1`, because the end of a log matters most."""
    with stream:
        while chunk := stream.read1(2**16):  # type: ignore[attr-defined]
            with contextlib.suppress(OSError):  # a full disk must not block the child: keep reading
                if log.exists() and log.stat().st_size > MAX_LOG:
                    log.replace(log.with_name(log.name + ".1"))
                with log.open("ab") as file:
                    file.write(chunk)


def last_words(log: Path, lines: int = 5) -> str:
    """Return the last lines of a log, without this machine's paths."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 2**14))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    words = (readable(line).strip() for line in text.replace("\r", "\n").split("\n"))  # \r: progress bars
    return "\n".join([line for line in words if line][-lines:])
