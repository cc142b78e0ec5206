"""Requests that each refusal of datasets' own addresses answers, by operation and code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from httpx2 import Response
from sqlalchemy import update

from api.db import after_seconds, new_id
from api.tables.idempotency import IdempotencyKey
from tests.api.conftest import NOBODY, Service
from tests.api.uploads.datasets.previews import with_preview
from tests.s3 import gateway


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


def _images(operation: str, tail: str, more: dict[str, Any]) -> dict[tuple[str, str], Any]:
    def ask(service: Service, dataset: str) -> Response:
        return service.client.get(f"/v1/datasets/{dataset}/images{tail}")

    def unchecked(service: Service) -> Response:
        answer = ask(service, service.upload())
        service.settle("no")
        return answer

    refused = {"not_found": lambda service: ask(service, NOBODY["dataset"]), "not_ready": unchecked, **more}
    return {(operation, code): provoke for code, provoke in refused.items()}


def _gone_images(service: Service) -> Response:
    dataset = with_preview(service)
    service.storage.delete(f"previews/{dataset}.album")
    return service.client.get(f"/v1/datasets/{dataset}/images/0")


def _no_class(service: Service) -> Response:
    return service.client.get(f"/v1/datasets/{with_preview(service)}/images", params={"label": "ship"})


def _no_number(service: Service) -> Response:
    return service.client.get(f"/v1/datasets/{NOBODY['dataset']}/images/first")


PATHS = {"folder": "/v1/datasets/from-folder", "url": "/v1/datasets/from-bucket"}
JSON = {"Content-Type": "application/json"}


Provoke = Callable[[Service], Response]


def _with_folder(provoke: Provoke, **settings: Any) -> Provoke:
    """Ask while the operator allows a folder that holds a label file."""

    def ask(service: Service) -> Response:
        folder = service.storage.root.parent / "allowed"
        folder.mkdir(exist_ok=True)
        (folder / "a.txt").write_text("0 .5 .5 .1 .1\n")
        with _changed(service, dataset_folders=[folder], **settings):
            return provoke(service)

    return ask


def _with_bucket(provoke: Provoke, **settings: Any) -> Provoke:
    """Ask while the operator allows a bucket, of a real server, that holds a label file."""

    def ask(service: Service) -> Response:
        with TemporaryDirectory() as folder, gateway(Path(folder)) as server:
            server.make("allowed")
            server.put("allowed", {"a.txt": b"0 .5 .5 .1 .1\n"})
            with _changed(service, **server.sources("s3://allowed"), **settings):
                return provoke(service)

    return ask


@contextmanager
def _changed(service: Service, **settings: Any) -> Iterator[None]:
    before = service.app.state.settings
    service.app.state.settings = before.model_copy(update=settings)
    try:
        yield
    finally:
        service.app.state.settings = before


def _import(field: str, source: str, **options: Any) -> Provoke:
    return lambda service: service.client.post(PATHS[field], json={field: source}, **options)


def _again(field: str, source: str, in_flight: bool) -> Provoke:
    """Ask again under the same key: for another dataset, or while the first request is not answered."""

    def ask(service: Service) -> Response:
        headers = {"Idempotency-Key": new_id("key")}
        _import(field, source, headers=headers)(service).raise_for_status()
        if in_flight:
            with service.database.transaction() as session:
                unanswered = update(IdempotencyKey).where(IdempotencyKey.key == headers["Idempotency-Key"])
                session.execute(unanswered.values(status=None, claimed_until=after_seconds(60)))
        body = {field: source} if in_flight else {field: source, "name": "other"}
        answer = service.client.post(PATHS[field], json=body, headers=headers)
        service.settle("no")
        return answer

    return ask


def _imports(operation: str, field: str, source: str, around: Callable[..., Provoke]) -> dict[tuple[str, str], Provoke]:
    """Return what both imports refuse; `around`: while the operator allows the source."""
    path = PATHS[field]
    provoked: dict[str, Provoke] = {
        "malformed_json": lambda service: service.client.post(path, content=b"{", headers=JSON),
        "too_large": lambda service: service.client.post(path, content=bytes(2**20 + 1), headers=JSON),
        "unsupported_media_type": lambda service: service.client.post(path, content=b"{}"),
        "bad_request": lambda service: service.client.post(path, content=b'{"name": "\xff"}', headers=JSON),
        "invalid": lambda service: service.client.post(path, json={}),
        "path_not_allowed": _import(field, "s3://etc" if field == "url" else "etc"),
        "unknown_reference": around(_import(field, f"{source}/nothing")),
        "storage_full": around(_import(field, source), min_free_bytes=2**60),
        "idempotency_key_reused": around(_again(field, source, in_flight=False)),
        "idempotency_key_in_flight": around(_again(field, source, in_flight=True)),
    }
    return {(operation, code): provoke for code, provoke in provoked.items()}


_SHARES = [
    ("list_dataset_shares", "not_found"),
    *product(("share_dataset", "unshare_dataset"), ("not_found", "invalid")),
]


def _of_share(operation: str, code: str) -> Provoke:
    method = {"list": "GET", "share": "PUT", "unshare": "DELETE"}[operation.partition("_")[0]]
    reader = "" if method == "GET" else "/bob" if code == "not_found" else "/a%20b"
    return lambda service: service.client.request(method, f"/v1/datasets/{NOBODY['dataset']}/shares{reader}")


REFUSALS = {
    **_imports("create_dataset_from_folder", "folder", "allowed", _with_folder),
    **_imports("create_dataset_from_bucket", "url", "s3://allowed", _with_bucket),
    **_preview("get_dataset_preview", "GET"),
    **_preview("head_dataset_preview", "HEAD"),
    **_images("list_dataset_images", "", {"invalid": _no_class}),
    **_images("get_dataset_image", "/0", {"gone": _gone_images, "invalid": _no_number}),
    **{(name, code): _of_share(name, code) for name, code in _SHARES},
    ("list_dataset_versions", "not_found"): lambda service: service.client.get(
        f"/v1/datasets/{NOBODY['dataset']}/versions"
    ),
    ("list_dataset_versions", "invalid"): lambda service: service.client.get(
        f"/v1/datasets/{NOBODY['dataset']}/versions?limit=0"
    ),
}
