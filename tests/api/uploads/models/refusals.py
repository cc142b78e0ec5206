"""Refusals of the registry's addresses: each one that is documented, as a request that meets it."""

from collections.abc import Callable
from typing import Any

from httpx2 import Response
from sqlalchemy import update

from api.db import new_id
from api.tables.models import Model
from api.tables.states import Status
from api.tables.uploads import UploadStatus
from tests.api.conftest import NOBODY, Provoke, Service, without_room
from tests.api.uploads.models.registered import register, student

JSON = {"Content-Type": "application/json"}
NO_JOB, NO_MODEL = f"/v1/jobs/{NOBODY['job']}", f"/v1/models/{NOBODY['model']}"


def _ask(method: str, path: str, **request: Any) -> Provoke:
    return lambda service: service.client.request(method, path, **request)


def _registered(service: Service) -> str:
    """Return a model that is ready."""
    model = str(register(service, student(service, new_id("x").encode()), name="n")["id"])
    with service.database.transaction() as session:
        session.get_one(Model, model).status = UploadStatus.READY
    return model


def _of_model(method: str, tail: str, removed: bool = False, **request: Any) -> Provoke:
    def provoke(service: Service) -> Response:
        model = _registered(service)
        if removed:
            view = service.client.get(f"/v1/models/{model}").json()
            service.storage.delete(f"uploads/{view['sha256']}.pt")
        return service.client.request(method, f"/v1/models/{model}/{tail}", **request)

    return provoke


def _unchecked(method: str, tail: str) -> Provoke:
    def provoke(service: Service) -> Response:
        model = register(service, student(service), name="n")["id"]
        answer = service.client.request(method, f"/v1/models/{model}/{tail}")
        _refuse_what_waits(service)
        return answer

    return provoke


def _refuse_what_waits(service: Service) -> None:
    """Settle what waits for its check, so that the next test finds its own alone."""
    with service.database.transaction() as session:
        waiting = update(Model).where(Model.status == UploadStatus.CHECKING)
        session.execute(waiting.values(status=UploadStatus.INVALID))


def _nameless(service: Service) -> Response:
    model = service.upload("models", ("x.pt", b"nameless"))
    _refuse_what_waits(service)
    return service.client.put(f"/v1/models/{model}/aliases/production")


def _gone(service: Service) -> Response:
    job = student(service)
    service.storage.delete(f"jobs/{job}/attempt-1/epoch-1/student.pt")
    return service.client.post(f"/v1/jobs/{job}/register", json={"name": "n"})


def registrations(service: Service) -> Callable[[int], dict[str, Any]]:
    """Register a job's student under one name, then under another."""
    job = student(service)
    return lambda number: {"url": f"/v1/jobs/{job}/register", "json": {"name": f"n{number}"}}


def _files(operation: str, method: str) -> dict[tuple[str, str], Provoke]:
    return {
        (operation, "bad_request"): _of_model(method, "weights", headers={"Range": "bytes=x"}),
        (operation, "not_found"): _ask(method, f"{NO_MODEL}/weights"),
        (operation, "not_ready"): _unchecked(method, "weights"),
        (operation, "gone"): _of_model(method, "weights", removed=True),
        (operation, "range_not_satisfiable"): _of_model(method, "weights", headers={"Range": "bytes=9999-"}),
        (operation, "invalid"): _ask(method, "/v1/models/x/weights?format=onnx"),
    }


REFUSALS: dict[tuple[str, str], Provoke] = {
    ("register_job", "malformed_json"): _ask("POST", f"{NO_JOB}/register", content=b"{", headers=JSON),
    ("register_job", "too_large"): _ask("POST", f"{NO_JOB}/register", content=bytes(2**20 + 1), headers=JSON),
    ("register_job", "unsupported_media_type"): _ask("POST", f"{NO_JOB}/register", content=b"{}"),
    ("register_job", "bad_request"): _ask("POST", f"{NO_JOB}/register", content=b'{"name": "\xff"}', headers=JSON),
    ("register_job", "invalid"): _ask("POST", f"{NO_JOB}/register", json={"aliases": ["3"]}),
    ("register_job", "not_found"): _ask("POST", f"{NO_JOB}/register"),
    ("register_job", "not_ready"): lambda service: service.client.post(
        f"/v1/jobs/{service.job(Status.FAILED)}/register"
    ),
    ("register_job", "gone"): _gone,
    ("register_job", "storage_full"): without_room(_ask("POST", f"{NO_JOB}/register")),
    ("list_model_shares", "not_found"): _ask("GET", f"{NO_MODEL}/shares"),
    ("share_model", "not_found"): _ask("PUT", f"{NO_MODEL}/shares/bob"),
    ("share_model", "invalid"): _ask("PUT", f"{NO_MODEL}/shares/a%20b"),
    ("unshare_model", "not_found"): _ask("DELETE", f"{NO_MODEL}/shares/bob"),
    ("unshare_model", "invalid"): _ask("DELETE", f"{NO_MODEL}/shares/a%20b"),
    ("move_model_alias", "not_found"): _ask("PUT", f"{NO_MODEL}/aliases/production"),
    ("move_model_alias", "not_ready"): _nameless,
    ("move_model_alias", "invalid"): _ask("PUT", f"{NO_MODEL}/aliases/3"),
    ("delete_model_alias", "not_found"): _of_model("DELETE", "aliases/production"),
    ("delete_model_alias", "invalid"): _ask("DELETE", f"{NO_MODEL}/aliases/3"),
    **_files("get_model_weights", "GET"),
    **_files("head_model_weights", "HEAD"),
}
