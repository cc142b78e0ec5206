"""A seeded run: jobs under load, faults on a schedule, rest, and then the account of it."""

import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from api.tables.attempts import JobAttempt
from api.tables.jobs import Job
from tests.faults.backends import Embedded, Servers, small_disk
from tests.faults.bucket import Bucket
from tests.faults.injectors import Fault, Injector
from tests.faults.invariants import Invariants, Violations
from tests.faults.owner import NoAnswer, Owner, Poller
from tests.faults.receiver import Receiver
from tests.faults.stand import Stand

BACKENDS = {"embedded": Embedded, "servers": Servers, "bucket": Bucket}
CLAIMS_WITHIN = 10.0  # seconds after the last fault, for every worker


@dataclass
class Account:
    """What came of a run."""

    violations: Violations
    summary: dict[str, Any]
    logs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What to run; the same plan injects the same faults in the same order."""

    backend: str = "servers"
    seed: int = 1
    jobs: int = 1000
    workers: int = 3
    kinds: Sequence[str] = ()  # of faults; empty: all that can be injected here
    pause: float = 1.2  # mean seconds between two faults
    least: int = 0  # faults; jobs are submitted until there were so many
    claims_within: float = CLAIMS_WITHIN


def run(plan: Plan) -> Account:
    """Run a plan in a folder of its own, which is removed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rdrkd-faults-")))
        backend = BACKENDS[plan.backend](folder / "rows")
        stack.callback(backend.close)
        stand = Stand(folder, backend, plan.workers)
        stack.callback(stand.database.engine.dispose)  # once more: the invariants have read
        stack.callback(stand.stop)
        disks = [stack.enter_context(small_disk(stand.data / name)) for name in ("storage", "runs")]
        stack.enter_context(stand.running())
        return _Run(plan, stand, all(disks)).account()


class _Run:
    def __init__(self, plan: Plan, stand: Stand, disks: bool) -> None:
        self.plan, self.stand = plan, stand
        seeds = random.Random(plan.seed)
        self.rng, *rngs = (random.Random(seeds.getrandbits(64)) for _ in range(5))
        self.receiver = Receiver(rngs[0])
        self.owner = Owner(stand, rngs[1], plan.jobs, self.receiver.url)
        self.injector = Injector(stand, self.owner, rngs[2], disks)
        self.poller = Poller(stand, self.owner, rngs[3])
        self.failures: list[str] = []
        self.began = time.time()

    def account(self) -> Account:
        threads = [self._thread(work) for work in (self.owner.submit_all, self.owner.change_mind, self.poller.run)]
        self._inject()
        healed = time.time()
        late = self._late(healed)
        settled = self.owner.settle(120)
        threads[0].join(120)
        threads[1].join(120)
        self._wait_until_told(60)
        self.poller.stop.set()
        threads[2].join(60)
        self.stand.stop()
        invariants = Invariants(self.stand, self.owner, self.receiver, self.injector)
        violations = invariants.violations()
        polls = self.poller.failed + self.owner.client.unexpected
        more = {"wedged": late, "a poll was not answered": polls, "the run itself": self.failures}
        violations |= {name: told for name, told in more.items() if told}
        if not settled:
            violations.setdefault("not ended", []).append("the jobs did not settle within 120 s")
        logs = {name: self.stand.logs(name) for name in self.stand.members} if violations else {}
        self.receiver.stop()
        self.owner.client.close()
        return Account(violations, self._summary(violations), logs)

    def _thread(self, work: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - a violation, like all others
                self.owner.enough.set()
                self.failures.append(f"{work.__name__}: {type(error).__name__}: {error}")
                self.owner.done.set()

        thread = threading.Thread(target=guarded, name=work.__name__, daemon=True)
        thread.start()
        return thread

    def _inject(self) -> None:
        """Inject faults one after the other, some at once, until everything is submitted; wait for the last ones."""
        kinds = list(self.plan.kinds) or list(self.injector.kinds())
        threads: list[threading.Thread] = []
        while not self.owner.done.wait(self.rng.expovariate(1 / self.plan.pause)):
            if len(self.injector.happened) >= self.plan.least:
                self.owner.enough.set()
            thread = self.injector.inject(self.rng.choice(kinds), self.rng.uniform(0.2, 6.0))
            threads = [one for one in (*threads, thread) if one is not None and one.is_alive()]
        for thread in threads:
            thread.join(60)

    def _late(self, healed: float) -> list[str]:
        """Have enough to do for everybody, and give the workers that claim nothing in time."""
        for _ in range(6 * self.plan.workers):
            with suppress(NoAnswer):
                self.owner.submit(seconds="0.4")
        end = max(healed, time.time()) + self.plan.claims_within
        missing = {member.name: member for member in self.stand.of("train")}
        while missing and time.time() < end:
            time.sleep(0.3)
            with self.stand.database.transaction() as session:
                since = select(JobAttempt.worker, JobAttempt.started_at)
                # A clock that was put forward has claimed in times to come.
                soon = time.time() + 60
                claims = {worker for worker, at in session.execute(since) if healed < at.timestamp() < soon}
            missing = {name: member for name, member in missing.items() if not member.workers & claims}
        return [f"{name} claimed nothing within {self.plan.claims_within:g} s of the last fault" for name in missing]

    def _wait_until_told(self, seconds: float) -> None:
        from api.tables.webhooks import Delivery, DeliveryStatus

        waiting = select(func.count()).where(Delivery.status == DeliveryStatus.WAITING)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(1)
            with self.stand.database.transaction() as session:
                if not session.scalar(waiting):
                    return

    def _summary(self, violations: Violations) -> dict[str, Any]:
        faults = self.injector.happened
        with self.stand.database.transaction() as session:
            ends = session.execute(select(Job.status, Job.reason, func.count()).group_by(Job.status, Job.reason)).all()
            claims = [
                (at.timestamp(), worker)
                for worker, at in session.execute(select(JobAttempt.worker, JobAttempt.started_at))
                if self.began < at.timestamp() < time.time()  # by a clock that was right
            ]
            outcomes = dict(
                session.execute(select(JobAttempt.outcome, func.count()).group_by(JobAttempt.outcome)).all()
            )
        return {
            "seed": self.plan.seed, "backend": self.plan.backend, "jobs": len(self.owner.accepted),
            "seconds": round(time.time() - self.began), "workers": self.plan.workers,
            "faults": len(faults), "faults_by_kind": dict(sorted(Counter(fault.kind for fault in faults).items())),
            "commits_without_answer": sum(
                proxy.lost_commits for member in self.stand.members.values() for proxy in member.proxies.values()
            ),
            "faults_that_failed": [f"{fault.kind}: {fault.wrong}" for fault in faults if fault.wrong],
            "owner": dict(self.owner.did), "deleted": len(self.owner.deleted), "studies": len(self.owner.studies),
            "ends": {f"{status} {reason or ''}".strip(): count for status, reason, count in ends},
            "attempts": {str(outcome): count for outcome, count in outcomes.items()},
            "restarts": {member.name: len(member.ends) for member in self.stand.members.values()},
            "told": len({told.message for told in self.receiver.taken}), "told_again": self._told_again(),
            "recovery_seconds": _spread(self._recoveries(faults, sorted(claims))),
            "poll_seconds": _spread(self.poller.seconds), "violations": violations,
        }  # fmt: skip

    def _told_again(self) -> int:
        return len(self.receiver.taken) - len({told.message for told in self.receiver.taken})

    def _recoveries(self, faults: list[Fault], claims: list[tuple[float, str]]) -> list[float]:
        """Return the seconds from each fault's end to the next claim: of the worker it befell, else of any."""
        found = []
        for fault in faults:
            name = next((name for name in self.stand.members if fault.target.endswith(name)), "")
            own = self.stand.members[name].workers if name.startswith("train") else None
            after = (at for at, worker in claims if at >= fault.ended and (own is None or worker in own))
            if (claim := next(after, None)) is not None:
                found.append(claim - fault.ended)
        return found


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    places = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    at = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in places.items()}
    return {name: round(value, 2) for name, value in at.items()} | {"count": len(ordered)}
