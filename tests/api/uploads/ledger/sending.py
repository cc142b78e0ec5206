"""Uploads over raw sockets that stop where a test wants them to, and a small disk."""

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

MIB = 2**20
_HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
_TAIL = b"\r\n--x--\r\n"


class Sending:
    """One upload: its headers go out at once, its bytes when the test says so."""

    def __init__(self, port: int, key: dict[str, str], size: int | None = None) -> None:
        self.chunked = size is None
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        length = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {len(_HEAD) + size + len(_TAIL)}"
        lines = ["POST /v1/datasets HTTP/1.1", "Host: localhost", "Content-Type: multipart/form-data; boundary=x",
                 "Connection: close", f"Authorization: {key['Authorization']}", length]  # fmt: skip
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._write(_HEAD)

    def send(self, size: int) -> bool:
        """Send so many bytes; False: the service has hung up."""
        try:
            for start in range(0, size, MIB):
                self._write(os.urandom(min(MIB, size - start)))
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def answered(self, seconds: float = 0) -> bool:
        """Return whether there is an answer, or is one within so long."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def finish(self) -> tuple[int, str]:
        """Send the end of the form; give the answer's status and code."""
        try:
            self._write(_TAIL)
            if self.chunked:
                self._socket.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it is answered already
        return self.answer()

    def answer(self) -> tuple[int, str]:
        """Read the answer: its status, and the code of a refusal."""
        answer = b""
        with self._socket:
            while chunk := self._read():
                answer += chunk
        status, body = int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]
        return status, str(json.loads(body[body.index(b"{") : body.rindex(b"}") + 1]).get("code", ""))

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except ConnectionResetError:  # it hung up on what we were still sending
            return b""

    def _write(self, content: bytes) -> None:
        self._socket.sendall(b"%x\r\n%s\r\n" % (len(content), content) if self.chunked else content)


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until `condition` gives something true, and give that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not true within {seconds} s")


def spooled(data_dir: Path) -> int:
    """Sum what lies in the folder for incoming files, bytes."""
    total = 0
    for path in (data_dir / "storage" / "incoming").glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[None]:
    """Let a folder be a disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
