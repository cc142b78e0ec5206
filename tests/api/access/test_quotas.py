"""How much one owner may have, and when the disk is full for everybody."""

import threading
from typing import Any

from sqlalchemy import func, select

from api.jobs import claims
from api.tables.jobs import Job
from api.tables.states import Status
from tests.api.conftest import ZIP, Service, Start
from tests.api.test_ownership import STUDY, TRAIN
from tests.api.uploads.models.registered import student
from tests.servers import Postgres

FILE = {"file": ZIP}


def small(service: Service, **quotas: int) -> None:
    """Give the running service other quotas."""
    service.app.state.settings = service.app.state.settings.model_copy(update=quotas)


def dataset(service: Service, headers: dict[str, str]) -> str:
    made = service.client.post("/v1/datasets", files=FILE, headers=headers).raise_for_status()
    service.settle()
    return str(made.json()["id"])


def test_an_owner_queues_so_many_jobs_and_no_more(each_service: Service) -> None:
    alice, bob = each_service.key("alice"), each_service.key("bob")
    small(each_service, quota_queued_jobs=2)
    spec, other = (TRAIN | {"dataset": dataset(each_service, who)} for who in (alice, bob))

    answers = [each_service.client.post("/v1/jobs", json=spec, headers=alice) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["code"] == "quota_exceeded"
    assert "at most 2 queued jobs of alice, got 3" in answers[2].json()["detail"]
    assert int(answers[2].headers["Retry-After"]) > 0
    assert each_service.client.post("/v1/jobs", json=other, headers=bob).status_code == 202
    with each_service.database.transaction() as session:
        assert session.scalar(select(func.count()).where(Job.owner == "alice")) == 2
    each_service.claim()
    assert each_service.client.post("/v1/jobs", json=spec, headers=alice).status_code == 202


def test_a_study_counts_with_all_its_jobs(service: Service) -> None:
    alice = service.key("alice")
    small(service, quota_queued_jobs=2)
    spec = STUDY | {"dataset": dataset(service, alice)}

    refused = service.client.post("/v1/studies", json=spec | {"seeds": [0, 1]}, headers=alice)
    study = service.client.post("/v1/studies", json=spec, headers=alice).json()["id"]
    extended = service.client.post(f"/v1/studies/{study}/extend", json={"seeds": [1]}, headers=alice)
    service.client.post(f"/v1/studies/{study}/cancel", headers=alice).raise_for_status()
    small(service, quota_queued_jobs=1)
    resumed = service.client.post(f"/v1/studies/{study}/resume", headers=alice)

    assert [answer.json()["code"] for answer in (refused, extended, resumed)] == ["quota_exceeded"] * 3
    with service.database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 2  # nothing is left of what was refused


def test_a_job_that_is_queued_again_counts_again(each_service: Service) -> None:
    alice = each_service.key("alice")
    spec = TRAIN | {"dataset": dataset(each_service, alice)}
    small(each_service, quota_queued_jobs=1)
    paths = []
    for move in ("pause", "cancel"):
        job = each_service.client.post("/v1/jobs", json=spec, headers=alice).raise_for_status().json()["id"]
        each_service.client.post(f"/v1/jobs/{job}/{move}", headers=alice).raise_for_status()
        paths.append(f"/v1/jobs/{job}/{'resume' if move == 'pause' else 'retry'}")
    kept = each_service.client.post("/v1/jobs", json=spec, headers=alice).raise_for_status().json()["id"]

    refused = [each_service.client.post(path, headers=alice) for path in paths]
    each_service.client.post(f"/v1/jobs/{kept}/cancel", headers=alice).raise_for_status()
    taken = each_service.client.post(paths[0], headers=alice)

    assert [answer.json()["code"] for answer in refused] == ["quota_exceeded"] * 2
    assert taken.status_code == 202


def test_what_is_stored_counts_before_and_after_the_upload(each_service: Service) -> None:
    alice = each_service.key("alice")
    spec = TRAIN | {"dataset": dataset(each_service, alice)}
    size = len(ZIP[1])
    small(each_service, quota_storage_bytes=2 * size)
    send = each_service.client.post

    kept = send("/v1/models", files={"file": ("a.pt", b"1" * size)}, headers=alice)
    refused = [send(f"/v1/{what}", files={"file": (f"b.{end}", b"2" * size)}, headers=alice)
               for what, end in (("models", "pt"), ("datasets", "zip"))]  # fmt: skip
    announced = send("/v1/datasets", files={"file": ("c.zip", bytes(10**6))}, headers=alice)
    small(each_service, quota_storage_bytes=size)
    job = send("/v1/jobs", json=spec, headers=alice)

    assert kept.status_code == 202
    assert [answer.json()["code"] for answer in (*refused, announced, job)] == ["quota_exceeded"] * 4
    assert len(each_service.files()) == 2  # of the refused ones nothing stays
    assert send("/v1/datasets", files=FILE, headers=each_service.key("bob")).status_code == 202


def test_a_registered_student_counts_as_what_its_owner_has_stored(each_service: Service) -> None:
    each_service.client.headers |= each_service.key("alice")
    job = student(each_service, b"1" * 100)
    small(each_service, quota_storage_bytes=len(ZIP[1]) + 150)
    before = each_service.files()

    refused = each_service.client.post(f"/v1/jobs/{job}/register", json={"name": "n"})

    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert each_service.files() == before
    small(each_service, quota_storage_bytes=len(ZIP[1]) + 250)
    assert each_service.client.post(f"/v1/jobs/{job}/register", json={"name": "n"}).json()["version"] == 1


def test_a_refused_upload_and_the_operators_count_nothing(start: Start) -> None:
    size = len(ZIP[1])
    with start(token="t", quota_storage_bytes=size, quota_queued_jobs=1) as service:
        service.client.headers["Authorization"] = "Bearer t"
        for _ in range(2):
            service.job()
        alice = service.key("alice")
        for _ in range(2):
            service.client.post("/v1/datasets", files=FILE, headers=alice).raise_for_status()
            service.settle("not a dataset")


def test_a_surplus_job_waits_and_others_go_before_it(each_service: Service) -> None:
    alice, bob = each_service.key("alice"), each_service.key("bob")
    small(each_service, quota_running_jobs=1)
    jobs = [
        each_service.client.post("/v1/jobs", json=TRAIN | {"dataset": dataset(each_service, who)}, headers=who).json()
        for who in (alice, alice, bob)
    ]

    def claim() -> str | None:
        with each_service.database.transaction() as session:
            held = claims.claim(session, "worker-1", 60, most_running=1)
            return held.id if held else None

    assert [claim(), claim(), claim()] == [jobs[0]["id"], jobs[2]["id"], None]
    waiting = each_service.client.get(f"/v1/jobs/{jobs[1]['id']}", headers=alice).json()["waiting_for"]
    assert [(entry["what"], entry["detail"]) for entry in waiting] == [
        ("quota", "waits until fewer than 1 jobs of alice run; 1 run now")
    ]
    with each_service.database.transaction() as session:
        job = session.get_one(Job, jobs[0]["id"])
        job.status, job.lease_until = Status.FAILED, None
    assert claim() == jobs[1]["id"]


def test_workers_side_by_side_keep_to_the_quota(postgres: Postgres, start: Start) -> None:
    with postgres.migrated() as url, start(database_url=url, migrate_on_start=False) as service:
        alice = service.key("alice")
        spec = TRAIN | {"dataset": dataset(service, alice)}
        for _ in range(6):
            service.client.post("/v1/jobs", json=spec, headers=alice).raise_for_status()
        together = threading.Barrier(6)
        claimed: list[Any] = []

        def claim(number: int) -> None:
            together.wait()
            with service.database.transaction() as session:
                claimed.append(claims.claim(session, f"worker-{number}", 60, most_running=2))

        threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(held is not None for held in claimed) == 2


def test_requests_side_by_side_keep_to_the_quota(each_service: Service) -> None:
    alice = each_service.key("alice")
    small(each_service, quota_queued_jobs=2)
    spec = TRAIN | {"dataset": dataset(each_service, alice)}
    together, statuses = threading.Barrier(5), []

    def submit() -> None:
        together.wait()
        statuses.append(each_service.client.post("/v1/jobs", json=spec, headers=alice).status_code)

    threads = [threading.Thread(target=submit) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [202, 202, 429, 429, 429]


def test_a_disk_that_is_nearly_full_takes_no_work(start: Start) -> None:
    with start() as service:
        spec = TRAIN | {"dataset": service.dataset()}
        free = service.storage.free()
        small(service, min_free_bytes=free * 2)
        answers = [service.client.post("/v1/jobs", json=spec), service.client.post("/v1/datasets", files=FILE)]
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(503, "storage_full")] * 2
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
        assert service.client.get("/v1/jobs").status_code == 200
        small(service, min_free_bytes=free // 2)
        assert service.client.post("/v1/jobs", json=spec).status_code == 202
