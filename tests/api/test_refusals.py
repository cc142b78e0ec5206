"""The OpenAPI document: valid, stable, and every refusal that it names can really be met."""

import io
import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI
from httpx2 import Response
from sqlalchemy import delete, update

from api import errors
from api.caller import LOOPBACK
from api.db import after_seconds, new_id
from api.errors import ApiError
from api.jobs import upload_checks
from api.tables.datasets import Dataset
from api.tables.idempotency import IdempotencyKey
from api.tables.jobs import Artifact, Job
from api.tables.states import Status
from api.tables.uploads import UploadStatus
from tests import journals
from tests.api.conftest import MAX_BYTES, NOBODY, Provoke, Service, Start, full_disk, without_room
from tests.api.uploads.datasets import refusals as datasets
from tests.api.uploads.models import refusals as registry
from tests.api.uploads.resumable import refusals as resumable
from tests.servers import Postgres

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def _post(path: str, **request: Any) -> Provoke:
    return lambda service: service.client.post(path, **request)


def _patch(path: str, **request: Any) -> Provoke:
    return lambda service: service.client.patch(path, **request)


def _get(path: str, **headers: str) -> Provoke:
    return lambda service: service.client.get(path, headers=headers)


def _spec(**changes: Any) -> dict[str, Any]:
    return {"json": {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": NOBODY["dataset"]} | changes}


def _unusable(service: Service) -> Response:
    dataset = service.upload()
    service.settle("no")
    return service.client.post("/v1/jobs", **_spec(dataset=dataset))


def _unusable_on_paper(service: Service) -> Response:
    dataset = service.upload()
    service.settle("no")
    return service.client.post("/v1/jobs/validate", **_spec(dataset=dataset))


def _cancel_failed(service: Service) -> Response:
    return service.client.post(f"/v1/jobs/{service.job(Status.FAILED)}/cancel")


def _of_job(status: Status, method: str, tail: str, **request: Any) -> Provoke:
    """Ask something of a job that has come to `status`."""
    return lambda service: service.client.request(
        method, f"/v1/jobs/{service.job(status)}/{tail}".rstrip("/"), **request
    )


def _full(path: str, filename: str) -> Provoke:
    def provoke(service: Service) -> Response:
        with full_disk(2**23):  # more than the database has
            return service.client.post(path, files={"file": (filename, bytes(2**23 + 2**22))})

    return provoke


def _file(method: str, tail: str, **request: Any) -> Provoke:
    def provoke(service: Service) -> Response:
        job_id = service.job()
        held = service.bring(job_id, Status.RUNNING)
        service.publish(held, 1, b"weights", service.storage.root)
        if request.get("removed"):
            service.storage.delete(f"jobs/{job_id}/attempt-1/epoch-1/student.pt")
        return service.client.request(method, f"/v1/jobs/{job_id}/{tail}", headers=request.get("headers"))

    return provoke


def _early(method: str, tail: str) -> Provoke:
    return lambda service: service.client.request(method, f"/v1/jobs/{service.job(Status.FAILED)}/{tail}")


def _request(method: str, path: str) -> Provoke:
    return lambda service: service.client.request(method, path)


def _file_refusals(operation: str, method: str, tail: str, invalid: str) -> dict[tuple[str, str], Provoke]:
    return {
        (operation, "bad_request"): _file(method, tail, headers={"Range": "bytes=x"}),
        (operation, "not_found"): _request(method, f"/v1/jobs/{NOBODY['job']}/{tail}"),
        (operation, "not_ready"): _early(method, tail),
        (operation, "gone"): _file(method, tail, removed=True),
        (operation, "range_not_satisfiable"): _file(method, tail, headers={"Range": "bytes=99-"}),
        (operation, "invalid"): _request(method, f"/v1/jobs/x/{tail}?{invalid}"),
    }


def _tidy(service: Service) -> None:
    """End what waits, so that the next test finds its own alone."""
    with service.database.transaction() as session:
        session.execute(update(Job).where(Job.status == Status.QUEUED).values(status=Status.CANCELLED))
        for table in upload_checks.UPLOADS:
            session.execute(update(table).values(status=UploadStatus.INVALID))


def _keyed(path: str, request: Callable[[Service], Callable[[int], dict[str, Any]]], in_flight: bool) -> Provoke:
    """Send a request again under its key: another one, or the same while the first is not answered."""

    def provoke(service: Service) -> Response:
        numbered, key = request(service), new_id("key")

        def send(number: int) -> Response:
            asked = {"url": path, "headers": {}, **numbered(number)}
            return service.client.post(**asked | {"headers": asked["headers"] | {"Idempotency-Key": key}})

        send(0).raise_for_status()
        if in_flight:
            with service.database.transaction() as session:
                unanswered = update(IdempotencyKey).where(IdempotencyKey.key == key)
                session.execute(unanswered.values(status=None, claimed_until=after_seconds(60)))
        answer = send(0 if in_flight else 1)
        _tidy(service)
        return answer

    return provoke


def _keyed_refusals(
    operation: str, path: str, request: Callable[[Service], Callable[[int], dict[str, Any]]]
) -> dict[tuple[str, str], Provoke]:
    return {
        (operation, "idempotency_key_reused"): _keyed(path, request, in_flight=False),
        (operation, "idempotency_key_in_flight"): _keyed(path, request, in_flight=True),
    }


def _delete_named(feature: str, suffix: str) -> Provoke:
    """Delete an upload that a job names."""

    def provoke(service: Service) -> Response:
        upload = service.upload(f"{feature}s", (f"named{suffix}", b"named"))
        named = {"dataset": upload} if feature == "dataset" else {"model": {"model": upload}}
        service.client.post("/v1/jobs", **_spec(**{"dataset": service.upload(), **named})).raise_for_status()
        answer = service.client.delete(f"/v1/{feature}s/{upload}")
        _tidy(service)
        return answer

    return provoke


def _delete_member(service: Service) -> Response:
    study = service.client.post("/v1/studies", **_study(dataset=service.upload())).json()
    _tidy(service)
    return service.client.delete(f"/v1/jobs/{study['teacher']['job']}")


def _upload_refusals(feature: str, suffix: str) -> dict[tuple[str, str], Provoke]:
    path, one = f"/v1/{feature}s", f"get_{feature}"
    return {
        (f"create_{feature}", "bad_request"): _post(path, content=b"x", headers=FORM),
        (f"create_{feature}", "too_large"): _post(path, files={"file": (f"a{suffix}", bytes(MAX_BYTES + 1))}),
        (f"create_{feature}", "unsupported_media_type"): _post(path, json={}),
        (f"create_{feature}", "invalid"): _post(path, data={"name": "x"}, files={"other": b""}),
        (f"create_{feature}", "storage_full"): _full(path, f"a{suffix}"),
        **_keyed_refusals(
            f"create_{feature}", path, lambda _: lambda number: {"files": {"file": (f"{number}{suffix}", b"x")}}
        ),
        (f"list_{feature}s", "invalid"): _get(f"{path}?limit=0"),
        (f"delete_{feature}", "not_found"): _request("DELETE", f"{path}/{NOBODY[feature]}"),
        (f"delete_{feature}", "in_use"): _delete_named(feature, suffix),
        (one, "not_found"): _get(f"{path}/{NOBODY[feature]}"),
    }


def _study(**changes: Any) -> dict[str, Any]:
    teacher = {"model": {"architecture": "yolov8l"}, "train": {"epochs": 1}}
    spec = {"name": "s", "dataset": NOBODY["dataset"], "teacher": teacher, "student": {"architecture": "yolov8n"}}
    return {"json": spec | {"methods": ["none"], "seeds": [0]} | changes}


def _unusable_study(path: str) -> Provoke:
    def ask(service: Service) -> Response:
        dataset = service.upload()
        service.settle("no")
        return service.client.post(path, **_study(dataset=dataset))

    return ask


def _refused_studies(operation: str, path: str) -> dict[tuple[str, str], Provoke]:
    """Return what an operation refuses that takes a study."""
    refused = {
        "malformed_json": _post(path, content=b"{", headers=JSON),
        "too_large": _post(path, content=bytes(2**20 + 1), headers=JSON),
        "unsupported_media_type": _post(path, content=b"{}"),
        "bad_request": _post(path, content=b'{"name": "\xff"}', headers=JSON),
        "invalid": _post(path, json={}),
        "path_not_allowed": _post(path, **_study(dataset="/data")),
        "unknown_reference": _post(path, **_study()),
        "unusable_reference": _unusable_study(path),
    }
    return {(operation, code): provoke for code, provoke in refused.items()}


def _since(tail: str, gone: bool, **request: Any) -> Provoke:
    """Ask more of a study that was cancelled, and whose dataset is gone by now or was refused."""

    def provoke(service: Service) -> Response:
        dataset = service.upload()
        study = f"/v1/studies/{service.client.post('/v1/studies', **_study(dataset=dataset)).json()['id']}"
        service.client.post(f"{study}/cancel").raise_for_status()
        if gone:
            with service.database.transaction() as session:
                session.execute(delete(Dataset).where(Dataset.id == dataset))
        else:
            service.settle("no")
        return service.client.post(f"{study}{tail}", **request)

    return provoke


def _of_study(method: str, tail: str = "") -> Provoke:
    """Ask something of a study that has only begun."""

    def provoke(service: Service) -> Response:
        study = service.client.post("/v1/studies", **_study(dataset=service.upload())).json()
        return service.client.request(method, f"/v1/studies/{study['id']}{tail}")

    return provoke


def _needed_study(service: Service) -> Response:
    study = service.client.post("/v1/studies", **_study(dataset=service.upload())).json()
    service.job(model={"job": study["teacher"]["job"]})
    service.client.post(f"/v1/studies/{study['id']}/cancel").raise_for_status()
    return service.client.delete(f"/v1/studies/{study['id']}")


def _reported(removed: bool = False, **headers: str) -> Provoke:
    """Ask for the report of a study that has one, unless it is removed."""

    def provoke(service: Service) -> Response:
        study = service.client.post("/v1/studies", **_study(dataset=service.dataset())).json()["id"]
        with service.database.transaction() as session:
            row = Job(id=new_id("job"), kind="compare", status=Status.SUCCEEDED, timeout_seconds=1, study=study)
            row.spec = {"kind": "compare", "study": study, "jobs": []}
            session.add(row)
            session.flush()
            stored = service.storage.put(io.BytesIO(b"<html>"), ".html")
            file = Artifact(id=new_id("art"), job_id=row.id, attempt=1, epoch=0, name="report.html", key=stored.key)
            file.sha256, file.size = stored.sha256, stored.size
            session.add(file)
        if removed:
            service.storage.delete(stored.key)
        return service.client.get(f"/v1/studies/{study}/report", headers=headers)

    return provoke


def _jobs(service: Service) -> Callable[[int], dict[str, Any]]:
    dataset = service.upload()
    return lambda number: _spec(dataset=dataset, priority=number)


def _retries(service: Service) -> Callable[[int], dict[str, Any]]:
    """Retry a job that has failed: from its checkpoint, then from scratch."""
    job_id = service.job(Status.FAILED)
    return lambda number: {
        "url": f"/v1/jobs/{job_id}/retry", "json": {"from": ("checkpoint", "scratch")[number]}
    }  # fmt: skip


def _studies(service: Service) -> Callable[[int], dict[str, Any]]:
    dataset = service.upload()
    return lambda number: _study(dataset=dataset, seeds=[number])


_NO_JOB = f"/v1/jobs/{NOBODY['job']}"


def _crowded(tail: str, **headers: str) -> Provoke:
    """Ask to wait for news of a job when as many do as may."""

    def provoke(service: Service) -> Response:
        address = f"/v1/jobs/{service.job(Status.RUNNING)}{tail}"
        watch = service.app.state.watch
        with ExitStack() as taken:
            for _ in range(watch.most):
                taken.enter_context(watch.place(LOOPBACK))
            return service.client.get(address, headers=headers)

    return provoke


def _body_refusals(operation: str, method: str, path: str) -> dict[tuple[str, str], Provoke]:
    """What an address that takes JSON says to a body that is none."""

    def send(content: bytes, headers: dict[str, str]) -> Provoke:
        return lambda service: service.client.request(method, path, content=content, headers=headers)

    return {
        (operation, "malformed_json"): send(b"{", JSON),
        (operation, "too_large"): send(bytes(2**20 + 1), JSON),
        (operation, "unsupported_media_type"): send(b"{}", {}),
        (operation, "bad_request"): send(b'{"name": "\xff"}', JSON),
    }


_NO_KEY = f"/v1/api-keys/key_{'0' * 32}"
_NO_WEBHOOK = f"/v1/webhooks/whk_{'0' * 32}"
_NO_STUDY = f"/v1/studies/stu_{'0' * 32}"

# (operation, code): a request that is answered so
REFUSALS: dict[tuple[str, str], Provoke] = {
    ("create_job", "malformed_json"): _post("/v1/jobs", content=b"{", headers=JSON),
    ("create_job", "too_large"): _post("/v1/jobs", content=bytes(2**20 + 1), headers=JSON),
    ("create_job", "unsupported_media_type"): _post("/v1/jobs", content=b"{}"),
    ("create_job", "bad_request"): _post("/v1/jobs", content=b'{"kind": "\xff"}', headers=JSON),
    ("create_job", "invalid"): _post("/v1/jobs", json={}),
    ("create_job", "path_not_allowed"): _post("/v1/jobs", **_spec(dataset="/data")),
    ("create_job", "unknown_reference"): _post("/v1/jobs", **_spec()),
    ("create_job", "unusable_reference"): _unusable,
    **_keyed_refusals("create_job", "/v1/jobs", _jobs),
    ("validate_job", "malformed_json"): _post("/v1/jobs/validate", content=b"{", headers=JSON),
    ("validate_job", "too_large"): _post("/v1/jobs/validate", content=bytes(2**20 + 1), headers=JSON),
    ("validate_job", "unsupported_media_type"): _post("/v1/jobs/validate", content=b"{}"),
    ("validate_job", "bad_request"): _post("/v1/jobs/validate", content=b'{"kind": "\xff"}', headers=JSON),
    ("validate_job", "invalid"): _post("/v1/jobs/validate", json={}),
    ("validate_job", "path_not_allowed"): _post("/v1/jobs/validate", **_spec(dataset="/data")),
    ("validate_job", "unknown_reference"): _post("/v1/jobs/validate", **_spec()),
    ("validate_job", "unusable_reference"): _unusable_on_paper,
    ("create_job", "storage_full"): without_room(_post("/v1/jobs", **_spec())),
    ("list_jobs", "invalid"): _get("/v1/jobs?status=x"),
    ("get_job", "not_found"): _get(f"/v1/jobs/{NOBODY['job']}"),
    ("get_job", "invalid"): _get("/v1/jobs/x?wait=61"),
    ("get_job", "too_many_waiting"): _crowded("?wait=1"),
    ("cancel_job", "not_found"): _post(f"/v1/jobs/{NOBODY['job']}/cancel"),
    ("cancel_job", "already_finished"): _cancel_failed,
    **_keyed_refusals("retry_job", "", _retries),
    ("retry_job", "malformed_json"): _post(f"{_NO_JOB}/retry", content=b"{", headers=JSON),
    ("retry_job", "too_large"): _post(f"{_NO_JOB}/retry", content=bytes(2**20 + 1), headers=JSON),
    ("retry_job", "unsupported_media_type"): _post(f"{_NO_JOB}/retry", content=b"{}"),
    ("retry_job", "bad_request"): _post(f"{_NO_JOB}/retry", content=b'{"from": "\xff"}', headers=JSON),
    ("retry_job", "invalid"): _post(f"{_NO_JOB}/retry", json={"from": "epoch 3"}),
    ("retry_job", "storage_full"): without_room(_post(f"{_NO_JOB}/retry")),
    ("retry_job", "not_found"): _post(f"{_NO_JOB}/retry"),
    ("retry_job", "not_retryable"): _of_job(Status.SUCCEEDED, "POST", "retry"),
    ("change_job", "malformed_json"): _patch(_NO_JOB, content=b"{", headers=JSON),
    ("change_job", "too_large"): _patch(_NO_JOB, content=bytes(2**20 + 1), headers=JSON),
    ("change_job", "unsupported_media_type"): _patch(_NO_JOB, content=b"{}"),
    ("change_job", "bad_request"): _patch(_NO_JOB, content=b'{"name": "\xff"}', headers=JSON),
    ("change_job", "invalid"): _patch(_NO_JOB, json={"priority": 101}),
    ("change_job", "not_found"): _patch(_NO_JOB, json={}, headers={"If-Match": "*"}),
    ("change_job", "if_match_missing"): _of_job(Status.RUNNING, "PATCH", "", json={}),
    ("change_job", "precondition_failed"): _of_job(Status.RUNNING, "PATCH", "", json={}, headers={"If-Match": '"0"'}),
    ("change_job", "not_changeable"): _of_job(
        Status.RUNNING, "PATCH", "", json={"priority": 1}, headers={"If-Match": "*"}
    ),
    ("pause_job", "malformed_json"): _post(f"{_NO_JOB}/pause", content=b"{", headers=JSON),
    ("pause_job", "too_large"): _post(f"{_NO_JOB}/pause", content=bytes(2**20 + 1), headers=JSON),
    ("pause_job", "unsupported_media_type"): _post(f"{_NO_JOB}/pause", content=b"{}"),
    ("pause_job", "bad_request"): _post(f"{_NO_JOB}/pause", content=b'{"checkpoint": "\xff"}', headers=JSON),
    ("pause_job", "invalid"): _post(f"{_NO_JOB}/pause", json={"checkpoint": "best"}),
    ("pause_job", "not_found"): _post(f"{_NO_JOB}/pause"),
    ("pause_job", "not_pausable"): _of_job(Status.SUCCEEDED, "POST", "pause"),
    ("resume_job", "storage_full"): without_room(_post(f"{_NO_JOB}/resume")),
    ("resume_job", "not_found"): _post(f"{_NO_JOB}/resume"),
    ("resume_job", "not_paused"): _of_job(Status.RUNNING, "POST", "resume"),
    ("delete_job", "not_found"): _request("DELETE", _NO_JOB),
    ("delete_job", "not_ended"): _of_job(Status.RUNNING, "DELETE", ""),
    ("delete_job", "in_use"): _delete_member,
    ("delete_job", "invalid"): _request("DELETE", f"{_NO_JOB}?keep=all"),
    ("get_job_metrics", "not_found"): _get(f"/v1/jobs/{NOBODY['job']}/metrics"),
    ("list_job_events", "not_found"): _get(f"/v1/jobs/{NOBODY['job']}/events"),
    ("list_job_events", "invalid"): _get("/v1/jobs/x/events?after=-1"),
    ("list_job_events", "too_many_waiting"): _crowded("/events", Accept="text/event-stream"),
    ("list_job_attempts", "not_found"): _get(f"/v1/jobs/{NOBODY['job']}/attempts"),
    ("list_job_checkpoints", "not_found"): _get(f"/v1/jobs/{NOBODY['job']}/checkpoints"),
    ("get_job_metrics", "invalid"): _get("/v1/jobs/x/metrics?name=loss"),
    ("get_job_logs", "not_found"): _get(f"/v1/jobs/{NOBODY['job']}/logs"),
    ("get_job_logs", "invalid"): _get("/v1/jobs/x/logs?tail=0"),
    ("get_job_logs", "too_many_waiting"): _crowded("/logs", Accept="text/event-stream"),
    **_file_refusals("get_job_weights", "GET", "weights", "format=onnx"),
    **_file_refusals("head_job_weights", "HEAD", "weights", "format=onnx"),
    ("list_job_artifacts", "not_found"): _get(f"/v1/jobs/{NOBODY['job']}/artifacts"),
    **_file_refusals("get_job_artifact", "GET", "artifacts/student.pt", "disposition=x"),
    **_file_refusals("head_job_artifact", "HEAD", "artifacts/student.pt", "disposition=x"),
    ("get_queue", "invalid"): _get("/v1/queue?limit=0"),
    **_refused_studies("create_study", "/v1/studies"),
    **_refused_studies("validate_study", "/v1/studies/validate"),
    **_keyed_refusals("create_study", "/v1/studies", _studies),
    ("create_study", "storage_full"): without_room(_post("/v1/studies", **_study())),
    ("extend_study", "storage_full"): without_room(_post(f"{_NO_STUDY}/extend", json={"seeds": [1]})),
    ("resume_study", "storage_full"): without_room(_post(f"{_NO_STUDY}/resume")),
    ("list_studies", "invalid"): _get("/v1/studies?limit=0"),
    ("get_study", "not_found"): _get(_NO_STUDY),
    ("extend_study", "malformed_json"): _post(f"{_NO_STUDY}/extend", content=b"{", headers=JSON),
    ("extend_study", "too_large"): _post(f"{_NO_STUDY}/extend", content=bytes(2**20 + 1), headers=JSON),
    ("extend_study", "unsupported_media_type"): _post(f"{_NO_STUDY}/extend", content=b"{}"),
    ("extend_study", "bad_request"): _post(f"{_NO_STUDY}/extend", content=b'{"seeds": "\xff"}', headers=JSON),
    ("extend_study", "invalid"): _post(f"{_NO_STUDY}/extend", json={"seeds": [-1]}),
    ("extend_study", "not_found"): _post(f"{_NO_STUDY}/extend", json={"seeds": [1]}),
    ("extend_study", "unknown_reference"): _since("/extend", gone=True, json={"seeds": [1]}),
    ("extend_study", "unusable_reference"): _since("/extend", gone=False, json={"seeds": [1]}),
    ("resume_study", "unknown_reference"): _since("/resume", gone=True),
    ("resume_study", "unusable_reference"): _since("/resume", gone=False),
    ("resume_study", "not_found"): _post(f"{_NO_STUDY}/resume"),
    ("resume_study", "nothing_to_resume"): _of_study("POST", "/resume"),
    ("cancel_study", "not_found"): _post(f"{_NO_STUDY}/cancel"),
    ("delete_study", "not_found"): _request("DELETE", _NO_STUDY),
    ("delete_study", "not_ended"): _of_study("DELETE"),
    ("delete_study", "in_use"): _needed_study,
    ("draw_study_report", "not_found"): _post(f"{_NO_STUDY}/report"),
    ("draw_study_report", "not_ready"): _of_study("POST", "/report"),
    ("get_study_report", "bad_request"): _reported(Range="bytes=x"),
    ("get_study_report", "not_found"): _get(f"{_NO_STUDY}/report"),
    ("get_study_report", "not_ready"): _of_study("GET", "/report"),
    ("get_study_report", "gone"): _reported(removed=True),
    ("get_study_report", "range_not_satisfiable"): _reported(Range="bytes=99-"),
    ("get_study_report", "invalid"): _get(f"{_NO_STUDY}/report?format=x"),
    **_body_refusals("create_api_key", "POST", "/v1/api-keys"),
    ("create_api_key", "invalid"): _post("/v1/api-keys", json={"name": "x", "owner": "/"}),
    ("list_api_keys", "invalid"): _get("/v1/api-keys?limit=0"),
    ("get_api_key", "not_found"): _get(_NO_KEY),
    ("revoke_api_key", "not_found"): _request("DELETE", _NO_KEY),
    **_body_refusals("create_webhook", "POST", "/v1/webhooks"),
    ("create_webhook", "invalid"): _post("/v1/webhooks", json={"url": "https://127.0.0.1/"}),
    ("list_audit", "invalid"): _get("/v1/audit?limit=0"),
    ("list_webhooks", "invalid"): _get("/v1/webhooks?limit=0"),
    ("get_webhook", "not_found"): _get(_NO_WEBHOOK),
    **_body_refusals("change_webhook", "PATCH", _NO_WEBHOOK),
    ("change_webhook", "invalid"): lambda service: service.client.patch(_NO_WEBHOOK, json={"events": []}),
    ("change_webhook", "not_found"): lambda service: service.client.patch(_NO_WEBHOOK, json={}),
    ("delete_webhook", "not_found"): _request("DELETE", _NO_WEBHOOK),
    ("rotate_webhook_secret", "not_found"): _post(f"{_NO_WEBHOOK}/rotate"),
    ("test_webhook", "not_found"): _post(f"{_NO_WEBHOOK}/test"),
    ("list_webhook_deliveries", "not_found"): _get(f"{_NO_WEBHOOK}/deliveries"),
    ("list_webhook_deliveries", "invalid"): _get(f"{_NO_WEBHOOK}/deliveries?limit=0"),
    **_upload_refusals("dataset", ".zip"),
    **_upload_refusals("model", ".pt"),
    **datasets.REFUSALS,
    **resumable.REFUSALS,
    **_keyed_refusals("create_upload", "/v1/uploads", lambda _: lambda number: {"headers": resumable.said(number + 1)}),
    **registry.REFUSALS,
    **_keyed_refusals("register_job", "", registry.registrations),
}
# Every operation may answer these; tests of their own provoke them (test_guard, test_lost_database, ...).
# tests/api/http/test_bounds.py provokes bad_request and headers_too_large, tests/api/http/test_admission.py overloaded,
# and tests/api/http/test_connections.py body_too_slow, which whatever has a body may answer.
ANYWHERE = {
    "host_not_allowed",
    "bad_request",
    "loopback_only",
    "headers_too_large",
    "internal",
    "unavailable",
    "overloaded",
}
UNDER_V1 = {"unauthorized", "rate_limited"}
CHANGING = {"cross_site", "insufficient_scope"}
ADMIN = {"insufficient_scope"}
# tests/api/access/test_quotas.py provokes it of each, tests/api/webhooks/test_webhooks.py of the last
QUOTAS = (
    "create_job",
    "create_study",
    "extend_study",
    "resume_study",
    "create_dataset",
    "create_dataset_from_folder",
    "create_dataset_from_bucket",
    "create_model",
    "create_webhook",
    "create_upload",
    "retry_job",
    "resume_job",
    "append_to_upload",
    "register_job",
)
# Answered where no operation is, or before one (docs/api.md); `invalid` and the others above document themselves.
NOWHERE = {"method_not_allowed", "ambiguous"}
PARENTS = {"forbidden", "conflict", "unprocessable", "too_many"}  # never answered as such

ADMINS = ("/v1/api-keys", "/v1/audit", "/v1/monitoring")

STATUSES = {e.code: e.status for e in vars(errors).values() if isinstance(e, type) and issubclass(e, ApiError)}


def _operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: operation | {"path": path, "method": method}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def _codes(operation: dict[str, Any]) -> set[str]:
    return {
        code
        for response in operation["responses"].values()
        for code in re.findall(r"`(\w+)`:", response["description"])
    }


@pytest.mark.parametrize(("operation", "code"), REFUSALS)
def test_documented_refusals_are_real(steady: Service, operation: str, code: str) -> None:
    response = REFUSALS[operation, code](steady)

    assert response.status_code == STATUSES[code]
    assert response.headers["Content-Type"] == "application/problem+json"
    if response.request.method != "HEAD":
        problem = response.json()
        assert (problem["code"], problem["status"], problem["type"]) == (
            code,
            STATUSES[code],
            f"urn:rdrkd:problem:{code}",
        )
        assert problem["title"]
        assert problem["detail"]
        assert problem["instance"] == response.headers["X-Request-ID"]


def test_every_documented_refusal_is_provoked_here(steady: Service) -> None:
    operations = _operations(steady.client.get("/openapi.json").json())
    documented = {(name, code) for name, operation in operations.items() for code in _codes(operation)}
    common = {(name, code) for name in operations for code in ANYWHERE}
    common |= {(name, code) for name, o in operations.items() if o["path"].startswith("/v1") for code in UNDER_V1}
    common |= {(name, "quota_exceeded") for name in QUOTAS}
    common |= {(name, "body_too_slow") for name, o in operations.items() if "requestBody" in o}
    changing = {name for name, o in operations.items() if o["method"] not in ("get", "head", "options")}
    common |= {(name, code) for name in changing for code in CHANGING}
    common |= {(name, code) for name, o in operations.items() if o["path"].startswith(ADMINS) for code in ADMIN}

    assert documented == set(REFUSALS) | common


def test_every_error_of_the_tree_is_documented_or_explained(steady: Service) -> None:
    documented = {code for o in _operations(steady.client.get("/openapi.json").json()).values() for code in _codes(o)}

    assert documented | NOWHERE | PARENTS == set(STATUSES)


def test_the_document_is_valid_and_its_names_are_stable(steady: Service) -> None:
    document = steady.client.get("/openapi.json").json()
    operations = _operations(document)

    assert document == json.loads(DOCUMENT.read_text()), "run `make openapi`, and look at what changes for clients"
    OpenAPI.model_validate(document)
    references = set(re.findall(r'"\$ref": ?"#/components/schemas/([^"]+)"', steady.client.get("/openapi.json").text))
    assert references <= set(document["components"]["schemas"])
    assert sum(len(methods) for methods in document["paths"].values()) == len(operations)
    for name, operation in operations.items():
        assert len(operation["tags"]) == 1, name
        assert operation["summary"], name
        assert operation["description"], name
        assert bool(operation.get("security")) == operation["path"].startswith("/v1"), name


@pytest.mark.parametrize(
    ("path", "names"), [("/v1/jobs", {"distill", "train", "evaluate"}), ("/v1/studies", {"ablation", "mine"})]
)
def test_the_examples_are_valid_specs(steady: Service, path: str, names: set[str]) -> None:
    document = steady.client.get("/openapi.json").json()
    examples = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]

    assert set(examples) >= names
    for example in examples.values():
        response = steady.client.post(path, json=example["value"])
        assert response.json()["code"] == "unknown_reference"  # all that is wrong: nothing was uploaded


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/v1/jobs"), ("PUT", "/v1/datasets"), ("POST", "/healthz")])
def test_methods_that_an_address_does_not_take(steady: Service, method: str, path: str) -> None:
    response = steady.client.request(method, path)

    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert response.headers["Allow"]


@pytest.mark.parametrize("path", ["/x", "/v1", "/v2/jobs", "/v1/jobs/", "/v1/jobs/a/b/c", "/static/../etc/passwd"])
def test_addresses_that_are_none(steady: Service, path: str) -> None:
    response = steady.client.get(path)

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_what_nobody_foresaw_is_a_500_without_internals(service: Service) -> None:
    job_id = service.job()
    with service.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE job SET status = 'nonsense'")

    with journals.kept() as lines:
        response = service.client.get(f"/v1/jobs/{job_id}")

    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "nonsense" not in response.text
    failure = next(line for line in lines() if line["level"] == "error")
    assert (failure["request_id"], failure["key"]) == (response.json()["instance"], "loopback")
    assert "nonsense" in failure["exception"]


def test_a_lost_postgres_is_a_503_and_comes_back(start: Start, postgres: Postgres) -> None:
    with postgres.migrated() as url, start(database_url=url, migrate_on_start=False) as service:
        job = service.job()
        postgres.refuse(url, True)

        lost = service.client.post(f"/v1/jobs/{job}/cancel")
        ready = service.client.get("/readyz")
        postgres.refuse(url, False)

        assert (lost.status_code, lost.json()["code"], ready.status_code) == (503, "unavailable", 503)
        assert service.client.get(f"/v1/jobs/{job}").json()["status"] == "queued"


def test_a_lost_database_is_a_503(start: Start, tmp_path: Path) -> None:
    with start() as service:
        job = service.job()
        service.app.state.database.engine.dispose()
        folder = tmp_path / "var"
        folder.rename(tmp_path / "elsewhere")

        lost = service.client.get(f"/v1/jobs/{job}")
        ready = service.client.get("/readyz")
        (tmp_path / "elsewhere").rename(folder)

        assert (lost.status_code, lost.json()["code"], ready.status_code) == (503, "unavailable", 503)
        assert int(lost.headers["Retry-After"]) > 0
        assert service.client.get("/healthz").status_code == 200
        assert service.client.get(f"/v1/jobs/{job}").status_code == 200
