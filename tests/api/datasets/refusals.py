"""Requests that each refusal of datasets' own addresses answers, by operation and code."""

from collections.abc import Callable
from typing import Any

from httpx2 import Response
from sqlalchemy import update

from api.db import after_seconds, new_id
from api.idempotency.tables import IdempotencyKey
from tests.api.conftest import NOBODY, Service
from tests.api.datasets.previews import with_preview


def _preview(operation: str, method: str) -> dict[tuple[str, str], Any]:
    def ask(service: Service, dataset: str, **headers: str) -> Response:
        return service.client.request(method, f"/v1/datasets/{dataset}/preview", headers=headers)

    def gone(service: Service) -> Response:
        dataset = with_preview(service)
        service.storage.delete(f"previews/{dataset}.jpg")
        return ask(service, dataset)

    def unchecked(service: Service) -> Response:
        answer = ask(service, service.upload())
        service.settle("no")
        return answer

    return {
        (operation, "not_found"): lambda service: ask(service, NOBODY["dataset"]),
        (operation, "not_ready"): unchecked,
        (operation, "gone"): gone,
        (operation, "bad_request"): lambda service: ask(service, with_preview(service), Range="bytes=x"),
        (operation, "range_not_satisfiable"): lambda service: ask(service, with_preview(service), Range="bytes=99-"),
    }


PATH = "/v1/datasets/from-folder"
JSON = {"Content-Type": "application/json"}


def _allowed(provoke: Callable[[Service], Response], **settings: Any) -> Callable[[Service], Response]:
    """Ask while the operator allows a folder that holds a label file."""

    def ask(service: Service) -> Response:
        folder = service.storage.root.parent / "allowed"
        folder.mkdir(exist_ok=True)
        (folder / "a.txt").write_text("0 .5 .5 .1 .1\n")
        before = service.app.state.settings
        service.app.state.settings = before.model_copy(update={"dataset_folders": [folder], **settings})
        try:
            return provoke(service)
        finally:
            service.app.state.settings = before

    return ask


def _import(folder: str = "allowed", **options: Any) -> Callable[[Service], Response]:
    return lambda service: service.client.post(PATH, json={"folder": folder}, **options)


def _again(in_flight: bool) -> Callable[[Service], Response]:
    """Ask again under the same key: for another dataset, or while the first request is not answered."""

    def ask(service: Service) -> Response:
        headers = {"Idempotency-Key": new_id("key")}
        _import(headers=headers)(service).raise_for_status()
        if in_flight:
            with service.database.transaction() as session:
                unanswered = update(IdempotencyKey).where(IdempotencyKey.key == headers["Idempotency-Key"])
                session.execute(unanswered.values(status=None, claimed_until=after_seconds(60)))
        body = {"folder": "allowed"} if in_flight else {"folder": "allowed", "name": "other"}
        answer = service.client.post(PATH, json=body, headers=headers)
        service.settle("no")
        return answer

    return ask


_FROM_FOLDER = {
    "malformed_json": lambda service: service.client.post(PATH, content=b"{", headers=JSON),
    "too_large": lambda service: service.client.post(PATH, content=bytes(2**20 + 1), headers=JSON),
    "unsupported_media_type": lambda service: service.client.post(PATH, content=b"{}"),
    "bad_request": lambda service: service.client.post(PATH, content=b'{"folder": "\xff"}', headers=JSON),
    "invalid": lambda service: service.client.post(PATH, json={}),
    "path_not_allowed": _import("etc"),
    "unknown_reference": _allowed(_import("allowed/nothing")),
    "storage_full": _allowed(_import(), min_free_bytes=2**60),
    "idempotency_key_reused": _allowed(_again(in_flight=False)),
    "idempotency_key_in_flight": _allowed(_again(in_flight=True)),
}

REFUSALS = {
    **{("create_dataset_from_folder", code): provoke for code, provoke in _FROM_FOLDER.items()},
    **_preview("get_dataset_preview", "GET"),
    **_preview("head_dataset_preview", "HEAD"),
    ("list_dataset_versions", "not_found"): lambda service: service.client.get(
        f"/v1/datasets/{NOBODY['dataset']}/versions"
    ),
    ("list_dataset_versions", "invalid"): lambda service: service.client.get(
        f"/v1/datasets/{NOBODY['dataset']}/versions?limit=0"
    ),
}
