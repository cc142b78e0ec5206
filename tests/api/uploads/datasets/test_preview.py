"""The preview of a dataset: handed out once there is one, gone with its dataset."""

import hashlib

from tests.api.conftest import Service
from tests.api.uploads.datasets.previews import PICTURE, with_preview


def test_a_preview_is_handed_out(each_service: Service) -> None:
    dataset = with_preview(each_service)

    view = each_service.client.get(f"/v1/datasets/{dataset}").json()
    answer = each_service.client.get(view["links"]["preview"])
    head = each_service.client.head(view["links"]["preview"])
    again = each_service.client.get(view["links"]["preview"], headers={"If-None-Match": answer.headers["ETag"]})

    assert view["format"] == "coco"
    assert (answer.status_code, answer.content) == (200, PICTURE)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["ETag"] == f'"{hashlib.sha256(PICTURE).hexdigest()}"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert (head.headers["Content-Length"], head.content) == (str(len(PICTURE)), b"")
    assert again.status_code == 304


def test_where_there_is_none_it_is_said(service: Service) -> None:
    before = service.upload()
    unchecked = service.client.get(f"/v1/datasets/{before}/preview").json()
    service.settle()
    without = service.client.get(f"/v1/datasets/{before}/preview").json()

    assert (unchecked["code"], without["code"]) == ("not_ready", "not_found")
    assert service.client.get(f"/v1/datasets/{before}").json()["links"]["preview"] is None


def test_it_goes_with_its_dataset(each_service: Service) -> None:
    dataset = with_preview(each_service)
    assert f"previews/{dataset}.jpg" in each_service.files()

    assert each_service.client.delete(f"/v1/datasets/{dataset}").status_code == 204

    assert each_service.files() == []


def test_it_is_its_owners(service: Service) -> None:
    alice, bob = service.key("alice"), service.key("bob")
    service.client.headers.update(alice)
    dataset = with_preview(service)

    assert service.client.get(f"/v1/datasets/{dataset}/preview").status_code == 200
    assert service.client.get(f"/v1/datasets/{dataset}/preview", headers=bob).json()["code"] == "not_found"
