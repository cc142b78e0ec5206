"""What jobs have trained becomes models: numbered, traced, under aliases that move, and named by these in jobs."""

import threading
from typing import Any

import pytest

from api.tables.states import Status
from tests.api.conftest import Listen, Service, Start
from tests.api.uploads.models.registered import RESOLVED, ready, register, settle, student


def get(service: Service, model: str) -> dict[str, Any]:
    return dict(service.client.get(f"/v1/models/{model}").raise_for_status().json())


def test_a_student_becomes_a_model_that_says_where_it_comes_from(each_service: Service) -> None:
    job = student(each_service, name="n-from-l")

    answer = each_service.client.post(f"/v1/jobs/{job}/register", json={"aliases": ["production"]})

    model = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/models/{model['id']}"
    assert (model["name"], model["version"], model["aliases"]) == ("n-from-l", 1, ["production"])
    assert model["status"] == "checking"
    lineage = model["lineage"]
    assert (lineage["job"], lineage["kind"], lineage["dataset_sha256"]) == (job, "train", "d" * 64)
    assert lineage["resolved_spec"] == RESOLVED
    assert lineage["metrics"] == {"coco": {"AP": 12.5}}
    assert lineage["teacher_sha256"] == "e" * 64
    settle(each_service)
    each_service.client.delete(f"/v1/jobs/{job}").raise_for_status()
    assert get(each_service, model["id"])["lineage"] == lineage  # it outlives its job, with its file
    weights = each_service.client.get(f"/v1/models/{model['id']}/weights")
    assert weights.content == b"weights"


def test_versions_are_numbered_by_name_and_never_again(service: Service) -> None:
    job = student(service, name="a")
    first, second = register(service, job), register(service, job)
    other = register(service, job, name="b")
    assert [first["version"], second["version"], other["version"]] == [1, 2, 1]

    service.client.delete(f"/v1/models/{second['id']}").raise_for_status()

    assert register(service, job)["version"] == 3
    uploaded = service.client.post("/v1/models", files={"file": ("x.pt", b"x")}, data={"name": "a"}).json()
    assert (uploaded["version"], uploaded["lineage"]) == (4, None)
    nameless = service.client.post("/v1/models", files={"file": ("y.pt", b"y")}).json()
    assert nameless["version"] is None
    listed = service.client.get("/v1/models?name=a").json()["data"]
    assert [row["version"] for row in listed] == [4, 3, 1]


def test_registered_at_the_same_moment_they_get_numbers_of_their_own(listen: Listen) -> None:
    service = listen()
    job = student(service, name="many")
    versions: list[int] = []

    def one() -> None:
        versions.append(service.client.post(f"/v1/jobs/{job}/register").json()["version"])

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(versions) == [1, 2, 3, 4, 5, 6]


def test_the_same_request_again_registers_nothing(service: Service) -> None:
    job, key = student(service, name="once"), {"Idempotency-Key": "k-1"}
    answers = [service.client.post(f"/v1/jobs/{job}/register", headers=key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len(service.client.get("/v1/models").json()["data"]) == 1


def test_an_alias_that_many_move_at_once_means_one_of_theirs(listen: Listen) -> None:
    service = listen()
    job = student(service, name="many")
    models = [register(service, job)["id"] for _ in range(4)]
    statuses: list[int] = []

    def move(model: str) -> None:
        statuses.append(service.client.put(f"/v1/models/{model}/aliases/production").status_code)

    threads = [threading.Thread(target=move, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [200] * 4
    found = service.client.get("/v1/models?name=many&alias=production").json()["data"]
    assert len(found) == 1


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.FAILED])
def test_only_what_has_succeeded_is_registered(service: Service, status: Status) -> None:
    answer = service.client.post(f"/v1/jobs/{service.job(status)}/register", json={"name": "x"})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")


def test_a_model_needs_a_name(service: Service) -> None:
    answer = service.client.post(f"/v1/jobs/{student(service)}/register")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/name")


@pytest.mark.parametrize("alias", ["3", "Prod", "a@b", "-x", "x" * 65])
def test_aliases_that_are_none(service: Service, alias: str) -> None:
    answer = service.client.post(f"/v1/jobs/{student(service)}/register", json={"name": "n", "aliases": [alias]})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/aliases/0")


def test_an_alias_moves_and_what_is_queued_stays(each_service: Service) -> None:
    service = each_service
    first, second = ready(service, aliases=["production"]), ready(service)
    dataset = service.dataset()
    spec = {"kind": "evaluate", "dataset": dataset, "model": {"model": "n@production"}}

    before = service.client.post("/v1/jobs", json=spec).raise_for_status().json()
    moved = service.client.put(f"/v1/models/{second}/aliases/production").raise_for_status().json()
    after = service.client.post("/v1/jobs", json=spec).raise_for_status().json()

    assert moved["aliases"] == ["production"]
    assert get(service, first)["aliases"] == []
    assert before["spec"]["model"] == {"model": first}
    assert after["spec"]["model"] == {"model": second}
    assert service.client.get(f"/v1/jobs/{before['id']}").json()["spec"]["model"] == {"model": first}
    found = service.client.get("/v1/models?name=n&alias=production").json()["data"]
    assert [row["id"] for row in found] == [second]


def test_models_are_named_by_alias_and_version_wherever_a_spec_names_one(service: Service) -> None:
    model = ready(service, name="the teacher", aliases=["best"])
    dataset = service.dataset()
    by_alias, by_version = {"model": "the teacher@best"}, {"model": "the teacher@1"}
    distill = {"kind": "distill", "dataset": dataset, "teacher": by_alias, "student": by_version}
    study = {
        "name": "s", "dataset": dataset, "teacher": {"model": by_alias}, "student": by_version,
        "methods": ["rdr-kd"], "seeds": [0],
    }  # fmt: skip
    job = service.client.post("/v1/jobs", json=distill).raise_for_status().json()
    assert (job["spec"]["teacher"], job["spec"]["student"]) == ({"model": model}, {"model": model})
    tried = service.client.post("/v1/jobs/validate", json=distill).raise_for_status().json()
    assert tried["resolved_spec"]["teacher"] == {"model": model}
    made = service.client.post("/v1/studies", json=study).raise_for_status().json()
    assert made["spec"]["teacher"]["model"] == {"model": model}
    assert made["spec"]["student"] == {"model": model}


@pytest.mark.parametrize("named", ["n@staging", "n@7", "other@production"])
def test_what_no_model_is_called_is_unknown(service: Service, named: str) -> None:
    ready(service, aliases=["production"])
    spec = {"kind": "evaluate", "dataset": service.dataset(), "model": {"model": named}}
    answer = service.client.post("/v1/jobs", json=spec)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_reference")
    assert answer.json()["errors"][0] == {
        "pointer": "/model/model", "detail": f"expected a model that exists, got {named}",
    }  # fmt: skip


def test_names_are_their_owners_own(service: Service) -> None:
    alice, bob = service.key("alice"), service.key("bob")
    files = {"file": ("x.pt", b"x")}
    made = [
        service.client.post("/v1/models", files=files, data={"name": "n"}, headers=who).json() for who in (alice, bob)
    ]
    assert [row["version"] for row in made] == [1, 1]
    for row, who in zip(made, (alice, bob), strict=True):
        service.client.put(f"/v1/models/{row['id']}/aliases/prod", headers=who).raise_for_status()
        assert service.client.get(f"/v1/models/{row['id']}", headers=who).json()["aliases"] == ["prod"]
    dataset = service.client.post("/v1/datasets", files={"file": ("d.zip", b"PK")}, headers=bob).json()["id"]
    spec = {"kind": "evaluate", "dataset": dataset, "model": {"model": "n@prod"}}
    job = service.client.post("/v1/jobs", json=spec, headers=bob).raise_for_status().json()
    assert job["spec"]["model"] == {"model": made[1]["id"]}


def test_what_an_admin_registers_of_anothers_job_is_its_owners(service: Service) -> None:
    service.client.headers |= service.key("alice")
    job = student(service, name="n")
    service.client.headers |= service.key("ops", "admin")
    assert register(service, job)["owner"] == "alice"


def test_what_an_admin_registers_of_the_operators_job_stays_the_operators(start: Start) -> None:
    with start(token="t") as service:
        service.client.headers["Authorization"] = "Bearer t"
        job = student(service, name="n")
        service.client.headers |= service.key("ops", "admin")
        assert register(service, job)["owner"] is None


def test_a_model_under_an_alias_stays_until_the_alias_is_gone(service: Service) -> None:
    model = ready(service, aliases=["production"])
    refused = service.client.delete(f"/v1/models/{model}")
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert "the alias production" in refused.json()["detail"]

    service.client.delete(f"/v1/models/{model}/aliases/production").raise_for_status()

    assert service.client.delete(f"/v1/models/{model}").status_code == 204
    assert not [name for name in service.files() if name.startswith("uploads/") and ".zip" not in name]


def test_a_refused_model_gets_no_alias(service: Service) -> None:
    model = register(service, student(service), name="n")["id"]
    settle(service, None, "it is broken")
    answer = service.client.put(f"/v1/models/{model}/aliases/production")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
