"""The ranks of a training on several devices: child processes of the run's, one for each device.

They get the environment that torchrun would give them, without torchrun's process between: so the run sees each rank's
own end, and the kernel each rank's parent. They meet at a store in this process, on a port of its own on the loopback
device. Each writes its events to its standard output, as a trainer does to its worker: rank 0 all of them, the others
only how they ended.
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
_LOOK = 0.2  # seconds between two questions whether to stop
_GRACE = 30.0  # seconds that rank 0 has to finish its batch, or the checkpoint that it writes, once asked to stop
_MOMENT = 3.0  # seconds from a rank's loss of the others until it is taken for a fault of its own
_PROGRAM = ("-m", "rdrkd.training.rank")
Said = queue.Queue[tuple[int, bytes]]  # rank and line; an empty line is its end


class Order(BaseModel):
    """The order for each rank."""

    plan: WrittenPlan
    data: Path  # our data YAML
    run_dir: Path
    devices: tuple[str, ...]  # one for each rank
    resume: str | None  # name of the checkpoint to go on from: the same for all
    part: Part = WHOLE

    @classmethod
    def of(
        cls, plan: Plan, data: Path, run_dir: Path, devices: tuple[str, ...], resume: str | None, part: Part = WHOLE
    ) -> "Order":
        """Write an order; raises `ModelError` for a plan whose models have no files."""
        return cls(plan=WrittenPlan.of(plan), data=data, run_dir=run_dir, devices=devices, resume=resume, part=part)


def train(order: Order, reporter: Reporter, program: Sequence[str] = _PROGRAM) -> int | None:
    """Train on all devices of an order and give the best epoch; no rank is left when this returns or raises.

    Args:
        order: the order for each rank.
        reporter: takes rank 0's events; asked whether to stop.
        program: what Python runs as a rank, the order's JSON its last argument.

    Raises:
        RdrkdError: of the rank that failed first; of several, of the one that was killed.
        StopRequested: the reporter asked, or somebody stopped rank 0.
    """
    (order.run_dir / "train" / "results.csv").unlink(missing_ok=True)  # each rank's Ultralytics would try it
    with socket.create_server((_HOST, 0)) as listener:
        port = listener.getsockname()[1]
        store = TCPStore(_HOST, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
    said: Said = queue.Queue()
    ranks: list[_Rank] = []
    try:
        for rank in range(len(order.devices)):
            ranks.append(_Rank(rank, order, port, said, program))  # noqa: PERF401 - those that run are ended if one cannot start
        return _follow(ranks, said, reporter)
    finally:
        for each in ranks:
            each.kill()
        del store  # the meeting place had to stand until now


class _Rank:
    """One rank: its process, and two threads that hand on what it says and that it has ended.

    The end of its output does not say that: a rank that is killed leaves its data loaders, which hold the pipe open.
    """

    def __init__(self, rank: int, order: Order, port: int, said: Said, program: Sequence[str]) -> None:
        self.rank = rank
        # -P: as of a trainer, the present folder is no import path
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
                if line.endswith(b"\n"):  # else it died while it wrote
                    said.put((self.rank, line))

    def _wait(self, said: Said) -> None:
        self.process.wait()
        self._reader.join(timeout=1)  # its last events come before its end
        said.put((self.rank, b""))

    def kill(self) -> None:
        """End the process, if it has not ended."""
        self.process.kill()
        self.process.wait()
        self._reader.join(timeout=1)  # data loaders outlive their rank by some seconds


def _environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """Torchrun's variables, and what keeps a rank near: its parent, the loopback device, its share of the cores."""
    root = str(Path(rdrkd.__file__).parent.parent)
    wishes = {"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // ranks, 1))}
    if sys.platform.startswith("linux"):
        wishes["GLOO_SOCKET_IFNAME"] = "lo"  # else it asks the network for this machine's name
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
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is there: rank 0 need not open one
    }


def _follow(ranks: "list[_Rank]", said: Said, reporter: Reporter) -> int | None:
    """Pass on what the ranks say until all are done; give the best epoch, or raise the first other end."""
    best_epoch: int | None = None
    going = {each.rank for each in ranks}
    give_up: float | None = None  # monotonic seconds; set once rank 0 is asked to stop
    while going:
        if give_up is None and reporter.should_stop():
            ranks[0].process.terminate()  # it alone writes; the others end with it
            give_up = time.monotonic() + _GRACE
        if give_up is not None and time.monotonic() > give_up:
            raise StopRequested("asked to stop; the ranks were ended, the newest checkpoint stands")
        try:
            rank, line = said.get(timeout=_LOOK)
        except queue.Empty:
            continue
        if rank not in going:  # it ends after it is done
            continue
        event = parse(line) if line else None
        if isinstance(event, Done):
            going.remove(rank)
            best_epoch = event.result["best_epoch"] if rank == 0 else best_epoch
        elif event is None or isinstance(event, Failed | Stopped):
            # once asked to stop, rank 0 leaves the others without a partner: they fail
            if isinstance(event, Stopped) or give_up is not None or reporter.should_stop():
                raise StopRequested("asked to stop; the newest checkpoint stands")
            raise _cause(_end_of(ranks[rank], event), [ranks[each] for each in going])
        else:
            reporter.emit(event)
    for each in ranks:
        with contextlib.suppress(subprocess.TimeoutExpired):
            each.process.wait(_GRACE)
    return best_epoch


def _cause(first: RdrkdError, going: "Iterable[_Rank]") -> RdrkdError:
    """Return the error to name: the first, unless it may come of another rank's end and that one was killed.

    A rank that is killed says nothing, and the others may be quicker to say that they have lost it.
    """
    patience = time.monotonic() + _MOMENT
    while first.reason is Reason.INTERNAL and time.monotonic() < patience:
        ends = {each: each.process.poll() for each in going}
        for each, status in ends.items():
            if status is not None and status < 0 and status != -signal.SIGABRT:  # which NCCL sends to itself
                return _end_of(each, None)
        if None not in ends.values():
            break
        time.sleep(_LOOK)
    return first


def _end_of(rank: "_Rank", event: Failed | None) -> RdrkdError:
    """Return the error of a rank that failed; without an event it went without a word."""
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
