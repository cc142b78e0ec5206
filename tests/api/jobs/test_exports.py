"""Jobs that export: what they may name, and who can do them."""

from typing import Any

import pytest

from api.jobs import claims
from api.jobs.workers import service as workers
from api.jobs.workers.service import Presence
from api.tables.states import Status
from tests.api.conftest import Service

GPU = {"name": "NVIDIA H100", "memory": 80 * 2**30}


def export(service: Service, form: str = "onnx", **changes: Any) -> dict[str, Any]:
    student = service.job()
    held = service.bring(student, Status.RUNNING)
    service.publish(held, 1, b"weights", service.storage.root)
    service.end(held, Status.SUCCEEDED)
    dataset = service.client.get(f"/v1/jobs/{student}").json()["spec"]["dataset"]
    return {"kind": "export", "dataset": dataset, "model": {"job": student}, "export": {"format": form}} | changes


def join(service: Service, name: str, *devices: dict[str, Any]) -> None:
    with service.database.transaction() as session:
        workers.join(session, Presence(name, "train", "0.1.0", 2, list(devices)), 60)


def claim(service: Service, with_gpu: bool) -> str | None:
    with service.database.transaction() as session:
        held = claims.claim(session, "w", 60, with_gpu=with_gpu)
        return held.id if held is not None else None


def test_it_is_queued_and_found_by_its_kind(service: Service) -> None:
    job = service.client.post("/v1/jobs", json=export(service))
    assert job.status_code == 202
    assert job.json()["kind"] == "export"
    listed = service.client.get("/v1/jobs?kind=export").json()["data"]
    assert [row["id"] for row in listed] == [job.json()["id"]]


@pytest.mark.parametrize(
    ("settings", "pointer"),
    [
        ({"format": "coreml"}, "/export/format"),
        ({"format": "onnx", "imgsz": 100}, "/export/imgsz"),
        ({"format": "onnx", "int8": True}, "/export/int8"),
        ({}, "/export/format"),
    ],
)
def test_settings_that_are_refused_are_named(service: Service, settings: dict[str, Any], pointer: str) -> None:
    refused = service.client.post("/v1/jobs", json=export(service, export=settings))
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]


def test_nothing_can_start_from_an_export(service: Service) -> None:
    spec = export(service)
    job = service.client.post("/v1/jobs", json=spec).json()["id"]
    again = service.client.post("/v1/jobs", json=spec | {"model": {"job": job}})
    assert (again.status_code, again.json()["code"]) == (422, "unusable_reference")
    assert "got one of kind export" in again.json()["detail"]


@pytest.mark.parametrize("address", ["/v1/jobs", "/v1/jobs/validate"])
def test_tensorrt_is_refused_where_no_worker_has_a_gpu(service: Service, address: str) -> None:
    spec = export(service, "engine")
    join(service, "cpu-only")
    refused = service.client.post(address, json=spec)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    assert refused.json()["errors"][0]["pointer"] == "/export/format"
    assert "none of 1 has one" in refused.json()["detail"]
    join(service, "with-gpu", GPU)
    assert service.client.post(address, json=spec).status_code in (200, 202)


def test_tensorrt_waits_for_a_worker_with_a_gpu_and_others_leave_it(each_service: Service) -> None:
    service = each_service
    spec = export(service, "engine")
    engine = service.client.post("/v1/jobs", json=spec).json()
    assert "no worker with a GPU is connected" in engine["waiting_for"][0]["detail"]
    onnx = service.client.post("/v1/jobs", json=spec | {"export": {"format": "onnx"}}).json()["id"]

    assert claim(service, with_gpu=False) == onnx  # though it is the younger
    assert claim(service, with_gpu=False) is None
    assert claim(service, with_gpu=True) == engine["id"]


def test_an_export_is_tried_on_paper(service: Service) -> None:
    answer = service.client.post("/v1/jobs/validate", json=export(service)).json()
    resolved = {"format": "onnx", "imgsz": 640, "half": False, "split": "val", "images": 32, "repeats": 50}
    resolved |= {"conf": 0.25, "int8": False, "calibration": 300, "dynamic": False}
    assert answer["resolved_spec"]["export"] == resolved
    assert answer["estimate"]["seconds"] is None
