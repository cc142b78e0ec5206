"""Is the worker of this machine or container alive and connected to its broker? `python -m worker.health`.

Celery's own ping is no answer: remote control is off, since the database does its work. What can go wrong unseen is
a worker that has lost its broker; so the check looks at the sockets that the worker process holds.
"""

import os
import socket
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from api.settings import Settings

DEFAULT_PORTS = {"redis": 6379, "rediss": 6379}


def workers() -> list[psutil.Process]:
    """Give the worker processes of this user."""
    mine = (process for process in psutil.process_iter(["uids", "cmdline"]) if process.info["uids"])
    return [
        process
        for process in mine
        if process.info["uids"].real == os.getuid() and is_worker(process.info["cmdline"] or [])
    ]


def is_worker(command: list[str]) -> bool:
    """Tell a worker by its command line; a container's init, which carries the same words, is none.

    >>> is_worker(["/usr/bin/python3", "-m", "worker", "--queue", "train"])
    True
    >>> is_worker(["/usr/bin/python3", "-m", "worker.health"])
    False
    >>> is_worker(["/sbin/docker-init", "--", "python", "-m", "worker", "--queue", "train"])
    False
    """
    return ("-m", "worker") in pairwise(command) and Path(command[0]).name.startswith("python")


def is_connected(process: psutil.Process, broker_url: str) -> bool:
    """Say whether `process` holds a connection to the broker; a broker that is a file is always there."""
    url = urlsplit(broker_url)
    if url.scheme not in DEFAULT_PORTS or url.hostname is None:
        return True
    port = url.port or DEFAULT_PORTS[url.scheme]
    addresses = {info[4][0] for info in socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)}
    return any(
        peer.status == psutil.CONN_ESTABLISHED and peer.raddr.ip in addresses and peer.raddr.port == port
        for peer in process.net_connections("tcp")
    )


def complaint(found: Iterable[psutil.Process], broker_url: str) -> str | None:
    """Say what is wrong, if anything is."""
    found = list(found)
    if not found:
        return "no worker process runs"
    try:
        deaf = [process.pid for process in found if not is_connected(process, broker_url)]
    except (OSError, psutil.Error) as error:
        return f"cannot tell: {error}"
    return f"no connection to the broker: process {deaf}" if deaf else None


if __name__ == "__main__":
    sys.exit(complaint(workers(), Settings().broker_url))
