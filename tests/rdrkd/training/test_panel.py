"""The predictions that a training shows on its way: of the images of its validation, and without a trace in it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from api.console.gallery import Predictions
from rdrkd.data import Dataset
from rdrkd.evaluation.evaluate import evaluate
from rdrkd.evaluation.gallery import Gallery
from rdrkd.evaluation.ground_truth import LabelledImage
from rdrkd.events import Epoch, Event, Warn
from rdrkd.reporter import Memory
from rdrkd.run_folder.checkpoints import complete
from rdrkd.training.panel import thinned
from tests.rdrkd.training.conftest import Begin, finish


def weights(saved: dict[str, Any]) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []

    def collect(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, dict | list | tuple):
            for one in value.values() if isinstance(value, dict) else value:
                collect(one)

    collect(saved)
    return found


@pytest.mark.slow
def test_a_training_shows_what_teacher_and_student_find_and_is_none_the_different(
    begin: Begin, dataset: Dataset, teacher_path: Path, tmp_path: Path
) -> None:
    shown = begin(tmp_path / "shown", epochs=2)
    state = finish(shown)
    for folder in (tmp_path / "shown", *complete(tmp_path / "shown")):
        content = json.loads((folder / "predictions.json").read_text())
        read = Predictions.model_validate(content)
        assert (content["epoch"], list(read.networks)) == (1, ["student", "teacher"])  # the next is due after 30 s
        assert 0 < len(read.images) <= 4
        assert all((folder / image.file).stat().st_size > 500 for image in read.images)

    ran: list[Any] = []
    evaluate(teacher_path, dataset, 96, 4, device="cpu", seen=ran.append)
    rows, places = ran[0].detections(), {image.path.name: place for place, image in enumerate(ran[0].images())}
    for image in read.images:
        expected = rows[(rows[:, 0] == places[image.name]) & (rows[:, 5] > 0.26)]
        found = np.array(image.found["teacher"]).reshape(-1, 6)
        for row in expected:
            assert np.abs(found[:, 1:5] - row[1:5]).max(axis=1).min(initial=np.inf) < 1.0

    blind = begin(tmp_path / "blind", epochs=2)
    made = blind.get_validator

    def without_panel() -> Any:
        validator = made()
        validator.panel = None
        return validator

    blind.get_validator = without_panel  # type: ignore[method-assign]
    alike = zip(weights(state), weights(finish(blind)), strict=True)
    assert all(torch.equal(one, other) for one, other in alike)
    assert not (tmp_path / "blind" / "predictions.json").exists()


class Blocking(Memory):
    """A reporter under whose eyes a folder takes the place of the first image."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, Epoch):
            (self._folder / "predictions-1.jpg").mkdir(exist_ok=True)


@pytest.mark.slow
def test_a_panel_that_cannot_be_written_is_one_warning(begin: Begin, tmp_path: Path) -> None:
    reporter = Blocking(tmp_path / "run")
    finish(begin(tmp_path / "run", epochs=2, reporter=reporter))
    warnings = [event for event in reporter.events if isinstance(event, Warn) and event.code == "report_failed"]
    assert len(warnings) == 1
    assert "predictions of this training cannot be shown" in warnings[0].message
    assert str(tmp_path) not in warnings[0].message


def test_the_student_after_earlier_epochs_is_kept_beside_the_newest(tmp_path: Path) -> None:
    image = LabelledImage(tmp_path / "a.jpg", 20, 20, np.array([0]), np.array([[0.5, 0.5, 0.5, 0.5]]))
    found = {1: np.zeros((0, 6)), 2: np.array([[0, 5.0, 5.0, 10.0, 10.0, 0.9]])}
    history: list[dict[str, Any]] = []
    for epoch, rows in found.items():
        gallery = Gallery([image], {"student": 0.25}, {"student": [rows]}, history)
        gallery.write(lambda _: np.zeros((20, 20, 3), np.uint8), "val", ["car"], tmp_path, epoch=epoch)
        history = thinned([*history, gallery.moment(epoch)])
    read = Predictions.model_validate(json.loads((tmp_path / "predictions.json").read_text()))
    assert read.epochs == [1, 2]
    assert (read.images[0].missed["student"], read.after(1).images[0].missed["student"]) == ([], [0])
