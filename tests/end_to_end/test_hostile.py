"""Hostile and mistaken uploads through the whole service: refused with a reason, nothing executed, nothing left."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Service, quick, until
from tests.shared import find

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("backend", ["embedded"], indirect=True)]


def archive(folder: Path, **entries: bytes) -> Path:
    path = folder / "dataset.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name.replace("__", "/"), content)
    return path


def download_yaml(folder: Path, scenes: Path) -> Path:
    """The scenes without images, with a data YAML whose `download:` Ultralytics would execute."""
    path = folder / "dataset.zip"
    with zipfile.ZipFile(scenes) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.yaml"):
                content += f"\ndownload: bash -c 'touch {folder}/executed'\n".encode()
            if not name.endswith("/") and "images/" not in name:
                target.writestr(name, content)
    return path


def climbing(folder: Path, scenes: Path) -> Path:
    return archive(folder, **{"data.yaml": b"names: [a]\ntrain: images\nval: images\n", "../../executed": b"x"})


def linking(folder: Path, scenes: Path) -> Path:
    path = folder / "dataset.zip"
    link = zipfile.ZipInfo("images/train/1.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.yaml", "names: [a]\ntrain: images/train\nval: images/train\n")
        file.writestr(link, "/etc/passwd")
    return path


def bomb(folder: Path, scenes: Path) -> Path:
    return archive(folder, **{"data.yaml": b"names: [a]\n", "images/train/1.jpg": bytes(200 * 2**20)})


@pytest.mark.parametrize("craft", [download_yaml, climbing, linking, bomb])
def test_hostile_dataset(service: Service, scenes: Path, tmp_path: Path, craft: Callable[[Path, Path], Path]) -> None:
    service.start("inspect")
    row = service.checked("datasets", service.upload("datasets", craft(tmp_path, scenes)))
    assert row["status"] == "invalid"
    assert row["problems"]
    assert "Traceback" not in str(row["problems"])
    assert not list(tmp_path.rglob("executed"))
    cache = tmp_path / "var" / "cache"
    assert not cache.exists() or not [path for path in cache.iterdir() if path.name != ".bound.json"]
    uploads = tmp_path / "var" / "storage" / "uploads"
    until(lambda: not list(uploads.iterdir()))
    refused = service.client.post("/v1/jobs", json=train(row["id"]))
    assert refused.status_code in (409, 422)
    assert refused.json()["code"] == "unusable_reference"


def train(dataset: str) -> dict[str, object]:
    return {"kind": "train", "dataset": dataset, "model": {"architecture": "yolov8n-half"}, "train": quick(1)}


class Evil:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> object:
        return os.system, (f"touch {self.mark}",)


def test_hostile_and_foreign_models(service: Service, tmp_path: Path) -> None:
    service.start("inspect")
    pickled = io.BytesIO()
    pickle.dump({"model": Evil(tmp_path / "executed")}, pickled)
    (tmp_path / "best.pt").write_bytes(pickled.getvalue())
    torch_like = tmp_path / "yolov8n.pt"
    with zipfile.ZipFile(torch_like, "w") as file:
        file.writestr("archive/data.pkl", pickled.getvalue())
        file.writestr("archive/version", "3\n")
    files = [tmp_path / "best.pt", torch_like]
    for name, real_name in (("foreign_leyolo_nano.pt", "leyolo_nano.pt"), ("foreign_yolov5n.pt", "yolov5n.pt")):
        if foreign := find(f"weights/{name}"):
            renamed = tmp_path / real_name
            renamed.write_bytes(foreign.read_bytes())
            files += [foreign, renamed]
    models = [service.upload("models", path) for path in files]
    rows = [service.checked("models", model) for model in models]
    for path, row in zip(files, rows, strict=True):
        assert row["status"] == "invalid", (path, row)
        assert row["problems"], path
    assert not (tmp_path / "executed").exists()
    until(lambda: not list((tmp_path / "var" / "storage" / "uploads").iterdir()))


def test_a_job_that_waits_for_an_upload_that_turns_out_invalid(service: Service, tmp_path: Path, scenes: Path) -> None:
    dataset = service.upload("datasets", climbing(tmp_path, scenes))
    answer = service.client.post("/v1/jobs", json=train(dataset))
    assert answer.status_code == 202
    service.start("inspect")
    job = service.wait(answer.json()["id"])
    assert (job["status"], job["reason"]) == ("failed", "dataset_invalid")
    assert dataset in job["message"]
    until(lambda: not list((tmp_path / "var" / "runs").glob("*/*/tmp")))
