"""Those who use the service: one submits, one changes his mind, one polls; none of them gives up."""

import itertools
import random
import threading
import time
from collections import Counter
from typing import Any

import httpx2
from sqlalchemy import func, select

from api.tables.jobs import Job
from api.tables.states import ENDED_EARLY, TERMINAL, Status
from tests.faults.stand import TOKEN, Stand

PATIENCE = 240.0  # seconds that a call is sent again: a killed API holds its Idempotency-Key for 60, each time
STALLED = 180.0  # seconds without the end of a job, after which nothing more will come


class NoAnswer(Exception):
    """Nobody answered in all that time."""


class Client:
    """Calls whichever API answers, again and again."""

    def __init__(self, stand: Stand, timeout: float = 10) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        urls = [f"http://127.0.0.1:{api.port}" for api in stand.of("api")]
        self._clients = [httpx2.Client(base_url=url, headers=headers, timeout=timeout) for url in urls]
        self._turns = itertools.cycle(self._clients)
        self.unexpected: list[str] = []  # answers that nobody should get

    def call(self, method: str, path: str, patience: float = PATIENCE, **options: Any) -> httpx2.Response:
        """Return the first answer that is one.

        Raises:
            NoAnswer: there was none in time.
        """
        end = time.monotonic() + patience
        while time.monotonic() < end:
            try:
                answer = next(self._turns).request(method, path, **options)
            except httpx2.TransportError:
                time.sleep(0.1)
                continue
            if answer.status_code in (503, 429, 507) and "Retry-After" in answer.headers:
                time.sleep(min(1.0, float(answer.headers["Retry-After"])))
            elif answer.status_code >= 500:
                self.unexpected.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
                time.sleep(0.2)
            elif answer.status_code == 409 and "in_flight" in answer.text:
                time.sleep(0.5)  # the first request with this key lost its connection, but is worked on
            else:
                return answer
        raise NoAnswer(f"{method} {path}: no answer within {patience:g} s")

    def close(self) -> None:
        for client in self._clients:
            client.close()


class Owner:
    """Submits at least `jobs` jobs, keeps the queue short, and changes his mind about some."""

    def __init__(self, stand: Stand, rng: random.Random, jobs: int, webhook: str) -> None:
        self.stand, self.rng, self.jobs = stand, rng, jobs
        self.client = Client(stand)
        self.accepted: dict[str, str] = {}  # Idempotency-Key -> id
        self.deleted: set[str] = set()
        self.studies: list[str] = []
        self.did: Counter[str] = Counter()
        self.enough = threading.Event()  # faults were injected; until then there must be work for them to hit
        self.done = threading.Event()
        hook = self.client.call("POST", "/v1/webhooks", json={"name": "all", "url": webhook})
        assert hook.status_code == 201, hook.text
        self.dataset = self.upload("good")

    def upload(self, content: str) -> str:
        files = {"file": ("scenes.zip", content.encode())}
        answer = self.client.call("POST", "/v1/datasets", files=files)
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["id"])

    def submit_all(self) -> None:
        """Submit until there are enough; bursts come from elsewhere."""
        since, before = time.monotonic(), 0
        while len(self.accepted) < self.jobs or not self.enough.is_set():
            unfinished = self.unfinished()
            if unfinished < before:
                since = time.monotonic()  # one has ended, though bursts may keep the queue long
            before = unfinished
            if unfinished >= 5 * len(self.stand.of("train")):
                if time.monotonic() > since + STALLED:
                    raise NoAnswer(f"no job has ended for {STALLED:g} s")
                time.sleep(0.3)
                continue
            since = time.monotonic()
            self.submit()
            if len(self.accepted) % 100 == 50:
                self.study()
            if len(self.accepted) % 25 == 10:
                self.upload(f"good {len(self.accepted)}")
        self.done.set()

    def submit(self, **labels: str) -> str:
        key = f"job-{self.rng.getrandbits(64):x}"
        labels = {"seconds": f"{self.rng.uniform(0.2, 1.0):.2f}"} | self._misbehaviour() | labels
        spec = {"dataset": self.dataset, "train": {"epochs": self.rng.choice([1, 1, 2])}, "labels": labels}
        before = list(self.accepted.values())[-20:]
        if before and self.rng.random() < 0.15:
            spec |= {"kind": "distill", "teacher": {"job": self.rng.choice(before)}}
            spec |= {"student": {"architecture": "yolov8n"}}
        else:
            spec |= {"kind": "train", "model": {"architecture": "yolov8n"}}
        answer = self._post(key, spec)
        if answer.status_code == 422 and spec["kind"] == "distill":  # its teacher has failed or was cancelled by now
            spec = {name: spec[name] for name in ("dataset", "train", "labels")}
            answer = self._post(key := f"{key}-alone", spec | {"kind": "train", "model": {"architecture": "yolov8n"}})
        if answer.status_code == 422 and "/dataset" in answer.text:  # its check has met too many faults: it comes again
            self.did["dataset again"] += 1
            self.dataset = self.upload(f"good {self.rng.getrandbits(32)}")
            return self.submit(**labels)
        assert answer.status_code == 202, (answer.status_code, answer.text)
        self.accepted[key] = answer.json()["id"]
        return self.accepted[key]

    def _post(self, key: str, spec: dict[str, Any]) -> httpx2.Response:
        try:
            return self.client.call("POST", "/v1/jobs", json=spec, headers={"Idempotency-Key": key})
        except NoAnswer:
            self.did["unanswered"] += 1  # it may have been accepted all the same
            raise

    def _misbehaviour(self) -> dict[str, str]:
        luck = self.rng.random()
        if luck < 0.9:
            return {}
        return {self.rng.choice(["crash", "oom", "fail"]): "1"} if luck < 0.97 else {"garbage": "1", "grandchild": "1"}

    def study(self) -> None:
        train, seeds = {"epochs": 1}, [0, 1]
        spec = {"name": "s", "dataset": self.dataset, "student": {"architecture": "yolov8n"}, "methods": ["none"]}
        spec |= {"teacher": {"model": {"architecture": "yolov8n"}, "train": train}, "seeds": seeds, "train": train}
        key = {"Idempotency-Key": f"study-{self.rng.getrandbits(64):x}"}
        answer = self.client.call("POST", "/v1/studies", json=spec, headers=key)
        assert answer.status_code in (201, 202), answer.text
        self.studies.append(answer.json()["id"])

    def change_mind(self) -> None:
        """Cancel, pause, resume, retry and delete, until everything is submitted."""
        while not self.done.wait(self.rng.uniform(0.2, 1.0)):
            jobs = list(self.accepted.values())[-40:]
            if jobs and (job := self.rng.choice(jobs)) not in self.deleted:
                self._change(job)

    def _change(self, job: str) -> None:
        view = self.client.call("GET", f"/v1/jobs/{job}").json()
        status = Status(view["status"])
        if status in ENDED_EARLY and self.rng.random() < 0.7 and not view.get("earlier"):
            self._move("retry", job, json={})
        elif status in TERMINAL and self.rng.random() < 0.3:
            if self.client.call("DELETE", f"/v1/jobs/{job}").status_code in (204, 404):
                self.deleted.add(job)
                self.did["delete"] += 1
        elif status == Status.PAUSED:
            self._move("resume", job)
        elif status not in TERMINAL:
            self._move(self.rng.choice(["cancel", "pause", "pause"]), job)

    def _move(self, move: str, job: str, **options: Any) -> None:
        answer = self.client.call("POST", f"/v1/jobs/{job}/{move}", **options)
        self.did[move] += answer.status_code < 300

    def settle(self, seconds: float) -> bool:
        """Resume what is paused, and wait until every job has ended; False where that does not happen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self.stand.database.transaction() as session:
                paused = list(session.scalars(select(Job.id).where(Job.status == Status.PAUSED)))
            for job in paused:
                self._move("resume", job)
            if not self.unfinished():
                return True
            time.sleep(0.5)
        return False

    def unfinished(self) -> int:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with self.stand.database.transaction() as session:
                    open_ = select(func.count()).where(Job.status.not_in(TERMINAL))
                    return int(session.scalar(open_) or 0)
            except Exception:  # it is what is being broken
                if time.monotonic() > end:
                    raise
                time.sleep(0.3)


class Poller:
    """Asks for a job all the while, and keeps how long the answers took."""

    def __init__(self, stand: Stand, owner: Owner, rng: random.Random) -> None:
        self._client, self._owner, self._rng = Client(stand, timeout=5), owner, rng
        self.seconds: list[float] = []  # of each poll, tries on both APIs included
        self.failed: list[str] = []
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.1):
            jobs = list(self._owner.accepted.values())
            path = f"/v1/jobs/{self._rng.choice(jobs)}" if jobs else "/v1/jobs"
            began = time.monotonic()
            try:
                answer = self._client.call("GET", path)
            except NoAnswer as error:
                self.failed.append(str(error))
                continue
            self.seconds.append(time.monotonic() - began)
            if answer.status_code not in (200, 404):
                self.failed.append(f"GET {path}: {answer.status_code}")
        self.failed += self._client.unexpected
        self._client.close()
