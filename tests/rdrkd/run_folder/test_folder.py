"""What a run folder is held to, when, and what it says of a run that was refused or failed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from rdrkd.data import Dataset
from rdrkd.errors import (
    FolderError,
    MachineError,
    ModelError,
    PairError,
    RdrkdError,
    SpecError,
    StopRequested,
    TeacherError,
)
from rdrkd.events import Epoch, Event
from rdrkd.models import build, save_student
from rdrkd.reporter import Memory
from rdrkd.run.run import Inputs, run
from rdrkd.spec import JOB_SPEC
from tests.rdrkd.lively import lively
from tests.rdrkd.run.test_run import TRAIN, distill, events, train
from tests.rdrkd.stopping import StopAfter


class FailsIn(Memory):
    """Breaks the run when an epoch is told."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, Epoch) and event.epoch == self.epoch:
            raise ZeroDivisionError(f"of the training in {Path.cwd()}")


@pytest.fixture(scope="module")
def archive(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes as a zip, which a run unpacks."""
    return Path(shutil.make_archive(str(tmp_path_factory.mktemp("archive") / "scenes"), "zip", scenes.parent))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of other classes."""
    folder = tmp_path_factory.mktemp("stranger")
    save_student(build("yolov8n", ["cat"]), folder, {})
    return folder / "student.pt"


def failure_of(folder: Path) -> Any:
    return json.loads((folder / "failure.json").read_text())


@pytest.mark.slow
def test_a_refused_pair_says_why_and_lets_a_corrected_run_begin_in_its_folder(
    scenes: Path, teacher_path: Path, stranger: Path, tmp_path: Path
) -> None:
    with pytest.raises(PairError) as refused:
        run(distill(scenes), tmp_path, Memory(), Inputs(teacher=stranger, device="cpu"))
    (problem,) = refused.value.problems
    assert failure_of(tmp_path) == {
        "reason": "incompatible_pair",
        "message": str(refused.value),
        "problems": [{"where": "/teacher", "detail": problem.detail}],
    }
    text = (tmp_path / "report.html").read_text()
    for said in ("failed: 0 of 2 epochs", "incompatible_pair", "a teacher of the dataset", "/teacher"):
        assert said in text
    memory = StopAfter(1)
    corrected = distill(scenes, distillation={"preset": "decoupled"}, train={**TRAIN, "epochs": 2, "lr0": 0.002})
    with pytest.raises(StopRequested):
        run(corrected, tmp_path, memory, Inputs(teacher=teacher_path, device="cpu"))
    assert len(events(memory, Epoch)) == 1
    assert not (tmp_path / "failure.json").exists()
    report = tmp_path / "report.html"  # a training that takes longer than this one writes its own
    assert not report.exists() or "incompatible_pair" not in report.read_text()


def test_a_run_that_fails_before_its_first_checkpoint_holds_its_folder_to_nothing(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(train(scenes), tmp_path, FailsIn(1), Inputs(device="cpu"))
    assert failure_of(tmp_path)["message"] == f"ZeroDivisionError: of the training in {Path.cwd().name}"
    assert failure_of(tmp_path)["reason"] == "internal"
    with pytest.raises(SpecError, match="devices, which share each batch"):
        run(train(scenes, epochs=3), tmp_path, Memory(), Inputs(device="cpu,cpu,cpu"))
    assert "failed: 0 of 3 epochs" in (tmp_path / "report.html").read_text(), "of the epoch before nothing is told"


@pytest.mark.slow
def test_a_run_that_fails_after_a_checkpoint_keeps_its_folder_and_goes_on(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(train(scenes, epochs=2), tmp_path, FailsIn(2), Inputs(device="cpu"))
    assert "failed: 2 of 2 epochs" in (tmp_path / "report.html").read_text()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(FolderError, match="which holds another run"):
        run(train(scenes, epochs=3), tmp_path, Memory(), Inputs(device="cpu"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    memory = Memory()
    run(train(scenes, epochs=2), tmp_path, memory, Inputs(device="cpu"))
    assert [epoch.epoch for epoch in events(memory, Epoch)] == [2]
    assert not (tmp_path / "failure.json").exists()


def test_who_asks_for_a_stop_is_told_of_no_failure(scenes: Path, tmp_path: Path) -> None:
    memory = StopAfter(1)
    memory.stop = True
    with pytest.raises(StopRequested):
        run(train(scenes), tmp_path, memory, Inputs(device="cpu"))
    assert not (tmp_path / "failure.json").exists()


@pytest.mark.parametrize(
    ("fields", "inputs", "error", "words"),
    [
        ({}, {"device": "cpu"}, SpecError, "--teacher PATH"),
        ({}, {"device": "cpu", "teacher": "nowhere.pt"}, TeacherError, "got nothing at nowhere.pt"),
        ({}, {"device": "cpu", "teacher": "broken.pt"}, TeacherError, "the teacher cannot be loaded"),
        ({}, {"device": "cpu,cpu,cpu", "teacher": "good.pt"}, SpecError, "a multiple of the 3 devices"),
        ({}, {"device": "99", "teacher": "good.pt"}, MachineError, "got 99; it has `cpu`"),
        (
            {"student": {"architecture": "yolo26n"}, "distillation": {"losses": [{"name": "ld"}]}},
            {"device": "cpu", "teacher": "good.pt"},
            PairError,
            "reg_max",
        ),
        (
            {"student": {"architecture": "yolov8n-p2"}, "distillation": {"preset": "rdr-kd"}},
            {"device": "cpu", "teacher": "good.pt"},
            PairError,
            "head strides",
        ),
    ],
)
def test_what_shows_without_the_dataset_is_refused_before_it_is_unpacked(
    fields: dict[str, Any], inputs: dict[str, Any], error: type[RdrkdError], words: str,
    archive: Path, dataset: Dataset, tmp_path: Path,
) -> None:  # fmt: skip
    torch.manual_seed(7)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "broken.pt").write_bytes(b"no model")
    save_student(lively(build("yolov8n", dataset.names)), tmp_path / "models", {})
    (tmp_path / "models" / "student.pt").rename(tmp_path / "models" / "good.pt")
    if "teacher" in inputs:
        inputs = {**inputs, "teacher": tmp_path / "models" / inputs["teacher"]}
    with pytest.raises(error, match=words) as refused:
        run(distill(archive, **fields), tmp_path / "run", Memory(), Inputs(**inputs))
    assert not isinstance(refused.value, TeacherError) or refused.value.problems[0].where == "/teacher"
    assert not (tmp_path / "run" / "dataset").exists()
    assert words in failure_of(tmp_path / "run")["message"]
    assert "failed: 0 of 2 epochs" in (tmp_path / "run" / "report.html").read_text()
    assert not (tmp_path / "run" / "spec.json").exists()


def test_other_classes_are_refused_before_the_images_are_looked_at(
    scenes: Path, stranger: Path, tmp_path: Path
) -> None:
    shutil.copytree(scenes.parent, tmp_path / "copy")
    min((tmp_path / "copy" / "labels" / "train").glob("*.txt")).write_text("no label\n")
    with pytest.raises(PairError, match="a teacher of the dataset's classes"):
        run(distill(tmp_path / "copy" / scenes.name), tmp_path / "run", Memory(), Inputs(teacher=stranger))


@pytest.mark.parametrize("kind", ["evaluate", "export"])
def test_a_model_that_cannot_be_used_is_refused_before_the_dataset_is_unpacked(
    kind: str, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.pt").write_bytes(b"no model")
    content = {"kind": kind, "model": {"path": str(tmp_path / "broken.pt")}, "dataset": str(archive)}
    settings = {"export": {"format": "torchscript", "imgsz": 96}} if kind == "export" else {}
    spec = JOB_SPEC.validate_python(content | settings)
    with pytest.raises(ModelError, match="expected an Ultralytics checkpoint"):
        run(spec, tmp_path / "run", Memory(), Inputs(device="cpu"))
    assert not (tmp_path / "run" / "dataset").exists()
    assert failure_of(tmp_path / "run")["reason"] == "model_invalid"
