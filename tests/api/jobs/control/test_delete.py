"""Deleting: what goes, what stays, and what is refused because something needs it."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from api.jobs.control import transitions as control
from api.storage import deletions
from api.storage.deletions import Discard
from api.studies import service as studies
from api.tables.jobs import Artifact, Job, JobEpoch, JobWarning
from api.tables.states import DELETABLE, Status
from tests.api.conftest import NOBODY, Service


def delete(service: Service, path: str, **query: Any) -> tuple[int, str | None]:
    answer = service.client.delete(path, params=query)
    return answer.status_code, answer.json()["code"] if answer.status_code >= 400 else None


def rich(service: Service, folder: Path, status: Status = Status.SUCCEEDED) -> str:
    """Return a job that has ended, or is paused, and has left something of everything."""
    job_id = service.job()
    held = service.bring(job_id, Status.RUNNING)
    service.epoch(held, 1)
    service.warn(held, "term_weak", "weak")
    for epoch, name in ((1, "student.pt"), (2, "student.pt"), (2, "student.safetensors"), (2, "state.pt")):
        service.publish(held, epoch, f"{name} {epoch}".encode(), folder, name)
    if status == Status.PAUSED:
        service.client.post(f"/v1/jobs/{job_id}/pause").raise_for_status()
        service.requeue(held)
    else:
        service.end(held, status)
    return job_id


def count(service: Service, table: Any) -> int:
    with service.database.transaction() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


@pytest.mark.parametrize("status", sorted(DELETABLE))
def test_a_job_that_has_ended_goes_with_everything(each_service: Service, tmp_path: Path, status: Status) -> None:
    job_id = rich(each_service, tmp_path, status)
    left = each_service.storage.root / "jobs" / job_id / "attempt-1" / "epoch-9"
    left.mkdir(parents=True)
    (left / "state.pt").write_bytes(b"of an attempt that was killed before its rows")
    other = each_service.job()
    each_service.publish(each_service.claim(), 1, b"other", tmp_path)

    assert delete(each_service, f"/v1/jobs/{job_id}") == (204, None)

    assert delete(each_service, f"/v1/jobs/{job_id}") == (404, "not_found")
    assert [count(each_service, table) for table in (Job, JobEpoch, JobWarning, Artifact, Discard)] == [1, 0, 0, 1, 0]
    kept = [file for file in each_service.files() if file.startswith("jobs/")]
    assert kept == [f"jobs/{other}/attempt-1/epoch-1/student.pt"]


def test_the_newest_weights_may_stay(each_service: Service, tmp_path: Path) -> None:
    job_id = rich(each_service, tmp_path)
    etag = each_service.client.get(f"/v1/jobs/{job_id}").headers["ETag"]

    answer = each_service.client.delete(f"/v1/jobs/{job_id}", params={"keep": "weights"})

    job = each_service.client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.json()) == (200, job.json())
    assert (job.json()["status"], job.json()["warnings"], job.json()["metrics"]) == ("succeeded", [], None)
    assert each_service.client.get(f"/v1/jobs/{job_id}/metrics").json()["data"] == []
    listed = each_service.client.get(f"/v1/jobs/{job_id}/artifacts").json()["data"]
    assert [file["name"] for file in listed] == ["student.pt", "student.safetensors"]
    assert each_service.client.get(f"/v1/jobs/{job_id}/weights").content == b"student.pt 2"
    assert [file.split("/", 2)[2] for file in each_service.files() if file.startswith("jobs/")] == [
        "attempt-1/epoch-2/student.pt", "attempt-1/epoch-2/student.safetensors"
    ]  # fmt: skip


def test_what_was_stripped_can_only_begin_anew(each_service: Service, tmp_path: Path) -> None:
    job_id = rich(each_service, tmp_path, Status.FAILED)
    each_service.client.delete(f"/v1/jobs/{job_id}", params={"keep": "weights"}).raise_for_status()

    each_service.client.post(f"/v1/jobs/{job_id}/retry").raise_for_status()

    assert each_service.claim().scratch_after == 1


@pytest.mark.parametrize("keep", [None, "weights"])
@pytest.mark.parametrize("status", sorted(set(Status) - DELETABLE))
def test_a_job_that_goes_on_stays(each_service: Service, status: Status, keep: str | None) -> None:
    job_id = each_service.job(status)

    assert delete(each_service, f"/v1/jobs/{job_id}", **({"keep": keep} if keep else {})) == (409, "not_ended")

    assert each_service.client.get(f"/v1/jobs/{job_id}").json()["status"] == status


def test_a_job_stays_while_another_waits_for_its_weights(each_service: Service, tmp_path: Path) -> None:
    teacher = rich(each_service, tmp_path)
    student = each_service.job(model={"job": teacher})

    refused = each_service.client.delete(f"/v1/jobs/{teacher}")
    stripped = delete(each_service, f"/v1/jobs/{teacher}", keep="weights")
    each_service.client.post(f"/v1/jobs/{student}/cancel").raise_for_status()

    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert student in refused.json()["detail"]
    assert stripped == (200, None)  # the weights are all that the other needs
    assert delete(each_service, f"/v1/jobs/{teacher}") == (204, None)


def test_a_job_stays_while_a_successor_begins_with_its_checkpoints(each_service: Service, tmp_path: Path) -> None:
    job_id, successor = rich(each_service, tmp_path, Status.FAILED), each_service.job()
    with each_service.database.transaction() as session:
        session.execute(sa.update(Job).where(Job.id == successor).values(continues=job_id))

    assert delete(each_service, f"/v1/jobs/{job_id}") == (409, "in_use")
    assert delete(each_service, f"/v1/jobs/{job_id}", keep="weights") == (409, "in_use")
    each_service.client.post(f"/v1/jobs/{successor}/cancel").raise_for_status()
    assert delete(each_service, f"/v1/jobs/{job_id}") == (204, None)


@pytest.mark.slow
def test_what_a_study_is_made_of_stays(each_service: Service, tmp_path: Path) -> None:
    start = rich(each_service, tmp_path)
    body = {
        "name": "tiny", "dataset": each_service.dataset(), "student": {"job": start}, "methods": ["none"], "seeds": [0],
        "teacher": {"model": {"architecture": "yolov8l"}, "train": {"epochs": 3}}, "train": {"epochs": 2},
    }  # fmt: skip
    study = each_service.client.post("/v1/studies", json=body).raise_for_status().json()
    jobs = [study["teacher"]["job"], study["members"][0]["job"]]
    for job_id in jobs:
        held = each_service.bring(job_id, Status.RUNNING)
        each_service.publish(held, 1, b"weights", tmp_path)
        each_service.end(held, Status.SUCCEEDED)
    reports = []
    for _ in range(2):
        with each_service.database.transaction() as session:
            reports.append(studies._draw(session, studies.get(session, study["id"]), [jobs[1]]).id)
        each_service.end(each_service.claim(), Status.SUCCEEDED)

    for job_id in (*jobs, start, reports[1]):
        answer = each_service.client.delete(f"/v1/jobs/{job_id}")
        assert (answer.status_code, answer.json()["code"]) == (409, "in_use"), job_id
        assert study["id"] in answer.json()["detail"]
    assert delete(each_service, f"/v1/jobs/{reports[0]}") == (204, None)  # a newer one stands


@pytest.mark.parametrize(("feature", "name"), [("datasets", "a.zip"), ("models", "a.pt")])
def test_an_upload_goes_once_nothing_names_it(each_service: Service, feature: str, name: str) -> None:
    upload = each_service.upload(feature, (name, b"content"))
    dataset = upload if feature == "datasets" else each_service.upload()
    model = {"architecture": "yolov8n"} if feature == "datasets" else {"model": upload}
    job_id = each_service.submit(dataset, model=model)["id"]
    each_service.client.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()

    refused = each_service.client.delete(f"/v1/{feature}/{upload}")
    each_service.client.delete(f"/v1/jobs/{job_id}").raise_for_status()

    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert job_id in refused.json()["detail"]
    before = set(each_service.files())
    assert delete(each_service, f"/v1/{feature}/{upload}") == (204, None)
    assert len(before - set(each_service.files())) == 1
    assert delete(each_service, f"/v1/{feature}/{upload}") == (404, "not_found")
    assert count(each_service, Discard) == 0


def test_the_file_that_two_uploads_share_goes_with_the_second(each_service: Service) -> None:
    first, second = each_service.upload(), each_service.upload()

    assert delete(each_service, f"/v1/datasets/{first}") == (204, None)
    assert len(each_service.files()) == 1
    assert delete(each_service, f"/v1/datasets/{second}") == (204, None)
    assert each_service.files() == []


def test_a_study_names_its_uploads(each_service: Service) -> None:
    dataset, model = each_service.dataset(), each_service.upload("models", ("l.pt", b"weights"))
    body = {
        "name": "tiny", "dataset": dataset, "teacher": {"model": {"model": model}}, "methods": ["rdr-kd"], "seeds": [0],
        "student": {"architecture": "yolov8n"}, "train": {"epochs": 2},
    }  # fmt: skip
    each_service.client.post("/v1/studies", json=body).raise_for_status()

    assert delete(each_service, f"/v1/datasets/{dataset}") == (409, "in_use")
    assert delete(each_service, f"/v1/models/{model}") == (409, "in_use")


def test_of_many_that_need_it_some_are_named(service: Service) -> None:
    dataset = service.dataset()
    jobs = [service.submit(dataset)["id"] for _ in range(5)]

    detail = service.client.delete(f"/v1/datasets/{dataset}").json()["detail"]

    assert detail.endswith("and 2 more")
    assert sum(job_id in detail for job_id in jobs) == 3


def test_files_that_could_not_be_removed_are_noted_and_go_later(service: Service, tmp_path: Path) -> None:
    job_id = rich(service, tmp_path)
    folder = service.storage.root / "jobs" / job_id / "attempt-1" / "epoch-2"
    (folder / "state.pt").unlink()
    (folder / "state.pt").mkdir()  # whatever lies there
    with service.database.transaction() as session:
        noted = deletions.note(session, [f"jobs/{job_id}/attempt-1/epoch-1/student.pt"])

    assert delete(service, f"/v1/jobs/{job_id}") == (204, None)

    assert [file for file in service.files() if file.startswith("jobs/")] == []
    with service.database.transaction() as session:
        assert deletions.waiting(session) == noted  # another's note: the reaper follows it
    deletions.follow_all(service.database, service.storage, noted)
    assert count(service, Discard) == 0


def test_who_comes_second_to_a_deletion_changes_nothing(each_service: Service) -> None:
    job_id = each_service.job(Status.FAILED)
    with each_service.database.transaction() as session:
        job = session.get_one(Job, job_id)
        assert delete(each_service, f"/v1/jobs/{job_id}") == (204, None)  # another request is faster
        moves = [control.retry(session, job, False), control.strip(session, job), control.delete(session, job)]
        assert moves == [False] * 3
    assert count(each_service, Job) == 0


@pytest.mark.parametrize("path", [f"/v1/jobs/{NOBODY['job']}", f"/v1/datasets/{NOBODY['dataset']}", "/v1/models/x"])
def test_of_nothing_nothing_is_deleted(service: Service, path: str) -> None:
    assert delete(service, path) == (404, "not_found")
