"""Things are found by a name or the unique beginning of an id, in paths and in specs, each owner's among their own."""

from typing import Any

import pytest

from tests.api.conftest import Service
from tests.api.uploads.models.registered import ready, student


def named(service: Service) -> dict[str, tuple[str, str]]:
    """Return one thing of each kind: path, id and name."""
    dataset = service.upload()
    job = service.submit(dataset, name="the job")["id"]
    model = ready(service, name="the-model", aliases=["best"])
    study = service.client.post("/v1/studies", json={
        "name": "the-study", "dataset": dataset, "methods": ["none"], "seeds": [0],
        "teacher": {"model": model}, "student": {"architecture": "yolov8n"},
    }).raise_for_status().json()["id"]  # fmt: skip
    hook = service.client.post("/v1/webhooks", json={"url": "https://93.184.216.34/", "name": "the hook"})
    return {
        "jobs": (job, "the job"), "models": (model, "the-model"), "studies": (study, "the-study"),
        "webhooks": (hook.raise_for_status().json()["id"], "the hook"),
    }  # fmt: skip


def test_every_thing_is_found_by_its_name_and_by_the_beginning_of_its_id(each_service: Service) -> None:
    for kind, (id_, name) in named(each_service).items():
        for text in (name, id_[:-1], id_[:-6]):
            answer = each_service.client.get(f"/v1/{kind}/{text}")
            assert (answer.status_code, answer.json().get("id")) == (200, id_), (kind, text)


@pytest.mark.parametrize("text", ["the-model@best", "the-model@1", "the-model"])
def test_a_model_is_found_by_alias_version_and_name(service: Service, text: str) -> None:
    model = ready(service, name="the-model", aliases=["best"])
    assert service.client.get(f"/v1/models/{text}").json()["id"] == model
    job = service.submit(service.dataset(), model={"model": text})
    assert job["spec"]["model"] == {"model": model}


def test_a_name_of_several_is_refused_with_their_ids(each_service: Service) -> None:
    dataset = each_service.dataset()
    ids = [each_service.submit(dataset, name="twin")["id"] for _ in range(2)]

    for text in ("twin", ids[0][:6]):
        answer = each_service.client.post(f"/v1/jobs/{text}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (404, "ambiguous")
        assert answer.json()["title"] == "The name is ambiguous"
        assert all(id_ in answer.json()["detail"] for id_ in ids)
    body = {"kind": "train", "dataset": dataset, "model": {"job": "twin"}}
    refused = each_service.client.post("/v1/jobs", json=body).json()
    assert (refused["code"], refused["errors"][0]["pointer"]) == ("unknown_reference", "/model/job")
    assert ids[0] in refused["errors"][0]["detail"]


def test_specs_name_jobs_and_datasets_and_keep_their_ids(each_service: Service) -> None:
    done = student(each_service, name="the teacher")
    dataset = each_service.client.get(f"/v1/jobs/{done}").json()["spec"]["dataset"]
    for reference in ({"job": "the teacher"}, {"job": done[:-3]}, {"model": {"job": done}}):
        made = each_service.submit(dataset[:-3], model=reference)
        assert (made["spec"]["model"], made["spec"]["dataset"]) == ({"job": done}, dataset)
    for teacher in ({"job": "the teacher"}, {"model": {"job": done}}, {"model": {"model": {"job": done}}}):
        body = {"name": "s", "dataset": dataset, "methods": ["none"], "seeds": [0], "teacher": teacher,
                "student": {"architecture": "yolov8n"}}  # fmt: skip
        study = each_service.client.post("/v1/studies", json=body).raise_for_status().json()
        assert study["spec"]["teacher"]["model"] == {"job": done}


def test_names_mean_only_ones_own_things(operated: Service) -> None:
    mine = operated.submit(operated.dataset(), name="secret")["id"]
    for text in ("secret", mine[:-1], mine):
        assert operated.client.get(f"/v1/jobs/{text}", headers=operated.key("mallory")).status_code == 404


@pytest.mark.parametrize("text", ["%00", "a%0Ab", "x" * 400, "%F0%9F%98%80", "job_", "job_%25", "%ED%A0%80", "a@1@2"])
def test_texts_that_mean_nothing_are_not_found(each_service: Service, text: str) -> None:
    for kind in ("jobs", "models", "datasets", "studies", "webhooks", "api-keys"):
        answer = each_service.client.get(f"/v1/{kind}/{text}")
        assert answer.status_code in (404, 400), (kind, answer.text)


def test_what_an_operator_made_before_there_were_keys_resolves_alike(operated: Service) -> None:
    """An admin key's owner is another than the operator's: names, versions, aliases and lists agree."""
    client = operated.client
    model = ready(operated, name="n-half", aliases=["production"])
    sent = client.post("/v1/datasets", files={"file": ("d.zip", b"PK"), "name": (None, "hit")})
    admin, eve = operated.key("bob", "admin"), operated.key("eve")

    assert [row["id"] for row in client.get("/v1/models", headers=admin).json()["data"]] == [model]
    for text in ("n-half@production", "n-half@1", "n-half", model):
        body = {"kind": "train", "dataset": "hit", "model": {"model": text}}
        made = client.post("/v1/jobs", json=body, headers=admin)
        assert made.status_code == 202, made.text
        assert made.json()["spec"] == {"kind": "train", "dataset": sent.json()["id"], "model": {"model": model}}
        assert client.get(f"/v1/models/{text}", headers=admin).json()["id"] == model
        assert client.post("/v1/jobs", json=body, headers=eve).status_code == 422, "whoever is no admin sees none of it"


@pytest.mark.slow
def test_ones_own_name_comes_before_the_operators(operated: Service) -> None:
    admin = operated.key("bob", "admin")

    def upload(**more: Any) -> str:
        sent = operated.client.post("/v1/datasets", files={"file": ("d.zip", b"PK"), "name": (None, "d")}, **more)
        return str(sent.raise_for_status().json()["id"])

    theirs, own = upload(), upload(headers=admin)
    assert operated.client.get("/v1/datasets/d@1", headers=admin).json()["id"] == own
    assert operated.client.get("/v1/datasets/d@1").json()["id"] == theirs
