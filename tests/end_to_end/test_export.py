"""From HTTP through a live worker to a file that onnxruntime opens, with figures that are measured."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.end_to_end.conftest import SERVERS, Service, quick, until
from tests.shared import find

IMGSZ = 160
QUICK = {"imgsz": IMGSZ, "images": 4, "repeats": 10, "conf": 0.05}


def artifact(service: Service, job: dict[str, Any], name: str) -> bytes:
    answer = service.client.get(f"{job['links']['artifacts']}/{name}").raise_for_status()
    assert answer.headers["ETag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    return answer.content


@pytest.mark.slow
@SERVERS
def test_a_student_is_exported_checked_and_downloaded(service: Service, scenes: Path) -> None:
    for name in ("reaper", "inspect", "train"):
        service.start(name)
    real, start = find("data/hit_uav_tiny.zip"), find("weights/yolov8n_coco_rebuilt_from_int8.pt")
    dataset = service.upload("datasets", real or scenes)
    model = {"model": service.upload("models", start)} if start else {"architecture": "yolov8n-half"}
    student = service.submit(kind="train", dataset=dataset, model=model, train=quick(3, imgsz=IMGSZ, nbs=8, lr0=0.003))
    forms = ("onnx", "openvino", "torchscript")
    common = {"kind": "export", "dataset": dataset, "model": {"job": student}}
    exports = {form: service.submit(**common, export=QUICK | {"format": form}) for form in forms}

    jobs = {form: service.wait(job_id, seconds=500) for form, job_id in exports.items()}

    names = {"onnx": "model.onnx", "openvino": "model_openvino.zip", "torchscript": "model.torchscript"}
    for form, job in jobs.items():
        assert job["status"] == "succeeded", (job, service.logs())
        made = job["result"]["export"]
        content = artifact(service, job, names[form])
        expected = {"name": names[form], "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        assert made["file"] == expected
        assert made["latency"]["exported"]["median_ms"] > 0
        assert made["latency"]["torch"]["median_ms"] > 0
        assert str(service.folder).encode() not in content
    result = jobs["onnx"]["result"]
    if real and start:  # a few epochs on a few drawn scenes find nothing, by torch and by the export alike
        assert result["export"]["torch"]["metrics"]["coco"]["AP"] > 0
        assert result["export"]["agreement"]["detections"]["torch"] > 0
    assert abs(result["export"]["ap_difference"]) < 0.05
    assert 0 < result["export"]["agreement"]["boxes_px"]["max_abs"] < 0.05
    found = result["export"]["agreement"]["detections"]
    assert found["torch"] == found["exported"] == found["matched"]

    session = onnxruntime.InferenceSession(artifact(service, jobs["onnx"], "model.onnx"))
    image = np.random.default_rng(0).random((1, 3, IMGSZ, IMGSZ), dtype=np.float32)
    [output] = session.run(None, {session.get_inputs()[0].name: image})
    assert output.shape == (1, 4 + len(result["student"]["names"]), 21 * (IMGSZ // 32) ** 2)
    assert np.isfinite(output).all()


@pytest.mark.slow
def test_tensorrt_is_refused_where_no_worker_has_a_gpu(service: Service, scenes: Path) -> None:
    service.start("train")
    dataset = service.upload("datasets", scenes)
    student = service.submit(kind="train", dataset=dataset, model={"architecture": "yolov8n-half"}, train=quick(1))
    spec = {"kind": "export", "dataset": dataset, "model": {"job": student}, "export": {"format": "engine"}}
    workers = until(lambda: service.client.get("/v1/workers").json()["data"], 60)
    if any(worker["devices"] for worker in workers):
        pytest.skip("this machine has a GPU")

    refused = service.client.post("/v1/jobs", json=spec)

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    [error] = refused.json()["errors"]
    assert error["pointer"] == "/export/format"
    assert "none of 1 has one" in error["detail"]
