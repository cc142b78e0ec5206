"""The ranks of a training on several devices: child processes of the run, one per device.

They get the environment that torchrun would set, without a torchrun process in between, so the run sees how each rank
ends, and each rank's parent is the run itself. They meet at a store in this process, on a free port of the loopback
device. Each writes events to its standard output, as a trainer does to its worker: rank 0 all of them, the others only
how they ended.
"""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch exports it without saying so

import rdrkd
from rdrkd.errors import Problem, RankError, RdrkdError, StopRequested, error_of
from rdrkd.events import Done, Failed, Stopped, parse
from rdrkd.process.die_with_parent import PARENT_VARIABLE
from rdrkd.reasons import Reason
from rdrkd.reporter import Reporter
from rdrkd.training.part import WHOLE, Part
from rdrkd.training.plan import Plan, WrittenPlan

_HOST = "127.0.0.1"
_LOOK = 0.2  # seconds between checks for a stop request
_GRACE = 30.0  # seconds for rank 0 to finish its batch or checkpoint after a stop request
_MOMENT = 3.0  # seconds after a rank fails to reach the others until it counts as the cause
_PROGRAM = ("-m", "rdrkd.training.rank")
Said = queue.Queue[tuple[int, bytes]]  # rank and line; an empty line: the rank has ended


class Order(BaseModel):
    """The order for each rank."""

    plan: WrittenPlan
    data: Path  # our data YAML
    run_dir: Path
    devices: tuple[str, ...]  # one for each rank
    resume: str | None  # name of the checkpoint to resume from, the same for all
    part: Part = WHOLE

    @classmethod
    def of(
        cls, plan: Plan, data: Path, run_dir: Path, devices: tuple[str, ...], resume: str | None, part: Part = WHOLE
    ) -> "Order":
        """Create an order; raises `ModelError` for a plan whose models have no files."""
        return cls(plan=WrittenPlan.of(plan), data=data, run_dir=run_dir, devices=devices, resume=resume, part=part)


def train(order: Order, reporter: Reporter, program: Sequence[str] = _PROGRAM) -> int | None:
    """Train on all devices of an order and return the best epoch; no rank is running when this returns or raises.

    Args:
        order: the order for each rank.
        reporter: receives rank 0's events; polled for a stop request.
        program: arguments with which Python runs a rank; the order's JSON is appended.

    Raises:
        RdrkdError: the error of the rank that failed first; among several, of the one that was killed.
        StopRequested: the reporter requested it, or rank 0 was stopped from outside.
    """
    (order.run_dir / "train" / "results.csv").unlink(missing_ok=True)  # else Ultralytics would append to it
    with socket.create_server((_HOST, 0)) as listener:
        port = listener.getsockname()[1]
        store = TCPStore(_HOST, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
    said: Said = queue.Queue()
    ranks: list[_Rank] = []
    try:
        for rank in range(len(order.devices)):
            ranks.append(_Rank(rank, order, port, said, program))  # noqa: PERF401  - the started ones are ended if one fails to start
        return _follow(ranks, said, reporter)
    finally:
        for each in ranks:
            each.kill()
        del store  # the store had to exist until now


class _Rank:
    """One rank: its process, and two threads that forward its output and its end.

    The end of its output is not its end: the data loaders of a killed rank keep the pipe open.
    """

    def __init__(self, rank: int, order: Order, port: int, said: Said, program: Sequence[str]) -> None:
        self.rank = rank
        # -P: as for a trainer, the current folder is not an import path
        self.process = subprocess.Popen(
            [sys.executable, "-P", *program, order.model_dump_json()],
            env=_environment(rank, len(order.devices), port),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, args=(said,), daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait, args=(said,), daemon=True).start()

    def _read(self, said: Said) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                if line.endswith(b"\n"):  # else the rank died while writing
                    said.put((self.rank, line))

    def _wait(self, said: Said) -> None:
        self.process.wait()
        self._reader.join(timeout=1)  # deliver its last events before its end
        said.put((self.rank, b""))

    def kill(self) -> None:
        """End the process if it is running."""
        self.process.kill()
        self.process.wait()
        self._reader.join(timeout=1)  # data loaders outlive their rank by some seconds


def _environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """Return torchrun's variables, the parent to watch, the loopback device and the rank's share of the cores."""
    root = str(Path(rdrkd.__file__).parent.parent)
    wishes = {"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // ranks, 1))}
    if sys.platform.startswith("linux"):
        wishes["GLOO_SOCKET_IFNAME"] = "lo"  # else gloo resolves this machine's host name
    return {
        **wishes,
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        PARENT_VARIABLE: str(os.getpid()),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store exists: rank 0 must not open one
    }


def _follow(ranks: "list[_Rank]", said: Said, reporter: Reporter) -> int | None:
    """Forward events until all ranks are done; return the best epoch, or raise the first rank's error."""
    best_epoch: int | None = None
    going = {each.rank for each in ranks}
    give_up: float | None = None  # deadline in monotonic seconds; set when rank 0 is asked to stop
    while going:
        if give_up is None and reporter.should_stop():
            ranks[0].process.terminate()  # only rank 0 writes; the others end with it
            give_up = time.monotonic() + _GRACE
        if give_up is not None and time.monotonic() > give_up:
            raise StopRequested("asked to stop; the ranks were ended, the newest checkpoint is kept")
        try:
            rank, line = said.get(timeout=_LOOK)
        except queue.Empty:
            continue
        if rank not in going:  # it ended after finishing
            continue
        event = parse(line) if line else None
        if isinstance(event, Done):
            going.remove(rank)
            best_epoch = event.result["best_epoch"] if rank == 0 else best_epoch
        elif event is None or isinstance(event, Failed | Stopped):
            # after a stop, rank 0 leaves the others without a partner, so they fail
            if isinstance(event, Stopped) or give_up is not None or reporter.should_stop():
                raise StopRequested("asked to stop; the newest checkpoint is kept")
            raise _cause(_end_of(ranks[rank], event), [ranks[each] for each in going])
        else:
            reporter.emit(event)
    for each in ranks:
        with contextlib.suppress(subprocess.TimeoutExpired):
            each.process.wait(_GRACE)
    return best_epoch


def _cause(first: RdrkdError, going: "Iterable[_Rank]") -> RdrkdError:
    """Return the error to report: the first one, unless it may be a consequence of another rank having been killed.

    A killed rank reports nothing, and the others may report a lost connection first.
    """
    patience = time.monotonic() + _MOMENT
    while first.reason is Reason.INTERNAL and time.monotonic() < patience:
        ends = {each: each.process.poll() for each in going}
        for each, status in ends.items():
            if status is not None and status < 0 and status != -signal.SIGABRT:  # NCCL aborts itself
                return _end_of(each, None)
        if None not in ends.values():
            break
        time.sleep(_LOOK)
    return first


def _end_of(rank: "_Rank", event: Failed | None) -> RdrkdError:
    """Return the error of a rank that failed, with or without an event."""
    if isinstance(event, Failed):
        problems = [Problem(problem["where"], problem["detail"]) for problem in event.problems]
        return error_of(event.reason, f"rank {rank.rank}: {event.message}", problems)
    status = rank.process.wait()
    if status == -signal.SIGKILL:
        return RankError(
            f"rank {rank.rank} was killed from outside (SIGKILL), as the kernel does when the machine's memory is "
            "used up", reason=Reason.OOM_HOST,
        )  # fmt: skip
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return RankError(f"rank {rank.rank} ended without a word, {how}; the log has what it printed")
