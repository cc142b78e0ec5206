"""Health check (`python -m worker.health`): is the worker of this machine alive, connected and able to work?

Celery's ping is not available, because remote control is off. The check therefore examines the sockets of the worker
process and the complaint in the worker's row. A stuck worker exits by itself (`worker.watchdog`); one that merely
cannot work at the moment, for example with a full disk, should not be restarted.
"""

import os
import socket
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from sqlalchemy.exc import SQLAlchemyError

from api.db import Database
from api.jobs.workers import service
from api.settings import Settings

DEFAULT_PORTS = {"redis": 6379, "rediss": 6379}


def workers() -> list[psutil.Process]:
    """Return the worker processes of this user."""
    mine = (process for process in psutil.process_iter(["uids", "cmdline"]) if process.info["uids"])
    return [
        process
        for process in mine
        if process.info["uids"].real == os.getuid() and is_worker(process.info["cmdline"] or [])
    ]


def is_worker(command: list[str]) -> bool:
    """Return whether a command line is a worker's; a container's init with the same arguments is not.

    >>> is_worker(["/usr/bin/python3", "-m", "worker", "--queue", "train"])
    True
    >>> is_worker(["/usr/bin/python3", "-m", "worker.health"])
    False
    >>> is_worker(["/sbin/docker-init", "--", "python", "-m", "worker", "--queue", "train"])
    False
    """
    return ("-m", "worker") in pairwise(command) and Path(command[0]).name.startswith("python")


def is_connected(process: psutil.Process, broker_url: str) -> bool:
    """Return whether `process` holds a connection to the broker; always true for a broker in a file."""
    url = urlsplit(broker_url)
    if url.scheme not in DEFAULT_PORTS or url.hostname is None:
        return True
    port = url.port or DEFAULT_PORTS[url.scheme]
    addresses = {info[4][0] for info in socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)}
    return any(
        peer.status == psutil.CONN_ESTABLISHED and peer.raddr.ip in addresses and peer.raddr.port == port
        for peer in _connections(process)
    )


def _connections(process: psutil.Process) -> list[Any]:
    """Return the TCP connections of a process; if they are hidden, those that belong to no visible process.

    A worker hides its open files from everyone but root (`rdrkd.process.secret_hiding`), and this check runs as the
    worker's own user. The kernel still lists the connections of the network namespace, which in a container are the
    worker's alone.
    """
    try:
        return list(process.net_connections("tcp"))
    except psutil.AccessDenied:
        return [one for one in psutil.net_connections("tcp") if one.pid is None]


def complaint(found: Iterable[psutil.Process], broker_url: str) -> str | None:
    """Return what is wrong with the processes, or None."""
    found = list(found)
    if not found:
        return "no worker process runs"
    try:
        deaf = [process.pid for process in found if not is_connected(process, broker_url)]
    except (OSError, psutil.Error) as error:
        return f"cannot tell: {error}"
    return f"no connection to the broker: process {deaf}" if deaf else None


def own_complaint(names: Sequence[str], database_url: str) -> str | None:
    """Return the complaints of the workers with these names, or None; also None if the database does not respond."""
    database = Database(database_url, kept=1)
    try:
        with database.transaction() as session:
            present = [one for one in service.present(session) if one.row.name in names]
    except SQLAlchemyError:  # the database's fault, not the worker's
        return None
    finally:
        database.engine.dispose()
    unfit = [f"{one.row.name}: {one.row.complaint or 'sends no heartbeat'}" for one in present if _is_unfit(one)]
    return "; ".join(unfit) or None


def _is_unfit(present: service.Present) -> bool:
    return present.row.complaint is not None or not present.alive


def main() -> str | None:
    """Return what is wrong, or None."""
    settings, found = Settings(), workers()
    names = [f"{socket.gethostname()}:{process.pid}" for process in found]
    return complaint(found, settings.broker_url) or own_complaint(names, settings.database_url)


if __name__ == "__main__":
    sys.exit(main())
