"""A model can be had in both formats: as it was uploaded, and as its check has written it."""

import hashlib

import pytest

from tests.api.conftest import Service
from tests.api.uploads.models.registered import ready, settle


@pytest.mark.parametrize(("uploaded", "other"), [("pt", "safetensors"), ("safetensors", "pt")])
def test_either_format_of_an_upload(each_service: Service, uploaded: str, other: str) -> None:
    model = each_service.upload("models", (f"teacher.{uploaded}", b"as it came"))
    settle(each_service, b"converted")

    view = each_service.client.get(f"/v1/models/{model}").json()

    assert [file["format"] for file in view["files"]] == [uploaded, other]
    for file, content in zip(view["files"], (b"as it came", b"converted"), strict=True):
        answer = each_service.client.get(file["link"]).raise_for_status()
        assert answer.content == content
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert (answer.headers["ETag"], file["size"]) == (f'"{file["sha256"]}"', len(content))
        assert f".{file['format']}" in answer.headers["Content-Disposition"]
        assert each_service.client.head(file["link"]).headers["Content-Length"] == str(len(content))
        again = each_service.client.get(file["link"], headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304


def test_what_is_not_checked_is_not_handed_out(service: Service) -> None:
    model = service.upload("models", ("x.pt", b"x"))
    assert service.client.get(f"/v1/models/{model}").json()["files"] == []
    answer = service.client.get(f"/v1/models/{model}/weights")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")


def test_a_format_that_could_not_be_written_is_told(service: Service) -> None:
    model = service.upload("models", ("x.pt", b"x"))
    settle(service, None)
    answer = service.client.get(f"/v1/models/{model}/weights?format=safetensors")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
    assert "(pt)" in answer.json()["detail"]


def test_both_files_count_and_go_with_their_model(service: Service) -> None:
    model = ready(service)
    sizes = sum(file["size"] for file in service.client.get(f"/v1/models/{model}").json()["files"])
    assert sizes == len(b"weights") + len(b"other format")
    service.client.delete(f"/v1/models/{model}").raise_for_status()
    assert not [name for name in service.files() if name.endswith((".safetensors",))]


def test_a_file_that_two_models_share_stays_with_the_other(service: Service) -> None:
    first = service.upload("models", ("x.pt", b"one"))
    settle(service, b"same")
    second = service.upload("models", ("y.pt", b"two"))
    settle(service, b"same")
    service.client.delete(f"/v1/models/{first}").raise_for_status()
    answer = service.client.get(f"/v1/models/{second}/weights?format=safetensors")
    assert answer.content == b"same"
