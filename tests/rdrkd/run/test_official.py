"""Runs that start from official weights, served on loopback."""

from pathlib import Path
from typing import Any

import pytest

from rdrkd import pretrained
from rdrkd.cli import distill_here, distill_inputs
from rdrkd.data import Dataset
from rdrkd.data.reading import AS_IT_IS
from rdrkd.errors import ModelError, PairError
from rdrkd.files import file_sha256
from rdrkd.models import LoadedModel, build, save_student
from rdrkd.run.load_models import Inputs, check_classes, open_models
from rdrkd.run.run import _resolved
from rdrkd.spec import JOB_SPEC, Pretrained
from rdrkd.training.plan import Plan
from tests.rdrkd.pretrained.conftest import Source
from tests.rdrkd.pretrained.conftest import source as source
from tests.rdrkd.run.test_run import TRAIN

OFFICIAL = {"architecture": "yolov8n", "pretrained": True}


@pytest.fixture
def served(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """Weights of COCO's classes under the official name."""
    save_student(build("yolov8n", pretrained.coco_names()), tmp_path, {}, "made")
    source.content = (tmp_path / "made.pt").read_bytes()
    monkeypatch.setenv("RDRKD_PRETRAINED_URL", source.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return source


def test_a_training_starts_from_them_and_records_their_hash(served: Source, dataset: Dataset, tmp_path: Path) -> None:
    spec = JOB_SPEC.validate_python({"kind": "train", "model": OFFICIAL, "dataset": "d", "train": TRAIN})
    opened = open_models(spec, Inputs(device="cpu"), ("cpu",), [])
    assert isinstance(opened, Plan)
    assert isinstance(opened.student, LoadedModel)
    assert (opened.student.architecture, len(opened.student.names)) == ("yolov8n", 80)
    check_classes(spec, opened, dataset)  # other classes than COCO's: the class branch is new
    resolved = _resolved(spec, dataset, Inputs(device="cpu"), {})
    assert resolved["model"] == OFFICIAL
    assert resolved["provenance"]["model_sha256"] == {"model": file_sha256(tmp_path / "made.pt")}
    assert len(served.asked) == 1


def test_a_teacher_of_other_classes_is_refused_with_advice(served: Source, dataset: Dataset) -> None:
    content = {"kind": "distill", "teacher": OFFICIAL, "student": {"architecture": "yolov8n-half"}, "dataset": "d"}
    spec = JOB_SPEC.validate_python(content | {"train": TRAIN})
    opened = open_models(spec, Inputs(device="cpu"), ("cpu",), [])
    assert isinstance(opened, Plan)
    with pytest.raises(PairError, match=r"expected a teacher of the dataset's classes .* train them on this dataset"):
        check_classes(spec, opened, dataset)


def test_without_them_a_run_says_what_to_do(served: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RDRKD_PRETRAINED_URL", "")
    spec = JOB_SPEC.validate_python({"kind": "train", "model": OFFICIAL, "dataset": "d"})
    with pytest.raises(ModelError, match=f"put the file into {tmp_path}/cache/rdrkd/pretrained"):
        open_models(spec, Inputs(device="cpu"), ("cpu",), [])


def test_options_name_them_as_ultralytics_does(
    served: Source, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"teacher": "yolov8l.pt", "student": "yolov8n.pt", "data": str(scenes), "device": "cpu"}
    spec = distill_here.chosen_here(
        options, distill_inputs.local(options), tmp_path / "run", None, AS_IT_IS, lambda _line: None
    )
    assert spec.teacher == Pretrained(architecture="yolov8l", pretrained=True)
    assert spec.student == Pretrained(architecture="yolov8n", pretrained=True)
    assert spec.train.imgsz == pretrained.IMGSZ
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yolov8n.pt").write_bytes(served.content)  # a file here is the user's own
    assert distill_inputs.file_of("yolov8n.pt") == {"path": "yolov8n.pt"}
