"""Requests that each refusal of datasets' own addresses answers, by operation and code."""

from typing import Any

from httpx2 import Response

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


REFUSALS = {
    **_preview("get_dataset_preview", "GET"),
    **_preview("head_dataset_preview", "HEAD"),
    ("list_dataset_versions", "not_found"): lambda service: service.client.get(
        f"/v1/datasets/{NOBODY['dataset']}/versions"
    ),
    ("list_dataset_versions", "invalid"): lambda service: service.client.get(
        f"/v1/datasets/{NOBODY['dataset']}/versions?limit=0"
    ),
}
