import json
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics.nn.tasks import DetectionModel, SegmentationModel

from api.settings import Settings
from rdrkd import bounded_cache
from rdrkd.data import open_dataset
from rdrkd.data.scenes import write_scenes
from rdrkd.models import load_weights, save_student
from rdrkd.run.inspection import inspect
from tests.rdrkd.data.crafted import YAML, make_dataset, zip_up
from tests.shared import need
from worker import check_limits as bounds


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Work in empty folders, and see that an inspection leaves nothing in them."""
    for name in ("cwd", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    yield
    assert list((tmp_path / "cwd").iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Ultralytics itself writes: a pickled DetectionModel."""
    path = tmp_path_factory.mktemp("weights") / "yolov8n.pt"
    torch.save(detector(), path)
    return path


def detector() -> dict[str, Any]:
    model = DetectionModel("yolov8n.yaml", nc=3, verbose=False)
    model.names = {0: "car", 1: "person", 2: "bus"}
    return {"model": model.half(), "ema": None, "epoch": -1, "train_args": {"data": "x.yaml"}, "version": "8.4.190"}


class Runs:
    """Unpickling it runs a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        import os

        return os.system, (self.command,)


def refused(path: Path, kind: str = "model") -> str:
    report = inspect(path)
    assert (report["kind"], report["ok"]) == (kind, False)
    assert len(report["sha256"]) == 64
    assert "architecture" not in report
    json.dumps(report)
    (problem,) = report["problems"]
    assert problem["where"] == path.name
    assert str(path.parent) not in problem["detail"]
    return str(problem["detail"])


def test_describes_a_checkpoint(checkpoint: Path) -> None:
    report = inspect(checkpoint)
    assert report == {
        "kind": "model",
        "ok": True,
        "sha256": report["sha256"],
        "size": checkpoint.stat().st_size,
        "problems": [],
        "more_problems": 0,
        "warnings": [],
        "architecture": "yolov8n",
        "names": ["car", "person", "bus"],
        "parameters": 3_011_433,
        "strides": [8, 16, 32],
        "layers": 23,
        "reg_max": 16,
        "task": "detect",
        "imgsz": None,
    }


def test_a_broken_installation_is_not_the_files_fault(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is refused for good, so what fails before it is opened must not say that it is bad."""

    def broken(name: str) -> None:
        raise AttributeError(f"{name} has no attribute")

    monkeypatch.setattr("rdrkd.run.inspection.import_module", broken)
    with pytest.raises(AttributeError):
        inspect(checkpoint)


def test_describes_safetensors(checkpoint: Path, tmp_path: Path) -> None:
    save_student(load_weights(checkpoint).model, tmp_path, {})
    from_pt, from_safetensors = inspect(tmp_path / "student.pt"), inspect(tmp_path / "student.safetensors")
    assert from_safetensors["ok"]
    for key in ("architecture", "names", "parameters", "strides", "layers", "reg_max", "task"):
        assert from_safetensors[key] == from_pt[key]


def test_describes_real_weights() -> None:
    report = inspect(need("weights/yolov8n_coco_rebuilt_from_int8.pt"))
    assert (report["ok"], report["architecture"], len(report["names"])) == (True, "yolov8n", 80)


@pytest.mark.parametrize("name", ["foreign_leyolo_nano", "foreign_yolov5n"])
@pytest.mark.parametrize("renamed", [None, "yolov5n.pt", "yolov8n.pt"])
def test_refuses_other_projects_checkpoints(tmp_path: Path, name: str, renamed: str | None) -> None:
    path = shutil.copy(need(f"weights/{name}.pt"), tmp_path / (renamed or f"{name}.pt"))
    assert refused(Path(path)).startswith("expected an Ultralytics checkpoint")


@pytest.mark.parametrize("where", ["model", "ema", "train_args", "whole"])
@pytest.mark.parametrize("form", ["torch", "legacy", "pickle"])
def test_runs_nothing_that_a_checkpoint_holds(tmp_path: Path, where: str, form: str) -> None:
    marker = tmp_path / "ran"
    evil = Runs(f"touch {marker}")
    content = evil if where == "whole" else detector() | {where: evil}
    path = tmp_path / "yolov8n.pt"
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    assert refused(path).startswith("expected an Ultralytics checkpoint")
    assert not marker.exists()


def test_refuses_damaged_and_mistaken_files(tmp_path: Path, checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    files = {
        "cut.pt": whole[: len(whole) // 2],
        "empty.pt": b"",
        "text.pt": b"These are not weights.\n" * 50,
        "zip.pt": zip_up(make_dataset(tmp_path / "d"), tmp_path / "a.zip").read_bytes(),
        "renamed.safetensors": whole,
        "long.safetensors": (1 << 60).to_bytes(8, "little") + b"{}",
        "text.safetensors": b"These are not weights.\n" * 50,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert "expected a" in refused(tmp_path / name), name


def test_refuses_a_model_of_another_task_or_without_finite_weights(tmp_path: Path) -> None:
    content = detector()
    torch.save(content | {"model": SegmentationModel("yolov8n-seg.yaml", nc=3, verbose=False)}, tmp_path / "segment.pt")
    next(content["model"].parameters()).data[0] = float("nan")
    torch.save(content, tmp_path / "nan.pt")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "tensors.pt")
    assert "detection model" in refused(tmp_path / "segment.pt")
    assert "finite weights" in refused(tmp_path / "nan.pt")
    assert "detection model" in refused(tmp_path / "tensors.pt")


def test_refuses_another_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"x")
    assert (
        refused(tmp_path / "a.onnx", "unknown")
        == "expected .zip, .tar, .tar.gz, .tgz (a dataset), .pt or .safetensors (a model), got '.onnx'"
    )


def test_describes_a_dataset_and_keeps_it_for_the_runs(tmp_path: Path) -> None:
    made = write_scenes(tmp_path / "d", "demo", {"train": 4, "val": 2}, 96).parent
    (made / "notes.pdf").write_text("extra")
    archive = zip_up(made, tmp_path / "a.zip", "wrapped")
    report = inspect(archive, tmp_path / "cache")
    assert json.loads(json.dumps(report)) == report
    assert (report["kind"], report["ok"], report["size"]) == ("dataset", True, archive.stat().st_size)
    assert (report["names"], report["skipped"]) == (["car", "truck", "person", "boat"], {".pdf": 1})
    assert report["statistics"]["splits"]["train"]["images"] == 4
    dataset = open_dataset(archive, tmp_path / "cache")
    assert [p.name for p in bounded_cache.names(tmp_path / "cache")] == [dataset.sha256] == [report["sha256"]]
    assert inspect(archive, tmp_path / "cache") == report
    assert inspect(archive) == report
    assert inspect(made)["statistics"] == report["statistics"]


def test_a_refused_dataset_leaves_nothing_and_says_everything(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "d", label="3 0.5 0.5 0.2 0.2\n")
    (made / "images/val/a.png").write_bytes(b"no image")
    report = inspect(zip_up(made, tmp_path / "a.zip"), tmp_path / "cache")
    assert not report["ok"]
    assert [problem["where"] for problem in report["problems"]] == [
        "labels/train/a.txt:1",
        "images/val/a.png",
        "labels/val/a.txt:1",
    ]
    assert report["statistics"]["splits"]["train"]["images"] == 1
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_download_is_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    made = make_dataset(
        tmp_path / "d", YAML.replace("val: images/val", "val: images/none") + f"download: touch {marker}\n"
    )
    report = inspect(zip_up(made, tmp_path / "a.zip"), tmp_path / "cache")
    assert [problem["where"] for problem in report["problems"]] == ["data.yaml: val", "data.yaml: download"]
    assert not marker.exists()
    assert list((tmp_path / "cache").iterdir()) == []


def test_names_the_entry_of_an_archive_at_fault(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "d")
    (made / "inner.zip").write_bytes(b"x")
    report = inspect(zip_up(made, tmp_path / "a.zip"), tmp_path / "cache")
    assert report["problems"] == [{"where": "'inner.zip'", "detail": "expected no archive within the archive"}]
    assert list((tmp_path / "cache").iterdir()) == []


def limited(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code under the inspector's limits, in a process of its own."""
    script = f"import sys\nfrom pathlib import Path\nfrom rdrkd.run.inspection import inspect, limit_resources\n{code}"
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], timeout=300)


@pytest.mark.slow
def test_sound_files_pass_within_the_limits(tmp_path: Path, checkpoint: Path) -> None:
    archive = zip_up(make_dataset(tmp_path / "d"), tmp_path / "a.zip")
    limits = bounds.of(Settings(), max(checkpoint.stat().st_size, archive.stat().st_size))
    done = limited(
        f"limit_resources(**{limits})\nfor p in sys.argv[1:]: print(inspect(Path(p))['ok'])", checkpoint, archive
    )
    assert done.stdout.split() == ["True", "True"], done.stderr


@pytest.mark.slow
def test_the_limits_hold() -> None:
    code = """
limit_resources(memory_bytes=2 << 30, cpu_seconds=2, file_bytes=1000)
try: bytearray(3 << 30)
except MemoryError: print("memory")
try: Path(sys.argv[1]).write_bytes(bytes(2000))
except OSError: print("file")
print(open("/proc/self/status").read().count("NoNewPrivs:\\t1"), flush=True)
while True: pass
"""
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        done = limited(code, file.name)
    assert done.stdout.split() == ["memory", "file", "1"], done.stderr
    assert done.returncode == -signal.SIGXCPU  # and no SIGKILL, which would look like a kill from outside


@pytest.mark.slow
def test_a_model_is_written_in_the_other_format(checkpoint: Path, tmp_path: Path) -> None:
    report = inspect(checkpoint, convert=tmp_path / "there")
    assert (report["ok"], report["warnings"]) == (True, [])
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["student.safetensors"]
    given, written = load_weights(checkpoint), load_weights(tmp_path / "there" / "student.safetensors")
    assert written.names == given.names
    for key, tensor in given.model.state_dict().items():
        assert torch.equal(tensor.half(), written.model.state_dict()[key].half()), key

    inspect(tmp_path / "there" / "student.safetensors", convert=tmp_path / "back")

    assert [path.name for path in (tmp_path / "back").iterdir()] == ["student.pt"]
    assert load_weights(tmp_path / "back" / "student.pt").architecture == "yolov8n"


def test_a_layout_without_a_name_has_one_format_and_says_so(tmp_path: Path) -> None:
    content = detector()
    content["model"].yaml["backbone"][0] = [-1, 1, "Conv", [64, 3, 2, 1]]  # as it was, written otherwise
    torch.save(content, tmp_path / "odd.pt")
    report = inspect(tmp_path / "odd.pt", convert=tmp_path / "there")
    assert report["ok"]
    assert report["architecture"] is None
    assert "can be had as .pt only" in report["warnings"][0]
    assert list((tmp_path / "there").iterdir()) == []


def test_a_refused_model_is_written_nowhere(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"no checkpoint")
    assert not inspect(tmp_path / "x.pt", convert=tmp_path / "there")["ok"]
    assert not (tmp_path / "there").exists()
