"""Submitting jobs: what is taken, and what is refused with which pointer."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api import log_setup, tracing
from api.jobs import service
from api.tables.jobs import Job
from api.tables.states import Status
from rdrkd.spec import JOB_SPEC
from tests.api.conftest import NOBODY, Service

DISTILL = {"kind": "distill", "student": {"architecture": "yolov8n"}, "dataset": NOBODY["dataset"]}
TRAIN = {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": NOBODY["dataset"]}


def test_submit_answers_202_with_location_and_the_job(each_service: Service) -> None:
    dataset, teacher = each_service.upload(), each_service.upload("models", ("l.pt", b"weights"))
    spec = DISTILL | {"name": "n-from-l", "teacher": {"model": teacher}, "dataset": dataset, "labels": {"team": "uav"}}

    response = each_service.client.post("/v1/jobs", json=spec)

    job = response.json()
    assert response.status_code == 202
    assert response.headers["Location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert int(response.headers["Retry-After"]) > 0
    assert (job["status"], job["attempt"], job["labels"], job["spec"]) == ("queued", 0, {"team": "uav"}, spec)
    assert each_service.client.get(job["links"]["self"]).json() == job


def test_a_job_keeps_the_request_and_the_trace_that_submitted_it(each_service: Service) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    content = {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": each_service.dataset()}
    asked = each_service.client.post("/v1/jobs", json=content, headers={"X-Request-ID": "mine"})
    with each_service.database.transaction() as session:
        assert session.get_one(Job, asked.json()["id"]).request_id == "mine"
        with tracing.continuing(traceparent), log_setup.about(request_id="ours"):
            job = service.create(session, JOB_SPEC.validate_python(content))
        assert (job.request_id, job.traceparent) == ("ours", traceparent)
        job = service.create(session, JOB_SPEC.validate_python(content))
        assert (job.request_id, job.traceparent) == (None, None)


@pytest.mark.slow
def test_many_at_once_are_all_taken(each_service: Service) -> None:
    dataset = each_service.upload()

    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda number: each_service.submit(dataset, priority=number)["id"], range(24)))

    listed = each_service.client.get("/v1/jobs?limit=100").json()["data"]
    assert {job["id"] for job in listed} == set(jobs)
    assert len(set(jobs)) == 24


def test_a_job_says_what_it_waits_for(each_service: Service) -> None:
    dataset = each_service.upload()
    teacher = each_service.submit(dataset)["id"]
    distill = DISTILL | {"teacher": {"job": teacher}, "dataset": dataset, "priority": -1}
    job = each_service.client.post("/v1/jobs", json=distill).json()

    assert [(w["what"], w["id"], w["status"]) for w in job["waiting_for"]] == [
        ("dataset", dataset, "checking"),
        ("job", teacher, "queued"),
    ]

    before = each_service.client.get(f"/v1/jobs/{teacher}")
    each_service.settle()
    after = each_service.client.get(f"/v1/jobs/{teacher}", headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200  # the row is unchanged, what it waits for is not
    assert [w["what"] for w in after.json()["waiting_for"]] == ["worker"]

    each_service.submit(dataset, priority=5)
    waiting = each_service.client.get(f"/v1/jobs/{teacher}").json()["waiting_for"]
    assert waiting[0]["detail"].endswith("; 1 job is before it")

    each_service.claim()
    assert each_service.client.get("/v1/jobs").json()["data"][0]["waiting_for"] == []


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"surprise": 1}, ["/surprise"]),
        ({"train": {"epochs": 0, "imgsz": 33}}, ["/train/epochs", "/train/imgsz"]),
        ({"model": {"architecture": "resnet50"}}, ["/model/architecture"]),
        ({"model": {"model": ""}}, ["/model/model"]),
        ({"model": 3}, ["/model"]),
        ({"kind": "explode"}, ["/kind", "/model", "/export"]),  # read as `export`, which it asks about
        ({"kind": None}, ["/kind"]),
        ({"kind": "trian", "train": {"epochs": 0}}, ["/kind", "/train/epochs"]),
        ({"kind": 7, "train": {"epochs": 0}}, ["/kind", "/train/epochs"]),
        ({"labels": {"a/b": "x" * 513}}, ["/labels/a~1b"]),
        ({"name": "two\nlines"}, ["/name"]),
        ({"name": "nul\x00"}, ["/name"]),
        ({"priority": 10**30}, ["/priority"]),
        ({"timeout_seconds": "soon"}, ["/timeout_seconds"]),
    ],
)
def test_bad_fields_are_named_by_pointer(steady: Service, changes: dict[str, Any], pointers: list[str]) -> None:
    response = steady.client.post("/v1/jobs", json=TRAIN | changes)

    problem = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (422, 422, "invalid")
    assert [error["pointer"] for error in problem["errors"]] == pointers
    assert all(error["detail"] for error in problem["errors"])


@pytest.mark.parametrize(
    ("losses", "pointer"),
    [
        ([{"name": "regenerated", "weight": -1}], "/distillation/losses/0/weight"),
        ([{"name": "decoupled"}, {"name": "magic"}], "/distillation/losses/1/name"),
        ([{"name": "decoupled", "gamma": 1}], "/distillation/losses/0/gamma"),
        ([{"name": "decoupled"}, {"name": "decoupled"}], "/distillation/losses"),
    ],
)
def test_pointers_into_loss_terms_hold_no_tags(steady: Service, losses: list[Any], pointer: str) -> None:
    body = DISTILL | {"teacher": {"model": NOBODY["model"]}, "distillation": {"losses": losses}}

    problem = steady.client.post("/v1/jobs", json=body).json()

    assert (problem["code"], [error["pointer"] for error in problem["errors"]]) == ("invalid", [pointer])


def test_preset_and_losses_together_are_refused(steady: Service) -> None:
    both = {"preset": "rdr-kd", "losses": [{"name": "decoupled"}]}

    problem = steady.client.post("/v1/jobs", json=DISTILL | {"teacher": NOBODY, "distillation": both}).json()

    assert "/distillation" in [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"dataset": "/etc/passwd"}, "/dataset"),
        ({"dataset": "../data.zip"}, "/dataset"),
        ({"dataset": "coco8.yaml"}, "/dataset"),
        ({"dataset": "hit-uav.tar.gz"}, "/dataset"),
        ({"model": {"path": "/root/x.pt"}}, "/model/path"),
    ],
)
def test_paths_are_refused(steady: Service, changes: dict[str, Any], pointer: str) -> None:
    response = steady.client.post("/v1/jobs", json=TRAIN | {"dataset": steady.upload()} | changes)

    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "path_not_allowed")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_references_must_exist(each_service: Service) -> None:
    body = DISTILL | {"teacher": {"job": NOBODY["job"]}, "student": {"model": NOBODY["model"]}}

    response = each_service.client.post("/v1/jobs", json=body)

    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "unknown_reference")
    assert [error["pointer"] for error in problem["errors"]] == ["/dataset", "/teacher/job", "/student/model"]
    assert each_service.client.get("/v1/jobs").json()["data"] == []


def test_an_invalid_upload_is_refused(service: Service) -> None:
    dataset = service.upload()
    service.settle("expected names, got none")

    problem = service.client.post("/v1/jobs", json=TRAIN | {"dataset": dataset}).json()

    assert (problem["code"], problem["errors"][0]["pointer"]) == ("unusable_reference", "/dataset")
    (told,) = problem["errors"]
    filename = service.client.get(f"/v1/datasets/{dataset}").json()["filename"]
    assert told["detail"].endswith(f"got {dataset} ({filename}): expected names, got none"), "and why it is invalid"
    assert "not invalid" not in told["detail"]


def test_a_job_whose_dataset_is_refused_later_names_the_file(service: Service) -> None:
    dataset = service.upload()
    job = service.submit(dataset)["id"]
    service.settle("expected names, got none")

    seen = service.client.get(f"/v1/jobs/{job}").json()

    filename = service.client.get(f"/v1/datasets/{dataset}").json()["filename"]
    assert (seen["status"], seen["reason"]) == ("failed", "dataset_invalid")
    assert seen["message"] == f"dataset: {dataset} ({filename}) was checked and refused: expected names, got none"


@pytest.mark.parametrize(
    ("status", "taken"),
    [
        (Status.QUEUED, True),
        (Status.STARTING, True),
        (Status.RUNNING, True),
        (Status.SUCCEEDED, True),
        (Status.CANCELLING, False),
        (Status.CANCELLED, False),
        (Status.FAILED, False),
    ],
)
def test_a_teacher_may_be_a_job_that_can_still_succeed(service: Service, status: Status, taken: bool) -> None:
    source = service.job(status)
    body = DISTILL | {"teacher": {"job": source}, "dataset": service.upload()}

    response = service.client.post("/v1/jobs", json=body)

    assert response.status_code == (202 if taken else 422)
    if not taken:
        assert response.json()["code"] == "unusable_reference"
        assert response.json()["errors"][0]["pointer"] == "/teacher/job"


def test_an_evaluation_hands_back_no_weights(service: Service) -> None:
    dataset = service.upload()
    evaluation = service.submit(dataset, kind="evaluate", model={"job": service.submit(dataset)["id"]})["id"]

    problem = service.client.post("/v1/jobs", json=TRAIN | {"dataset": dataset, "model": {"job": evaluation}}).json()

    assert (problem["code"], problem["errors"][0]["pointer"]) == ("unusable_reference", "/model/job")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"", 422, "invalid"),
        (b"[]", 422, "invalid"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b'{"kind": "\xff"}', 400, "bad_request"),
        (b"[" * 100_000, 400, "bad_request"),
        (b'{"priority": ' + b"9" * 5000 + b"}", 400, "bad_request"),
        (b'{"kind": "train", "\\ud800": NaN, "labels": {"\\udfff": "\\ud800"}}', 422, "invalid"),
        (b" " * (2**20 + 1), 413, "too_large"),
        (b'{"train": {' + b",".join(b'"%d": 1' % number for number in range(50_000)) + b"}}", 413, "too_large"),
    ],
)
def test_bodies_that_are_no_spec(steady: Service, content: bytes, status: int, code: str) -> None:
    response = steady.client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_spec_must_call_itself_json(steady: Service, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}

    response = steady.client.post("/v1/jobs", content=b"{}", headers=headers)

    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
