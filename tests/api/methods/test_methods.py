"""The catalogue of what a job can ask for."""

from rdrkd.spec import ARCHITECTURES, PRESETS, TERMS
from tests.api.conftest import Service


def test_methods_tell_every_term_with_schema_and_defaults(steady: Service) -> None:
    methods = steady.client.get("/v1/methods").json()["data"]

    assert [method["name"] for method in methods] == list(TERMS)
    for method in methods:
        fields = set(TERMS[method["name"]].model_fields)
        assert set(method["defaults"]) == set(method["parameters"]["properties"]) == fields
        assert method["paper"]["title"]
        assert method["acts_on"] in ("feature maps", "head outputs")
    assert methods[0]["defaults"]["weight"] == 1e-5


def test_methods_tell_what_they_need(steady: Service) -> None:
    needs = {each["name"]: each["needs"] for each in steady.client.get("/v1/methods").json()["data"]}

    assert needs["mgd"] == ["a map of one size in both at each of `levels`"]
    assert needs["responsive"] == ["heads of the same strides"]
    assert needs["nkd"] == ["heads of the same strides", "at least 2 classes, or `constant_logit`"]
    assert "reg_max > 1" in needs["ld"][1]
    assert "teacher's head" in needs["ultralytics"][1]


def test_presets_are_expanded_and_can_be_posted_as_losses(steady: Service) -> None:
    presets = steady.client.get("/v1/methods").json()["presets"]
    dataset, teacher = steady.upload(), steady.upload("models", ("l.pt", b"weights"))

    assert [preset["name"] for preset in presets] == [preset.value for preset in PRESETS]
    for preset in presets:
        distillation = {"losses": preset["losses"]} if preset["losses"] else {"preset": preset["name"]}
        body = {"kind": "distill", "teacher": {"model": teacher}, "student": {"architecture": "yolov8n"}}
        response = steady.client.post("/v1/jobs", json=body | {"dataset": dataset, "distillation": distillation})
        assert response.status_code == 202, response.text


def test_architectures_can_be_named(steady: Service) -> None:
    architectures = steady.client.get("/v1/architectures").json()["data"]

    assert [architecture["name"] for architecture in architectures] == list(ARCHITECTURES)
    job = steady.submit(steady.upload(), model={"architecture": architectures[-1]["name"]})
    assert job["status"] == "queued"
