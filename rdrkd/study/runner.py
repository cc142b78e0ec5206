"""Run a study: its teacher first, then its members, several in parallel, until all are done or the time is up.

Every member runs in its own process, so that one that fails, is killed or runs out of memory affects no other, and
its reason is recorded. Results are written after every member.
"""

import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rdrkd.data import open_dataset
from rdrkd.data.check import check
from rdrkd.errors import RdrkdError, error_of
from rdrkd.files import held
from rdrkd.models import load_weights
from rdrkd.process.devices import devices_of
from rdrkd.reasons import Reason
from rdrkd.reporter import Reporter
from rdrkd.run_folder.names import STUDY
from rdrkd.spec import LocalModel
from rdrkd.spec.study import Study
from rdrkd.study import results
from rdrkd.study.child import MemberFailed, run_child
from rdrkd.study.halving import note, survivors
from rdrkd.study.members import Member, members_of, teacher_hash, teacher_spec, without_paths
from rdrkd.study.record import record, record_teacher
from rdrkd.study.timing import factor, stretched


@dataclass
class Order:
    """How to run a study.

    Attributes:
        out: folder of run folders and results.
        device: as `--device` of a run.
        jobs: number of parallel members.
        seconds: time budget; None: until all are done.
        known: results whose members are not trained again.
        command: the command to record.
        grace: seconds from a stop request until a member is killed.
        rungs: seeds of each rung of successive halving; default: every method gets all seeds.
        keep: share of the candidates that survives a rung.
    """

    out: Path
    device: str | None = None
    jobs: int = 1
    seconds: float | None = None
    known: Iterable[Path] = ()
    command: str = field(default_factory=lambda: shlex.join(["rdrkd", *sys.argv[1:]]))
    grace: float = 60.0
    rungs: Sequence[int] = ()
    keep: float = 0.5


class Ended(NamedTuple):
    """The progress of a study: its results, all members, and the unfinished ones."""

    results: results.Results
    members: list[Member]
    missing: list[Member]

    @property
    def failed(self) -> bool:
        """Whether a member of this study has failed."""
        failed = {results.key_of(failure) for failure in self.results["failures"]}
        return any(member.key in failed for member in self.missing)


def run_study(study: Study, order: Order, reporter: Callable[[str], Reporter]) -> Ended:
    """Train the missing members of a study.

    Args:
        study: the study.
        order: how to run it.
        reporter: returns the reporter of a member by its name; `should_stop` of any stops all.

    Returns:
        Its progress; the results are also in `<out>/study.json`.

    Raises:
        RdrkdError: the device, the dataset or the teacher cannot be used, or another study runs in the folder.
    """
    devices_of(order.device)  # refuse here once, not in every member
    with held(order.out, "study folder"):
        return _Runner(study, order, reporter).run()


class _Runner:
    def __init__(self, study: Study, order: Order, reporter: Callable[[str], Reporter]) -> None:
        self.study, self.order, self.reporter = study, order, reporter
        self.until = time.monotonic() + order.seconds if order.seconds is not None else None
        self.cache = order.out / "cache"
        self.stop = threading.Event()

    def run(self) -> Ended:
        self.dataset = open_dataset(Path(self.study.dataset), self.cache)
        self.teacher = self._teacher_path()
        members = members_of(self.study, self.dataset.sha256, {"path": str(self.teacher)})
        self.results = self._begin(members)
        missing = self._missing(members)
        if missing:
            check(self.dataset).refuse_problems()
        self._save()
        if missing and not self._over():
            for model in (self.study.student, self.study.teacher.model):
                if isinstance(model, LocalModel):
                    load_weights(Path(model.path))  # refuse before hours of training
        if not any(member.needs_teacher for member in missing) or self._teacher_ready():
            members = self._climb(members)
            self._train(list(self._lengthened(members)))  # the other members' times are known now
        return Ended(self.results, members, self._missing(members))

    def _climb(self, members: list[Member]) -> list[Member]:
        """Train the members, rung by rung; return those that the study includes."""
        alive = [method.name for method in self.study.each_method]
        planned: list[Member] = []
        for seeds in self.order.rungs or (len(self.study.seeds),):
            planned += [
                m for m in members if m not in planned and m.method in alive and m.seed in self.study.seeds[:seeds]
            ]
            missing = self._missing(planned)
            self._train([member for member in missing if not member.as_long_as])
            if self._over() or not self.order.rungs:
                break
            keys = {member.key for member in planned}
            found = [member for member in self.results["members"] if results.key_of(member) in keys]
            before, alive = alive, survivors(self.study, alive, found, self.order.keep)
            dropped = note(seeds, before, alive, self.study.lead)
            self.results["notes"] = list(dict.fromkeys([*self.results["notes"], *dropped]))
        return planned

    def _begin(self, members: Iterable[Member]) -> results.Results:
        """Load the known results: all of this folder, and this study's members and teacher from elsewhere."""
        own = self.order.out / STUDY
        empty = {
            "format": results.FORMAT, "name": self.study.name, "dataset": Path(self.study.dataset).stem,
            "dataset_sha256": self.dataset.sha256, "command": self.order.command, "commands": [self.order.command],
            "study": without_paths(self.study), "teachers": {}, "members": [], "failures": [], "notes": [],
        }  # fmt: skip
        here = [results.read(own)] if own.is_file() else []
        keys, teacher = {member.key for member in members}, teacher_hash(self.study)
        elsewhere = [results.own_part(results.read(path), keys, teacher) for path in self.order.known]
        return results.merge([empty, *here, *elsewhere])

    def _missing(self, members: Iterable[Member]) -> list[Member]:
        known = {results.key_of(member) for member in self.results["members"]}
        return [member for member in members if member.key not in known]

    def _lengthened(self, members: Sequence[Member]) -> Iterator[Member]:
        """Yield the members with a measured length, if it can be measured."""
        keys = {member.key for member in members}
        own = [member for member in self.results["members"] if results.key_of(member) in keys]
        known: dict[str, float] = self.results.setdefault("stretched", {})  # a started member keeps its length
        known |= {
            _length(m["method"], m["hash"]): m["stretched"] for m in self.results["members"] if m.get("stretched")
        }
        for member in self._missing(members):
            if member.as_long_as is None or self._over():
                continue
            times = known.get(_length(member.method, member.hash)) or factor(member.as_long_as, own)
            if times is not None:
                known[_length(member.method, member.hash)] = times
                yield stretched(member, times)

    def _teacher_path(self) -> Path:
        """Return the path of the teacher's weights, whether or not they are trained yet."""
        model = self.study.teacher.model
        if isinstance(model, LocalModel) and self.study.teacher.train is None:
            return Path(model.path).resolve()
        return (self.order.out / f"teacher-{teacher_hash(self.study)}" / "student.pt").resolve()

    def _teacher_ready(self) -> bool:
        """Train the teacher if the study does; return False if the time did not suffice."""
        spec = teacher_spec(self.study)
        if spec is None:
            return True
        if self._over():
            return False
        try:
            result = self._run("teacher", spec, self.teacher.parent)
        except MemberFailed as error:
            raise error_of(error.reason, f"the study's teacher failed: {error}") from error
        if result is None:
            return False
        self.results["teachers"][teacher_hash(self.study)] = record_teacher(result, self.teacher.parent)
        self._save()
        return True

    def _train(self, members: list[Member]) -> None:
        """Train members, `jobs` in parallel, and record each as soon as it is done."""
        with ThreadPoolExecutor(self.order.jobs) as pool:
            waiting = list(members)
            running: dict[Future[dict[str, Any] | None], Member] = {}
            while (waiting and not self._over()) or running:
                while waiting and len(running) < self.order.jobs and not self._over():
                    member = waiting.pop(0)
                    running[pool.submit(self._run, member.folder, member.spec, self.order.out / member.folder)] = member
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self._take(running.pop(future), future)

    def _take(self, member: Member, future: "Future[dict[str, Any] | None]") -> None:
        """Record a member that has ended; an error does not affect the others."""
        key = {"method": member.method, "seed": member.seed, "hash": member.hash}
        self.results["failures"] = [f for f in self.results["failures"] if results.key_of(f) != member.key]
        try:
            if (result := future.result()) is not None:
                folder = self.order.out / member.folder
                kept = record(member, result, folder)
                self.results["members"].append({**kept, "jobs": self.order.jobs})
        except RdrkdError as error:
            self.results["failures"].append({**key, "reason": error.reason.value, "message": str(error)})
        except Exception as error:  # noqa: BLE001  - such as a damaged run folder
            message = f"{type(error).__name__}: {error}"
            self.results["failures"].append({**key, "reason": Reason.INTERNAL.value, "message": message})
        self._save()

    def _save(self) -> None:
        newest = self.results["members"][-1:] or list(self.results["teachers"].values())
        versions = newest[-1]["versions"] if newest else {}
        members = results.ordered(self.results["members"])
        self.results = {**self.results, "versions": versions, "members": members}
        results.write(self.results, self.order.out / STUDY)

    def _over(self) -> bool:
        return self.stop.is_set() or (self.until is not None and time.monotonic() >= self.until)

    def _run(self, name: str, spec: dict[str, Any], folder: Path) -> dict[str, Any] | None:
        """Run one spec in a process; return its result, or None if it was stopped."""
        reporter = self.reporter(name)
        device = ["--device", self.order.device] if self.order.device else []

        def stopping() -> bool:
            if reporter.should_stop():
                self.stop.set()
            return self._over()

        return run_child(spec, folder, ["--cache", str(self.cache), *device], reporter, stopping, self.order.grace)


def _length(method: str, hash_: str) -> str:
    """Return the key of a measured length, the same for every seed of a method."""
    return f"{method}-{hash_}"
