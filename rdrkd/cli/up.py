"""The embedded service, `rdrkd up`: API, reaper and two workers as child processes, started by module name.

The library imports none of them. A child that dies is restarted; when this process ends, even by SIGKILL, its children
end too.
"""

import fcntl
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil
from rich.console import Console

import rdrkd
from rdrkd.cli import local_token
from rdrkd.cli.connection import URL
from rdrkd.errors import RdrkdError
from rdrkd.events import EXIT_DONE
from rdrkd.process.secret_hiding import hand_over, own_folder, seal
from rdrkd.process.supervised import Supervised

CHILDREN = {
    "api": ["api"],
    "reaper": ["api.reaper"],
    "worker-train": ["worker", "--queue", "train"],
    "worker-inspect": ["worker", "--queue", "inspect"],
}
READY_SECONDS = 60.0
STOP_SECONDS = 30.0  # a draining worker stops its trainer first


class ServiceError(RdrkdError):
    """The embedded service cannot be started or stopped."""


_LONGEST = 400  # characters of a log's line in a message


def up(data_dir: Path, host: str = "127.0.0.1", port: int = 8000, detach: bool = False) -> int:
    """Start the embedded service and keep it running until SIGTERM or Ctrl-C; return the exit status.

    Args:
        data_dir: folder for database, uploads, caches, runs and logs.
        host: address to listen on; beyond loopback a token is required (`RDRKD_TOKEN`).
        port: TCP port; 0: any free one.
        detach: return once the service is ready, and leave it running.

    Raises:
        ServiceError: a service runs on this folder already, or it does not become ready.
    """
    seal()
    data_dir, port = data_dir.expanduser().absolute(), port or _free_port(host)
    if detach:
        return _detach(data_dir, host, port)
    console = Console(stderr=True)
    with _sole_owner(data_dir) as pid_file, _stop_signals() as stopped, ExitStack() as stack:
        _check_port(host, port)
        (data_dir / "logs").mkdir(exist_ok=True)
        url = _url(host, port)
        token_file = stack.enter_context(local_token.made(host, port))
        environment = _environment(data_dir, host, port, token_file)
        earlier = _size(data_dir / "logs" / "api.log")
        children = [Supervised("api", CHILDREN["api"], environment, data_dir / "logs")]
        try:
            _await_ready(url, children[0], stopped, data_dir / "logs", earlier)
            others = [(name, module) for name, module in CHILDREN.items() if name != "api"]
            children += [Supervised(name, module, environment, data_dir / "logs") for name, module in others]
            pid_file.write_text(f"{os.getpid()} {url}\n")
            console.print(
                f"RDR-KD is ready at {url} (documentation: {url}/docs), data and logs in {data_dir}; Ctrl-C stops it"
            )
            _tell_of_url(url, console)
            while not stopped:
                for child in children:
                    if (status := child.look()) is not None:
                        console.print(f"{child.name} ended with status {status}; starting it again")
                time.sleep(0.2)
        finally:
            _stop(children)
            console.print("stopped")
    return EXIT_DONE


def down(data_dir: Path) -> int:
    """Stop the embedded service of a data folder and wait until it has exited; return the exit status.

    Raises:
        ServiceError: it does not stop.
    """
    data_dir = data_dir.expanduser().absolute()
    running = _running(data_dir)
    if running is None:
        Console(stderr=True).print(f"no service runs on {data_dir}")
        return EXIT_DONE
    with suppress(psutil.NoSuchProcess):  # it has just exited
        process = psutil.Process(running)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS + 10)  # not only for its lock, which is released just before the process exits
        except psutil.TimeoutExpired:
            message = f"expected the service (process {running}) to stop within {STOP_SECONDS:.0f} s"
            raise ServiceError(message) from None
    Console(stderr=True).print(f"stopped the service on {data_dir}", soft_wrap=True)
    return EXIT_DONE


def _detach(data_dir: Path, host: str, port: int) -> int:
    if (running := _running(data_dir)) is not None:
        raise ServiceError(f"a service (process {running}) runs on {data_dir} already{_its_url(data_dir)}")
    _check_port(host, port)
    _make(data_dir / "logs")
    earlier = _size(data_dir / "logs" / "api.log")
    command = [sys.executable, "-m", "rdrkd", "up", "--data-dir", str(data_dir), "--host", host, "--port", str(port)]
    environment, handed_over = hand_over(os.environ)
    with (data_dir / "logs" / "up.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, pass_fds=[handed_over], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    end = time.monotonic() + READY_SECONDS
    while not (_running(data_dir) == process.pid and "http" in _pid_file(data_dir).read_text()):
        if process.poll() is not None or time.monotonic() > end:
            message = f"the service did not become ready; see up.log and api.log in {data_dir}/logs"
            raise ServiceError(message + _last_words(data_dir / "logs" / "api.log", earlier))
        time.sleep(0.1)
    stop = shlex.join(["rdrkd", "down", "--data-dir", str(data_dir)])
    console = Console(stderr=True)
    console.print(f"RDR-KD is ready at {_url(host, port)}; stop it with `{stop}`", soft_wrap=True)
    _tell_of_url(_url(host, port), console)
    return EXIT_DONE


def _its_url(data_dir: Path) -> str:
    """Return the end of a message about a running service: its URL, and how to stop it."""
    stop = f"stop it with `{shlex.join(['rdrkd', 'down', '--data-dir', str(data_dir)])}`"
    try:
        _, url = _pid_file(data_dir).read_text().split()
    except (OSError, ValueError):  # it is not ready yet
        return f"; {stop}"
    return f", at {url}; {stop}"


def _url(host: str, port: int) -> str:
    """Return the URL at which this machine reaches the service."""
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104 - only compared


def _tell_of_url(url: str, console: Console) -> None:
    """Print how other commands find a service that is not at their default URL."""
    if url not in (URL, os.environ.get("RDRKD_URL", "").rstrip("/")):
        console.print(f"other commands find it with `export RDRKD_URL={url}` (or --url)", soft_wrap=True)


def _await_ready(url: str, api: Supervised, stopped: list[int], logs: Path, earlier: int) -> None:
    """Wait until the API answers: it migrates the database before the other processes may use it.

    `earlier` is the size of its log, bytes, before it started.
    """
    end = time.monotonic() + READY_SECONDS
    while not stopped:
        if api.process is not None and api.process.poll() is not None:
            message = f"the API ended with status {api.process.poll()} at its start; see {logs}/api.log"
            raise ServiceError(message + _last_words(logs / "api.log", earlier))
        if time.monotonic() > end:
            raise ServiceError(f"the API did not become ready within {READY_SECONDS:.0f} s; see {logs}/api.log")
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):  # noqa: S310 - our own URL
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _last_words(log: Path, after: int) -> str:
    """Return why the API ended, from what was added to its log of `after` bytes, as the end of a message.

    That is the last line, or the last exception if uvicorn's own line follows it; empty if nothing was added.
    """
    try:
        lines = log.read_bytes()[after:].decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    reason = lines[-1] if lines else ""
    if "startup failed" in reason:
        reason = next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception): ", line)), reason)
    return f": {reason[:_LONGEST]}" if reason else ""


def _stop(children: list[Supervised]) -> None:
    """Stop all children at once; a worker returns its job, with its checkpoints, to the queue."""
    for child in children:
        child.ask_to_stop()
    until = time.monotonic() + STOP_SECONDS
    for child in children:
        child.end(until)


@contextmanager
def _sole_owner(data_dir: Path) -> Iterator[Path]:
    """Hold the data folder's lock; a second service on the same folder is refused."""
    _make(data_dir)
    with _lock_file(data_dir).open("a") as lock:
        try:
            _take(lock)
        except BlockingIOError as error:
            raise ServiceError(f"a service runs on {data_dir} already{_its_url(data_dir)}") from error
        pid_file = _pid_file(data_dir)
        pid_file.write_text(f"{os.getpid()}\n")  # with the URL once the service is ready
        try:
            yield pid_file
        finally:
            pid_file.unlink(missing_ok=True)


def _make(folder: Path) -> None:
    try:
        own_folder(folder)
    except OSError as error:
        raise ServiceError(f"expected a folder that can be made at {folder}, got: {error.strerror}") from error


def _take(lock: IO[str]) -> None:
    """Take the lock; retry for a second, because a process that tests whether it is free holds it for a moment."""
    for last in (*[False] * 10, True):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if last:
                raise
            time.sleep(0.1)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT in a list instead of being killed by them."""
    stopped: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda received, _frame: stopped.append(received))
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _running(data_dir: Path) -> int | None:
    """Return the process that serves a data folder: the lock shows whether there is one, the pid file which."""
    try:
        with _lock_file(data_dir).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except BlockingIOError:
        with_url = _pid_file(data_dir).read_text() if _pid_file(data_dir).exists() else ""
        return int(with_url.split()[0]) if with_url else None
    return None


def _environment(data_dir: Path, host: str, port: int, token_file: Path | None) -> dict[str, str]:
    """Return the children's environment, in which Python imports this same code, installed or not."""
    code = [str(Path(rdrkd.__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {"RDRKD_DATA_DIR": str(data_dir), "RDRKD_HOST": host, "RDRKD_PORT": str(port)}
    if token_file is not None:
        ours["RDRKD_LOCAL_TOKEN_FILE"] = str(token_file)
    return os.environ | ours | {"PYTHONPATH": os.pathsep.join(code)}


def _check_port(host: str, port: int) -> None:
    """Refuse a port on which another service answers: its responses would be mistaken for ours."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise ServiceError(
            f"expected a free port, got {host}:{port}: {error.strerror}; choose another (--port)"
        ) from error


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


def _lock_file(data_dir: Path) -> Path:
    return data_dir / "up.lock"


def _pid_file(data_dir: Path) -> Path:
    return data_dir / "up.pid"
