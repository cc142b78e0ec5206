"""What goes wrong, each as a context: it is wrong inside, and well again after."""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults import clocks, memory
from tests.faults.backends import Embedded, Servers, frozen, full
from tests.faults.bucket import Bucket
from tests.faults.owner import Owner
from tests.faults.stand import Member, Stand

MOMENTS = {  # what lies in the run folders just before the store is written to
    "upload": "",
    "checkpoint": "job_*/attempt-*/checkpoints/*",
    "publish": "job_*/attempt-*/result.json",
}


@dataclass
class Fault:
    """One that happened."""

    kind: str
    target: str
    began: float  # seconds since the epoch
    ended: float = 0.0
    wrong: str = ""  # it could not be injected


@dataclass
class Injector:
    """Injects faults of a schedule that a seed decides."""

    stand: Stand
    owner: Owner
    rng: random.Random
    disks: bool  # run folders and storage lie on file systems of their own
    happened: list[Fault] = field(default_factory=list)
    torn: set[str] = field(default_factory=set)  # keys of files that were damaged on purpose
    _locks: dict[str, threading.Lock] = field(default_factory=dict)

    def kinds(self) -> dict[str, Callable[[], tuple[str, AbstractContextManager[None]]]]:
        """Return what can be injected here: each says on what, and how."""
        signals = {"kill": signal.SIGKILL, "drain": signal.SIGTERM}
        kinds = {
            f"{what} {kind}": lambda kind=kind, number=number: self._signal(kind, number)
            for what, number in signals.items()
            for kind in ("api", "reaper", "train", "inspect")
        }
        kinds |= {f"freeze {kind}": lambda kind=kind: self._freeze(kind) for kind in ("api", "reaper", "train")}
        kinds |= {"kill trainer": self._kill_trainer, "tear checkpoint": self._tear, "burst": self._burst}
        kinds |= {
            "wipe broker": self._once("broker", "broker_wiped"),
            "garbage message": self._once("broker", "garbage"),
        }
        if self.disks:
            kinds |= {f"fill {name}": lambda name=name: self._fill(name) for name in ("storage", "runs")}
            kinds |= {f"fill disk at {when}": lambda when=when: self._fill_at(when) for when in MOMENTS}
        if clocks.possible():
            kinds |= {"jump clock": self._jump}
        if memory.possible():
            kinds |= {"use up memory": self._use_up_memory}
        if isinstance(self.stand.backend, Bucket):
            kinds |= {f"bucket {what}": lambda what=what: self._bucket(what) for what in ("refuses", "is slow", "cuts")}
            del kinds["tear checkpoint"]
        return kinds | (self._of_servers() if isinstance(self.stand.backend, Servers) else self._of_files())

    def inject(self, kind: str, seconds: float) -> threading.Thread | None:
        """Inject one fault in a thread of its own; None where its target has one already."""
        target, context = self.kinds()[kind]()
        lock = self._locks.setdefault(target, threading.Lock())
        if not lock.acquire(blocking=False):
            return None
        thread = threading.Thread(target=self._hold, args=(kind, target, context, seconds, lock), daemon=True)
        thread.start()
        return thread

    def _hold(
        self, kind: str, target: str, context: AbstractContextManager[None], seconds: float, lock: threading.Lock
    ) -> None:
        fault = Fault(kind, target, time.time())
        try:
            with context:
                time.sleep(seconds)
        except Exception as error:  # noqa: BLE001 - reported in the summary: a run that injects nothing proves nothing
            fault.wrong = f"{type(error).__name__}: {error}"
        finally:
            fault.ended = time.time()
            self.happened.append(fault)
            lock.release()

    def _any(self, kind: str) -> Member:
        return self.rng.choice(self.stand.of(kind))

    def _signal(self, kind: str, number: signal.Signals) -> tuple[str, AbstractContextManager[None]]:
        member = self._any(kind)

        @contextmanager
        def sent() -> Iterator[None]:
            with suppress(psutil.NoSuchProcess):
                member.process.send_signal(number)
            yield

        return member.name, sent()

    def _freeze(self, kind: str) -> tuple[str, AbstractContextManager[None]]:
        member = self._any(kind)

        @contextmanager
        def stopped() -> Iterator[None]:
            with suppress(psutil.NoSuchProcess), frozen([member.process]):
                yield
                return
            yield

        return member.name, stopped()

    def _kill_trainer(self) -> tuple[str, AbstractContextManager[None]]:
        @contextmanager
        def killed() -> Iterator[None]:
            if trainers := self.stand.trainers():
                with suppress(psutil.NoSuchProcess):
                    self.rng.choice(trainers).kill()  # as the kernel does when memory is used up
            yield

        return "trainers", killed()

    def _tear(self) -> tuple[str, AbstractContextManager[None]]:
        @contextmanager
        def torn() -> Iterator[None]:
            root = self.stand.data / "storage"
            states = sorted((root / "jobs").glob("job_*/attempt-*/epoch-*/state.pt"))
            if states:
                state = self.rng.choice(states[-20:])
                with suppress(OSError):
                    self.torn.add(str(state.relative_to(root)))
                    with state.open("r+b") as file:
                        file.truncate(state.stat().st_size // 2)
            yield

        return "checkpoints", torn()

    def _burst(self) -> tuple[str, AbstractContextManager[None]]:
        @contextmanager
        def sent() -> Iterator[None]:
            with ThreadPoolExecutor(40) as pool:
                reads = [pool.submit(self.owner.client.call, "GET", "/v1/jobs") for _ in range(40)]
                missing = self.owner.jobs - len(self.owner.accepted)
                writes = [pool.submit(self.owner.submit) for _ in range(min(10, missing))]
                for answer in (*reads, *writes):
                    answer.result()
            yield

        return "clients", sent()

    def _fill(self, name: str) -> tuple[str, AbstractContextManager[None]]:
        return name, full(self.stand.data / name)

    def _fill_at(self, when: str) -> tuple[str, AbstractContextManager[None]]:
        """Fill the store's disk just when something is about to be written to it."""

        @contextmanager
        def filled() -> Iterator[None]:
            if when == "upload":
                with ThreadPoolExecutor(1) as pool:  # it sends until the disk has room again
                    with full(self.stand.data / "storage"):
                        sent = pool.submit(self.owner.upload, f"good {self.rng.getrandbits(32)}" + " " * 2**20)
                        yield
                    sent.result()
                return
            before, end = set(self._written(when)), time.monotonic() + 5
            while not set(self._written(when)) - before and time.monotonic() < end:
                time.sleep(0.002)
            with full(self.stand.data / "storage"):
                yield

        return "storage", filled()

    def _written(self, when: str) -> Iterator[Path]:
        return (self.stand.data / "runs").glob(MOMENTS[when])

    def _jump(self) -> tuple[str, AbstractContextManager[None]]:
        name = self.rng.choice(sorted(self.stand.clocks))
        seconds = self.rng.choice([-3600, -60, -5, 5, 60, 3600])
        one_machine = len(set(self.stand.clocks.values())) == 1
        return "clock" if one_machine else f"clock of {name}", self.stand.clocks[name].wrong(seconds)

    def _use_up_memory(self) -> tuple[str, AbstractContextManager[None]]:
        @contextmanager
        def used_up() -> Iterator[None]:
            if trainers := self.stand.trainers():
                with suppress(psutil.NoSuchProcess, ProcessLookupError), memory.used_up(self.rng.choice(trainers).pid):
                    yield
                    return
            yield

        return "trainers", used_up()

    def _bucket(self, what: str) -> tuple[str, AbstractContextManager[None]]:
        """Have the bucket fail for one member: refusals, answers that come late, connections that end."""
        member = self.rng.choice(list(self.stand.members.values()))
        proxy, status = member.proxies["objects"], self.rng.choice([500, 503])

        @contextmanager
        def failing() -> Iterator[None]:
            match what:
                case "refuses":
                    proxy.refuse(status)
                case "is slow":
                    proxy.delay(1.0)
                case "cuts":
                    proxy.cut()
            try:
                yield
            finally:
                proxy.refuse(None)
                proxy.delay(0)

        return f"objects of {member.name}", failing()

    def _once(self, target: str, method: str) -> Callable[[], tuple[str, AbstractContextManager[None]]]:
        @contextmanager
        def done() -> Iterator[None]:
            getattr(self.stand.backend, method)()
            yield

        return lambda: (target, done())

    def _of_servers(self) -> dict[str, Callable[[], tuple[str, AbstractContextManager[None]]]]:
        backend = self.stand.backend
        assert isinstance(backend, Servers)
        return {
            "stop database": lambda: ("database", backend.database_stopped()),
            "freeze database": lambda: ("database", backend.database_frozen()),
            "end connections": self._once("database", "end_connections"),
            "stop broker": lambda: ("broker", backend.broker_stopped()),
            "freeze broker": lambda: ("broker", backend.broker_frozen()),
            "cut": self._cut,
            "lose commit": self._lose_commit,
            "lose a worker's commit": self._lose_commit_of_worker,
            "part": self._part,
        }

    def _of_files(self) -> dict[str, Callable[[], tuple[str, AbstractContextManager[None]]]]:
        backend = self.stand.backend
        assert isinstance(backend, Embedded)
        return {
            "lock database": lambda: ("database", backend.database_locked()),
            "lock broker": lambda: ("broker", backend.broker_locked()),
        }

    def _cut(self) -> tuple[str, AbstractContextManager[None]]:
        member = self.rng.choice(list(self.stand.members.values()))
        which = self.rng.choice(list(member.proxies))

        @contextmanager
        def done() -> Iterator[None]:
            member.proxies[which].cut()
            yield

        return f"{which} of {member.name}", done()

    def _lose_commit(self) -> tuple[str, AbstractContextManager[None]]:
        return self._losing(self.rng.choice(list(self.stand.members.values())))

    def _lose_commit_of_worker(self) -> tuple[str, AbstractContextManager[None]]:
        return self._losing(self._any("train"))

    def _losing(self, member: Member) -> tuple[str, AbstractContextManager[None]]:
        @contextmanager
        def swallowed() -> Iterator[None]:
            member.proxies["database"].lose_commit(True)
            yield
            member.proxies["database"].lose_commit(False)

        return f"database of {member.name}", swallowed()

    def _part(self) -> tuple[str, AbstractContextManager[None]]:
        """Cut a worker off from everything: its link is down, or, without namespaces, nothing gets through."""
        member = self._any("train")

        @contextmanager
        def held() -> Iterator[None]:
            for proxy in member.proxies.values():
                proxy.hold(True)
            try:
                yield
            finally:
                for proxy in member.proxies.values():
                    proxy.hold(False)

        return f"network of {member.name}", member.space.parted() if member.space is not None else held()
