"""Network namespaces, one a worker, so that a partition is a link that is down: packets vanish, nobody is told."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Namespace:
    """A namespace with one link to this machine."""

    def __init__(self, number: int) -> None:
        self.name = f"rdrkd-{os.getpid()}-{number}"
        subnet = f"10.{200 + os.getpid() % 50}.{(os.getpid() // 50 + number) % 250}"
        self.host, inside = f"{subnet}.1", f"{subnet}.2"
        self._link = f"rd{os.getpid() % 10**6}v{number}"
        _ip("netns", "add", self.name)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", f"{self._link}p", "netns", self.name)
        _ip("addr", "add", f"{self.host}/30", "dev", self._link)
        _ip("link", "set", self._link, "up")
        for command in (
            ("addr", "add", f"{inside}/30", "dev", f"{self._link}p"),
            ("link", "set", f"{self._link}p", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", self.name, *command)
        self.command = ("nsenter", f"--net=/var/run/netns/{self.name}")

    @contextmanager
    def parted(self) -> Iterator[None]:
        _ip("link", "set", self._link, "down")
        try:
            yield
        finally:
            _ip("link", "set", self._link, "up")

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "del", self.name)


def possible() -> bool:
    """Return whether namespaces can be made here: it takes root, and a kernel that lets it."""
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("nsenter")):
        return False
    try:
        Namespace(99).close()
    except subprocess.CalledProcessError:
        return False
    return True


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
