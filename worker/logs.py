"""Write the trainer's log to the database: new lines at every heartbeat, the rest at the end."""

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

from sqlalchemy.exc import DBAPIError

from api.tables.leases import Fenced
from rdrkd.paths import without_paths
from worker.background import Background

log = logging.getLogger(__name__)

MOST_UNREAD = 2**20  # bytes between two reads; older ones are skipped, since the database would not keep them either
LONGEST, LONGEST_REST = 4000, 2**16  # characters of a line; bytes of an incomplete line
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")  # PostgreSQL cannot store NUL


class Reader:
    """Read a growing log that is rotated when it is full."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._rest = b""  # the beginning of a line

    def read(self, to_the_end: bool = False) -> str:
        """Return the lines completed since the last call; at the end, also an incomplete last one."""
        data = self._rest + self._new()
        end = len(data) if to_the_end else data.rfind(b"\n") + 1
        whole, self._rest = data[:end], data[end:][-LONGEST_REST:]
        passed_over = max(0, len(whole) - MOST_UNREAD)
        if passed_over:  # and the rest of the line
            passed_over = whole.find(b"\n", passed_over) + 1 or passed_over
            whole = whole[passed_over:]
        note = f"[{passed_over} bytes passed over: they came faster than they can be kept]\n" if passed_over else ""
        return note + "".join(readable(line) + "\n" for line in _lines(whole))

    def _new(self) -> bytes:
        data = self._more()
        if self._file is not None and self._is_put_aside(self._file):
            data += self._more()  # written between the read and the rotation
            self.close()
            data += self._more()
        return data

    def _more(self) -> bytes:
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return b""
        return self._file.read()

    def _is_put_aside(self, file: IO[bytes]) -> bool:
        try:
            return not os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:  # the new file does not exist yet
            return True

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Shipping(Background):
    """As a context manager: send a log in the background until the block ends, and then the rest of it."""

    def __init__(self, path: Path, keep: Callable[[str], object], every_seconds: float) -> None:
        """Prepare to send the log at `path`.

        Args:
            path: the log; it may not exist yet.
            keep: writes lines in a fenced transaction of its own; raises what `Lease.write` raises.
            every_seconds: interval between reads.
        """
        super().__init__("logs")
        self._reader, self._keep, self._every = Reader(path), keep, every_seconds
        self._pending = ""  # read but not yet written

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        try:
            if not isinstance(error, (Fenced, DBAPIError)):
                self._ship(to_the_end=True)
        finally:
            self._reader.close()

    def _run(self) -> None:
        try:
            while not self.ended.wait(self._every):
                self._ship()
        except (Fenced, DBAPIError, OSError) as error:  # the attempt will notice the same error itself
            log.warning("stopped sending the trainer's log: %s", error)

    def _ship(self, to_the_end: bool = False) -> None:
        self._pending += self._reader.read(to_the_end)
        if self._pending:
            self._keep(self._pending)
            self._pending = ""


def readable(line: str) -> str:
    r"""Return a line without colours, paths of this machine and control characters.

    >>> readable("\x1b[1m 10%\r 99%\rdone: /srv/runs/7/a.pt \0")
    'done: a.pt \ufffd'
    """
    drawn_last = _COLOURS.sub("", line).rstrip("\r").rpartition("\r")[2]  # a progress bar overwrites itself
    return without_paths(_CONTROLS.sub("\ufffd", drawn_last[:LONGEST]))


def _lines(data: bytes) -> list[str]:
    lines = data.decode(errors="replace").split("\n")
    return lines if lines[-1] else lines[:-1]
