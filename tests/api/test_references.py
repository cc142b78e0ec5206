"""References are read from the fields made for them: text that looks like one is neither rewritten nor counted."""

from typing import Any

import pytest

from api.tables.states import Status
from tests.api.conftest import Service
from tests.api.uploads.models.registered import ready, student

# Every place of a spec that takes text of the client's own choice.
FREE: dict[str, Any] = {
    "a label": lambda text: {"labels": {"model": text}},
    "a label named as a field": lambda text: {"labels": {"job": text, "dataset": text, "teacher": text}},
    "a label's key": lambda text: {"labels": {text: "x"}},
    "a name": lambda text: {"name": text},
}


@pytest.mark.parametrize("place", FREE)
def test_text_that_looks_like_a_reference_stays_as_it_is(service: Service, place: str) -> None:
    model, dataset = ready(service, name="m", aliases=["best"]), service.dataset()
    for text in ("m@1", "m@best", "m@99999999999999999999", model, dataset):
        changes = FREE[place](text)
        made = service.submit(dataset, **changes)
        assert {field: made["spec"][field] for field in changes} == changes


@pytest.mark.slow
@pytest.mark.parametrize("place", FREE)
def test_anothers_text_with_my_ids_blocks_no_deletion(operated: Service, place: str) -> None:
    service = operated
    model, dataset, job = ready(service, name="m"), service.dataset(), student(service)
    theirs = service.key("mallory")
    own = service.client.post("/v1/datasets", files={"file": ("d.zip", b"PK")}, headers=theirs).json()["id"]
    for id_ in (model, dataset, job):
        body = {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": own, **FREE[place](id_)}
        service.client.post("/v1/jobs", json=body, headers=theirs).raise_for_status()

    for path in (f"/v1/models/{model}", f"/v1/jobs/{job}", f"/v1/datasets/{dataset}"):
        answer = service.client.delete(path)
        assert answer.status_code == 204, answer.text


def test_what_a_spec_names_in_its_own_fields_still_is_needed(each_service: Service) -> None:
    service = each_service
    teacher, model = student(service), ready(service, name="m")
    dataset = service.dataset()
    distill = {"kind": "distill", "student": {"architecture": "yolov8n"}}
    study = {"name": "s", "methods": ["none"], "seeds": [0], "dataset": dataset}

    def refused(path: str, **body: Any) -> bool:
        address = "/v1/studies" if "methods" in body else "/v1/jobs"
        made = service.client.post(address, json=body).raise_for_status().json()
        answer = service.client.delete(path)
        if address == "/v1/jobs":
            service.client.post(f"/v1/jobs/{made['id']}/cancel").raise_for_status()
        else:
            service.client.post(f"/v1/studies/{made['id']}/cancel").raise_for_status()
            service.client.delete(f"/v1/studies/{made['id']}").raise_for_status()
        return answer.status_code == 409

    by_job, by_model = {"job": teacher}, {"model": model}
    for path, reference in ((f"/v1/jobs/{teacher}", by_job), (f"/v1/models/{model}", by_model)):
        assert refused(path, **distill, dataset=dataset, teacher=reference)
        assert refused(path, kind="evaluate", dataset=dataset, model=reference)
        assert refused(path, kind="train", dataset=dataset, model=reference)
        assert refused(path, **study, teacher={"model": reference}, student={"architecture": "yolov8n"})
    assert refused(f"/v1/datasets/{dataset}", kind="evaluate", dataset=dataset, model=by_job)
    assert service.client.get(f"/v1/jobs/{teacher}").json()["status"] == Status.SUCCEEDED
