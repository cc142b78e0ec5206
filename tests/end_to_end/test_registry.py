"""From a job's student to a model under an alias that another job names, and to its files in both formats."""

from pathlib import Path

import pytest
import torch

from rdrkd.models import load_weights
from tests.end_to_end.conftest import SERVERS, Service, quick


@pytest.mark.slow
@SERVERS
def test_a_student_is_registered_and_named_by_its_alias(service: Service, scenes: Path, tmp_path: Path) -> None:
    for name in ("reaper", "inspect", "train"):
        service.start(name)
    dataset = service.upload("datasets", scenes)
    spec = {"kind": "train", "name": "n", "dataset": dataset, "model": {"architecture": "yolov8n-half"}}
    trained = service.wait(service.submit(**spec, train=quick(1)))
    job = trained["id"]

    model = service.client.post(f"/v1/jobs/{job}/register", json={"aliases": ["production"]}).raise_for_status().json()
    evaluated = service.submit(
        kind="evaluate", dataset=dataset, model={"model": "n@production"}, evaluation={"imgsz": 64}
    )  # the model is not checked yet: the job waits
    checked = service.checked("models", model["id"])
    done = service.wait(evaluated)

    assert checked["status"] == "ready", checked
    assert checked["report"]["architecture"] == "yolov8n-half"
    assert checked["lineage"]["dataset_sha256"] == service.client.get(f"/v1/datasets/{dataset}").json()["sha256"]
    assert checked["lineage"]["metrics"] == trained["result"]["metrics"]
    assert done["status"] == "succeeded", (done, service.logs())
    assert done["spec"]["model"] == {"model": model["id"]}
    assert done["result"]["metrics"]["coco"] == trained["result"]["metrics"]["coco"]  # the same weights
    files = {}
    for file in checked["files"]:
        files[file["format"]] = tmp_path / f"model.{file['format']}"
        files[file["format"]].write_bytes(service.client.get(file["link"]).raise_for_status().content)
    pt, safetensors = (load_weights(files[form]).model.state_dict() for form in ("pt", "safetensors"))
    assert pt.keys() == safetensors.keys()
    assert all(torch.equal(pt[key], safetensors[key]) for key in pt)
