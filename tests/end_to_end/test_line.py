"""From HTTP to weights: what a user does, on both backends."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import BOTH, SERVERS, Service, quick
from tests.shared import need

# Runs in another folder, where none of our packages can be imported: what a user's machine looks like.
PLAIN = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("rdrkd", "api", "worker", "celery", "sqlalchemy", "fastapi"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Refuse())
import numpy as np
from ultralytics import YOLO
model = YOLO("student.pt")
image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
[result] = model.predict(image, imgsz=96, verbose=False)
print(sorted(model.names.values()), type(model.model).__name__, len(result.boxes))
"""


@pytest.fixture
def whole(service: Service) -> Service:
    for name in ("reaper", "inspect", "train"):
        service.start(name)
    return service


def predict(weights: bytes, folder: Path) -> str:
    """Load and use weights in a process that has Ultralytics and nothing of ours."""
    folder.mkdir()
    (folder / "student.pt").write_bytes(weights)
    safe = {
        "ULTRALYTICS_SAFE_LOAD": "1",
        "YOLO_OFFLINE": "True",
        "YOLO_AUTOINSTALL": "False",
        "YOLO_CONFIG_DIR": str(folder),
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1"} | safe
    done = subprocess.run([sys.executable, "-c", PLAIN], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@BOTH
def test_teacher_then_student_then_download(whole: Service, scenes: Path, tmp_path: Path) -> None:
    dataset = whole.upload("datasets", scenes)
    # Neither the dataset's check nor the teacher is waited for: the jobs wait themselves.
    teacher = whole.submit(kind="train", dataset=dataset, model={"architecture": "yolov8n"}, train=quick(1))
    student = whole.submit(
        kind="distill",
        dataset=dataset,
        teacher={"job": teacher},
        student={"architecture": "yolov8n-half"},
        distillation={"preset": "rdr-kd"},
        train=quick(2),
    )
    assert {w["what"] for w in whole.job(student)["waiting_for"]} >= {"job"}
    job = whole.wait(student)
    assert job["status"] == "succeeded", (job, whole.job(teacher), whole.logs())
    checked = whole.checked("datasets", dataset)
    assert checked["status"] == "ready"

    terms = [sorted(epoch["losses"]) for epoch in whole.client.get(f"/v1/jobs/{student}/metrics").json()["data"]]
    assert len(terms) == 2
    assert {"regenerated", "decoupled", "responsive"} <= set(terms[0])
    figures: dict[str, Any] = job["result"]["metrics"]
    assert set(figures) == {"coco", "coco_maxdets500", "ultralytics", "operating_points"}
    assert set(figures["coco"]) == {"AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L"}
    assert job["resolved_spec"]["provenance"]["model_sha256"]["teacher"]

    weights = whole.client.get(f"/v1/jobs/{student}/weights")
    assert weights.status_code == 200
    assert weights.headers["ETag"] == f'"{job["result"]["weights"]["student.pt"]["sha256"]}"'
    files = {file["name"]: file for file in whole.client.get(job["links"]["artifacts"]).json()["data"]}
    assert {"student.pt", "student.safetensors", "metrics.jsonl", "resolved_spec.json", "result.json"} <= set(files)
    contents = {name: whole.client.get(file["link"]).raise_for_status().content for name, file in files.items()}
    assert json.loads(contents["result.json"]) == job["result"]
    assert json.loads(contents["resolved_spec.json"]) == job["resolved_spec"]
    assert not [name for name, content in contents.items() if str(tmp_path).encode() in content]
    assert str(sorted(checked["report"]["names"])) in predict(weights.content, tmp_path / "elsewhere")


@pytest.mark.slow
@SERVERS
def test_real_images_and_an_uploaded_pretrained_teacher(whole: Service, tmp_path: Path) -> None:
    dataset = whole.upload("datasets", need("data/hit_uav_tiny.zip"))
    model = whole.upload("models", need("weights/yolov8n_coco_rebuilt_from_int8.pt"))
    start = {"model": model}
    settings = quick(3, imgsz=160, batch=16)
    teacher = whole.submit(kind="train", dataset=dataset, model=start, train=settings)
    student = whole.submit(
        kind="distill",
        dataset=dataset,
        teacher={"job": teacher},
        student={"architecture": "yolov8n-half"},
        train=settings | {"epochs": 2},
    )
    measured = whole.submit(kind="evaluate", dataset=dataset, model={"job": student}, evaluation={"imgsz": 160})
    job = whole.wait(measured, seconds=500)
    assert job["status"] == "succeeded", (job, whole.job(student), whole.job(teacher), whole.logs())
    assert whole.checked("models", model)["status"] == "ready"
    assert whole.job(student)["resolved_spec"]["distillation"]["preset"] == "rdr-kd"
    own = whole.job(student)["result"]["metrics"]["coco"]
    assert job["result"]["metrics"]["coco"] == own  # the same weights, measured again
    weights = whole.client.get(f"/v1/jobs/{student}/weights")
    assert "bicycle" in predict(weights.content, tmp_path / "elsewhere")
