"""What one owner uploads under one name are versions, which jobs may name."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.conftest import Listen, Service
from tests.api.uploads.resumable.test_announcement import metadata


def upload(service: Service, content: bytes, name: str | None = "hit-uav", **more: Any) -> dict[str, Any]:
    data = ({"name": name} if name else {}) | more.pop("data", {})
    answer = service.client.post("/v1/datasets", files={"file": ("a.zip", content)}, data=data, **more)
    view: dict[str, Any] = answer.raise_for_status().json()
    return view


def train(service: Service, dataset: str, **more: Any) -> Any:
    body = {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": dataset}
    return service.client.post("/v1/jobs", json=body, **more).json()


def test_versions_are_numbered_and_listed(each_service: Service) -> None:
    made = [upload(each_service, content) for content in (b"1", b"2")]
    other, nameless = upload(each_service, b"1", "other"), upload(each_service, b"1", None)

    assert [view["version"] for view in (*made, other, nameless)] == [1, 2, 1, None]
    listed = each_service.client.get(made[0]["links"]["versions"]).json()["data"]
    assert [(view["id"], view["version"]) for view in listed] == [(made[1]["id"], 2), (made[0]["id"], 1)]
    named = each_service.client.get("/v1/datasets?name=hit-uav").json()["data"]
    assert [view["id"] for view in named] == [view["id"] for view in listed]
    alone = each_service.client.get(nameless["links"]["versions"]).json()["data"]
    assert [view["id"] for view in alone] == [nameless["id"]]


def test_the_same_content_again_is_told(service: Service) -> None:
    first, second = upload(service, b"1"), upload(service, b"2")
    again, lenient = upload(service, b"1"), upload(service, b"1", data={"lenient": "true"})

    assert [view["same_content_as"] for view in (first, second, again, lenient)] == [None, None, first["id"], None]
    assert (again["version"], again["sha256"]) == (3, first["sha256"])
    assert (lenient["lenient"], again["lenient"]) == (True, False)


def test_a_refused_one_counts_as_none(service: Service) -> None:
    first = upload(service, b"1")
    service.settle("broken")
    second = upload(service, b"1")

    assert (second["version"], second["same_content_as"]) == (2, None)
    assert train(service, "hit-uav")["spec"]["dataset"] == second["id"]
    assert train(service, "hit-uav@1")["code"] == "unusable_reference"
    assert first["id"] != second["id"]


def test_a_number_is_never_given_again(each_service: Service) -> None:
    upload(each_service, b"1")
    newest = upload(each_service, b"2")
    each_service.client.delete(newest["links"]["self"]).raise_for_status()

    assert upload(each_service, b"3")["version"] == 3


@pytest.mark.slow
def test_versions_at_once_have_different_numbers(listen: Listen) -> None:
    services = [listen(), listen()]
    for (
        service
    ) in services:  # FastAPI builds its routes at the first request, and mutes warnings meanwhile, for all threads
        service.client.get("/v1/datasets").raise_for_status()
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda n: upload(services[n % 2], str(n).encode())["version"], range(12)))

    assert sorted(made) == list(range(1, 13))


def test_a_job_names_the_newest_or_a_given_version(service: Service) -> None:
    first, second = upload(service, b"1"), upload(service, b"2")
    odd = upload(service, b"3", "hit-uav@1")

    assert train(service, "hit-uav")["spec"]["dataset"] == second["id"]
    assert train(service, "hit-uav@1")["spec"]["dataset"] == first["id"]  # the version before the name
    assert train(service, "hit-uav@1@1")["spec"]["dataset"] == odd["id"]
    job = train(service, "hit-uav")["id"]
    upload(service, b"4")
    assert service.client.get(f"/v1/jobs/{job}").json()["spec"]["dataset"] == second["id"]  # it stays what it was
    assert service.client.delete(second["links"]["self"]).json()["code"] == "in_use"


@pytest.mark.parametrize("name", ["hit-uav@9", "hit-uav@0", "nobody", "hit-uav@"])
def test_what_is_not_there_is_an_unknown_reference(service: Service, name: str) -> None:
    upload(service, b"1")

    answer = train(service, name)

    assert (answer["code"], answer["errors"][0]["pointer"]) == ("unknown_reference", "/dataset")


def test_studies_and_trials_take_names_too(service: Service) -> None:
    dataset = upload(service, b"1")["id"]
    study = {
        "name": "s", "dataset": "hit-uav", "student": {"architecture": "yolov8n"}, "methods": ["none"], "seeds": [0],
        "teacher": {"model": {"architecture": "yolov8l"}, "train": {"epochs": 1}},
    }  # fmt: skip
    job = {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": "hit-uav@1"}

    made = service.client.post("/v1/studies", json=study).json()
    tried = service.client.post("/v1/jobs/validate", json=job).json()

    assert made["spec"]["dataset"] == dataset
    assert tried["resolved_spec"]["dataset"] == dataset


def test_a_name_is_its_owners(service: Service) -> None:
    alice, bob, admin = service.key("alice"), service.key("bob"), service.key("ops", "admin")
    mine, his = upload(service, b"1", headers=alice), upload(service, b"1", headers=bob)

    assert [view["version"] for view in (mine, his)] == [1, 1]
    assert his["same_content_as"] is None
    assert train(service, "hit-uav", headers=bob)["spec"]["dataset"] == his["id"]
    assert train(service, "hit-uav", headers=admin)["code"] == "unknown_reference"  # has none of this name
    assert service.client.get(f"/v1/datasets/{mine['id']}/versions", headers=bob).json()["code"] == "not_found"
    listed = service.client.get(f"/v1/datasets/{mine['id']}/versions", headers=admin).json()["data"]
    assert [view["owner"] for view in listed] == ["alice"]


def test_an_upload_in_pieces_is_a_version_and_may_be_lenient(service: Service) -> None:
    upload(service, b"1")
    announced = metadata(kind="dataset", filename="a.tar.gz", name="hit-uav", lenient="true")
    headers = {"Upload-Length": "3", "Upload-Metadata": announced}
    address = service.client.post("/v1/uploads", headers=headers).headers["Location"]
    piece = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}

    done = service.client.patch(address, content=b"abc", headers=piece).json()

    view = service.client.get(done["links"]["result"]).json()
    assert (view["version"], view["lenient"], view["filename"], done["lenient"]) == (2, True, "a.tar.gz", True)
    assert any(name.endswith(".tgz") for name in service.files())


def test_a_model_is_never_lenient(service: Service) -> None:
    announced = metadata(kind="model", filename="a.pt", lenient="true")
    answer = service.client.post("/v1/uploads", headers={"Upload-Length": "3", "Upload-Metadata": announced})
    form = service.client.post("/v1/models", files={"file": ("a.pt", b"x")}, data={"lenient": "true"})

    assert answer.json()["code"] == "invalid"
    assert form.json()["errors"][0]["parameter"] == "lenient"
