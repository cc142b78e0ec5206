"""A study that is validated is counted and judged as it would be on submission, and nothing is queued."""

from tests.api.conftest import Service
from tests.api.studies.test_studies import OFF, TRAINED, spec


def test_a_validated_study_has_as_many_jobs_as_one_that_is_submitted(operated: Service) -> None:
    body = spec(operated.dataset(), methods=["none", "table2"])
    told = operated.client.post("/v1/studies/validate", json=body).raise_for_status().json()
    assert told["ok"] is True
    assert operated.client.get("/v1/jobs").json()["data"] == []
    study = operated.client.post("/v1/studies", json=body).raise_for_status().json()
    assert told["jobs"] == sum(study["jobs"].values())
    assert told["methods"] == list(dict.fromkeys(member["method"] for member in study["members"]))


def test_what_submission_refuses_validation_refuses_or_finds(steady: Service) -> None:
    dataset = steady.dataset()
    for changes in ({"methods": ["none", OFF]}, {"seeds": []}, {"teacher": TRAINED | {"epochs": 1}}):
        body = spec(dataset, **changes)
        validated = steady.client.post("/v1/studies/validate", json=body)
        assert steady.client.post("/v1/studies", json=body).status_code == 422
        assert validated.status_code == 422 or not validated.json()["ok"]


def test_another_owners_dataset_is_unknown(operated: Service) -> None:
    alice, bob = operated.key(owner="alice"), operated.key(owner="bob")
    operated.client.headers |= alice
    body = spec(operated.upload())
    assert operated.client.post("/v1/studies/validate", json=body).status_code == 200
    stranger = operated.client.post("/v1/studies/validate", json=body, headers=bob)
    assert (stranger.status_code, stranger.json()["code"]) == (422, "unknown_reference")
