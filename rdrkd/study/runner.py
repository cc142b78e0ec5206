"""Run a study: its teacher, then its members, each in a process of its own, until all are done or time is up.

Every member is a run folder, so the same command goes on where it was cut off, and a member that fails is recorded
and sinks no other. Results are written after every member.
"""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from rdrkd.data import open_dataset
from rdrkd.errors import RdrkdError, SpecError
from rdrkd.events import EXIT_STOPPED, Event, Failed, parse
from rdrkd.files import write_atomically
from rdrkd.orphans import PARENT_VARIABLE
from rdrkd.reporter import Reporter
from rdrkd.spec import LocalModel
from rdrkd.spec.study import Study
from rdrkd.study import results
from rdrkd.study.members import Member, members_of, teacher_hash, teacher_spec
from rdrkd.study.record import record, record_teacher

RESULTS = "study.json"


class MemberFailed(RdrkdError):
    """A member of a study ended with an error."""


@dataclass
class Order:
    """How a study is run.

    Attributes:
        out: folder of run folders and results.
        device: as `--device` of a run.
        jobs: members at a time.
        seconds: time budget; None: until all are done.
        known: results whose members are not trained again.
        command: what is recorded as the command.
    """

    out: Path
    device: str | None = None
    jobs: int = 1
    seconds: float | None = None
    known: Iterable[Path] = ()
    command: str = field(default_factory=lambda: shlex.join(["rdrkd", *sys.argv[1:]]))


class Ended(NamedTuple):
    """How far a study has come: what is known, all its members, and those that are not done."""

    results: results.Results
    members: list[Member]
    missing: list[Member]


def run_study(study: Study, order: Order, reporter: Callable[[str], Reporter]) -> Ended:
    """Train what is missing of a study.

    Args:
        study: what is compared.
        order: how it is run.
        reporter: gives the reporter of a member by its name; `should_stop` of any stops all.

    Returns:
        How far it has come; the results are also in `<out>/study.json`.

    Raises:
        RdrkdError: the dataset or the teacher cannot be used.
    """
    return _Runner(study, order, reporter).run()


class _Runner:
    def __init__(self, study: Study, order: Order, reporter: Callable[[str], Reporter]) -> None:
        self.study, self.order, self.reporter = study, order, reporter
        self.until = time.monotonic() + order.seconds if order.seconds is not None else None
        self.cache = order.out / "cache"
        self.stop = threading.Event()

    def run(self) -> Ended:
        self.order.out.mkdir(parents=True, exist_ok=True)
        self.dataset = open_dataset(Path(self.study.dataset), self.cache)
        self.results = self._begin()
        teacher = self._teacher()
        members = members_of(self.study, self.dataset.sha256, teacher or Path("teacher"))
        if teacher is not None:
            self._train(self._missing(members), teacher)
        self._save()
        return Ended(self.results, members, self._missing(members))

    def _begin(self) -> results.Results:
        """Take what is known already, here and elsewhere."""
        own = self.order.out / RESULTS
        empty = {
            "format": results.FORMAT, "name": self.study.name, "dataset": Path(self.study.dataset).stem,
            "dataset_sha256": self.dataset.sha256, "command": self.order.command, "commands": [self.order.command],
            "study": self.study.model_dump(mode="json"), "teachers": {}, "members": [], "failures": [],
        }  # fmt: skip
        paths = [*([own] if own.is_file() else []), *self.order.known]
        return {**results.merge([empty, *map(results.read, paths)]), "failures": []}

    def _missing(self, members: Iterable[Member]) -> list[Member]:
        known = {results.key_of(member) for member in self.results["members"]}
        return [member for member in members if member.key not in known]

    def _teacher(self) -> Path | None:
        """Give the teacher's weights, trained first where that is asked; None where time was not enough."""
        spec = teacher_spec(self.study)
        if spec is None:
            model = self.study.teacher.model
            if not isinstance(model, LocalModel):
                raise SpecError("expected the teacher's weights as {path}, or `train` to make them, got neither")
            return Path(model.path).resolve()
        folder = self.order.out / f"teacher-{teacher_hash(self.study)}"
        result = self._run("teacher", "train", spec, folder)
        if result is None:
            return None
        weights = (folder / "student.pt").resolve()
        self.results["teachers"][teacher_hash(self.study)] = record_teacher(result, folder)
        self._save()
        return weights

    def _train(self, members: list[Member], teacher: Path) -> None:
        """Train members, `jobs` at a time, each recorded as soon as it is done."""
        with ThreadPoolExecutor(self.order.jobs) as pool:
            waiting = list(members)
            running: dict[Future[dict[str, Any] | None], Member] = {}
            while (waiting and not self._over()) or running:
                while waiting and len(running) < self.order.jobs and not self._over():
                    member = waiting.pop(0)
                    folder = self.order.out / member.folder
                    running[pool.submit(self._run, member.folder, "distill", member.spec, folder)] = member
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self._take(running.pop(future), future, teacher)

    def _take(self, member: Member, future: "Future[dict[str, Any] | None]", teacher: Path) -> None:
        """Record a member that has ended."""
        try:
            result = future.result()
        except MemberFailed as error:
            failure = {"method": member.method, "seed": member.seed, "hash": member.hash}
            self.results["failures"].append({**failure, "reason": error.reason.value, "message": str(error)})
        else:
            if result is None:
                return
            self.results["members"].append(record(member, result, self.order.out / member.folder, teacher))
        self._save()

    def _save(self) -> None:
        newest = self.results["members"][-1:] or list(self.results["teachers"].values())
        versions = newest[-1]["versions"] if newest else {}
        members = results.ordered(self.results["members"])
        self.results = {**self.results, "versions": versions, "members": members}
        results.write(self.results, self.order.out / RESULTS)

    def _over(self) -> bool:
        return self.stop.is_set() or (self.until is not None and time.monotonic() > self.until)

    def _run(self, name: str, kind: str, spec: dict[str, Any], folder: Path) -> dict[str, Any] | None:
        """Run one spec in a process; give its result, or None where it was stopped."""
        finished = folder / "result.json"
        if finished.is_file():
            found: dict[str, Any] = json.loads(finished.read_text())
            return found
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "member.json", json.dumps(spec, indent=2).encode())
        options = [
            "--run-dir",
            folder,
            "--cache",
            self.cache,
            *(["--device", self.order.device] * bool(self.order.device)),
        ]
        command = [sys.executable, "-m", "rdrkd", kind, folder / "member.json", *options, "--events"]
        with (folder / "log.txt").open("ab") as log:
            child = subprocess.Popen(
                list(map(str, command)), stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, PARENT_VARIABLE: str(os.getpid())}, start_new_session=True,
            )  # fmt: skip
        reporter = self.reporter(name)
        watching = threading.Thread(target=self._watch, args=(child, reporter), daemon=True)
        watching.start()
        failed = None
        for event in _events(child):
            reporter.emit(event)
            failed = event if isinstance(event, Failed) else failed
        status = child.wait()
        if finished.is_file():
            return dict(json.loads(finished.read_text()))
        if status == EXIT_STOPPED or self._over():
            return None
        error = MemberFailed(failed.message if failed else f"the process ended with status {status}; see its log.txt")
        if failed is not None:
            error.reason = failed.reason
        raise error

    def _watch(self, child: "subprocess.Popen[bytes]", reporter: Reporter) -> None:
        """Ask a member to stop when time is up or a reporter says so; what is trained stays in its checkpoint."""
        while child.poll() is None:
            if reporter.should_stop():
                self.stop.set()
            if self._over():
                child.terminate()
                return
            time.sleep(0.2)


def _events(child: "subprocess.Popen[bytes]") -> Iterator[Event]:
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            with contextlib.suppress(ValidationError):  # a line that some library has printed
                yield parse(line)
